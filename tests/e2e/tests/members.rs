//! Where speakers find each other: over IPv6, and nowhere.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_e2e::layer2::elected;
use herald_e2e::objects::{SOON, metrics};
use herald_lab::{Cut, Lab, Packets, always, eventually};

const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);
const PORT: u16 = 7946;

/// Whether a frame is a datagram to the group's port, over IPv4 or over IPv6.
fn gossip(frame: &[u8]) -> Option<u8> {
    let (version, next, port) = match frame.get(12..14)? {
        [0x08, 0x00] => (4, 23, 36),
        [0x86, 0xdd] => (6, 20, 56),
        _ => return None,
    };
    let is_udp = frame.get(next) == Some(&17);
    (is_udp && frame.get(port..port + 2)? == PORT.to_be_bytes()).then_some(version)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_group_over_ipv6_does_all_that_one_over_ipv4_does() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network().ipv6_nodes()).await?;
    let lab = &cluster.lab;
    let capture = lab.capture(OWNER, "lan0")?;
    tokio::time::sleep(SECOND).await;
    let versions = capture.find(|frame| gossip(&frame.bytes));
    ensure!(
        versions.len() > 10 && versions.iter().all(|version| *version == 6),
        "the group speaks {versions:?}"
    );
    for node in lab.nodes() {
        let live = cluster.sample(&node.name, "herald_group_members_live");
        assert_eq!(live.await?, Some(3), "{}", node.name);
    }

    // The owner falls silent.
    let requests = cluster.ask()?;
    tokio::time::sleep(SECOND).await;
    lab.cut_link(OWNER, "lan0", Cut::Silent).await?;
    tokio::time::sleep(SECOND * 2).await;
    requests.no_longer_than(SECOND, "the link is cut").await?;
    lab.restore_link(OWNER, "lan0").await?;
    cluster.fresh().await?;

    // Its speaker ends in order, and starts again.
    let (start, requests) = (Instant::now(), cluster.ask()?);
    tokio::time::sleep(SECOND / 2).await;
    cluster.speaker(OWNER)?.restart().await?;
    cluster.steady(OWNER).await?;
    requests.none_failed(start, "a restart").await?;

    // The group is broken, and the LAN is not.
    let fault = lab.lose_between(&[OWNER], &["n2", "n3"], Packets::Gossip, 100);
    let fault = fault.await?;
    let (start, watches) = (Instant::now(), cluster.watch(LOOK)?);
    tokio::time::sleep(SECOND * 5).await;
    one_answer(watches, start + SECOND * 3, "the group is broken").await?;
    lab.restore(fault).await?;
    cluster.steady(OWNER).await?;

    // Junk for the port.
    let client = lab.in_namespace("client", || UdpSocket::bind("[::]:0"))??;
    let to = (lab.node(OWNER)?.internal.v6, PORT);
    for _ in 0..20 {
        client.send_to(&[7; 64], to)?;
    }
    eventually(SOON, "the junk to be counted", async || {
        Ok((cluster.problems(OWNER, "garbage").await? >= 20).then_some(()))
    })
    .await?;
    cluster.steady(OWNER).await?;
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn speakers_without_a_group_go_by_the_api_alone() -> Result<()> {
    let lab = Lab::builder().one_network();
    let cluster = Cluster::start_with(lab, |speaker| speaker.without("--ml-bindaddr")).await?;
    let lab = &cluster.lab;
    for (node, speaker) in lab.nodes().iter().zip(&cluster.speakers) {
        let name = node.name.as_str();
        // The port is free in both families.
        lab.in_namespace(name, || UdpSocket::bind("[::]:7946"))?
            .with_context(|| format!("{name} has the port of the group open"))?;
        let metrics = metrics(lab, name, speaker).await?;
        ensure!(!metrics.contains("herald_group_"), "{name}: {metrics}");
        let told = speaker.log();
        let told = told.lines().filter(|line| line.contains("membershipOff"));
        assert_eq!(told.count(), 1, "{name} does not say it once");
    }

    // Nobody takes what a node has before its Node object says so.
    let speaker = cluster.speaker(OWNER)?;
    speaker.kill().await?;
    let silent = async || Ok(lab.owners(cluster.addresses[0]).await?.is_empty());
    always(SECOND * 2, "nobody answers", silent).await?;
    let network = |gone| lab.set_node_condition(OWNER, "NetworkUnavailable", gone);
    network(true).await?;
    let next = elected(cluster.addresses[0], &["n2", "n3"]);
    cluster.steady(&next).await?;
    speaker.restart().await?;
    network(false).await?;
    cluster.steady(OWNER).await?;

    // While the API hangs all stays as it is.
    let watches = cluster.watch(LOOK)?;
    let start = Instant::now();
    lab.control_plane().api_server.pause()?;
    tokio::time::sleep(SECOND * 3).await;
    let macs = one_answer(watches, start, "the API hangs").await?;
    lab.control_plane().api_server.resume()?;
    ensure!(macs.into_iter().eq([cluster.mac(OWNER)?]));
    cluster.down().await
}
