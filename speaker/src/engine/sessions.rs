//! The BGP sessions that this node is to have, from the peers of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use herald_model::NodeName;
use tokio::sync::watch;

use super::Engine;
use crate::bgp::{EarlierLife, PeerPlan, Plans};
use crate::channel::send_if_other;
use crate::world::Sessions;

/// Makes the plans of the sessions.
#[derive(Debug)]
pub(super) struct Planner {
    me: NodeName,
    plans: watch::Sender<Arc<Plans>>,
    /// Of which routers may have routes.
    earlier: Option<EarlierLife>,
    /// The peers of which it was said that their password is not known.
    locked: BTreeSet<String>,
}

impl Planner {
    pub(super) fn new(
        me: NodeName,
        plans: watch::Sender<Arc<Plans>>,
        earlier: Option<EarlierLife>,
    ) -> Self {
        Self {
            me,
            plans,
            earlier,
            locked: BTreeSet::new(),
        }
    }

    /// Those of these peers without a known password of which that was not said yet.
    fn newly_locked<'a>(&mut self, locked: &[&'a str]) -> Vec<&'a str> {
        let before = std::mem::take(&mut self.locked);
        self.locked = locked.iter().map(|name| (*name).to_owned()).collect();
        let new = locked.iter().filter(|name| !before.contains(**name));
        new.copied().collect()
    }

    /// The sessions are to be these. Gives what stands in the way of some, one text each. Sessions
    /// whose plan is what it was notice nothing.
    fn plan(&self, sessions: &Sessions<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut plans = Plans::new();
        for peer in &sessions.peers {
            match PeerPlan::new(peer, &self.me, sessions.address, self.earlier) {
                Ok(plan) => {
                    plans.insert(peer.name.clone(), Arc::new(plan));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        send_if_other(&self.plans, Arc::new(plans));
        problems
    }
}

impl Engine {
    /// Makes the plans anew if what they are made from changed.
    pub(super) fn plan_sessions(&mut self) {
        let Some(sessions) = self.cluster.world.take_sessions() else {
            return;
        };
        for peer in self.planner.newly_locked(&sessions.locked) {
            tracing::warn!(
                event = "peerLocked",
                peer,
                "the password of this BGPPeer is not kept on disk: there is no session until the \
                 API server tells it"
            );
        }
        let problems = self.planner.plan(&sessions);
        self.tell_session_problems(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_the_password_of_a_peer_is_not_known_is_said_once() {
        let mut planner = Planner::new("me".into(), watch::channel(Arc::default()).0, None);
        assert_eq!(planner.newly_locked(&["a", "b"]), ["a", "b"]);
        // The node's object changes often.
        assert!(planner.newly_locked(&["a", "b"]).is_empty());
        assert_eq!(planner.newly_locked(&["b", "c"]), ["c"]);
        assert!(planner.newly_locked(&[]).is_empty());
        assert_eq!(planner.newly_locked(&["a"]), ["a"], "it is news again");
    }
}
