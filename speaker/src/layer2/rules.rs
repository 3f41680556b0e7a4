//! Which interfaces can be announced on (compat.md 4.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_netsys::Interface;

use super::Exclude;

/// An interface that can be announced on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usable {
    /// The MAC address that is announced.
    pub mac: [u8; 6],
    /// It can do broadcasts: IPv4 addresses are announced. It needs no IPv4 address for that.
    pub arp: bool,
    /// It has an IPv6 link-local address, this one: IPv6 addresses are announced.
    pub ndp: Option<Ipv6Addr>,
    /// An own IPv4 address, to ask others from.
    pub v4: Option<Ipv4Addr>,
}

/// Why an interface is not announced on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A pattern of the exclude file matches its name.
    #[error("its name is excluded")]
    Excluded,
    /// It is switched off.
    #[error("it is down")]
    Down,
    /// Its wire is not connected.
    #[error("it has no carrier")]
    NoCarrier,
    /// It is a part of another interface: of a bond, a bridge, or a VRF.
    #[error("it belongs to another interface")]
    HasMaster,
    /// It does no address resolution.
    #[error("it has the flag NOARP")]
    NoArp,
    /// Its frames are not Ethernet's, or it has no MAC address.
    #[error("it is no Ethernet interface with a MAC address")]
    NotEthernet,
    /// Neither broadcasts nor an IPv6 link-local address.
    #[error("it has neither broadcast nor an IPv6 link-local address")]
    NeitherFamily,
}

/// Says whether an interface can be announced on, and for which families.
pub fn usable(interface: &Interface, exclude: &Exclude) -> Result<Usable, Unusable> {
    if exclude.matches(&interface.name) {
        return Err(Unusable::Excluded);
    }
    if !interface.up {
        return Err(Unusable::Down);
    }
    if interface.master.is_some() {
        return Err(Unusable::HasMaster);
    }
    if interface.no_arp {
        return Err(Unusable::NoArp);
    }
    let mac = match interface.mac {
        Some(mac) if interface.ethernet && !interface.loopback => mac,
        _ => return Err(Unusable::NotEthernet),
    };
    if !interface.carrier {
        return Err(Unusable::NoCarrier);
    }
    let usable = Usable {
        mac,
        arp: interface.broadcast,
        ndp: interface.link_local(),
        v4: interface.addresses.iter().find_map(|a| match a.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
    };
    if !usable.arp && usable.ndp.is_none() {
        return Err(Unusable::NeitherFamily);
    }
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use herald_netsys::InterfaceAddress;

    use super::*;

    fn eth0() -> Interface {
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
            addresses: vec![link_local(false)],
        }
    }

    fn link_local(dad_failed: bool) -> InterfaceAddress {
        InterfaceAddress {
            address: "fe80::1".parse().expect("valid"),
            prefix_len: 64,
            tentative: false,
            dad_failed,
            deprecated: false,
            temporary: false,
        }
    }

    fn check(interface: &Interface) -> Result<Usable, Unusable> {
        usable(interface, &Exclude::default())
    }

    #[test]
    fn an_ordinary_interface_serves_both_families() {
        let usable = check(&eth0()).expect("usable");
        assert!(usable.arp);
        assert_eq!(usable.ndp, Some("fe80::1".parse().expect("valid")));
    }

    #[test]
    fn ipv4_needs_no_address_and_ipv6_needs_a_working_link_local_one() {
        for addresses in [vec![], vec![link_local(true)]] {
            let usable = check(&Interface {
                addresses,
                ..eth0()
            });
            let usable = usable.expect("usable");
            assert!(usable.arp);
            assert_eq!(usable.ndp, None);
        }
    }

    #[test]
    fn without_broadcast_only_ipv6_is_left() {
        let interface = Interface {
            broadcast: false,
            ..eth0()
        };
        assert!(!check(&interface).expect("usable").arp);
        let neither = Interface {
            addresses: vec![],
            ..interface
        };
        assert_eq!(check(&neither), Err(Unusable::NeitherFamily));
    }

    #[test]
    fn each_rule_says_why() {
        let eth0 = eth0();
        let cases = [
            (
                Interface {
                    up: false,
                    ..eth0.clone()
                },
                Unusable::Down,
            ),
            (
                Interface {
                    carrier: false,
                    ..eth0.clone()
                },
                Unusable::NoCarrier,
            ),
            (
                Interface {
                    master: Some(7),
                    ..eth0.clone()
                },
                Unusable::HasMaster,
            ),
            (
                Interface {
                    no_arp: true,
                    ..eth0.clone()
                },
                Unusable::NoArp,
            ),
            (
                Interface {
                    mac: None,
                    ..eth0.clone()
                },
                Unusable::NotEthernet,
            ),
            (
                Interface {
                    ethernet: false,
                    ..eth0.clone()
                },
                Unusable::NotEthernet,
            ),
            (
                Interface {
                    loopback: true,
                    ..eth0.clone()
                },
                Unusable::NotEthernet,
            ),
        ];
        for (interface, reason) in cases {
            assert_eq!(check(&interface), Err(reason));
        }
        let exclude: Exclude = "announcedInterfacesToExclude: ['^eth']"
            .parse()
            .expect("valid");
        assert_eq!(usable(&eth0, &exclude), Err(Unusable::Excluded));
    }
}
