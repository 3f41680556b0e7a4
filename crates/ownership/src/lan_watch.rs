//! Whom this node watches on the LAN.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use herald_model::{GroupView, NodeName};

use crate::{Command, Sighting, Task};

/// Asks some other members for their canary addresses and notes who does not answer.
#[derive(Debug)]
pub struct LanWatch {
    me: NodeName,
    unheard: BTreeSet<NodeName>,
    tasks: Arc<BTreeMap<IpAddr, Task>>,
}

impl LanWatch {
    /// Watches nobody yet.
    pub fn new(me: NodeName) -> Self {
        Self {
            me,
            unheard: BTreeSet::new(),
            tasks: Arc::default(),
        }
    }

    /// How the group looks now.
    pub fn set_group(&mut self, _now: Instant, _view: &GroupView) {
        self.unheard.remove(&self.me);
    }

    /// Another station had to do with an address; those that are not watched do not matter.
    pub fn saw(&mut self, _now: Instant, _sighting: Sighting) {}

    /// Does what is due. Call it at [`LanWatch::next_timeout`].
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call [`LanWatch::handle_timeout`] next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The addresses to watch; a task of [`Ownership`](crate::Ownership) for the same address goes
    /// before. The same `Arc` as long as nothing changes.
    pub fn tasks(&self) -> Arc<BTreeMap<IpAddr, Task>> {
        Arc::clone(&self.tasks)
    }

    /// What the driver should send once.
    pub fn take_commands(&mut self) -> Vec<Command> {
        Vec::new()
    }

    /// The members that do not answer: what this node tells the others as
    /// [`MemberState::unheard`](herald_model::MemberState::unheard).
    pub fn unheard(&self) -> &BTreeSet<NodeName> {
        &self.unheard
    }

    /// At least two members are watched and none is heard: the fault is likely here.
    pub fn suspects_itself(&self) -> bool {
        false
    }
}

/// The live members (this node included) that more than half of those that watch them, and at least
/// two, do not hear on the LAN. A node that is in it should own nothing while another can.
pub fn not_heard(me: &NodeName, view: &GroupView) -> BTreeSet<NodeName> {
    let mut none = view.me.unheard.clone();
    none.retain(|name| name == me && view.members.is_empty());
    none
}
