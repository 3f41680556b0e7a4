//! Speakers that end and start again, and what they leave behind.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::layer2::{self, answers, elected, names, statuses, wait_owner, wait_status};
use herald_e2e::objects::{SOON, wait_event};
use herald_e2e::wire::FOUR;
use herald_lab::{Lab, Mac, ProxyMode, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// How many questions in a row two nodes may answer: for as long as a death takes to be noticed.
const MOMENT: usize = 12;

/// Asks for [`FOUR`] without a pause, 50 times a second, and keeps who answered.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<BTreeSet<Mac>>>>,
}

impl Watch {
    fn start(lab: &Lab) -> Result<Self> {
        let socket = lab.packet_socket("client", "lan0")?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !until.load(Ordering::Relaxed) {
                seen.push(answers(&socket, FOUR, Duration::from_millis(20))?);
            }
            Ok(seen)
        });
        Ok(Self { stop, thread })
    }

    /// Ends, and makes sure that two never answered, but in the moment of each hand-over: the old
    /// owner answers until it has heard the new one's announcement, for which it must get a core.
    fn stop(self) -> Result<Vec<BTreeSet<Mac>>> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().ok().context("the watch panicked")??;
        let split = seen.split(|macs| macs.len() < 2).map(<[_]>::len);
        let all: usize = split.clone().sum();
        let longest = split.max().unwrap_or_default();
        ensure!(
            longest <= MOMENT && all <= 2 * MOMENT,
            "more than one node answered {longest} questions in a row of {}: {seen:?}",
            seen.len()
        );
        Ok(seen)
    }
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_speaker_that_starts_again_goes_on_and_clears_away_what_it_left() -> Result<()> {
    let lab = layer2::start(Lab::builder().nodes(2).proxy(ProxyMode::None)).await?;
    lab.backends("web", &["n1", "n2"]).await?;
    let node = elected(FOUR.into(), &names(&lab));
    let other = if node == "n1" { "n2" } else { "n1" };
    let web = lab
        .service("web")
        .annotation("metallb.io/loadBalancerIPs", &FOUR.to_string());
    web.create().await?;
    let gone = lab.service("gone").selector("app", "web");
    let gone = gone
        .annotation(
            "metallb.io/loadBalancerIPs",
            &layer2::address_of(&node, &names(&lab), 5).to_string(),
        )
        .create()
        .await?;
    wait_owner(&lab, FOUR.into(), &node).await?;
    wait_status(&lab, "web", &node).await?;
    wait_status(&lab, "gone", &node).await?;
    wait_event(&lab, "web", "nodeAssigned", &node).await?;
    let speaker = lab
        .process(&format!("speaker-{node}"))
        .context("the owner has a speaker")?;

    // It dies, and a Service ends meanwhile. The other node may answer for it in that time, but
    // never both.
    let watch = Watch::start(&lab)?;
    speaker.kill().await?;
    gone.delete().await?;
    speaker.restart().await?;
    wait_owner(&lab, FOUR.into(), &node).await?;
    eventually(
        SOON,
        "the status of a Service that is gone to go",
        async || Ok(statuses(&lab, "gone").await?.is_empty().then_some(())),
    )
    .await?;
    wait_status(&lab, "web", &node).await?;
    let seen = watch.stop()?;
    let macs = [lab.mac(&node, "lan0")?, lab.mac(other, "lan0")?];
    ensure!(seen.iter().flatten().all(|mac| macs.contains(mac)));

    // It stops in order: the other node has the address when it ends.
    let watch = Watch::start(&lab)?;
    let status = speaker.stop().await?;
    ensure!(status.success(), "{status}: {}", speaker.log_tail(20));
    let owners = lab.owners(FOUR.into()).await?;
    ensure!(owners.iter().eq([&macs[1]]), "{owners:?} answer");
    speaker.restart().await?;
    wait_owner(&lab, FOUR.into(), &node).await?;
    let seen = watch.stop()?;
    ensure!(seen.iter().flatten().all(|mac| macs.contains(mac)));

    // It dies and its node no longer takes part: the new owner clears its status away.
    speaker.kill().await?;
    let nodes: Api<Node> = Api::all(lab.client());
    let label = json!({"metadata": {"labels": {
        "node.kubernetes.io/exclude-from-external-load-balancers": "",
    }}});
    nodes
        .patch(&node, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    let watch = Watch::start(&lab)?;
    wait_owner(&lab, FOUR.into(), other).await?;
    wait_status(&lab, "web", other).await?;
    // Back again, it finds that it is not the owner.
    speaker.restart().await?;
    eventually(SOON, "the fourth life to know everything", async || {
        let lives = speaker.log().matches("all stores are complete").count();
        Ok((lives == 4).then_some(()))
    })
    .await?;
    wait_owner(&lab, FOUR.into(), other).await?;
    wait_status(&lab, "web", other).await?;
    watch.stop()?;
    lab.down().await
}
