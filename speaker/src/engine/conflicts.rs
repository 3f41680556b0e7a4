//! The addresses of ours that foreign stations have, for as long as that is so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::MacAddress;
use herald_ownership::{Conflict, Status};

/// A conflict over an address that this node holds is over when it was not seen for so long: it is
/// reported at most once a minute.
const LASTS: Duration = Duration::from_secs(150);

/// The addresses, each with the station that was seen last.
pub(crate) type Conflicting = BTreeMap<IpAddr, MacAddress>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    current: Conflicting,
    /// When those that were only seen are over.
    until: BTreeMap<IpAddr, Instant>,
}

impl Conflicts {
    /// An address is used by a station, or not any longer.
    pub(super) fn status(&mut self, address: IpAddr, status: &Status) {
        match status {
            Status::InUse(mac) => {
                self.current.insert(address, *mac);
                self.until.remove(&address);
            }
            // It looks again now and then; that says nothing yet.
            Status::Probing => {}
            // Whoever has it now reports.
            Status::NotOurs => {
                self.current.remove(&address);
                self.until.remove(&address);
            }
            _ if !self.until.contains_key(&address) => {
                self.current.remove(&address);
            }
            _ => {}
        }
    }

    /// A station was seen to use an address that this node holds.
    pub(super) fn report(&mut self, now: Instant, conflict: Conflict) {
        self.current.insert(conflict.address, conflict.mac);
        if conflict.held {
            self.until.insert(conflict.address, now + LASTS);
        }
    }

    /// Forgets what was not seen for a while.
    pub(super) fn expire(&mut self, now: Instant) {
        let current = &mut self.current;
        self.until.retain(|address, until| {
            let lasts = *until > now;
            if !lasts {
                current.remove(address);
            }
            lasts
        });
    }

    /// When to call [`expire`](Self::expire).
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// The conflicts at present.
    pub(super) fn current(&self) -> &Conflicting {
        &self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    fn address() -> IpAddr {
        "192.0.2.1".parse().expect("valid")
    }

    #[test]
    fn an_address_in_use_is_a_conflict_until_it_is_free() {
        let mut conflicts = Conflicts::default();
        conflicts.status(address(), &Status::InUse(MAC));
        conflicts.status(address(), &Status::Probing);
        assert_eq!(*conflicts.current(), [(address(), MAC)].into());
        assert_eq!(conflicts.next_timeout(), None);
        conflicts.status(address(), &Status::Held);
        assert!(conflicts.current().is_empty());
    }

    #[test]
    fn a_conflict_ends_with_the_address() {
        let (mut conflicts, now) = (Conflicts::default(), Instant::now());
        let seen = Conflict {
            address: address(),
            mac: MAC,
            held: true,
        };
        conflicts.report(now, seen);
        conflicts.status(address(), &Status::NotOurs);
        assert!(conflicts.current().is_empty() && conflicts.next_timeout().is_none());
    }

    #[test]
    fn a_station_that_was_seen_is_a_conflict_for_a_while() {
        let (mut conflicts, now) = (Conflicts::default(), Instant::now());
        let seen = Conflict {
            address: address(),
            mac: MAC,
            held: true,
        };
        conflicts.report(now, seen);
        conflicts.status(address(), &Status::Held);
        conflicts.expire(now + LASTS / 2);
        assert_eq!(conflicts.current().len(), 1);
        conflicts.report(now + LASTS / 2, seen);
        conflicts.expire(now + LASTS);
        assert_eq!(conflicts.current().len(), 1);
        let end = conflicts.next_timeout().expect("there is one");
        conflicts.expire(end);
        assert!(conflicts.current().is_empty() && conflicts.next_timeout().is_none());
    }
}
