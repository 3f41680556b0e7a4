//! Which changes of sessions are worth an event, and in which words.
//!
//! A session that comes up or goes down is worth one at once. One that does so again and again, and
//! an attempt that fails anew for another reason, are told of in ever less detail: each peer has a
//! few reports to spend, and gets them back slowly. What happened meanwhile is in the next one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herald_bgp::wire::ExpectedAs;
use herald_runtime::events::Kind;

use super::credit::Credit;
use crate::bgp::{PeerStatus, Statuses};

/// How many reports a peer has to spend.
const CREDIT: u32 = 6;

/// How long it takes until a peer gets one back.
const REFILL: Duration = Duration::from_mins(1);

/// How long attempts fail before that is worth a report: a router that restarts, and the session of
/// a peer that was just configured, take a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The name of the `BGPPeer`.
    pub(super) peer: String,
    pub(super) kind: Kind,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What was reported, peer by peer.
#[derive(Debug, Default)]
pub(super) struct News {
    peers: BTreeMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    up: bool,
    downs: u64,
    ups: u64,
    /// Why there is no session, as it was reported.
    failure: Option<String>,
    credit: Credit,
}

impl News {
    /// What there is to report of sessions that are like this now.
    pub(super) fn look(&mut self, now: Instant, node: &str, statuses: &Statuses) -> Vec<Report> {
        self.peers.retain(|name, _| statuses.contains_key(name));
        let mut reports = Vec::new();
        for (name, status) in statuses {
            let told = self.peers.entry(name.clone()).or_insert_with(|| Told {
                up: false,
                downs: 0,
                ups: 0,
                failure: None,
                credit: Credit::new(now, CREDIT, REFILL),
            });
            if told.credit.has_some(now)
                && let Some((kind, reason, message)) = told.report(now, node, name, status)
            {
                told.credit.spend(now);
                reports.push(Report {
                    peer: name.clone(),
                    kind,
                    reason,
                    message,
                });
            }
        }
        reports
    }

    /// When to look again although no session has changed.
    pub(super) fn next_timeout(&self, now: Instant, statuses: &Statuses) -> Option<Instant> {
        let due = |(name, told): (&String, &Told)| {
            let status = statuses.get(name)?;
            if let Some(due) = told.credit.next() {
                return Some(due);
            }
            let patient = status.since + PATIENCE;
            (!status.is_up() && told.failure.is_none() && patient > now).then_some(patient)
        };
        self.peers.iter().filter_map(due).min()
    }
}

impl Told {
    fn report(
        &mut self,
        now: Instant,
        node: &str,
        name: &str,
        status: &PeerStatus,
    ) -> Option<(Kind, &'static str, String)> {
        let counters = status.counters().session;
        if counters.ups < self.ups {
            // It is another one: the peer was gone for a moment.
            (self.up, self.ups, self.downs) = (false, 0, 0);
        }
        let times = counters.downs.saturating_sub(self.downs);
        let who = format!("BGP session with {name} ({})", peer(status));
        if times > 0 && (self.up || self.ups > 0 || times > 1 || !status.is_up()) {
            let why = status.last_down.as_ref().map(|(_, down)| down.to_string());
            let why = why.unwrap_or_default();
            let count = if times > 1 {
                format!(" {times} times, the last time")
            } else {
                String::new()
            };
            let since = if status.is_up() {
                "; it is up again"
            } else {
                ""
            };
            let message = format!("node {node:?}: the {who} went down{count}: {why}{since}");
            self.up = status.is_up();
            (self.downs, self.ups) = (counters.downs, counters.ups);
            self.failure = None;
            return Some((Kind::Warning, "SessionDown", message));
        }
        if status.is_up() {
            if self.up {
                return None;
            }
            self.up = true;
            (self.downs, self.ups) = (counters.downs, counters.ups);
            self.failure = None;
            let message = format!("node {node:?}: the {who} is up");
            return Some((Kind::Normal, "SessionUp", message));
        }
        let failure = status.failure()?;
        if now < status.since + PATIENCE || self.failure.as_ref() == Some(&failure) {
            return None;
        }
        let message = format!("node {node:?}: there is no {who}: {failure}");
        self.failure = Some(failure);
        Some((Kind::Warning, "SessionFailed", message))
    }
}

/// The peer's address and AS.
fn peer(status: &PeerStatus) -> String {
    let address = status.peer();
    match &status.up {
        Some(up) => format!("{address}, AS {}", up.negotiated.peer_as),
        None => match status.plan.session.peer_as {
            ExpectedAs::Exactly(asn) => format!("{address}, AS {asn}"),
            ExpectedAs::Internal | ExpectedAs::External => address,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::PeerCounters;
    use crate::bgp::testing::{self, refused, shut_down};

    const ADDRESS: &str = "192.0.2.2:179";

    fn counted(ups: u64, downs: u64) -> PeerCounters {
        let mut counters = PeerCounters::default();
        counters.session.ups = ups;
        counters.session.downs = downs;
        counters
    }

    fn up(ups: u64, downs: u64) -> Statuses {
        let (mut status, counters) = testing::up(ADDRESS);
        counters.set(counted(ups, downs));
        status.last_down = (downs > 0).then(|| (status.since, shut_down("reload")));
        [("tor".to_owned(), status)].into()
    }

    fn down(ups: u64, downs: u64) -> Statuses {
        let (mut status, counters) = testing::down(ADDRESS);
        counters.set(counted(ups, downs));
        status.last_down = (downs > 0).then(|| (status.since, shut_down("reload")));
        [("tor".to_owned(), status)].into()
    }

    fn failing(statuses: &mut Statuses) {
        let status = statuses.get_mut("tor").expect("there");
        status.last_failure = Some((status.since, refused()));
    }

    fn look(news: &mut News, now: Instant, statuses: &Statuses) -> Vec<(&'static str, String)> {
        let reports = news.look(now, "n1", statuses).into_iter();
        reports.map(|r| (r.reason, r.message)).collect()
    }

    #[test]
    fn up_and_down_are_told_once_each_with_the_reason_in_words() {
        let (mut news, now) = (News::default(), Instant::now());
        assert!(look(&mut news, now, &down(0, 0)).is_empty());
        let said = look(&mut news, now, &up(1, 0));
        let message = "node \"n1\": the BGP session with tor (192.0.2.2:179, AS 65002) is up";
        assert_eq!(said, [("SessionUp", message.to_owned())]);
        assert!(look(&mut news, now, &up(1, 0)).is_empty());
        let said = look(&mut news, now, &down(1, 1));
        let [("SessionDown", message)] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(
            message.ends_with(
                "went down: the peer ended the session: \
                 administrative shutdown (6/2): \"reload\""
            ),
            "{message}"
        );
        assert!(look(&mut news, now, &down(1, 1)).is_empty());
    }

    #[test]
    fn a_session_that_flaps_is_told_of_a_few_times_and_then_summed_up() {
        let (mut news, start) = (News::default(), Instant::now());
        let mut reports = 0;
        for n in 0..500 {
            let now = start + Duration::from_millis(200) * n;
            let n = u64::from(n);
            reports += look(&mut news, now, &up(n + 1, n)).len();
            reports += look(&mut news, now, &down(n + 1, n + 1)).len();
        }
        assert_eq!(reports, 7, "the credit, and one for the minute that passed");
        let now = start + Duration::from_mins(3);
        let due = news.next_timeout(start + Duration::from_secs(100), &up(501, 500));
        assert!(due.is_some_and(|due| due <= now));
        let said = look(&mut news, now, &up(501, 500));
        let [("SessionDown", message)] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(message.contains("times, the last time: "), "{message}");
        assert!(message.ends_with("it is up again"), "{message}");
    }

    #[test]
    fn attempts_that_fail_are_told_of_when_that_lasts_and_once_for_each_reason() {
        let (mut news, now) = (News::default(), Instant::now());
        let mut statuses = down(0, 0);
        let now = now.max(statuses["tor"].since);
        failing(&mut statuses);
        assert!(look(&mut news, now, &statuses).is_empty());
        let due = news.next_timeout(now, &statuses).expect("it may last");
        assert!(due <= now + PATIENCE);
        let said = look(&mut news, now + PATIENCE, &statuses);
        let [("SessionFailed", message)] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(
            message.contains("cannot connect: Connection refused"),
            "{message}"
        );
        assert!(look(&mut news, now + PATIENCE * 2, &statuses).is_empty());
        assert_eq!(news.next_timeout(now + PATIENCE * 2, &statuses), None);
        statuses.clear();
        assert!(look(&mut news, now + PATIENCE * 2, &statuses).is_empty());
        assert!(news.peers.is_empty());
    }

    #[test]
    fn what_this_node_lacks_for_a_session_is_told_of_as_an_attempt_that_fails_is() {
        let mut news = News::default();
        let mut statuses = down(0, 0);
        let since = statuses["tor"].since;
        let obstacle = "this node has no interface eth9: correct spec.interface, or create it";
        let status = statuses.get_mut("tor").expect("there");
        status.obstacle = Some(obstacle.to_owned());
        assert!(look(&mut news, since, &statuses).is_empty());
        let due = news.next_timeout(since, &statuses);
        assert_eq!(due, Some(since + PATIENCE));
        let said = look(&mut news, since + PATIENCE, &statuses);
        let message = "node \"n1\": there is no BGP session with tor (192.0.2.2:179, AS 65002): ";
        assert_eq!(said, [("SessionFailed", message.to_owned() + obstacle)]);
        assert!(look(&mut news, since + PATIENCE * 2, &statuses).is_empty());
    }
}
