//! Kinds of paths: over several hops, link-local, inside an AS, and those that the peer begins.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use herald_api::config::bgp::{BgpPeer, PeerEndpoint};
use herald_bfd::Hops;
use herald_interop::{Config, Router, eventually};

use crate::lan::{ROUTERS, SOON, address, asn, bird, config, lan, wait_down, wait_up};
use crate::speaker::{Herald, ID, profile};
use crate::support::peer;

fn hops(herald: &Herald, peer: &str) -> Result<Hops> {
    Ok(herald.bfd.status(peer).context("a session")?.hops)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_peer_behind_a_router_is_watched_over_several_hops() -> Result<()> {
    let bare = lan()?;
    let herald_address: IpAddr = "10.99.2.1".parse()?;
    // The hub becomes a router between Herald and the others.
    bare.ip(
        "hub",
        [
            "link set herald nomaster",
            "addr add 10.99.1.254/24 dev br0",
            "addr add 10.99.2.254/24 dev herald",
        ],
    )?;
    let forward = |on: &str| {
        bare.exec(
            "hub",
            &["sysctl", "-qw", &format!("net.ipv4.ip_forward={on}")],
        )
    };
    forward("1")?;
    bare.ip(
        "herald",
        [
            "addr flush dev eth0".to_owned(),
            format!("addr add {herald_address}/24 dev eth0"),
            "route add 10.99.1.0/24 via 10.99.2.254".to_owned(),
        ],
    )?;
    for name in ROUTERS {
        bare.ip(name, ["route add 10.99.2.0/24 via 10.99.1.254"])?;
    }
    let frr = Config::frr(format!(
        "router bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         neighbor {herald_address} remote-as 65001\n neighbor {herald_address} passive\n \
         neighbor {herald_address} ebgp-multihop 8\n neighbor {herald_address} bfd\n \
         neighbor {herald_address} bfd profile fast\n",
        asn(0),
        address(0)
    ));
    let bird = bird(&format!(
        "protocol bgp herald {{ local {} as {}; neighbor {herald_address} as 65001; passive on; \
         multihop 8; bfd on; error wait time 1,2; ipv4 {{ import all; export none; }}; }}\n",
        address(1),
        asn(1)
    ));
    let routers = [
        Router::start(&bare, "frr", "frr", &frr)?,
        Router::start(&bare, "bird", "bird", &bird)?,
    ];
    let peers: Vec<BgpPeer> = (0..ROUTERS.len())
        .map(|n| {
            let mut bfd = profile(50);
            // BIRD sends with 64.
            bfd.profile.minimum_ttl = (ROUTERS[n] == "bird").then_some(60);
            BgpPeer {
                ebgp_multi_hop: true,
                bfd: Some(bfd),
                ..peer(ROUTERS[n], address(n), asn(n))
            }
        })
        .collect();
    let mut herald = Herald::start(&bare.netns("herald"), &peers, false)?;
    for router in &routers {
        wait_up(&herald, router, herald_address)?;
        ensure!(hops(&herald, router.name())? == Hops::Multi);
    }
    forward("0")?;
    for name in ROUTERS {
        let reason = wait_down(&herald, name)?;
        ensure!(reason.contains("BFD"), "{name}: {reason}");
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn link_local_peers_are_watched_on_their_interface() -> Result<()> {
    let bare = lan()?;
    let own: Ipv6Addr = "fe80::1".parse()?;
    let frr = Config::frr(format!(
        "router bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         neighbor {own} remote-as 65001\n neighbor {own} interface eth0\n neighbor {own} passive\n \
         neighbor {own} bfd\n neighbor {own} bfd profile fast\n \
         address-family ipv6 unicast\n  neighbor {own} activate\n",
        asn(0),
        address(0)
    ));
    let bird = bird(&format!(
        "protocol bgp herald {{ local fe80::3%eth0 as {}; neighbor {own}%eth0 as 65001; passive on; \
         bfd on; error wait time 1,2; ipv6 {{ import all; export none; }}; }}\n",
        asn(1)
    ));
    let routers = [
        Router::start(&bare, "frr", "frr", &frr)?,
        Router::start(&bare, "bird", "bird", &bird)?,
    ];
    let peers: Vec<BgpPeer> = ["fe80::2", "fe80::3"]
        .into_iter()
        .enumerate()
        .map(|(n, address)| {
            let address: Ipv6Addr = address.parse().expect("an address");
            BgpPeer {
                endpoint: PeerEndpoint::LinkLocal {
                    address,
                    interface: "eth0".to_owned(),
                },
                source_address: Some(own.into()),
                bfd: Some(profile(50)),
                ..peer(ROUTERS[n], address.into(), asn(n))
            }
        })
        .collect();
    let mut herald = Herald::start(&bare.netns("herald"), &peers, false)?;
    for router in &routers {
        wait_up(&herald, router, own.into())?;
        ensure!(hops(&herald, router.name())? == Hops::Single);
    }
    crate::lan::cut(&bare)?;
    for name in ROUTERS {
        let reason = wait_down(&herald, name)?;
        ensure!(reason.contains("BFD"), "{name}: {reason}");
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

/// FRR inside our AS, on the same link: one hop, as FRR has it. Herald does not begin, and FRR does;
/// BIRD has IPv6.
#[test]
#[ignore = "needs root and the lab: run by make test"]
fn passive_sessions_internal_peers_and_ipv6() -> Result<()> {
    let bare = lan()?;
    let frr = Config::frr(format!(
        "router bgp 65001\n bgp router-id {}\n neighbor {ID} remote-as 65001\n \
         neighbor {ID} passive\n neighbor {ID} bfd\n neighbor {ID} bfd profile fast\n",
        address(0)
    ));
    let bird = bird(&format!(
        "protocol bgp herald {{ local fd99:1::3 as {}; neighbor fd99:1::1 as 65001; passive on; \
         bfd on; error wait time 1,2; ipv6 {{ import all; export none; }}; }}\n",
        asn(1)
    ));
    let routers = [
        Router::start(&bare, "frr", "frr", &frr)?,
        Router::start(&bare, "bird", "bird", &bird)?,
    ];
    let mut waiting = profile(50);
    waiting.profile.passive_mode = true;
    let peers = [
        BgpPeer {
            bfd: Some(waiting.clone()),
            ..peer("frr", address(0), 65001)
        },
        BgpPeer {
            bfd: Some(waiting),
            ..peer("bird", "fd99:1::3".parse()?, asn(1))
        },
    ];
    let mut herald = Herald::start(&bare.netns("herald"), &peers, false)?;
    for (router, own) in routers.iter().zip(["10.99.1.1", "fd99:1::1"]) {
        wait_up(&herald, router, own.parse()?)?;
        ensure!(hops(&herald, router.name())? == Hops::Single);
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_port_that_is_taken_is_told_and_tried_again() -> Result<()> {
    let bare = lan()?;
    let frr = Router::start(&bare, "frr", "frr", &config(0, false))?;
    // Somebody has the port.
    let taken = bare
        .netns("herald")
        .run(|| std::net::UdpSocket::bind(("0.0.0.0", 3784)))??;
    let wanted = BgpPeer {
        bfd: Some(profile(50)),
        ..peer("frr", address(0), asn(0))
    };
    let mut herald = Herald::start(&bare.netns("herald"), &[wanted], false)?;
    let problem = eventually(SOON, "a word about the port", || {
        Ok(herald.bfd.status("frr").and_then(|status| status.problem))
    })?;
    ensure!(problem.contains("another program"), "{problem}");
    ensure!(herald.status("frr").is_some_and(|status| status.is_up()));
    drop(taken);
    wait_up(&herald, &frr, ID.into())?;
    let problem = herald.bfd.status("frr").and_then(|status| status.problem);
    ensure!(problem.is_none(), "{problem:?}");
    herald.stop()?;
    // Nobody listens any longer.
    let free = bare
        .netns("herald")
        .run(|| std::net::UdpSocket::bind(("0.0.0.0", 3784)))?;
    ensure!(free.is_ok(), "{free:?}");
    bare.down();
    Ok(())
}
