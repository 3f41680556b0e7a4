//! Reports of conflicts with foreign stations, each address rarely.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::MacAddress;

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

/// What was reported when, and what is to be.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    reported: BTreeMap<IpAddr, Instant>,
    waiting: Vec<Conflict>,
}

impl Conflicts {
    pub(crate) fn add(&mut self, now: Instant, conflict: Conflict, pause: Duration) {
        let before = self.reported.get(&conflict.address);
        if before.is_some_and(|before| now.saturating_duration_since(*before) < pause) {
            return;
        }
        self.reported.insert(conflict.address, now);
        self.waiting.push(conflict);
    }

    pub(crate) fn forget(&mut self, address: IpAddr) {
        self.reported.remove(&address);
    }

    pub(crate) fn take(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.waiting)
    }
}
