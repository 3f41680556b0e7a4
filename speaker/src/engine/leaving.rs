//! How routers learn that the process ends, before their sessions do.
//!
//! ```text
//!   SIGTERM ──▶ routes shut gracefully ── wait ──▶ routes withdrawn ── told ──▶ sessions end
//! ```
//!
//! A peer with graceful restart notices nothing, because the next process goes on with the session:
//! the node serves what it announced meanwhile. Only if the node itself is to go, which its object
//! says before the end or while it is waited for, it is told like the others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Engine;
use super::routes::Manner;
use crate::bgp::{PeerStatus, Statuses};

/// How long the routers may take to be told that the routes are gone.
pub(crate) const WITHDRAWAL: Duration = Duration::from_secs(1);

/// How often to look whether they have been told.
const LOOK: Duration = Duration::from_millis(10);

/// What is under way at the end of the process.
#[derive(Debug)]
pub(super) struct Leaving {
    /// The peers that notice nothing.
    unaware: BTreeSet<String>,
    stage: Stage,
    /// Some routers were told that the routes are gone.
    withdrawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until then the routers have time to find other paths.
    Shut(Instant),
    /// Until then they may be told that the routes are gone.
    Withdrawing(Instant),
    Over,
}

impl Leaving {
    /// Begins at `now`. `shut_since` is when the routes were shut gracefully, if they are already
    /// because the node is drained; `wait` is for how long they are to be so.
    fn new(now: Instant, statuses: &Statuses, shut_since: Option<Instant>, wait: Duration) -> Self {
        let keeping = statuses.iter().filter(|(_, status)| status.keeps_routes());
        let unaware = match shut_since {
            // The node goes, so nobody will answer for what they keep.
            Some(_) => BTreeSet::new(),
            None => keeping.map(|(name, _)| name.clone()).collect(),
        };
        let mut leaving = Self {
            unaware,
            stage: Stage::Over,
            withdrawn: false,
        };
        if leaving.is_told(statuses) {
            leaving.stage = Stage::Shut(shut_since.unwrap_or(now) + wait);
        }
        leaving
    }

    /// Only now it is known that the node goes. Those that were to notice nothing get the same as the
    /// others; what others were told already is not taken back, so that they have no time of their own
    /// once the others have none left.
    fn node_goes(&mut self, now: Instant, statuses: &Statuses, wait: Duration) {
        if std::mem::take(&mut self.unaware).is_empty() || !self.is_told(statuses) {
            return;
        }
        self.stage = if self.withdrawn {
            Stage::Withdrawing(now + WITHDRAWAL)
        } else {
            Stage::Shut(now + wait)
        };
    }

    fn manner(&self) -> Manner {
        match self.stage {
            Stage::Shut(_) => Manner::Shut(self.unaware.clone()),
            Stage::Withdrawing(_) | Stage::Over => Manner::Withdrawn(self.unaware.clone()),
        }
    }

    /// Goes on to the next stage if it is time.
    fn advance(&mut self, now: Instant, statuses: &Statuses) {
        self.stage = match self.stage {
            Stage::Shut(until) if now >= until => {
                self.withdrawn = true;
                Stage::Withdrawing(now + WITHDRAWAL)
            }
            Stage::Withdrawing(until) if now >= until || !self.is_told(statuses) => Stage::Over,
            stage => stage,
        };
    }

    /// A router that is to notice still has routes.
    fn is_told(&self, statuses: &Statuses) -> bool {
        let has_routes = |status: &PeerStatus| status.is_up() && status.counters().told() > 0;
        let mut aware = statuses
            .iter()
            .filter(|(name, _)| !self.unaware.contains(*name));
        aware.any(|(_, status)| has_routes(status))
    }

    /// Nothing is left to tell, or no time.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        match self.stage {
            Stage::Shut(until) => Some(until),
            Stage::Withdrawing(until) => Some(until.min(now + LOOK)),
            Stage::Over => None,
        }
    }
}

impl Engine {
    /// Begins to tell the routers that the process ends.
    pub(super) fn leave_routers(&mut self, now: Instant) {
        let wait = self.settings.bgp_shutdown_wait;
        let statuses = self.io.sessions.borrow().clone();
        let leaving = Leaving::new(now, &statuses, self.shut_since, wait);
        if self.shut_since.is_some() {
            self.routes.set_leaving();
        }
        self.leaving = Some(leaving);
        self.settle_leaving(now);
    }

    /// Since when the node says of itself that it goes, and how far the farewell to routers is.
    pub(super) fn settle_leaving(&mut self, now: Instant) {
        let node = self.cluster.world.node(&self.settings.me);
        let was_shut = self.shut_since.is_some();
        self.shut_since = match node {
            Some(node) if node.draining => self.shut_since.or(Some(now)),
            _ => None,
        };
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let goes = !was_shut && self.shut_since.is_some();
        let before = leaving.manner();
        let statuses = self.io.sessions.borrow().clone();
        if goes {
            leaving.node_goes(now, &statuses, self.settings.bgp_shutdown_wait);
            self.routes.set_leaving();
        }
        leaving.advance(now, &statuses);
        let manner = leaving.manner();
        if before != manner || matches!(manner, Manner::Shut(_)) {
            self.routes.set_manner(manner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use herald_bgp::wire::{Family, GracefulRestart, Negotiated};

    use super::*;
    use crate::bgp::{PeerCounters, testing};

    const WAIT: Duration = Duration::from_secs(2);

    /// A session that is up, whose peer has been told a route.
    fn told(keeps: bool) -> PeerStatus {
        let (mut status, counters) = testing::up("192.0.2.9:179");
        let mut count = PeerCounters::default();
        *count.told.get_mut(Family::Ipv4Unicast) = 1;
        counters.set(count);
        if keeps && let Some(up) = &mut status.up {
            up.negotiated = Arc::new(Negotiated {
                graceful_restart: Some(GracefulRestart::default()),
                ..up.negotiated.as_ref().clone()
            });
        }
        status
    }

    fn statuses(all: Vec<(&str, PeerStatus)>) -> Statuses {
        let all = all.into_iter();
        all.map(|(name, status)| (name.to_owned(), status))
            .collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn routers_have_the_wait_to_find_other_paths_and_then_the_routes_are_withdrawn() {
        let now = Instant::now();
        let mut sessions = statuses(vec![("keeps", told(true)), ("plain", told(false))]);
        let mut leaving = Leaving::new(now, &sessions, None, WAIT);
        assert_eq!(leaving.manner(), Manner::Shut(names(&["keeps"])));
        leaving.advance(now + WAIT / 2, &sessions);
        assert_eq!(leaving.manner(), Manner::Shut(names(&["keeps"])));
        assert_eq!(leaving.next_timeout(now), Some(now + WAIT));
        leaving.advance(now + WAIT, &sessions);
        assert_eq!(leaving.manner(), Manner::Withdrawn(names(&["keeps"])));
        leaving.advance(now + WAIT, &sessions);
        assert!(!leaving.is_over(), "one is still to be told");
        sessions.insert("plain".to_owned(), testing::up("192.0.2.9:179").0);
        leaving.advance(now + WAIT, &sessions);
        assert!(leaving.is_over());
    }

    #[test]
    fn a_router_that_takes_nothing_holds_the_end_up_for_no_longer_than_a_second() {
        let now = Instant::now();
        let sessions = statuses(vec![("stuck", told(false))]);
        let mut leaving = Leaving::new(now, &sessions, None, Duration::ZERO);
        leaving.advance(now, &sessions);
        leaving.advance(now + WITHDRAWAL / 2, &sessions);
        assert!(!leaving.is_over());
        leaving.advance(now + WITHDRAWAL, &sessions);
        assert!(leaving.is_over());
    }

    #[test]
    fn nothing_is_waited_for_without_a_router_that_would_notice() {
        let now = Instant::now();
        for sessions in [
            statuses(vec![]),
            statuses(vec![("keeps", told(true))]),
            statuses(vec![("down", testing::down("192.0.2.9:179").0)]),
        ] {
            assert!(Leaving::new(now, &sessions, None, WAIT).is_over());
        }
    }

    #[test]
    fn a_node_that_turns_out_to_go_keeps_nothing_at_any_router() {
        let now = Instant::now();
        let later = now + WAIT / 2;
        let keeping = statuses(vec![("keeps", told(true))]);
        let mut leaving = Leaving::new(now, &keeping, None, WAIT);
        assert!(leaving.is_over(), "the router is not to notice");
        leaving.node_goes(later, &keeping, WAIT);
        assert_eq!(leaving.manner(), Manner::Shut(names(&[])));
        assert_eq!(leaving.next_timeout(later), Some(later + WAIT));
        leaving.advance(later + WAIT, &keeping);
        assert_eq!(leaving.manner(), Manner::Withdrawn(names(&[])));
        assert!(!leaving.is_over());

        // Others are told already; after them there is no wait for a single one.
        let both = statuses(vec![("keeps", told(true)), ("plain", told(false))]);
        let mut leaving = Leaving::new(now, &both, None, WAIT);
        leaving.node_goes(later, &both, WAIT);
        assert_eq!(leaving.manner(), Manner::Shut(names(&[])));
        assert_eq!(leaving.next_timeout(later), Some(later + WAIT));
        let mut leaving = Leaving::new(now, &both, None, WAIT);
        leaving.advance(now + WAIT, &both);
        leaving.node_goes(now + WAIT, &both, WAIT);
        assert_eq!(leaving.manner(), Manner::Withdrawn(names(&[])));
        assert!(!leaving.is_over());
    }

    #[test]
    fn a_node_that_is_drained_keeps_nothing_at_any_router_and_has_waited_before() {
        let since = Instant::now();
        let now = since + WAIT;
        let sessions = statuses(vec![("keeps", told(true))]);
        let mut leaving = Leaving::new(now, &sessions, Some(since), WAIT);
        assert_eq!(leaving.manner(), Manner::Shut(names(&[])));
        leaving.advance(now, &sessions);
        assert_eq!(leaving.manner(), Manner::Withdrawn(names(&[])));
    }
}
