//! The API server and its store are away, or slow, and addresses go on.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{Lab, eventually};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(200);

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn without_the_api_speakers_start_again_and_replace_each_other() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    // The state is on disk a while after what it is about.
    tokio::time::sleep(SECOND * 2).await;
    let control_plane = lab.control_plane();
    let (start, requests) = (Instant::now(), cluster.ask()?);
    control_plane.api_server.kill().await?;
    control_plane.etcd.kill().await?;
    tokio::time::sleep(SECOND * 2).await;

    // Stopped in order, the owner hands over; started again, it knows from its disk what is its own.
    let speaker = cluster.speaker(OWNER)?;
    speaker.stop().await?;
    tokio::time::sleep(SECOND).await;
    speaker.restart().await?;
    cluster.steady(OWNER).await?;
    requests
        .none_failed(start, "a restart without the API")
        .await?;

    // It dies, and another takes over although no API says so.
    let requests = cluster.ask()?;
    tokio::time::sleep(SECOND).await;
    let off = lab.power_off(OWNER).await?;
    speaker.kill().await?;
    tokio::time::sleep(SECOND * 2).await;
    requests
        .no_longer_than(SECOND, "a node dies without the API")
        .await?;

    // The API comes back, and what did not change stays where it is.
    let (start, requests) = (Instant::now(), cluster.ask()?);
    let watches = cluster.watch(LOOK)?;
    control_plane.etcd.restart().await?;
    control_plane.api_server.restart().await?;
    control_plane.ready(&lab.client()).await?;
    let late = lab.service("late").selector("app", "web").create().await?;
    let patience = Duration::from_secs(30);
    let address = eventually(patience, "an address", async || {
        Ok(late.addresses().await?.first().copied())
    })
    .await?;
    eventually(patience, "an answer of the new address", async || {
        Ok(Some(lab.ask("client", address, 80).await?))
    })
    .await?;
    one_answer(watches, start, "the API returns").await?;
    requests.none_failed(start, "the API returns").await?;
    lab.restore(off).await?;
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn without_the_api_a_speaker_without_a_memory_is_given_nothing() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let owner = cluster.mac(OWNER)?;
    let api_server = &lab.control_plane().api_server;
    api_server.pause()?;
    // A node that was installed anew: it does not know what it would have to answer for.
    let speaker = cluster.speaker(OWNER)?;
    speaker.stop().await?;
    lab.wipe_state(OWNER)?;
    let (start, requests) = (Instant::now(), cluster.ask()?);
    let watches = cluster.watch(LOOK)?;
    speaker.restart().await?;
    // Longer than one that hands an address over goes on to answer for it.
    tokio::time::sleep(SECOND * 14).await;
    let what = "a speaker without a memory";
    let macs = one_answer(watches, start, what).await?;
    ensure!(!macs.contains(&owner), "{macs:?} answer");
    ensure!(!speaker.is_ready().await?, "it says that it is ready");
    api_server.resume()?;
    cluster.steady_within(OWNER, SECOND * 30).await?;
    requests.none_failed(start, what).await?;
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_slow_api_and_an_absent_store_move_nothing_and_planned_moves_lose_nothing() -> Result<()>
{
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let control_plane = lab.control_plane();
    let owner = cluster.mac(OWNER)?;
    let (start, requests) = (Instant::now(), cluster.ask()?);
    let watches = cluster.watch(LOOK)?;
    control_plane.etcd.pause()?;
    tokio::time::sleep(SECOND * 4).await;
    control_plane.etcd.resume()?;
    let macs = one_answer(watches, start, "the store hangs").await?;
    ensure!(macs.into_iter().eq([owner]));

    let slow = control_plane
        .api_server
        .stutter(Duration::from_millis(400), Duration::from_millis(100));
    let label = |value| json!({"metadata": {"labels": {"herald.io/drain": value}}});
    cluster.patch_node(OWNER, label(json!("yes"))).await?;
    let patience = Duration::from_secs(10);
    eventually(patience, "another node to answer", async || {
        let macs = lab.owners(cluster.addresses[0]).await?;
        Ok((macs.len() == 1 && macs != [owner]).then_some(()))
    })
    .await?;
    cluster.patch_node(OWNER, label(json!(null))).await?;
    cluster.steady(OWNER).await?;
    slow.end().await?;
    requests
        .none_failed(start, "a drain, the API being slow")
        .await?;
    cluster.down().await
}
