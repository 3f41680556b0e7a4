//! Networks that break in part: the group, the LAN, one direction of either.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::{Duration, Instant};

use anyhow::Result;
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{Cut, Lab, LabBuilder, Packets};

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

/// Cuts the owner's LAN in these ways, one after the other, and mends it.
async fn lan_cut(lab: LabBuilder, ways: &[Cut]) -> Result<()> {
    let cluster = Cluster::start(lab).await?;
    let lab = &cluster.lab;
    for how in ways {
        let requests = cluster.ask()?;
        tokio::time::sleep(SECOND).await;
        lab.cut_link(OWNER, "lan0", *how).await?;
        tokio::time::sleep(SECOND * 3).await;
        let what = format!("the LAN is cut, {how:?}");
        requests.no_longer_than(SECOND, &what).await?;

        let (start, requests) = (Instant::now(), cluster.ask()?);
        tokio::time::sleep(SECOND / 2).await;
        let watches = cluster.watch(LOOK)?;
        lab.restore_link(OWNER, "lan0").await?;
        let healed = Instant::now();
        tokio::time::sleep(SECOND * 6).await;
        let what = format!("the LAN is back, {how:?}");
        one_answer(watches, healed + SECOND, &what).await?;
        requests.none_failed(start, &what).await?;
        cluster.fresh().await?;
    }
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_lan_that_is_cut_moves_the_address_although_the_group_goes_on() -> Result<()> {
    lan_cut(Lab::builder(), &[Cut::Carrier, Cut::Silent]).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_lan_that_loses_one_direction_moves_the_address() -> Result<()> {
    lan_cut(Lab::builder(), &[Cut::Mute, Cut::Deaf]).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_network_that_loses_one_direction_moves_the_address() -> Result<()> {
    lan_cut(Lab::builder().one_network(), &[Cut::Mute, Cut::Deaf]).await
}
