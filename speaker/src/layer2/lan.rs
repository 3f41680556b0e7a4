//! What the other speakers are told of an interface that is announced on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::{Cidr, LanInterface};
use herald_netsys::Interface;

/// The most interfaces that are told: it rides on every datagram of the group.
pub(super) const MAX_INTERFACES: usize = 16;

/// The most prefixes of an interface that are told.
const MAX_PREFIXES: usize = 8;

/// The names of interfaces, as the election wants them.
pub fn names(interfaces: &[LanInterface]) -> BTreeSet<String> {
    interfaces.iter().map(|i| i.name.clone()).collect()
}

/// The prefixes of the addresses that are neither link-local nor found to be duplicates, at most
/// eight of them.
pub(super) fn prefixes(interface: &Interface) -> BTreeSet<Cidr> {
    let addresses = interface.addresses.iter();
    let all: BTreeSet<_> = addresses
        .filter(|a| !a.dad_failed && !is_link_local(a.address))
        .filter_map(|a| Cidr::new(a.address, a.prefix_len))
        .collect();
    all.into_iter().take(MAX_PREFIXES).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
