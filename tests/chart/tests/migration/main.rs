//! The way from MetalLB to Herald and back, with the commands of `docs/migrate-from-metallb.md` as they
//! are there. What kubelets would do (start and end the processes of Pods) the test does.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

mod cluster;
mod commands;
mod gaps;
mod services;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::metallb;
use herald_e2e::objects::{Changes, addresses_of, allocated_from};
use herald_lab::{Lab, Process};
use k8s_openapi::api::core::v1::Service as ServiceObject;

use cluster::{Cluster, Herald, MetalLb};
use commands::Commands;
use gaps::Streams;

/// Long enough for all that happens in a step to show.
const SETTLE: Duration = Duration::from_secs(3);

/// Every Service has what it had at every moment.
fn nothing_changed(changes: &Changes, before: &[ServiceObject]) -> Result<()> {
    for service in before {
        let name = service.metadata.name.as_deref().context("no name")?;
        for state in changes.of(name) {
            let (now, then) = (addresses_of(&state), addresses_of(service));
            ensure!(now == then, "{name} had {then:?}, then {now:?}");
            let (now, then) = (allocated_from(&state), allocated_from(service));
            ensure!(now == then, "{name} was of pool {then:?}, then of {now:?}");
        }
    }
    Ok(())
}

async fn end_all(lab: &Lab, processes: &[Process]) -> Result<()> {
    let ends = processes.iter().map(|process| metallb::end(lab, process));
    futures::future::try_join_all(ends).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, the lab, Helm and MetalLB: run by make test"]
async fn no_address_changes_on_the_way_to_herald_and_back() -> Result<()> {
    let cluster = Cluster::start().await?;
    let lab = &cluster.lab;
    let commands = Commands::new(lab).await?;
    commands.helm(&[
        "install",
        "metallb",
        "metallb/metallb",
        "--namespace=metallb-system",
        // Its webhooks do not run here, and Helm's own are not to wait for them.
        "--set=frrk8s.enabled=false,crds.validationFailurePolicy=Ignore",
    ])?;
    cluster.configure().await?;
    cluster.put_authority().await?;
    let peer = MetalLb::start(lab).await?;
    let before = services::create(lab).await?;
    cluster.announced().await?;
    let changes = Changes::watch(lab).await?;

    // There.
    commands.run("1. Keep the CRDs")?;
    cluster.objects_are_there().await?;
    commands.run("2. Stop MetalLB's controller")?;
    metallb::end(lab, &peer.controller).await?;
    let streams = Streams::start(&cluster)?;
    commands.run("3. Start Herald beside MetalLB")?;
    let herald = Herald::start_beside(lab).await?;
    cluster.webhooks_answer().await?;
    tokio::time::sleep(SETTLE).await;
    streams.stop("Herald beside MetalLB").await?;

    let streams = Streams::start(&cluster)?;
    commands.run("4. Stop MetalLB's speakers")?;
    end_all(lab, &peer.speakers).await?;
    cluster.sessions_are_heralds(true).await?;
    tokio::time::sleep(SETTLE).await;
    streams.stop("MetalLB's speakers gone").await?;
    commands.run("5. Remove what is left of MetalLB")?;
    cluster.objects_are_there().await?;
    cluster.webhooks_answer().await?;
    cluster.peer_is_converted().await?;
    cluster.only_of("herald").await?;
    nothing_changed(&changes, &before)?;
    services::are(lab, &before).await?;

    // And back.
    commands.back()?;
    metallb::end(lab, &herald.controller).await?;
    let peer = MetalLb::start(lab).await?;
    tokio::time::sleep(SETTLE).await;
    let streams = Streams::start(&cluster)?;
    commands.finish_back()?;
    end_all(lab, &herald.speakers).await?;
    for speaker in &peer.speakers {
        speaker.restart().await?;
    }
    cluster.sessions_are_heralds(false).await?;
    tokio::time::sleep(SETTLE).await;
    streams.stop("back at MetalLB").await?;
    cluster.objects_are_there().await?;
    cluster.only_of("metallb").await?;
    nothing_changed(&changes, &before)?;
    services::are(lab, &before).await?;
    cluster.down().await
}
