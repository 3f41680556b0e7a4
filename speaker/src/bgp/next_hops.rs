//! The own addresses that routes may have as next hops beside that of the session.

use std::net::IpAddr;
use std::sync::Arc;

use herald_bgp::routes::Addresses;
use herald_bgp::session::Endpoints;
use herald_netsys::{Interface, InterfaceAddress};

/// The interfaces of this node.
pub(super) type Interfaces = Arc<[Interface]>;

/// The addresses of the interface that a session goes over. `vrf` is the one that the session is in;
/// `near`: the peer is on the same link, so that a link-local address is of use to it. `None` if no
/// interface has the session's own address.
pub(super) fn next_hops(
    interfaces: &[Interface],
    endpoints: Endpoints,
    vrf: Option<&str>,
    near: bool,
) -> Option<Addresses> {
    let interface = interface_of(interfaces, endpoints, vrf)?;
    let mut addresses = Addresses::default();
    let usable = interface
        .addresses
        .iter()
        .filter(|it| !it.tentative && !it.dad_failed && !it.address.is_loopback());
    let mut usable: Vec<&InterfaceAddress> = usable.collect();
    // An address without a subnet may be one that goes from node to node.
    usable.sort_by_key(|it| (it.deprecated, it.temporary, is_alone(it)));
    for InterfaceAddress { address, .. } in usable {
        match *address {
            IpAddr::V4(v4) => {
                addresses.v4.get_or_insert(v4);
            }
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => {
                addresses.v6.get_or_insert(v6);
            }
            IpAddr::V6(v6) if near => {
                addresses.link_local.get_or_insert(v6);
            }
            IpAddr::V6(_) => {}
        }
    }
    Some(addresses)
}

/// The interface with the session's own address. If several have it, the one whose subnet the peer is
/// in.
fn interface_of<'a>(
    interfaces: &'a [Interface],
    endpoints: Endpoints,
    vrf: Option<&str>,
) -> Option<&'a Interface> {
    let local = endpoints.local;
    let scope = match local {
        std::net::SocketAddr::V6(v6) => Some(v6.scope_id()).filter(|scope| *scope != 0),
        std::net::SocketAddr::V4(_) => None,
    };
    let vrf = vrf.and_then(|vrf| interfaces.iter().find(|it| it.name == vrf));
    let with_address = interfaces.iter().filter_map(|interface| {
        let mut of_interface = interface.addresses.iter();
        let own = of_interface.find(|own| own.address == local.ip())?;
        Some((interface, own))
    });
    let possible = with_address
        .filter(|(interface, _)| scope.is_none_or(|scope| scope == interface.index))
        .filter(|(interface, _)| {
            vrf.is_none_or(|vrf| {
                interface.index == vrf.index || interface.master == Some(vrf.index)
            })
        });
    // Of equal ones the first.
    let chosen = possible.min_by_key(|(_, own)| !is_within(endpoints.peer.ip(), own));
    chosen.map(|(interface, _)| interface)
}

/// True if an address is its whole subnet.
fn is_alone(own: &InterfaceAddress) -> bool {
    own.prefix_len == if own.address.is_ipv4() { 32 } else { 128 }
}

/// True if an address is in the subnet of one of this node's.
fn is_within(address: IpAddr, own: &InterfaceAddress) -> bool {
    let host_bits = |width: u32| width.saturating_sub(own.prefix_len.into());
    match (address, own.address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.checked_shr(host_bits(u32::BITS)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.checked_shr(host_bits(u128::BITS)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, master: Option<u32>, addresses: &[(&str, u8)]) -> Interface {
        let addresses = addresses
            .iter()
            .map(|(address, prefix_len)| InterfaceAddress {
                address: address.parse().expect("an address"),
                prefix_len: *prefix_len,
                tentative: false,
                dad_failed: false,
                deprecated: false,
                temporary: false,
            });
        Interface {
            index,
            name: format!("eth{index}"),
            mac: Some([2, 0, 0, 0, 0, 1]),
            ethernet: true,
            up: true,
            carrier: true,
            broadcast: true,
            no_arp: false,
            loopback: false,
            master,
            kind: None,
            addresses: addresses.collect(),
        }
    }

    fn between(local: &str, peer: &str) -> Endpoints {
        Endpoints {
            local: local.parse().expect("an address"),
            peer: peer.parse().expect("an address"),
        }
    }

    fn v6(address: &str) -> std::net::Ipv6Addr {
        address.parse().expect("an address")
    }

    fn v6_of(
        interfaces: &[Interface],
        endpoints: Endpoints,
        vrf: Option<&str>,
    ) -> Option<std::net::Ipv6Addr> {
        next_hops(interfaces, endpoints, vrf, true)?.v6
    }

    const V4: (&str, u8) = ("10.0.0.1", 24);

    #[test]
    fn the_addresses_beside_the_sessions_own_are_next_hops() {
        let all = [
            interface(1, None, &[("127.0.0.1", 8), ("::1", 128)]),
            interface(2, None, &[V4, ("fe80::1", 64), ("2001:db8::1", 64)]),
            interface(3, None, &[("10.0.1.1", 24), ("2001:db8:1::1", 64)]),
        ];
        let session = between("10.0.0.1:5", "10.0.0.2:179");
        let near = next_hops(&all, session, None, true).expect("found");
        assert_eq!(near.v4, Some([10, 0, 0, 1].into()));
        assert_eq!(near.v6, Some(v6("2001:db8::1")));
        assert_eq!(near.link_local, Some(v6("fe80::1")));
        let far = next_hops(&all, session, None, false).expect("found");
        assert_eq!((far.v6, far.link_local), (Some(v6("2001:db8::1")), None));
        let strange = between("10.0.9.1:5", "10.0.0.2:179");
        assert_eq!(next_hops(&all, strange, None, true), None);
        // The addresses of the host itself are nobody else's next hop.
        let host = between("127.0.0.1:5", "127.0.0.1:179");
        assert_eq!(
            next_hops(&all, host, None, true),
            Some(Addresses::default())
        );
    }

    #[test]
    fn what_is_not_ready_is_not_used_and_what_stays_goes_first() {
        let mut one = interface(
            2,
            None,
            &[
                V4,
                ("2001:db8::1", 64),
                ("2001:db8::2", 64),
                ("2001:db8::3", 64),
            ],
        );
        let session = between("10.0.0.1:5", "10.0.0.2:179");
        one.addresses[1].tentative = true;
        one.addresses[2].temporary = true;
        let first = v6_of(std::slice::from_ref(&one), session, None);
        assert_eq!(first, Some(v6("2001:db8::3")));
        one.addresses[3].deprecated = true;
        let second = v6_of(std::slice::from_ref(&one), session, None);
        assert_eq!(second, Some(v6("2001:db8::2")));
        one.addresses[2].dad_failed = true;
        one.addresses[3].dad_failed = true;
        assert_eq!(v6_of(&[one], session, None), None);
    }

    #[test]
    fn an_address_that_may_go_to_another_node_is_used_only_if_there_is_no_other() {
        let shared = ("10.0.0.0", 32);
        let session = between("[fe80::1%2]:5", "[fe80::2%2]:179");
        let v4_of = |addresses: &[(&str, u8)]| {
            let all = [interface(2, None, addresses)];
            next_hops(&all, session, None, true).expect("found").v4
        };
        let own = ("fe80::1", 64);
        assert_eq!(v4_of(&[shared, V4, own]), Some([10, 0, 0, 1].into()));
        assert_eq!(v4_of(&[shared, own]), Some([10, 0, 0, 0].into()));
    }

    #[test]
    fn of_two_interfaces_with_the_address_that_of_the_peer_counts() {
        let of = |index, prefix_len, other| {
            interface(index, None, &[("10.0.0.1", prefix_len), (other, 64)])
        };
        let all = [of(2, 32, "2001:db8::2"), of(3, 24, "2001:db8::3")];
        let near = between("10.0.0.1:5", "10.0.0.2:179");
        assert_eq!(v6_of(&all, near, None), Some(v6("2001:db8::3")));
        let far = between("10.0.0.1:5", "192.0.2.1:179");
        assert_eq!(v6_of(&all, far, None), Some(v6("2001:db8::2")));

        let link = |index, other| interface(index, None, &[("fe80::1", 64), (other, 64)]);
        let all = [link(2, "2001:db8::2"), link(3, "2001:db8::3")];
        let session = between("[fe80::1%3]:5", "[fe80::2%3]:179");
        assert_eq!(v6_of(&all, session, None), Some(v6("2001:db8::3")));
    }

    #[test]
    fn the_same_address_in_another_vrf_is_another() {
        let of = |index, master, other| {
            let mut it = interface(index, master, &[V4, (other, 64)]);
            it.addresses.sort_unstable();
            it
        };
        let red = interface(9, None, &[]);
        let all = [
            of(2, None, "2001:db8::2"),
            of(3, Some(9), "2001:db8::3"),
            red,
        ];
        let session = between("10.0.0.1:5", "10.0.0.2:179");
        assert_eq!(v6_of(&all, session, None), Some(v6("2001:db8::2")));
        assert_eq!(v6_of(&all, session, Some("eth9")), Some(v6("2001:db8::3")));
    }
}
