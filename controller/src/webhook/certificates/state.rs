//! Which certificates there are and which comes next, as a function of the time.
//!
//! Each certificate has an authority of its own, whose key is thrown away once it has signed: what is
//! stored can answer as the webhook, and can make nothing new. A change takes two steps, so that at no
//! time an API server meets a certificate that it does not trust:
//!
//! ```text
//!             serving  coming  trusted          goes on once
//!   at first  A        -       A                A is two thirds through its life
//!   coming    A        B       A B              all objects trust B, for OVERLAP
//!   changed   B        -       B A              OVERLAP is over
//!   at last   B        -       B
//! ```

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longer than API servers and replicas take to see a change.
pub(super) const OVERLAP: Duration = Duration::from_mins(10);

/// A certificate and its authority, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Issued {
    /// The certificate of the authority.
    pub(super) authority: String,
    /// The certificate.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: String,
    /// When the next one is due.
    pub(super) renew: Timestamp,
    /// When it is good for nothing any more.
    pub(super) expires: Timestamp,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    /// What the certificates are for.
    pub(super) names: Vec<String>,
    /// The one that is presented.
    pub(super) serving: Issued,
    /// The one that is to be presented, and since when it has been there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coming: Option<(Issued, Timestamp)>,
    /// The authority of the last one, and until when it is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retired: Option<(String, Timestamp)>,
}

impl State {
    /// The authorities to trust, PEM: the one of the certificate that is presented first.
    pub(super) fn bundle(&self) -> String {
        let coming = self.coming.as_ref().map(|(issued, _)| &issued.authority);
        let retired = self.retired.as_ref().map(|(authority, _)| authority);
        let all = [Some(&self.serving.authority), coming, retired];
        let all = all.into_iter().flatten().map(|pem| pem.trim_end());
        all.collect::<Vec<_>>().join("\n") + "\n"
    }
}

/// What is to be stored next; `None` if it stays as it is. `trusted` says that all objects have the
/// bundle of `state`.
pub(super) fn next<E>(
    state: Option<&State>,
    names: &[String],
    now: Timestamp,
    trusted: bool,
    issue: impl FnOnce() -> Result<Issued, E>,
) -> Result<Option<State>, E> {
    // Longer than any time that Timestamp can tell: never.
    let later = |time: Timestamp| time.checked_add(OVERLAP).unwrap_or(Timestamp::MAX);
    let Some(state) = state else {
        return Ok(Some(State {
            names: names.to_vec(),
            serving: issue()?,
            coming: None,
            retired: None,
        }));
    };
    if state.names != names || state.serving.expires <= now {
        // Nobody can use it any more: there is nothing to be gentle with.
        return Ok(Some(State {
            names: names.to_vec(),
            serving: issue()?,
            coming: None,
            retired: Some((state.serving.authority.clone(), later(now))),
        }));
    }
    match &state.coming {
        Some((coming, since)) if trusted && later(*since) <= now => Ok(Some(State {
            names: state.names.clone(),
            serving: coming.clone(),
            coming: None,
            retired: Some((state.serving.authority.clone(), later(now))),
        })),
        None if state.serving.renew <= now => Ok(Some(State {
            coming: Some((issue()?, now)),
            ..state.clone()
        })),
        _ if state
            .retired
            .as_ref()
            .is_some_and(|(_, until)| *until <= now) =>
        {
            Ok(Some(State {
                retired: None,
                ..state.clone()
            }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const LIFE: i64 = 90 * 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn issued(number: u32, now: Timestamp) -> Issued {
        let second = now.as_second();
        Issued {
            authority: format!("authority {number}\n"),
            certificate: format!("certificate {number}"),
            key: String::new(),
            renew: at(second + LIFE * 2 / 3),
            expires: at(second + LIFE),
        }
    }

    fn names() -> Vec<String> {
        vec!["a.b.svc".to_owned()]
    }

    fn step(state: Option<&State>, now: i64, trusted: bool, number: u32) -> Option<State> {
        let now = at(now);
        let issue = || Ok::<_, Infallible>(issued(number, now));
        next(state, &names(), now, trusted, issue).expect("cannot fail")
    }

    #[test]
    fn a_certificate_is_changed_in_two_steps_and_the_old_authority_goes_last() {
        let overlap = i64::try_from(OVERLAP.as_secs()).expect("small");
        let first = step(None, 0, false, 1).expect("there is none");
        assert_eq!(first.bundle(), "authority 1\n");
        assert_eq!(step(Some(&first), 1, true, 9), None);
        assert_eq!(step(Some(&first), LIFE * 2 / 3 - 1, true, 9), None);

        let due = LIFE * 2 / 3;
        let coming = step(Some(&first), due, true, 2).expect("due");
        assert_eq!(coming.serving, first.serving);
        assert_eq!(coming.bundle(), "authority 1\nauthority 2\n");
        assert_eq!(step(Some(&coming), due + overlap - 1, true, 9), None);
        assert_eq!(
            step(Some(&coming), due + 2 * overlap, false, 9),
            None,
            "not trusted by all"
        );

        let changed = step(Some(&coming), due + overlap, true, 9).expect("trusted");
        assert_eq!(changed.serving.certificate, "certificate 2");
        assert_eq!(changed.bundle(), "authority 2\nauthority 1\n");
        assert_eq!(step(Some(&changed), due + overlap + 1, true, 9), None);
        let last = step(Some(&changed), due + 2 * overlap, true, 9).expect("over");
        assert_eq!(last.bundle(), "authority 2\n");
        assert_eq!(step(Some(&last), due + 2 * overlap, true, 9), None);
    }

    #[test]
    fn other_names_and_an_end_without_a_successor_need_a_new_one_at_once() {
        let first = step(None, 0, false, 1).expect("there is none");
        let late = step(Some(&first), LIFE, false, 2).expect("expired");
        assert_eq!(late.serving.certificate, "certificate 2");
        let other = ["c.d.svc".to_owned()];
        let issue = || Ok::<_, Infallible>(issued(3, at(5)));
        let other = next(Some(&first), &other, at(5), true, issue);
        let other = other.expect("cannot fail").expect("of other names");
        assert_eq!(other.serving.certificate, "certificate 3");
        assert_eq!(other.names, ["c.d.svc"]);
    }

    proptest! {
        /// An API server trusts the bundle that was injected last; a replica presents what was
        /// stored up to half of OVERLAP ago. Whenever they meet, they agree.
        #[test]
        fn no_api_server_ever_meets_a_certificate_that_it_does_not_trust(
            steps in prop::collection::vec((1..=OVERLAP.as_secs().cast_signed() / 2, any::<bool>()), 1..200),
            start in LIFE * 2 / 3 - 600..LIFE * 2 / 3,
        ) {
            let mut state = step(None, 0, false, 1).expect("there is none");
            let mut presented = state.serving.clone();
            let mut injected = state.bundle();
            let (mut now, mut number) = (start, 1);
            for (pause, reachable) in steps {
                number += 1;
                now += pause;
                // Every replica has read the Secret since the last step.
                let before = state.clone();
                let trusted = injected == state.bundle();
                if let Some(next) = step(Some(&state), now, trusted, number) {
                    state = next;
                }
                prop_assert!(injected.contains(presented.authority.trim_end()));
                if reachable {
                    injected = state.bundle();
                }
                for seen in [&presented, &before.serving, &state.serving] {
                    prop_assert!(injected.contains(seen.authority.trim_end()), "{now}: {injected}");
                }
                presented = state.serving.clone();
            }
        }
    }
}
