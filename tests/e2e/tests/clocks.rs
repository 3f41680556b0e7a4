//! Speakers whose clocks are wrong, each in another way, and are set while they run.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{HeraldBuilder, Lab, Node};
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(200);
const FORWARD: &str = "+400d";
const BACKWARD: &str = "-400d";

/// The time of day of each speaker, by libfaketime. What is measured with it, the time since the start
/// of the machine, stays as it is.
struct Clocks {
    folder: TempDir,
    given: Cell<usize>,
}

impl Clocks {
    /// All of them off by so much, by the order of the nodes.
    fn new(offsets: [&str; 3]) -> Result<Self> {
        let clocks = Self {
            folder: tempfile::tempdir()?,
            given: Cell::new(0),
        };
        clocks.set(offsets)?;
        Ok(clocks)
    }

    fn file(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("clock-{node}"))
    }

    fn set(&self, offsets: [&str; 3]) -> Result<()> {
        for (node, offset) in offsets.into_iter().enumerate() {
            // It is read at any moment.
            let next = self.folder.path().join("next");
            fs::write(&next, format!("{offset}\n"))?;
            fs::rename(&next, self.file(node))?;
        }
        Ok(())
    }

    /// Gives the next node's speaker its clock.
    fn give<'a>(&self, speaker: HeraldBuilder<'a>) -> HeraldBuilder<'a> {
        let node = self.given.replace(self.given.get() + 1);
        speaker
            .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
            .env("FAKETIME_TIMESTAMP_FILE", self.file(node))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

/// The years in which a process has logged something, by its own clock.
fn years(log: &str) -> Result<BTreeSet<i32>> {
    let times = log
        .lines()
        .filter_map(|line| line.split_once("\"ts\":\"")?.1.get(..4));
    times.map(|year| Ok(year.parse()?)).collect()
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_wrong_clock_moves_nothing_and_delays_nothing() -> Result<()> {
    let clocks = Clocks::new([FORWARD, BACKWARD, "+0"])?;
    let cluster = Cluster::start_with(Lab::builder(), |speaker| clocks.give(speaker)).await?;
    let lab = &cluster.lab;
    let log = |node: &str| Ok::<_, anyhow::Error>(cluster.speaker(node)?.log());
    let right = *years(&log("n3")?)?.first().context("n3 logs nothing")?;
    for (node, years_off) in [(OWNER, [1, 2]), ("n2", [-1, -2])] {
        let seen = years(&log(node)?)?;
        ensure!(
            seen.iter().all(|year| years_off.contains(&(year - right))),
            "{node}: {seen:?}, and it is {right}"
        );
    }

    let owner = cluster.mac(OWNER)?;
    let (start, requests) = (Instant::now(), cluster.ask()?);
    let watches = cluster.watch(LOOK)?;
    for offsets in [
        [BACKWARD, FORWARD, FORWARD],
        [FORWARD, BACKWARD, BACKWARD],
        ["-90", "+90", "-3600"],
        ["+0", FORWARD, FORWARD],
    ] {
        clocks.set(offsets)?;
        tokio::time::sleep(SECOND * 3).await;
    }
    let macs = one_answer(watches, start, "clocks are set").await?;
    ensure!(macs == BTreeSet::from([owner]), "{macs:?}");
    requests.none_failed(start, "clocks are set").await?;

    // With clocks a year ahead of all others the rest notices as fast, and takes over.
    let requests = cluster.ask()?;
    tokio::time::sleep(SECOND).await;
    let off = lab.power_off(OWNER).await?;
    tokio::time::sleep(SECOND * 2).await;
    requests
        .no_longer_than(SECOND, "a node dies where clocks are wrong")
        .await?;
    lab.restore(off).await?;
    cluster.steady(OWNER).await?;
    let others = lab.nodes().iter().map(|node: &Node| node.name.as_str());
    for node in others.filter(|node| *node != OWNER) {
        let seen = years(&log(node)?)?;
        ensure!(seen.iter().any(|year| *year > right), "{node}: {seen:?}");
    }
    cluster.down().await
}
