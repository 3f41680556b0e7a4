//! Which certificates there are and which comes next, as a function of the time.
//!
//! Each certificate has an authority of its own, whose key is thrown away once it has signed: what is
//! stored can answer as the webhook, and can make nothing new. A change takes two steps, so that at no
//! time an API server meets a certificate that it does not trust:
//!
//! ```text
//!             serving  coming  trusted          goes on once
//!   at first  A        -       A                A is two thirds through its life
//!   coming    A        B       A B              all objects have trusted B for OVERLAP
//!   changed   B        -       B A              OVERLAP is over
//!   at last   B        -       B
//! ```
//! That an object trusts B is counted from when it was found so, not from when it was to be: as long as
//! one of them cannot be written, A stays.

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
    /// Since when it is good, if that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begins: Option<Timestamp>,
    /// When the next one is due.
    pub(super) renew: Timestamp,
    /// When it is good for nothing any more.
    pub(super) expires: Timestamp,
}

impl Issued {
    /// Whether anybody takes it at this time. One that was made while the clock was ahead is good
    /// only when that time comes.
    fn is_good(&self, now: Timestamp) -> bool {
        self.begins.is_none_or(|begins| begins <= now) && now < self.expires
    }
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    /// What the certificates are for.
    pub(super) names: Vec<String>,
    /// The one that is presented.
    pub(super) serving: Issued,
    /// The one that is to be presented, and since when all objects have trusted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coming: Option<(Issued, Option<Timestamp>)>,
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

/// How it is with the objects that are to trust the bundle of a [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All of them do, and did before.
    Held,
    /// One of them had to be told just now.
    Told,
    /// It is not known, or one could not be told.
    Unknown,
}

/// What is to be stored next; `None` if it stays as it is. `trust` is about the bundle of `state`.
pub(super) fn next<E>(
    state: Option<&State>,
    names: &[String],
    now: Timestamp,
    trust: Trust,
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
    if state.names != names || !state.serving.is_good(now) {
        // Nobody can use it any more: there is nothing to be gentle with.
        return Ok(Some(State {
            names: names.to_vec(),
            serving: issue()?,
            coming: None,
            retired: Some((state.serving.authority.clone(), later(now))),
        }));
    }
    let with = |coming| State {
        coming,
        ..state.clone()
    };
    match (&state.coming, trust) {
        (Some((coming, _)), _) if !coming.is_good(now) => {
            return Ok(Some(with(Some((issue()?, None)))));
        }
        // The clock was ahead when it was noted.
        (Some((coming, Some(since))), _) if *since > now => {
            return Ok(Some(with(Some((coming.clone(), None)))));
        }
        (Some((coming, Some(since))), Trust::Held) if later(*since) <= now => {
            return Ok(Some(State {
                names: state.names.clone(),
                serving: coming.clone(),
                coming: None,
                retired: Some((state.serving.authority.clone(), later(now))),
            }));
        }
        (Some((coming, None)), Trust::Held) => {
            return Ok(Some(with(Some((coming.clone(), Some(now))))));
        }
        // Somebody had taken it away: API servers may not know it any more.
        (Some((coming, Some(_))), Trust::Told) => {
            return Ok(Some(with(Some((coming.clone(), None)))));
        }
        (None, _) if state.serving.renew <= now => {
            return Ok(Some(with(Some((issue()?, None)))));
        }
        _ => {}
    }
    let retired = state.retired.as_ref();
    if retired.is_some_and(|(_, until)| *until <= now) {
        return Ok(Some(State {
            retired: None,
            ..state.clone()
        }));
    }
    Ok(None)
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
            begins: Some(at(second - 3600)),
            renew: at(second + LIFE * 2 / 3),
            expires: at(second + LIFE),
        }
    }

    fn names() -> Vec<String> {
        vec!["a.b.svc".to_owned()]
    }

    fn step(state: Option<&State>, now: i64, trust: Trust, number: u32) -> Option<State> {
        let now = at(now);
        let issue = || Ok::<_, Infallible>(issued(number, now));
        next(state, &names(), now, trust, issue).expect("cannot fail")
    }

    #[test]
    fn a_certificate_is_changed_in_two_steps_and_the_old_authority_goes_last() {
        let overlap = i64::try_from(OVERLAP.as_secs()).expect("small");
        let first = step(None, 0, Trust::Unknown, 1).expect("there is none");
        assert_eq!(first.bundle(), "authority 1\n");
        assert_eq!(step(Some(&first), 1, Trust::Held, 9), None);
        assert_eq!(step(Some(&first), LIFE * 2 / 3 - 1, Trust::Held, 9), None);

        let due = LIFE * 2 / 3;
        let coming = step(Some(&first), due, Trust::Held, 2).expect("due");
        assert_eq!(coming.serving, first.serving);
        assert_eq!(coming.bundle(), "authority 1\nauthority 2\n");
        assert_eq!(step(Some(&coming), due + 1, Trust::Told, 9), None);
        let trusted = step(Some(&coming), due + 2, Trust::Held, 9).expect("trusted");
        assert_eq!(trusted.serving, first.serving);
        assert_eq!(trusted.bundle(), coming.bundle());
        let last = due + 2 + overlap;
        assert_eq!(step(Some(&trusted), last - 1, Trust::Held, 9), None);

        let changed = step(Some(&trusted), last, Trust::Held, 9).expect("long enough");
        assert_eq!(changed.serving.certificate, "certificate 2");
        assert_eq!(changed.bundle(), "authority 2\nauthority 1\n");
        assert_eq!(step(Some(&changed), last + 1, Trust::Held, 9), None);
        let over = step(Some(&changed), last + overlap, Trust::Held, 9).expect("over");
        assert_eq!(over.bundle(), "authority 2\n");
        assert_eq!(step(Some(&over), last + overlap, Trust::Held, 9), None);
    }

    #[test]
    fn what_is_not_trusted_for_long_enough_is_not_presented() {
        let overlap = i64::try_from(OVERLAP.as_secs()).expect("small");
        let first = step(None, 0, Trust::Unknown, 1).expect("there is none");
        let due = LIFE * 2 / 3;
        let coming = step(Some(&first), due, Trust::Held, 2).expect("due");
        // For hours an object cannot be written. The moment it is, nobody has seen it yet.
        let late = due + 100 * overlap;
        assert_eq!(step(Some(&coming), late, Trust::Unknown, 9), None);
        assert_eq!(step(Some(&coming), late, Trust::Told, 9), None);
        let trusted = step(Some(&coming), late + 1, Trust::Held, 9).expect("trusted");
        assert_eq!(trusted.serving, first.serving);
        assert_eq!(step(Some(&trusted), late + 2, Trust::Held, 9), None);

        // Somebody takes it away: it counts anew.
        let again = late + 1 + overlap;
        assert_eq!(step(Some(&trusted), again, Trust::Unknown, 9), None);
        let told = step(Some(&trusted), again, Trust::Told, 9).expect("taken away");
        assert_eq!(told, coming);
        let trusted = step(Some(&told), again + 1, Trust::Held, 9).expect("trusted");
        assert_eq!(step(Some(&trusted), again + overlap, Trust::Held, 9), None);
        let changed = step(Some(&trusted), again + 1 + overlap, Trust::Held, 9).expect("at last");
        assert_eq!(changed.serving.certificate, "certificate 2");
    }

    #[test]
    fn other_names_and_an_end_without_a_successor_need_a_new_one_at_once() {
        let first = step(None, 0, Trust::Unknown, 1).expect("there is none");
        let late = step(Some(&first), LIFE, Trust::Unknown, 2).expect("expired");
        assert_eq!(late.serving.certificate, "certificate 2");
        let other = ["c.d.svc".to_owned()];
        let issue = || Ok::<_, Infallible>(issued(3, at(5)));
        let other = next(Some(&first), &other, at(5), Trust::Held, issue);
        let other = other.expect("cannot fail").expect("of other names");
        assert_eq!(other.serving.certificate, "certificate 3");
        assert_eq!(other.names, ["c.d.svc"]);
    }

    #[test]
    fn what_was_made_while_the_clock_was_ahead_is_replaced_when_it_is_right_again() {
        let held = |state: &State, now, number| step(Some(state), now, Trust::Held, number);
        let decade = 10 * 365 * 24 * 3600;
        let first = step(None, 0, Trust::Unknown, 1).expect("there is none");
        let ahead = held(&first, decade, 2).expect("expired");
        assert_eq!(ahead.serving.certificate, "certificate 2");
        let right = held(&ahead, 10, 3).expect("not good yet");
        assert_eq!(right.serving.certificate, "certificate 3");
        assert_eq!(held(&right, 20, 9), None);

        // The one to come is made anew.
        let due = LIFE * 2 / 3;
        let coming = |state: &State| state.coming.clone().expect("coming").0.certificate;
        let ahead = held(&first, LIFE - 10, 2).expect("due");
        assert_eq!(coming(&ahead), "certificate 2");
        let right = held(&ahead, due, 3).expect("not good yet");
        assert_eq!(right.serving, first.serving);
        assert_eq!(coming(&right), "certificate 3");

        // So is counted for how long it has been trusted.
        let overlap = i64::try_from(OVERLAP.as_secs()).expect("small");
        let ahead = held(&right, due + 3000, 9).expect("trusted");
        assert_eq!(held(&ahead, due, 9), Some(right.clone()));
        let trusted = held(&right, due + 1, 9).expect("trusted");
        assert_eq!(held(&trusted, due + overlap, 9), None);
        let changed = held(&trusted, due + 1 + overlap, 9).expect("long enough");
        assert_eq!(changed.serving.certificate, "certificate 3");

        // A small step back is within what certificates allow for.
        let second = step(None, 1000, Trust::Unknown, 1).expect("there is none");
        assert_eq!(held(&second, 0, 9), None);
    }

    proptest! {
        /// An API server trusts the bundle that the objects had up to half of OVERLAP ago, or a later
        /// one; a replica presents what was stored up to half of OVERLAP ago. Whenever they meet, they
        /// agree.
        #[test]
        fn no_api_server_ever_meets_a_certificate_that_it_does_not_trust(
            steps in prop::collection::vec((1..=OVERLAP.as_secs().cast_signed() / 2, 0..10_u8), 1..200),
            start in LIFE * 2 / 3 - 600..LIFE * 2 / 3,
        ) {
            let mut state = step(None, 0, Trust::Unknown, 1).expect("there is none");
            let mut presented = state.serving.clone();
            let mut injected = state.bundle();
            let (mut now, mut number) = (start, 1);
            for (pause, event) in steps {
                number += 1;
                now += pause;
                // Every replica has read the Secret since the last step, and every API server the
                // objects.
                let (before, seen) = (state.clone(), injected.clone());
                let trust = match event {
                    0..=2 => Trust::Unknown,
                    _ if injected == state.bundle() => Trust::Held,
                    _ => Trust::Told,
                };
                if trust == Trust::Told {
                    injected = state.bundle();
                }
                if let Some(next) = step(Some(&state), now, trust, number) {
                    state = next;
                }
                for bundle in [&seen, &injected] {
                    for met in [&presented, &before.serving, &state.serving] {
                        prop_assert!(bundle.contains(met.authority.trim_end()), "{now}: {bundle}");
                    }
                }
                presented = before.serving;
            }
        }
    }
}
