//! What must not move an address: junk for the group's port, strangers in the group, and bad files.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{Herald, Lab, eventually};
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
const PORT: u16 = 7946;

/// The payloads of the group's datagrams that go from one node to another, as they pass by.
fn overheard(frame: &[u8], from: [u8; 4], to: [u8; 4]) -> Option<Vec<u8>> {
    let header: &[u8; 42] = frame.first_chunk()?;
    let is_udp = header[12..14] == [8, 0] && header[14] == 0x45 && header[23] == 17;
    let port = u16::from_be_bytes([header[36], header[37]]);
    let length = usize::from(u16::from_be_bytes([header[38], header[39]]));
    (is_udp && header[26..30] == from && header[30..34] == to && port == PORT)
        .then(|| frame.get(42..34 + length).map(<[u8]>::to_vec))?
}

/// Makes sure that a speaker has told of each kind of problem at most once in each minute; the kinds
/// that it told of.
fn told_rarely(speaker: &Herald, since: Instant) -> Result<BTreeSet<String>> {
    let mut told = BTreeMap::new();
    for line in speaker.log().lines() {
        // The lines of a process that ends before it logs are none.
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        if line["event"] == "membershipProblem" {
            let kind = line["kind"].as_str().context("a problem has a kind")?;
            *told.entry(kind.to_owned()).or_insert(0) += 1;
        }
    }
    let most = 1 + since.elapsed().as_secs() / 60;
    ensure!(
        told.values().all(|times| *times <= most),
        "{} said {told:?}",
        speaker.name()
    );
    Ok(told.into_keys().collect())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn junk_for_the_port_of_the_group_is_counted_and_moves_nothing() -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let [n1, n2] = [lab.node("n1")?.internal.v4, lab.node("n2")?.internal.v4];
    let watches = cluster.watch(LOOK)?;
    let start = Instant::now();

    // True datagrams, to be sent again, and with something amiss.
    let capture = lab.capture("n1", "lan0")?;
    tokio::time::sleep(SECOND).await;
    let heard = capture.find(|frame| overheard(&frame.bytes, n2.octets(), n1.octets()));
    ensure!(
        heard.len() > 5,
        "only {} datagrams of the group",
        heard.len()
    );
    let client = lab.in_namespace("client", || UdpSocket::bind("0.0.0.0:7946"))??;
    let before = |kind: &'static str| cluster.problems(OWNER, kind);
    let kinds = [
        "garbage",
        "truncated",
        "oversized",
        "version",
        "forged",
        "stale",
        "replayed",
    ];
    let mut counted = Vec::new();
    for kind in kinds {
        counted.push(before(kind).await?);
    }
    let true_one = heard.last().context("there are some")?;
    for round in 0..20_u8 {
        client.send_to(&[round; 3], (n1, PORT))?;
        client.send_to(&vec![round; 9000], (n1, PORT))?;
        client.send_to(
            true_one.get(..true_one.len() / 2).unwrap_or_default(),
            (n1, PORT),
        )?;
        let mut changed = true_one.clone();
        if let Some(byte) = changed.last_mut() {
            *byte ^= 1 << (round % 8);
        }
        client.send_to(&changed, (n1, PORT))?;
        for position in 0..4 {
            let mut changed = true_one.clone();
            if let Some(byte) = changed.get_mut(position) {
                *byte = byte.wrapping_add(round | 1);
            }
            client.send_to(&changed, (n1, PORT))?;
        }
        for datagram in heard.iter().rev().take(10) {
            client.send_to(datagram, (n1, PORT))?;
        }
        client.send_to(&[], (n1, PORT))?;
        // No more at once than a socket keeps.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The same again with the address of the one that sent it first.
    let spoofed: Vec<_> = capture.find(|frame| {
        overheard(&frame.bytes, n2.octets(), n1.octets()).map(|_| frame.bytes.clone())
    });
    let mac = lab.mac("client", "lan0")?;
    for mut frame in spoofed {
        // With its Ethernet address the switch would take the client's port for its own.
        frame[6..12].copy_from_slice(&mac.0);
        // Where it was overheard, the sender's kernel had left the checksum to the hardware.
        frame[40..42].fill(0);
        lab.send_frame("client", "lan0", &frame)?;
    }
    tokio::time::sleep(SECOND).await;
    let mut told = Vec::new();
    for (kind, before) in kinds.into_iter().zip(counted) {
        told.push((kind, cluster.problems(OWNER, kind).await? - before));
    }
    let total: u64 = told.iter().map(|(_, count)| count).sum();
    ensure!(total >= 20 * 8, "of all that came {told:?} were counted");
    let missing: Vec<_> = told.iter().filter(|(_, count)| *count == 0).collect();
    ensure!(missing.is_empty(), "{missing:?} of {told:?}");
    let macs = one_answer(watches, start, "junk").await?;
    assert_eq!(macs, BTreeSet::from([cluster.mac(OWNER)?]));
    assert_eq!(
        cluster.sample(OWNER, "herald_group_members_live").await?,
        Some(3)
    );
    let said = told_rarely(cluster.speaker(OWNER)?, began)?;
    let unsaid: Vec<_> = kinds.iter().filter(|kind| !said.contains(**kind)).collect();
    ensure!(unsaid.is_empty(), "{unsaid:?} were counted and not told");
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn members_with_another_key_or_anothers_name_take_nothing() -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let watches = cluster.watch(LOOK)?;
    let start = Instant::now();
    let own = cluster.speaker("n2")?;
    own.stop().await?;

    // A speaker of n2 with another key: for the others it is not there, and it is no majority.
    let keys = lab.dir().join("another-key");
    fs::create_dir_all(&keys)?;
    fs::write(keys.join("secretkey"), "another secret")?;
    let stranger = lab
        .speaker("n2")?
        .replace("--ml-secret-key-path", keys.display())
        .start_ready()
        .await?;
    eventually(SOON, "the wrong key to be counted", async || {
        Ok((cluster.problems(OWNER, "unknown_key").await? > 0).then_some(()))
    })
    .await?;
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(
        cluster.sample(OWNER, "herald_group_members_live").await?,
        Some(2)
    );
    stranger.stop().await?;

    // One that has the key and says that it is n1, from n2's address.
    let double = lab
        .speaker("n2")?
        .replace("--node-name", OWNER)
        .start()
        .await?;
    tokio::time::sleep(SECOND * 4).await;
    let mut counted = 0;
    for (node, kind) in [
        ("n3", "wrong_address"),
        ("n3", "name_taken"),
        (OWNER, "own_name"),
        (OWNER, "wrong_address"),
    ] {
        counted += cluster.problems(node, kind).await?;
    }
    ensure!(counted > 0, "nobody saw that a name was used twice");
    double.kill().await?;
    let macs = one_answer(watches, start, "strangers in the group").await?;
    assert_eq!(macs, BTreeSet::from([cluster.mac(OWNER)?]));
    for node in [OWNER, "n3"] {
        told_rarely(cluster.speaker(node)?, began)?;
    }
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_second_process_on_a_node_and_one_of_no_node_take_nothing() -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let watches = cluster.watch(LOOK)?;
    let start = Instant::now();

    // Beside the speaker of the node, with the same name, address and state.
    let second = lab
        .speaker(OWNER)?
        .named("speaker-second")
        .replace("--port", 29_120)
        .replace("--health-probe-port", 27_472)
        .start()
        .await?;
    let status = second.wait(SOON).await?;
    ensure!(!status.success(), "{status}");
    let remedy = second.log().contains("--ml-bindport");
    ensure!(remedy, "{}", second.log_tail(20));

    // With the key and the address of n2, and the name of a node that does not exist.
    cluster.speaker("n2")?.stop().await?;
    let ghost = lab.speaker("n2")?.replace("--node-name", "n9");
    let ghost = ghost.start().await?;
    eventually(SOON, "the wrong address to be counted", async || {
        Ok((cluster.problems(OWNER, "wrong_address").await? > 0).then_some(()))
    })
    .await?;
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(
        cluster.sample(OWNER, "herald_group_members_live").await?,
        Some(2)
    );
    ensure!(ghost.is_running(), "{}", ghost.log_tail(20));
    ghost.kill().await?;
    let macs = one_answer(watches, start, "strangers in the group").await?;
    assert_eq!(macs, BTreeSet::from([cluster.mac(OWNER)?]));
    for node in [OWNER, "n3"] {
        told_rarely(cluster.speaker(node)?, began)?;
    }
    cluster.down().await
}

/// Starts the owner's speaker with a state file that is spoilt in each of these ways.
async fn with_state_files(ways: &[&str]) -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let file = lab.state_dir(OWNER).join("herald.state");
    let written = async || Ok(file.is_file().then_some(()));
    eventually(SOON, "the state to be written", written).await?;
    let speaker = cluster.speaker(OWNER)?;
    let control_plane = lab.control_plane();

    for what in ways.iter().copied() {
        let (start, requests) = (Instant::now(), cluster.ask()?);
        speaker.stop().await?;
        let mut bytes = fs::read(&file)?;
        match what {
            "corrupt" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
            }
            // After the eight bytes that say what it is comes its version.
            "from the future" => bytes[8..12].copy_from_slice(&99_u32.to_be_bytes()),
            "cut short" => bytes.truncate(bytes.len() - 1),
            "of another node" => bytes = fs::read(lab.state_dir("n2").join("herald.state"))?,
            _ => bytes.clear(),
        }
        fs::write(&file, &bytes)?;
        let lines = speaker.log().lines().count();
        // Without the API and without a state it knows nothing, and answers for nothing.
        control_plane.api_server.pause()?;
        speaker.restart().await?;
        tokio::time::sleep(SECOND * 4).await;
        ensure!(speaker.is_running(), "{what}: {}", speaker.log_tail(20));
        let macs = eventually(SOON, "an answer", async || {
            let macs = lab.owners(cluster.addresses[0]).await?;
            Ok(Some(macs).filter(|macs| !macs.is_empty()))
        });
        let macs = macs.await?;
        ensure!(
            macs.len() == 1 && macs != [cluster.mac(OWNER)?],
            "{what}: {macs:?}"
        );
        control_plane.api_server.resume()?;
        cluster.steady_within(OWNER, SECOND * 30).await?;
        let log = speaker.log();
        let said = log
            .lines()
            .skip(lines)
            .filter(|line| line.contains("herald.state"));
        let said: Vec<_> = said.collect();
        ensure!(said.len() == 1, "{what}: of the file {said:?} is said");
        requests.none_failed(start, what).await?;
    }
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_state_file_that_is_damaged_is_said_and_left_out() -> Result<()> {
    with_state_files(&["corrupt", "cut short", "empty"]).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_state_file_that_is_of_another_version_or_node_is_said_and_left_out() -> Result<()> {
    with_state_files(&["from the future", "of another node"]).await
}
