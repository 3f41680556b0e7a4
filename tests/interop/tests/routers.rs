//! Each router is started, asked and stopped: what it says of a session, of routes, of BFD and of
//! its kernel is what the other end sent.
#![cfg(test)]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_interop::{Config, Family, Router, State, eventually, lan};
use herald_lab::Bare;

const SOON: Duration = Duration::from_secs(30);
const HUB: &str = "10.99.1.1";

/// BIRD announces to everyone; the others are 10.99.1.2 and on, in AS 65002 and on.
const PARTS: [&str; 4] = ["frr", "gobgp", "openbgpd", "exabgp"];

fn address(n: usize) -> String {
    format!("10.99.1.{}", n + 2)
}

fn network() -> Result<Bare> {
    let bare = lan("hub", &PARTS)?;
    bare.ip("hub", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    Ok(bare)
}

fn hub() -> Result<Config> {
    let mut text = r#"
router id 10.99.1.1;
log stderr all;
protocol device {}
protocol bfd { interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }
protocol static s4 { ipv4; route 198.51.100.1/32 blackhole; route 198.51.100.2/32 blackhole; }
protocol static s6 { ipv6; route fd98::1/128 blackhole; }
filter out4 {
  if source != RTS_STATIC then reject;
  if net = 198.51.100.1/32 then {
    bgp_med = 7;
    bgp_community.add((65001,100));
    bgp_large_community.add((65001,1,2));
    bgp_ext_community.add((rt,65001,5));
  }
  accept;
}
template bgp T {
  local as 65001;
  connect delay time 1; connect retry time 1; error wait time 1,2;
  ipv4 { import all; export filter out4; };
  ipv6 { import all; export where source = RTS_STATIC; };
}
"#
    .to_owned();
    for (n, part) in PARTS.iter().enumerate() {
        let bfd = if *part == "frr" { "bfd on;" } else { "" };
        let asn = 65002 + n;
        writeln!(
            text,
            "protocol bgp {part} from T {{ neighbor {} as {asn}; {bfd} }}",
            address(n)
        )?;
    }
    Ok(Config::Bird(text))
}

fn frr() -> Config {
    Config::frr(
        "router bgp 65002
 bgp router-id 10.99.1.2
 no bgp ebgp-requires-policy
 neighbor 10.99.1.1 remote-as 65001
 neighbor 10.99.1.1 timers connect 1
 neighbor 10.99.1.1 bfd
 neighbor 10.99.1.1 bfd profile fast
 address-family ipv6 unicast
  neighbor 10.99.1.1 activate
",
    )
}

fn gobgp() -> Config {
    Config::Gobgp(
        r#"
[global.config]
as = 65003
router-id = "10.99.1.3"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.99.1.1"
peer-as = 65001
[neighbors.timers.config]
connect-retry = 1
idle-hold-time-after-reset = 1
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
"#
        .into(),
    )
}

fn openbgpd() -> Config {
    Config::Openbgpd(
        "AS 65004
router-id 10.99.1.4
fib-update no
listen on 0.0.0.0
neighbor 10.99.1.1 {
  remote-as 65001
  announce IPv4 unicast
  announce IPv6 unicast
}
allow from any"
            .into(),
    )
}

fn exabgp() -> Config {
    Config::Exabgp {
        config: "neighbor 10.99.1.1 {
  router-id 10.99.1.5; local-address 10.99.1.5; local-as 65005; peer-as 65001;
  family { ipv4 unicast; ipv6 unicast; }
  api { processes [ events ]; neighbor-changes; receive { parsed; update; } }
  static { route 203.0.113.1/32 next-hop self community [ 65005:7 ] large-community [ 65005:1:2 ]; }
}"
        .into(),
        listen: None,
    }
}

/// What `router` must know of the hub's routes.
fn check(router: &Router, extended: bool) -> Result<()> {
    let hub: IpAddr = HUB.parse()?;
    let neighbor = router.wait_established(hub, SOON)?;
    ensure!(neighbor.remote_as == Some(65001), "{neighbor:?}");
    ensure!(
        neighbor.uptime.is_some_and(|up| up < SOON * 4),
        "{neighbor:?}"
    );
    let what = format!("the hub's routes in {}", router.name());
    let (one, two) = eventually(SOON, &what, || {
        let one = router.paths("198.51.100.1".parse()?)?.pop();
        let two = router.paths("198.51.100.2".parse()?)?.pop();
        // It may not have chosen yet.
        Ok(one.zip(two).filter(|(one, _)| one.best))
    })?;
    ensure!(one.from == hub, "{one:?}");
    ensure!(one.attributes.as_path == [65001], "{one:?}");
    ensure!(one.attributes.next_hops == [hub], "{one:?}");
    ensure!(one.attributes.med == Some(7), "{one:?}");
    ensure!(one.attributes.communities == ["65001:100"], "{one:?}");
    ensure!(one.attributes.large == ["65001:1:2"], "{one:?}");
    ensure!(one.attributes.extended.is_empty() != extended, "{one:?}");
    ensure!(two.attributes.communities.is_empty(), "{two:?}");
    ensure!(two.attributes.extended.is_empty(), "{two:?}");
    let six = eventually(SOON, &what, || Ok(router.paths("fd98::1".parse()?)?.pop()))?;
    let global: IpAddr = "fd99:1::1".parse()?;
    ensure!(six.attributes.next_hops.first() == Some(&global), "{six:?}");
    let neighbor = router.neighbor(hub)?.context("the hub is gone")?;
    ensure!(neighbor.prefixes == 3, "{neighbor:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn every_router_says_what_the_hub_sent() -> Result<()> {
    let bare = network()?;
    let hub = Router::start(&bare, "hub", "hub", &hub()?)?;
    let frr = Router::start(&bare, "frr", "frr", &frr())?;
    let gobgp = Router::start(&bare, "gobgp", "gobgp", &gobgp())?;
    let openbgpd = Router::start(&bare, "openbgpd", "openbgpd", &openbgpd())?;
    let exabgp = Router::start(&bare, "exabgp", "exabgp", &exabgp())?;
    for router in [&frr, &gobgp, &openbgpd, &exabgp] {
        check(router, true).with_context(|| router.name().to_owned())?;
    }

    // BIRD's side, and that of its kernel: it has no protocol kernel here, FRR has.
    let path = eventually(SOON, "ExaBGP's route in BIRD", || {
        Ok(hub.paths("203.0.113.1".parse()?)?.pop())
    })?;
    assert_eq!(path.from, address(3).parse::<IpAddr>()?);
    assert_eq!(path.attributes.as_path, [65005]);
    assert_eq!(path.attributes.next_hops, [path.from]);
    assert_eq!(path.attributes.communities, ["65005:7"]);
    assert_eq!(path.attributes.large, ["65005:1:2"]);
    assert!(path.best);
    assert_eq!(hub.kernel_next_hops("203.0.113.1".parse()?)?, []);
    let hop = (HUB.parse::<IpAddr>()?, 1);
    eventually(SOON, "the route in FRR's kernel", || {
        let hops = frr.kernel_next_hops("198.51.100.1".parse()?)?;
        Ok((hops == [hop]).then_some(()))
    })?;
    eventually(SOON, "the IPv6 route in FRR's kernel", || {
        let six = frr.kernel_routes(Family::Ipv6)?;
        let there = six
            .iter()
            .any(|route| route.prefix.to_string() == "fd98::1/128");
        Ok(there.then_some(()))
    })?;

    for (router, peer) in [(&frr, HUB.to_owned()), (&hub, address(0))] {
        let peer: IpAddr = peer.parse()?;
        eventually(SOON, "BFD up", || {
            let sessions = router.bfd()?;
            Ok(sessions
                .iter()
                .any(|bfd| bfd.peer == peer && bfd.up)
                .then_some(()))
        })?;
    }

    // A route more by ExaBGP's commands, then all of them gone with it.
    exabgp.command("announce route 203.0.113.2/32 next-hop self")?;
    eventually(SOON, "ExaBGP's second route", || {
        Ok(hub.paths("203.0.113.2".parse()?)?.pop())
    })?;
    exabgp.stop()?;
    eventually(SOON, "the end of ExaBGP's routes", || {
        let left = hub.routes(Family::Ipv4)?;
        Ok(left
            .iter()
            .all(|route| route.from != path.from)
            .then_some(()))
    })?;
    let neighbor = hub.neighbor(path.from)?.context("unknown")?;
    assert_ne!(neighbor.state, State::Established);
    for router in [&frr, &gobgp, &openbgpd, &hub] {
        router.stop()?;
    }
    bare.down();
    Ok(())
}
