//! What the lab can do to nodes, to the group of the speakers, and to those who want an answer.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Lab, Packets, ProcessSpec, ProxyMode, eventually};

const SOON: Duration = Duration::from_secs(5);

/// Sends so many datagrams from one node to another's port on the management network; how many
/// arrive.
fn datagrams(lab: &Lab, [from, to]: [&str; 2], port: u16, count: usize) -> Result<usize> {
    let target = (lab.node(to)?.mgmt.v4, port);
    let receiver =
        lab.in_namespace(to, move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))??;
    receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
    let sender = lab.in_namespace(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    for _ in 0..count {
        sender.send_to(b"hello", target)?;
    }
    let mut arrived = 0;
    while receiver.recv_from(&mut [0; 16]).is_ok() {
        arrived += 1;
    }
    Ok(arrived)
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn gossip_is_lost_alone_and_nodes_lose_their_power() -> Result<()> {
    let lab = Lab::builder()
        .nodes(2)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let there = ["n1", "n2"];
    assert_eq!(datagrams(&lab, there, 7946, 50)?, 50);
    let fault = lab.lose(&["n1"], &["n2"], Packets::Gossip, 100).await?;
    assert_eq!(datagrams(&lab, there, 7946, 50)?, 0);
    assert_eq!(datagrams(&lab, ["n2", "n1"], 7946, 50)?, 50);
    assert_eq!(datagrams(&lab, there, 7947, 50)?, 50);
    lab.restore(fault).await?;
    let fault = lab
        .lose_between(&["n1"], &["n2"], Packets::Gossip, 40)
        .await?;
    for way in [there, ["n2", "n1"]] {
        // As many as a socket keeps. Of 200, 120 are expected; 50 to 190 is a matter of course.
        let arrived = datagrams(&lab, way, 7946, 200)?;
        ensure!((50..190).contains(&arrived), "{arrived} of 200 arrived");
    }
    lab.restore(fault).await?;

    // Without power nothing gets through on any network; whatever ran goes on, or dies.
    let (n1, mac) = (lab.node("n1")?.clone(), lab.mac("n1", "lan0")?);
    let sleeper = lab.spawn("n1", ProcessSpec::new("sleeper", "sleep").arg("1000"))?;
    let off = lab.power_off("n1").await?;
    assert_eq!(lab.owners(n1.lan.v4.into()).await?, []);
    assert_eq!(datagrams(&lab, there, 7947, 10)?, 0);
    ensure!(sleeper.is_running());
    lab.restore(off).await?;
    assert_eq!(lab.owners(n1.lan.v4.into()).await?, [mac]);
    let crash = lab.crash("n1").await?;
    ensure!(!sleeper.is_running());
    assert_eq!(lab.owners(n1.lan.v6.into()).await?, []);
    lab.boot(crash).await?;
    ensure!(sleeper.is_running());
    assert_eq!(lab.owners(n1.lan.v6.into()).await?, [mac]);
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_watch_shows_who_answers_and_a_strange_host_beside() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let node = lab.node("n1")?.clone();
    let mac = lab.mac("n1", "lan0")?;
    for address in node.lan.both() {
        let watch = lab.watch_macs(address, Duration::from_millis(100))?;
        tokio::time::sleep(Duration::from_millis(350)).await;
        lab.add_host("stranger", &[address]).await?;
        let stranger = lab.mac("stranger", "lan0")?;
        tokio::time::sleep(Duration::from_millis(350)).await;
        lab.remove_host("stranger").await?;
        let off = lab.power_off("n1").await?;
        tokio::time::sleep(Duration::from_millis(350)).await;
        let looks = watch.stop().await?;
        let seen: Vec<_> = looks.iter().map(|look| look.macs.clone()).collect();
        assert_eq!(seen.first(), Some(&BTreeSet::from([mac])), "{seen:?}");
        assert!(seen.contains(&BTreeSet::from([mac, stranger])), "{seen:?}");
        assert_eq!(seen.last(), Some(&BTreeSet::new()), "{seen:?}");
        lab.restore(off).await?;
        let gone = async || Ok((!lab.netns("stranger").path().exists()).then_some(()));
        eventually(SOON, "the stranger to be gone", gone).await?;
    }
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn connections_stay_open_until_they_are_reset() -> Result<()> {
    let lab = Lab::builder().nodes(1).start().await?;
    let pods = lab.backends("web", &["n1"]).await?;
    let web = lab.service("web").node_port().create().await?;
    let port = web.node_port(80).await?;
    let address = lab.node("n1")?.lan.v4.into();
    let ask = async || Ok(Some(lab.ask("client", address, port).await?));
    eventually(SOON, "an answer", ask).await?;
    let every = Duration::from_millis(20);
    let kept = lab.connections("client", address, port, 5, every)?;
    let traffic = lab.traffic("client", address, port, every, SOON)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(kept.lost().is_empty(), "{:?}", kept.lost());

    // A cut that is shorter than retransmissions last resets none, and nobody hears anything in it.
    let cut = Instant::now();
    let fault = lab
        .lose_between(&["client"], &["n1"], Packets::All, 100)
        .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(traffic.last_answer().context("some came")? < cut + Duration::from_millis(300));
    lab.restore(fault).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = traffic.stop().await?;
    ensure!(report.failures().is_empty(), "{:?}", report.failures());
    let silence = report.longest_silence();
    ensure!((900..2500).contains(&silence.as_millis()), "{silence:?}");
    ensure!(report.longest_pause() < Duration::from_millis(500));
    ensure!(kept.lost().is_empty(), "{:?}", kept.lost());

    // The pod's namespace goes, and with it the other ends.
    for pod in pods {
        pod.delete().await?;
    }
    let lost = async || Ok((kept.lost().len() == 5).then_some(()));
    eventually(SOON * 2, "all to be lost", lost).await?;
    assert_eq!(kept.stop().await?.len(), 5);
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn processes_stutter_and_cores_are_busy() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let busy = lab.busy_cores(1)?;
    let process = &busy[0];
    tokio::time::sleep(Duration::from_millis(500)).await;
    let alone = process.cpu_time()?;
    ensure!(alone > Duration::from_millis(100), "{alone:?}");

    let stutter = process.stutter(Duration::from_millis(90), Duration::from_millis(10));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = process.cpu_time()?.saturating_sub(alone);
    ensure!(used < Duration::from_millis(500), "{used:?}");
    stutter.end().await?;
    let before = process.cpu_time()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(process.cpu_time()? > before + Duration::from_millis(100));
    process.kill().await?;

    // A node's state and the group's key.
    ensure!(std::fs::read_to_string(lab.member_key().join("secretkey"))?.len() == 64);
    let state = lab.state_dir("n1");
    std::fs::create_dir_all(&state)?;
    lab.wipe_state("n1")?;
    ensure!(!state.exists());
    lab.down().await
}
