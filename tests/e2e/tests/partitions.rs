//! Networks that break in part: the group, the LAN, one way, a little; and strangers on the LAN.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{Cut, Lab, Packets, eventually};

const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);
/// However the group is broken, two may answer for no longer than it takes to notice; twice that on
/// cores that are shared.
const SETTLED: Duration = Duration::from_secs(2);

/// Lets a fault happen and end, and makes sure that one and only one answers soon after either.
async fn one_owner_through(
    cluster: &Cluster,
    what: &str,
    from: &[&str],
    to: &[&str],
    both_ways: bool,
) -> Result<()> {
    let lab = &cluster.lab;
    let watches = cluster.watch(LOOK)?;
    let start = Instant::now();
    let fault = if both_ways {
        lab.lose_between(from, to, Packets::Gossip, 100).await?
    } else {
        lab.lose(from, to, Packets::Gossip, 100).await?
    };
    tokio::time::sleep(SETTLED + SECOND * 2).await;
    one_answer(watches, start + SETTLED, &format!("{what}, broken")).await?;
    let watches = cluster.watch(LOOK)?;
    lab.restore(fault).await?;
    let healed = Instant::now();
    tokio::time::sleep(SECOND * 4).await;
    // A second is the promise, and half of one the share of the tests beside this.
    let since = healed + SECOND * 3 / 2;
    one_answer(watches, since, &format!("{what}, healed")).await?;
    cluster.fresh().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn where_the_group_is_broken_and_the_lan_is_not_one_node_answers() -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let others = &["n2", "n3"];
    one_owner_through(&cluster, "the owner alone", &[OWNER], others, true).await?;
    one_owner_through(&cluster, "another alone", &["n2"], &[OWNER, "n3"], true).await?;
    one_owner_through(&cluster, "the owner unheard", &[OWNER], others, false).await?;
    one_owner_through(&cluster, "the owner deaf", others, &[OWNER], false).await?;
    cluster.down().await
}

/// Cuts the owner's LAN while the group has a network of its own, and mends it.
async fn lan_cut(how: Cut, longest: Duration) -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let lab = &cluster.lab;
    let requests = cluster.ask()?;
    tokio::time::sleep(SECOND).await;
    lab.cut_link(OWNER, "lan0", how).await?;
    tokio::time::sleep(longest + SECOND * 2).await;
    requests.no_longer_than(longest, "the LAN is cut").await?;

    let (start, requests) = (Instant::now(), cluster.ask()?);
    tokio::time::sleep(SECOND / 2).await;
    let watches = cluster.watch(LOOK)?;
    lab.restore_link(OWNER, "lan0").await?;
    let healed = Instant::now();
    tokio::time::sleep(SECOND * 6).await;
    one_answer(watches, healed + SECOND, "the LAN is back").await?;
    requests.none_failed(start, "the LAN is back").await?;
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_lan_without_a_carrier_moves_the_address_although_the_group_goes_on() -> Result<()> {
    lan_cut(Cut::Carrier, SECOND).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_lan_that_falls_silent_moves_the_address_although_the_group_goes_on() -> Result<()> {
    lan_cut(Cut::Silent, SECOND * 3).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_strange_host_with_an_address_of_ours_is_told_of_and_not_fought() -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let lab = &cluster.lab;
    // It was there first.
    let [taken, v6]: [IpAddr; 2] = ["192.168.10.90".parse()?, "fd10::a:90".parse()?];
    lab.add_host("stranger", &[taken, v6]).await?;
    let stranger = lab.mac("stranger", "lan0")?;
    let late = lab.service("late").dual_stack().selector("app", "web");
    let both = format!("{taken},{v6}");
    let late = late.annotation("metallb.io/loadBalancerIPs", &both);
    late.create().await?.wait_addresses(2).await?;
    tokio::time::sleep(SECOND * 3).await;
    for address in [taken, v6] {
        assert_eq!(lab.owners(address).await?, [stranger], "{address}");
    }
    lab.remove_host("stranger").await?;
    for address in [taken, v6] {
        let soon = Duration::from_secs(10);
        eventually(soon, "a node to take the free address", async || {
            Ok((lab.owner_nodes(address).await?.len() == 1).then_some(()))
        })
        .await?;
    }

    // It comes later: both answer, and the owner goes on without a war of announcements.
    let [held, held6] = cluster.addresses;
    let capture = lab.capture("router", "lan0")?;
    lab.add_host("thief", &[held, held6]).await?;
    let thief = lab.mac("thief", "lan0")?;
    let IpAddr::V4(held4) = held else {
        anyhow::bail!("{held} is not IPv4")
    };
    let (owner, start) = (cluster.mac(OWNER)?, Instant::now());
    let gratuitous = herald_lab::Arp {
        operation: 2,
        target_mac: herald_lab::Mac::BROADCAST,
        ..herald_lab::Arp::request(thief, held4, held4)
    };
    while start.elapsed() < SECOND * 3 {
        lab.send_frame("thief", "lan0", &gratuitous.to_frame())?;
        tokio::time::sleep(SECOND / 10).await;
    }
    for address in [held, held6] {
        let macs: BTreeSet<_> = lab.owners(address).await?.into_iter().collect();
        assert_eq!(macs, BTreeSet::from([owner, thief]), "{address}");
    }
    let announced = capture.find(|frame| {
        let arp = herald_lab::Arp::parse(&frame.bytes)?;
        (arp.sender == held4 && arp.sender_mac == owner && arp.to == herald_lab::Mac::BROADCAST)
            .then_some(())
    });
    ensure!(announced.len() < 10, "{} announcements", announced.len());
    lab.remove_host("thief").await?;
    cluster.steady(OWNER).await?;
    cluster.down().await
}
