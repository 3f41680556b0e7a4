//! The machine itself: what it is told, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use herald_model::{GroupView, MacAddress, NodeName};

use crate::{Claim, Command, Limits, Sighting, Status, Task};

/// A station that is none of ours has to do with an address that this node answers for or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// The station.
    pub mac: MacAddress,
    /// This node answers for the address all the same; if not, it leaves it to the station.
    pub held: bool,
}

/// All addresses of the cluster as this node goes about them.
#[derive(Debug)]
pub struct Ownership {
    me: NodeName,
    limits: Limits,
    resumed: BTreeSet<IpAddr>,
    claims: BTreeMap<IpAddr, Claim>,
    group: Option<Arc<GroupView>>,
    tasks: Arc<BTreeMap<IpAddr, Task>>,
}

impl Ownership {
    /// A machine that knows of no address and no group.
    pub fn new(me: NodeName, limits: Limits) -> Self {
        Self {
            me,
            limits,
            resumed: BTreeSet::new(),
            claims: BTreeMap::new(),
            group: None,
            tasks: Arc::default(),
        }
    }

    /// This node answered for these addresses when it last ran. Say it before the first claim.
    pub fn resume(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.resumed.extend(addresses);
    }

    /// What the election says about an address; `None` if nobody wants it any longer.
    pub fn set_claim(&mut self, _now: Instant, address: IpAddr, claim: Option<Claim>) {
        match claim {
            Some(claim) => self.claims.insert(address, claim),
            None => self.claims.remove(&address),
        };
    }

    /// How the group looks now. Nothing is taken before this was said once.
    pub fn set_group(&mut self, _now: Instant, view: Arc<GroupView>) {
        self.group = Some(view);
    }

    /// Another station had to do with an address.
    pub fn saw(&mut self, _now: Instant, _sighting: Sighting) {}

    /// Does what is due. Call it at [`Ownership::next_timeout`].
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call [`Ownership::handle_timeout`] next. May change with every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// All that the driver should do; the same `Arc` as long as nothing changes.
    pub fn tasks(&self) -> Arc<BTreeMap<IpAddr, Task>> {
        Arc::clone(&self.tasks)
    }

    /// What the driver should send once, in this order.
    pub fn take_commands(&mut self) -> Vec<Command> {
        Vec::new()
    }

    /// The addresses whose status is another than when this was last asked.
    pub fn take_changes(&mut self) -> Vec<(IpAddr, Status)> {
        Vec::new()
    }

    /// Conflicts with foreign stations, each address at most once a minute.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        Vec::new()
    }

    /// What this node does about an address.
    pub fn status(&self, _address: IpAddr) -> Status {
        Status::NotOurs
    }

    /// This node is about to end: it takes nothing any longer and hands over what it can.
    pub fn leaving(&mut self, _now: Instant) {}

    /// Nothing is left to hand over.
    pub fn is_quiet(&self) -> bool {
        self.limits.probes > 0 && !self.me.as_str().is_empty()
    }
}
