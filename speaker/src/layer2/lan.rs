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

/// Those of the interfaces that are told, by name. Of too many those with prefixes come first: the
/// LAN has them, and the ends of pods' links, of which there may be hundreds, do not.
pub(super) fn told(mut interfaces: Vec<LanInterface>) -> Vec<LanInterface> {
    let rank = |interface: &LanInterface| (interface.prefixes.is_empty(), interface.name.clone());
    interfaces.sort_by_cached_key(rank);
    interfaces.truncate(MAX_INTERFACES);
    interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    interfaces
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

/// An own address that the node's kernel answers for here: IPv4 if there is one, else IPv6, a
/// link-local one last.
pub(super) fn canary(interface: &Interface) -> Option<IpAddr> {
    let addresses = interface.addresses.iter();
    let usable = addresses.filter(|a| !a.dad_failed && !a.tentative);
    usable
        .map(|a| a.address)
        .min_by_key(|address| (is_link_local(*address), address.is_ipv6()))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use herald_netsys::InterfaceAddress;

    use super::*;

    fn interface(addresses: &[(&str, u8, bool)]) -> Interface {
        let address = |(address, prefix_len, dad_failed): &(&str, u8, bool)| InterfaceAddress {
            address: address.parse().expect("valid"),
            prefix_len: *prefix_len,
            tentative: false,
            dad_failed: *dad_failed,
            deprecated: false,
            temporary: false,
        };
        Interface {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            ethernet: true,
            up: true,
            carrier: true,
            broadcast: true,
            no_arp: false,
            loopback: false,
            master: None,
            kind: None,
            addresses: addresses.iter().map(address).collect(),
        }
    }

    #[test]
    fn the_prefixes_are_those_that_clients_may_have_too() {
        let eth0 = interface(&[
            ("192.0.2.7", 24, false),
            ("192.0.2.8", 24, false),
            ("169.254.1.1", 16, false),
            ("fe80::1", 64, false),
            ("2001:db8::7", 64, false),
            ("2001:db8:1::7", 64, true),
        ]);
        let texts: Vec<_> = prefixes(&eth0).iter().map(Cidr::to_string).collect();
        assert_eq!(texts, ["192.0.2.0/24", "2001:db8::/64"]);
    }

    #[test]
    fn the_canary_is_the_best_address_of_its_own() {
        for (addresses, expected) in [
            (&[][..], None),
            (&[("fe80::1", 64, false)], Some("fe80::1")),
            (
                &[("fe80::1", 64, false), ("2001:db8::7", 64, false)],
                Some("2001:db8::7"),
            ),
            (
                &[("2001:db8::7", 64, false), ("192.0.2.7", 24, false)],
                Some("192.0.2.7"),
            ),
            (&[("2001:db8::7", 64, true)], None),
        ] {
            let expected = expected.map(|text| text.parse().expect("valid"));
            assert_eq!(canary(&interface(addresses)), expected, "{addresses:?}");
        }
    }

    #[test]
    fn the_lan_is_told_although_there_are_many_links_of_pods() {
        let one = |name: String, prefix: Option<&str>| LanInterface {
            name,
            mac: herald_model::MacAddress([2, 0, 0, 0, 0, 1]),
            arp: true,
            ndp: true,
            prefixes: prefix
                .map(|p| p.parse().expect("valid"))
                .into_iter()
                .collect(),
            canary: None,
        };
        let mut all: Vec<_> = (10..60).map(|n| one(format!("cali{n}"), None)).collect();
        all.push(one("eth0".to_owned(), Some("192.0.2.0/24")));
        let told = told(all);
        let names: Vec<_> = told.iter().map(|i| i.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[15]), (16, "cali10", "eth0"));
    }

    #[test]
    fn there_are_not_ever_more_prefixes() {
        let texts: Vec<_> = (0..100).map(|n| format!("10.{n}.0.1")).collect();
        let addresses: Vec<_> = texts.iter().map(|a| (a.as_str(), 24, false)).collect();
        assert_eq!(prefixes(&interface(&addresses)).len(), MAX_PREFIXES);
    }
}
