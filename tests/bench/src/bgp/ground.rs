//! The namespaces: a speaker and its routers, each behind a cable of its own.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;
use herald_interop::{Config, Router};
use herald_lab::Bare;

use super::counter::Counter;

/// The speaker's AS.
pub(crate) const ASN: u32 = 65001;
/// The speaker's namespace.
pub(crate) const SPEAKER: &str = "speaker";

/// The namespace between speaker and router of [`Ground::switched`]; its bridge is `br0`.
pub(crate) const SWITCH: &str = "switch";

/// Names of the routers' namespaces.
const ROUTERS: [&str; 4] = ["r0", "r1", "r2", "r3"];

/// One of the routers, as the speaker sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbor {
    /// The router's address.
    pub(crate) address: Ipv4Addr,
    /// The speaker's on the same cable.
    pub(crate) own: Ipv4Addr,
    /// The router's AS.
    pub(crate) asn: u32,
}

/// A speaker's namespace and those of its routers.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) bare: Bare,
    pub(crate) neighbors: Vec<Neighbor>,
}

impl Ground {
    /// With so many routers, four at most.
    pub(crate) fn new(routers: usize) -> Result<Self> {
        let names = ROUTERS.get(..routers).unwrap_or(&ROUTERS);
        let bare = Bare::new(&[&[SPEAKER], names].concat())?;
        let mut neighbors = Vec::new();
        for (number, name) in (0_u8..).zip(names) {
            let neighbor = Neighbor {
                address: Ipv4Addr::new(10, 99, number, 2),
                own: Ipv4Addr::new(10, 99, number, 1),
                asn: 65002 + u32::from(number),
            };
            bare.link((SPEAKER, name), (name, "eth0"))?;
            bare.ip(
                SPEAKER,
                [format!("addr add {}/24 dev {name}", neighbor.own)],
            )?;
            bare.ip(name, [format!("addr add {}/24 dev eth0", neighbor.address)])?;
            neighbors.push(neighbor);
        }
        Ok(Self { bare, neighbors })
    }

    /// With one router, behind a switch.
    pub(crate) fn switched() -> Result<Self> {
        let [name, ..] = ROUTERS;
        let bare = Bare::new(&[SPEAKER, SWITCH, name])?;
        bare.ip(
            SWITCH,
            [
                "link add br0 type bridge forward_delay 0",
                "link set br0 up",
            ],
        )?;
        let neighbor = Neighbor {
            address: Ipv4Addr::new(10, 99, 0, 2),
            own: Ipv4Addr::new(10, 99, 0, 1),
            asn: 65002,
        };
        for (part, address) in [(SPEAKER, neighbor.own), (name, neighbor.address)] {
            bare.link((SWITCH, part), (part, "eth0"))?;
            bare.ip(SWITCH, [format!("link set {part} master br0")])?;
            bare.ip(part, [format!("addr add {address}/24 dev eth0")])?;
        }
        Ok(Self {
            bare,
            neighbors: vec![neighbor],
        })
    }

    /// With one router that has so many addresses, each a peer of its own, and as many of the speaker:
    /// BIRD has one BFD session for all that it does with an address, so each session needs its own at
    /// both ends.
    pub(crate) fn crowded(peers: usize) -> Result<Self> {
        let [name, ..] = ROUTERS;
        let bare = Bare::new(&[SPEAKER, name])?;
        bare.link((SPEAKER, name), (name, "eth0"))?;
        let neighbors = crowd(peers)?;
        let own = neighbors.iter().map(|of| of.own);
        bare.ip(
            SPEAKER,
            own.map(|own| format!("addr add {own}/15 dev {name}")),
        )?;
        let addresses = neighbors.iter().map(|of| of.address);
        bare.ip(
            name,
            addresses.map(|address| format!("addr add {address}/15 dev eth0")),
        )?;
        Ok(Self { bare, neighbors })
    }

    /// A counter in the place of each router.
    pub(crate) fn counters(&self) -> Result<Vec<Counter>> {
        let places = ROUTERS.iter().zip(&self.neighbors);
        places
            .map(|(name, neighbor)| {
                Counter::start(&self.bare.netns(name), neighbor.address, neighbor.asn)
            })
            .collect()
    }

    /// FRR as the first router. It takes no route of the community `refused`.
    pub(crate) fn frr(&self, refused: u16) -> Result<Router> {
        let Neighbor { address, own, asn } = self.neighbors[0];
        let config = Config::frr(format!(
            "bgp community-list standard refused permit {ASN}:{refused}\n\
             route-map in deny 10\n match community refused\nroute-map in permit 20\n\
             router bgp {asn}\n bgp router-id {address}\n no bgp ebgp-requires-policy\n \
             neighbor {own} remote-as {ASN}\n neighbor {own} passive\n \
             address-family ipv4 unicast\n  neighbor {own} route-map in in\n"
        ));
        Router::start(&self.bare, ROUTERS[0], "frr", &config)
    }

    /// FRR as the first router, with BFD at 50 ms × 3.
    pub(crate) fn frr_with_bfd(&self) -> Result<Router> {
        let Neighbor { address, own, asn } = self.neighbors[0];
        let config = Config::frr(format!(
            "router bgp {asn}\n bgp router-id {address}\n no bgp ebgp-requires-policy\n \
             neighbor {own} remote-as {ASN}\n neighbor {own} passive\n \
             neighbor {own} bfd\n neighbor {own} bfd profile fast\n"
        ));
        Router::start(&self.bare, ROUTERS[0], "frr", &config)
    }

    /// BIRD as the first router. It takes no route of the community `refused`.
    pub(crate) fn bird(&self, refused: u16) -> Result<Router> {
        let Neighbor { address, own, asn } = self.neighbors[0];
        let config = Config::Bird(format!(
            "router id {address};\nlog stderr all;\nprotocol device {{}}\n\
             protocol kernel {{ ipv4 {{ export all; }}; }}\n\
             protocol bgp speaker {{ local {address} as {asn}; neighbor {own} as {ASN}; passive on; \
             error wait time 1, 2; error forget time 1;\n\
             ipv4 {{ import filter {{ if ({ASN}, {refused}) ~ bgp_community then reject; accept; }};\
              export none; }}; }}\n"
        ));
        Router::start(&self.bare, ROUTERS[0], "bird", &config)
    }

    /// BIRD in the place of all routers of the first namespace, with BFD at 50 ms × 3. Of many peers
    /// it keeps no routes.
    pub(crate) fn bird_with_bfd(&self) -> Result<Router> {
        let id = self.neighbors[0].address;
        let import = if self.neighbors.len() == 1 {
            "all"
        } else {
            "none"
        };
        let mut text = format!(
            "router id {id};\nlog stderr all;\nprotocol device {{}}\n{BIRD_BFD}\
             protocol kernel {{ ipv4 {{ export all; }}; }}\n"
        );
        for (number, Neighbor { address, own, asn }) in self.neighbors.iter().enumerate() {
            writeln!(
                text,
                "protocol bgp speaker{number} {{ local {address} as {asn}; neighbor {own} as {ASN}; \
                 passive on; bfd on; error wait time 1, 2;\n\
                 ipv4 {{ import {import}; export none; }}; }}"
            )?;
        }
        Router::start(&self.bare, ROUTERS[0], "bird", &Config::Bird(text))
    }
}

/// So many sessions, no two of which have an address in common.
fn crowd(peers: usize) -> Result<Vec<Neighbor>> {
    (1..=peers)
        .map(|number| {
            let [high, low] = u16::try_from(number)?.to_be_bytes();
            Ok(Neighbor {
                address: Ipv4Addr::new(10, 99, high, low),
                own: Ipv4Addr::new(10, 98, high, low),
                asn: 65002,
            })
        })
        .collect()
}

/// What BIRD's configuration has for BFD at 50 ms × 3.
pub(crate) const BIRD_BFD: &str = "protocol bfd { interface \"*\" { min rx interval 50 ms; \
    min tx interval 50 ms; idle tx interval 1 s; multiplier 3; }; }\n";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_sessions_have_an_address_in_common_at_either_end() -> Result<()> {
        let neighbors = crowd(300)?;
        let ends = neighbors.iter().flat_map(|of| [of.address, of.own]);
        assert_eq!(ends.collect::<BTreeSet<_>>().len(), 600);
        Ok(())
    }
}
