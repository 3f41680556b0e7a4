//! What of its own side Herald is told: the source address and the AS number, and the interface and the
//! password of a router at a link-local address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::{BgpPeer, Password, PeerEndpoint};
use herald_interop::{Config, Router, State, eventually, lan};
use herald_lab::Bare;
use herald_speaker::bgp::Plans;
use tokio_util::sync::CancellationToken;

use super::speaker::{Herald, SOON, host, planned};
use crate::support::peer;

/// FRR and BIRD are at .2 and .3, in AS 65002 and 65003.
const ROUTERS: [(&str, u8, u32); 2] = [("frr", 2, 65002), ("bird", 3, 65003)];
const VIP: &str = "198.51.100.1/32";
const VIP6: &str = "fd98::1/128";

fn network() -> Result<Bare> {
    let bare = lan("hub", &ROUTERS.map(|(name, _, _)| name))?;
    bare.ip("hub", ["addr add fe80::1/64 dev br0 nodad"])?;
    for (name, number, _) in ROUTERS {
        let own = format!("addr add fe80::{number}/64 dev eth0 nodad");
        bare.ip(name, [own])?;
    }
    Ok(bare)
}

/// Both wait for Herald at this address in this AS. FRR's `lines` and BIRD's `options` are of it; BIRD
/// is at `own`.
fn start(
    bare: &Bare,
    (herald, asn): (&str, u32),
    lines: &str,
    (own, options): (&str, &str),
) -> Result<[Router; 2]> {
    let plain = herald.split('%').next().unwrap_or_default();
    let frr = Config::frr(format!(
        "router bgp 65002\n bgp router-id 10.99.1.2\n no bgp ebgp-requires-policy\n \
         neighbor {plain} remote-as {asn}\n neighbor {plain} passive\n{lines} \
         address-family ipv6 unicast\n  neighbor {plain} activate\n"
    ));
    let bird = Config::Bird(format!(
        "router id 10.99.1.3;\nlog stderr all;\nprotocol device {{}}\n\
         protocol bgp herald {{ local {own} as 65003; neighbor {herald} as {asn}; passive on;\n\
         error wait time 1,2; {options}\n\
         ipv4 {{ import all; export none; extended next hop on; }};\n\
         ipv6 {{ import all; export none; }}; }}\n"
    ));
    Ok([
        Router::start(bare, "frr", "frr", &frr)?,
        Router::start(bare, "bird", "bird", &bird)?,
    ])
}

fn plans(change: impl Fn(&mut BgpPeer, u8)) -> Result<Plans> {
    let peers = ROUTERS.into_iter().map(|(name, number, asn)| {
        let address = Ipv4Addr::new(10, 99, 1, number);
        let mut one = peer(name, address.into(), asn);
        change(&mut one, number);
        one
    });
    planned(peers.collect())
}

fn herald(bare: &Bare, plans: Plans) -> Herald {
    let mut herald = Herald::with_plans(&bare.netns("hub"), plans, CancellationToken::new());
    herald.announce("web", &[host(VIP), host(VIP6)], &Attributes::default());
    herald
}

/// Waits until a router has the route by this next hop, over this path.
fn wait_route(router: &Router, prefix: &str, hop: IpAddr, path: &[u32]) -> Result<()> {
    let what = format!("{prefix} via {hop} by {path:?} at {}", router.name());
    eventually(SOON, &what, || {
        let route = router.paths(prefix.parse()?)?.pop();
        let found = route.map(|route| route.attributes).unwrap_or_default();
        let right = found.next_hops.contains(&hop) && found.as_path == path;
        ensure!(right, "{found:?}");
        Ok(Some(()))
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_session_has_the_source_address_and_the_as_that_its_peer_says() -> Result<()> {
    let bare = network()?;
    let own: IpAddr = "10.99.1.50".parse()?;
    bare.ip("hub", [format!("addr add {own}/24 dev br0")])?;
    let routers = start(&bare, ("10.99.1.50", 65077), "", ("10.99.1.3", ""))?;
    let plans = plans(|peer, _| {
        peer.source_address = Some(own);
        peer.local_asn = Some(65077);
    })?;
    let mut herald = herald(&bare, plans);
    for router in &routers {
        // The number that stands for ours is all there is of us in the path.
        wait_route(router, VIP, own, &[65077])?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_router_at_a_link_local_address_has_a_password_of_its_own() -> Result<()> {
    let bare = network()?;
    let routers = start(
        &bare,
        ("fe80::1%eth0", 65001),
        " neighbor fe80::1 interface eth0\n neighbor fe80::1 password s3cret\n",
        ("fe80::3%eth0", "password \"s3cret\";"),
    )?;
    let own: Ipv6Addr = "fe80::1".parse()?;
    let with = |password: &'static str| {
        plans(move |peer, number| {
            peer.endpoint = PeerEndpoint::LinkLocal {
                address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()),
                interface: "br0".to_owned(),
            };
            peer.source_address = Some(own.into());
            peer.password = Password::new(password.as_bytes());
        })
    };
    let mut herald = herald(&bare, with("wrong")?);
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        for router in &routers {
            let neighbors = router.neighbors()?;
            let up = neighbors.iter().any(|one| one.state == State::Established);
            ensure!(!up, "{} takes a wrong password", router.name());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // The process goes on.
    herald.set_plans(with("s3cret")?);
    for router in &routers {
        wait_route(router, VIP6, own.into(), &[65001])?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}
