//! Herald's sessions with every router.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::{Attributes, Community};
use herald_api::config::bgp::BgpPeer;
use herald_interop::{Config, Family, Neighbor, Router, eventually, lan};
use herald_lab::Bare;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, many};
use crate::support::{ASN, peer};

const ROUTERS: [&str; 4] = ["frr", "bird", "gobgp", "openbgpd"];

fn router_address(n: usize) -> IpAddr {
    let last = u8::try_from(n + 2).expect("few routers");
    IpAddr::from([10, 99, 1, last])
}

fn router_as(n: usize) -> u32 {
    65002 + u32::try_from(n).expect("few routers")
}

fn network() -> Result<Bare> {
    let bare = lan("hub", &ROUTERS)?;
    bare.ip("hub", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    Ok(bare)
}

fn config(n: usize) -> Config {
    let (own, asn) = (router_address(n), router_as(n));
    match ROUTERS[n] {
        "frr" => Config::frr(format!(
            "router bgp {asn}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n \
             neighbor {HERALD} remote-as {ASN}\n neighbor {HERALD} passive\n \
             address-family ipv6 unicast\n  neighbor {HERALD} activate\n"
        )),
        "bird" => Config::Bird(format!(
            "router id {own};\nlog stderr all;\nprotocol device {{}}\n\
             protocol bgp herald {{ local {own} as {asn}; neighbor {HERALD} as {ASN}; passive on;\n\
             ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n"
        )),
        "gobgp" => Config::Gobgp(format!(
            "[global.config]\nas = {asn}\nrouter-id = \"{own}\"\n[[neighbors]]\n\
             [neighbors.config]\nneighbor-address = \"{HERALD}\"\npeer-as = {ASN}\n\
             [neighbors.transport.config]\npassive-mode = true\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
             afi-safi-name = \"ipv4-unicast\"\n[[neighbors.afi-safis]]\n\
             [neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n"
        )),
        _ => Config::Openbgpd(format!(
            "AS {asn}\nrouter-id {own}\nfib-update no\nlisten on {own}\n\
             neighbor {HERALD} {{\n remote-as {ASN}\n passive\n announce IPv4 unicast\n \
             announce IPv6 unicast\n}}\nallow from any\n"
        )),
    }
}

fn wait_prefixes(router: &Router, count: usize) -> Result<Neighbor> {
    let what = format!("{count} prefixes at {}", router.name());
    eventually(SOON, &what, || {
        let neighbor = router.neighbor(HERALD.into())?;
        Ok(neighbor.filter(|neighbor| neighbor.prefixes == count))
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn every_router_gets_the_routes_and_no_change_of_them_touches_a_session() -> Result<()> {
    let bare = network()?;
    let routers: Vec<Router> = (0..ROUTERS.len())
        .map(|n| Router::start(&bare, ROUTERS[n], ROUTERS[n], &config(n)))
        .collect::<Result<_>>()?;
    let peers = || -> Vec<BgpPeer> {
        (0..ROUTERS.len())
            .map(|n| peer(ROUTERS[n], router_address(n), router_as(n)))
            .collect()
    };
    let mut herald = Herald::start(&bare.netns("hub"), peers(), CancellationToken::new())?;
    let community = |text: &str| text.parse::<Community>().context("a community");
    let attributes = Attributes {
        med: Some(7),
        prepend: 1,
        communities: [
            community("65001:100")?,
            community("large:65001:1:2")?,
            community("no-export")?,
        ]
        .into(),
        ..Attributes::default()
    };
    let (v4, v6) = (host("198.51.100.1/32"), host("fd98::1/128"));
    herald.announce("web", &[v4, v6], &attributes);
    for router in &routers {
        router.wait_established(HERALD.into(), SOON)?;
        for (prefix, next_hop) in [("198.51.100.1", "10.99.1.1"), ("fd98::1", "fd99:1::1")] {
            let prefix: herald_interop::Prefix = prefix.parse()?;
            let what = format!("{prefix} at {}", router.name());
            let path = eventually(SOON, &what, || Ok(router.paths(prefix)?.pop()))?;
            let found = &path.attributes;
            ensure!(found.as_path == [ASN, ASN], "{what}: {found:?}");
            ensure!(found.med == Some(7), "{what}: {found:?}");
            ensure!(
                found.communities.iter().any(|c| c == "65001:100"),
                "{what}: {found:?}"
            );
            ensure!(found.large == ["65001:1:2"], "{what}: {found:?}");
            ensure!(
                prefix.address.is_ipv6() || found.next_hops == [next_hop.parse::<IpAddr>()?],
                "{what}: {found:?}"
            );
        }
    }

    // Nothing of what follows may be seen in the age of a session.
    let begun = Instant::now();
    let changed = Attributes {
        communities: [community("65001:200")?].into(),
        ..Attributes::default()
    };
    herald.announce("web", &[v4, v6], &changed);
    // More than the socket takes at once.
    herald.announce("many", &many(60_000), &Attributes::default());
    for router in &routers {
        wait_prefixes(router, 60_002)?;
        let what = format!("the new community at {}", router.name());
        eventually(SOON, &what, || {
            let path = router.paths("198.51.100.1".parse()?)?.pop();
            let path = path.filter(|path| path.attributes.communities == ["65001:200"]);
            Ok(path.filter(|path| path.attributes.as_path == [ASN]))
        })?;
    }
    for left in [59_186, 58_371, 0] {
        herald.announce("many", &many(left), &Attributes::default());
        for router in &routers {
            wait_prefixes(router, left as usize + 2)?;
        }
    }
    let age = begun.elapsed();
    for router in &routers {
        let neighbor = router.neighbor(HERALD.into())?.context("a neighbour")?;
        let uptime = neighbor.uptime.context("a session that is up")?;
        ensure!(
            uptime + Duration::from_secs(1) >= age,
            "the session of {} is {uptime:?} old after {age:?}",
            router.name()
        );
    }
    eventually(SOON, "two routes at each of four peers", || {
        let statuses = herald.statuses.borrow().clone();
        let all =
            statuses.len() == ROUTERS.len() && statuses.values().all(|s| s.counters().told() == 2);
        Ok(all.then_some(()))
    })?;

    // A peer that is not wanted any longer is told so; the others keep their sessions.
    herald.set_peers(peers().split_off(1))?;
    eventually(SOON, "FRR to have no routes", || {
        let kept = routers[0].routes(Family::Ipv4)?;
        Ok(kept.is_empty().then_some(()))
    })?;
    for router in &routers[1..] {
        wait_prefixes(router, 2)?;
    }
    herald.stop()?;
    for router in &routers[1..] {
        eventually(SOON, "the routes to go", || {
            Ok(router.routes(Family::Ipv4)?.is_empty().then_some(()))
        })?;
    }
    bare.down();
    Ok(())
}
