//! Whether another still answers for what is held: where the group's own datagrams are lost and the
//! LAN is not, each side takes the other for dead.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::NodeName;

use super::Ownership;
use crate::entry::State;

/// The longest pause between two audits, in first pauses.
const LONGEST: u32 = 10;

impl Ownership {
    /// Plans the next audit of an address that is held, if one is needed and none is planned.
    ///
    /// It is where the address was taken from a member that is down, and where it is kept although
    /// the election gives it to another.
    pub(super) fn plan_audit(&mut self, now: Instant, address: IpAddr) {
        let (Some(entry), Some(peers)) = (self.entries.get(&address), &self.peers) else {
            return;
        };
        let State::Held(holding) = &entry.state else {
            return;
        };
        let from_one_down = holding
            .from
            .as_ref()
            .is_some_and(|from| peers.is_down(from));
        let since = holding.since;
        let pause = if !entry.is_mine() {
            self.asked.insert(address);
            self.watch_pause()
        } else if from_one_down {
            self.asked.remove(&address);
            self.audit_pause(now, since)
        } else {
            self.asked.remove(&address);
            self.agenda.set_probe(address, None);
            return;
        };
        if !self.agenda.has_probe(address) {
            self.agenda.set_probe(address, Some(now + pause));
        }
    }

    /// The shortest time between two audits of an address.
    pub(super) fn least_audit_pause(&self, now: Instant) -> Duration {
        self.audit_pause(now, now)
    }

    fn audit_pause(&self, now: Instant, since: Instant) -> Duration {
        let least = self.limits.audit_pause;
        let age = now.saturating_duration_since(since);
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        (age / 8)
            .clamp(least, least.saturating_mul(LONGEST))
            .max(self.limits.audit_spacing.saturating_mul(count))
    }

    /// A member that is down is on the LAN all the same: announces all that was taken from it, so
    /// that one of the two yields, without waiting for each address's audit.
    pub(super) fn expose(&mut self, now: Instant, member: NodeName) {
        let before = self.exposed.get(&member);
        let pause = self.limits.audit_pause;
        if before.is_some_and(|before| now.saturating_duration_since(*before) < pause) {
            return;
        }
        let held = self.entries.iter().filter(|(_, entry)| {
            matches!(&entry.state, State::Held(holding) if holding.from.as_ref() == Some(&member))
        });
        let addresses: Vec<IpAddr> = held.map(|(address, _)| *address).collect();
        self.exposed.insert(member, now);
        for address in addresses {
            self.announce(now, address);
        }
    }
}
