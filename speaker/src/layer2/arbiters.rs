//! On which interfaces it is decided who has an address.
//!
//! A node that its clients' LAN does not reach any longer may be seen with an address on another
//! network, where no client is. So what is seen of an address counts only on the interfaces that
//! are in its subnet; without such an interface on all.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_announce::Interfaces;
use herald_model::Cidr;

use super::driver::covers;

/// The prefixes of the open interfaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arbiters(Vec<Arbiter>);

#[derive(Debug, PartialEq, Eq)]
struct Arbiter {
    index: u32,
    name: String,
    prefixes: BTreeSet<Cidr>,
}

impl Arbiters {
    /// Adds an interface with the prefixes of the families that it is open for.
    pub(super) fn add(&mut self, index: u32, name: &str, prefixes: BTreeSet<Cidr>) {
        if !prefixes.is_empty() {
            let name = name.to_owned();
            self.0.push(Arbiter {
                index,
                name,
                prefixes,
            });
        }
    }

    /// True if what is seen of the address on the interface `index` counts, where it may be
    /// announced on `interfaces`, of which that is one.
    pub(super) fn counts(&self, index: u32, address: IpAddr, interfaces: &Interfaces) -> bool {
        let has = |arbiter: &Arbiter| arbiter.prefixes.iter().any(|p| p.contains(address));
        let here = |arbiter: &&Arbiter| arbiter.index == index;
        self.0.iter().find(here).is_some_and(has)
            || !self
                .0
                .iter()
                .any(|arbiter| covers(interfaces, &arbiter.name) && has(arbiter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arbiters(all: &[(u32, &str, &[&str])]) -> Arbiters {
        let mut arbiters = Arbiters::default();
        for (index, name, prefixes) in all {
            let prefixes = prefixes.iter().map(|text| text.parse().expect("valid"));
            arbiters.add(*index, name, prefixes.collect());
        }
        arbiters
    }

    /// Which of the interfaces 1 to 3 count.
    fn counting(arbiters: &Arbiters, address: &str, interfaces: &Interfaces) -> Vec<u32> {
        let address = address.parse().expect("valid");
        let counts = |index: &u32| arbiters.counts(*index, address, interfaces);
        (1..=3).filter(counts).collect()
    }

    #[test]
    fn only_interfaces_in_the_subnet_count_if_there_are_any() {
        let nets = arbiters(&[
            (1, "lan", &["192.0.2.0/24", "2001:db8::/64"]),
            (2, "mgmt", &["198.51.100.0/24"]),
        ]);
        let all = Interfaces::All;
        assert_eq!(counting(&nets, "192.0.2.9", &all), [1]);
        assert_eq!(counting(&nets, "2001:db8::9", &all), [1]);
        assert_eq!(counting(&nets, "198.51.100.9", &all), [2]);
        assert_eq!(counting(&nets, "203.0.113.9", &all), [1, 2, 3]);
        assert_eq!(counting(&Arbiters::default(), "192.0.2.9", &all), [1, 2, 3]);
    }

    #[test]
    fn several_interfaces_in_the_subnet_all_count() {
        let nets = arbiters(&[(1, "a", &["192.0.2.0/24"]), (3, "b", &["192.0.0.0/16"])]);
        assert_eq!(counting(&nets, "192.0.2.9", &Interfaces::All), [1, 3]);
    }

    #[test]
    fn an_interface_that_must_not_announce_the_address_decides_nothing() {
        let nets = arbiters(&[(1, "lan", &["192.0.2.0/24"])]);
        let named = Interfaces::Named(["mgmt".to_owned()].into());
        assert!(nets.counts(2, "192.0.2.9".parse().expect("valid"), &named));
    }
}
