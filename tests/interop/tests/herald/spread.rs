//! Two nodes with the same address: how FRR shares the traffic among them, and leaves one that goes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use anyhow::{Result, ensure};
use herald_announce::bgp::{Attributes, Community};
use herald_interop::{Config, Router, eventually};
use herald_lab::Bare;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, planned};
use crate::support::{ASN, peer};

const FRR: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 4);
const VIP: &str = "198.51.100.1/32";

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn link_bandwidth_is_the_weight_of_a_node_and_rfc_8326_empties_one_before_it_goes() -> Result<()> {
    let bare = Bare::new(&["hub", "other", "frr"])?;
    bare.ip(
        "hub",
        [
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
            "addr add 10.99.1.1/24 dev br0",
        ],
    )?;
    for (part, own) in [("other", OTHER), ("frr", FRR)] {
        bare.link(("hub", part), (part, "eth0"))?;
        bare.ip("hub", [format!("link set {part} master br0")])?;
        bare.ip(part, [format!("addr add {own}/24 dev eth0")])?;
    }
    let [first, second] = [HERALD, OTHER]
        .map(|node| format!(" neighbor {node} remote-as {ASN}\n neighbor {node} passive\n"));
    let config = Config::frr(format!(
        "router bgp 65002\n bgp router-id {FRR}\n no bgp ebgp-requires-policy\n \
         bgp bestpath as-path multipath-relax\n{first}{second} address-family ipv4 unicast\n  \
         maximum-paths 16\n exit-address-family\n"
    ));
    let frr = Router::start(&bare, "frr", "frr", &config)?;

    let mut nodes = Vec::new();
    for (part, own, endpoints) in [("hub", HERALD, 1), ("other", OTHER, 3)] {
        let mut router = peer("frr", FRR.into(), 65002);
        router.router_id = Some(own);
        let plans = planned(vec![router])?;
        let mut herald = Herald::with_plans(&bare.netns(part), plans, CancellationToken::new());
        herald.announce_weighted("web", &[host(VIP)], &Attributes::default(), endpoints);
        nodes.push(herald);
    }
    let hops = |frr: &Router| frr.kernel_next_hops(VIP.parse()?);
    let [one, other] = [HERALD, OTHER].map(IpAddr::V4);
    eventually(SOON, "a quarter and three quarters", || {
        let found = hops(&frr)?;
        ensure!(
            matches!(found[..], [(a, x), (b, y)] if (a, b) == (one, other) && y == 3 * x),
            "{found:?}"
        );
        Ok(Some(()))
    })?;

    let leaving = Attributes {
        communities: ["65535:0".parse::<Community>()?].into(),
        ..Attributes::default()
    };
    let begun = Instant::now();
    if let Some(node) = nodes.last_mut() {
        node.announce_weighted("web", &[host(VIP)], &leaving, 3);
    }
    eventually(SOON, "the node that stays alone", || {
        let found = hops(&frr)?;
        ensure!(!found.is_empty(), "no route at all");
        Ok(found.iter().all(|(hop, _)| *hop == one).then_some(()))
    })?;
    // Its session and its route are there all the time.
    let routes = frr.paths(VIP.parse()?)?;
    ensure!(routes.len() == 2, "{routes:?}");
    let age = begun.elapsed();
    let neighbor = frr.neighbor(other)?;
    let uptime = neighbor.and_then(|one| one.uptime).unwrap_or_default();
    ensure!(
        uptime + std::time::Duration::from_secs(1) >= age,
        "{uptime:?} of {age:?}"
    );
    for node in &mut nodes {
        node.stop()?;
    }
    bare.down();
    Ok(())
}
