//! Herald's BFD with FRR and BIRD: sessions beside those of BGP, and what a path that fails does.
#![cfg(test)]

mod support;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_interop::{Config, Router, eventually};
use herald_lab::Bare;
use support::{Herald, ID, peer, profile};

const SOON: Duration = Duration::from_secs(30);
const ROUTE: &str = "198.51.100.1/32";
/// The routers, at 10.99.1.2 and so on, in AS 65002 and so on.
const ROUTERS: [&str; 2] = ["frr", "bird"];

fn address(n: usize) -> IpAddr {
    IpAddr::from([10, 99, 1, u8::try_from(n + 2).expect("few routers")])
}

fn asn(n: usize) -> u32 {
    65002 + u32::try_from(n).expect("few routers")
}

/// A LAN with Herald and the routers. `link set herald nomaster` in the hub cuts Herald off without
/// a word: its own end of the cable stays up.
fn lan() -> Result<Bare> {
    let bare = Bare::new(&["hub", "herald", "frr", "bird"])?;
    bare.ip(
        "hub",
        [
            "link add br0 type bridge forward_delay 0 mcast_snooping 0",
            "link set br0 up",
        ],
    )?;
    let parts = ["herald", "frr", "bird"];
    for (host, part) in (1..).zip(parts) {
        bare.link(("hub", part), (part, "eth0"))?;
        bare.ip("hub", [format!("link set {part} master br0")])?;
        bare.ip(
            part,
            [
                format!("addr add 10.99.1.{host}/24 dev eth0"),
                format!("addr add fd99:1::{host}/64 dev eth0 nodad"),
            ],
        )?;
    }
    Ok(bare)
}

/// Both have BFD of 50 ms times 3, and take up again soon what has failed.
fn config(n: usize, restart: bool) -> Config {
    let (own, asn) = (address(n), asn(n));
    if ROUTERS[n] == "frr" {
        return Config::frr(format!(
            "router bgp {asn}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n \
             neighbor {ID} remote-as 65001\n neighbor {ID} passive\n \
             neighbor {ID} bfd\n neighbor {ID} bfd profile fast\n"
        ));
    }
    let restart = if restart { "graceful restart on;" } else { "" };
    Config::Bird(format!(
        "router id {own};\nlog stderr all;\nprotocol device {{}}\n\
         protocol kernel {{ ipv4 {{ export all; import none; }}; }}\n\
         protocol bfd {{ interface \"*\" {{ min rx interval 50 ms; min tx interval 50 ms; \
         multiplier 3; }}; }}\n\
         protocol bgp herald {{ local {own} as {asn}; neighbor {ID} as 65001; passive on; bfd on;\n\
         error wait time 1,2; {restart}\nipv4 {{ import all; export none; }}; }}\n"
    ))
}

fn routers(bare: &Bare, restart: bool) -> Result<Vec<Router>> {
    let start = |n: usize| Router::start(bare, ROUTERS[n], ROUTERS[n], &config(n, restart));
    (0..ROUTERS.len()).map(start).collect()
}

fn peers(interval: u64) -> Vec<BgpPeer> {
    let peers = (0..ROUTERS.len()).map(|n| BgpPeer {
        bfd: Some(profile(interval)),
        ..peer(ROUTERS[n], address(n), asn(n))
    });
    peers.collect()
}

/// Waits until BGP and BFD are up on both sides.
fn all_up(herald: &Herald, routers: &[Router]) -> Result<()> {
    for router in routers {
        let name = router.name();
        router.wait_established(ID.into(), SOON)?;
        eventually(SOON, &format!("the BFD session of {name}"), || {
            let there = router.bfd()?.iter().any(|bfd| bfd.peer == ID && bfd.up);
            Ok((there && bfd_up(herald, name)).then_some(()))
        })?;
    }
    Ok(())
}

fn bfd_up(herald: &Herald, peer: &str) -> bool {
    let status = herald.bfd.status(peer).and_then(|status| status.session);
    status.is_some_and(|session| session.state == herald_bfd::State::Up)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_silent_cut_ends_both_sides_within_the_detection_time_and_all_comes_back() -> Result<()> {
    let bare = lan()?;
    let routers = routers(&bare, false)?;
    let mut herald = Herald::start(&bare.netns("herald"), &peers(50), false)?;
    herald.announce(&[ROUTE.parse()?]);
    all_up(&herald, &routers)?;
    for router in &routers {
        router.wait_spread(ROUTE.parse()?, &[ID.into()], SOON)?;
    }

    bare.ip("hub", ["link set herald nomaster"])?;
    let cut = Instant::now();
    for router in &routers {
        let name = router.name();
        eventually(Duration::from_secs(5), &format!("{name} to drop"), || {
            Ok(router
                .kernel_next_hops(ROUTE.parse()?)?
                .is_empty()
                .then_some(()))
        })?;
        println!("the route is gone from {name} after {:?}", cut.elapsed());
        let reason = eventually(
            Duration::from_secs(5),
            &format!("the end with {name}"),
            || {
                let status = herald.status(name).context("a status")?;
                let down = status.state != State::Established;
                Ok(status.last_error.filter(|_| down))
            },
        )?;
        ensure!(reason.contains("BFD"), "{name}: {reason}");
    }
    ensure!(
        cut.elapsed() < Duration::from_secs(2),
        "{:?}",
        cut.elapsed()
    );

    bare.ip("hub", ["link set herald master br0"])?;
    all_up(&herald, &routers)?;
    for router in &routers {
        router.wait_spread(ROUTE.parse()?, &[ID.into()], SOON)?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}
