//! Nodes that die or lose their link, and what people plan: what a client sees of it.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_e2e::layer2::address_of;
use herald_lab::{Cut, Lab};
use serde_json::{Value, json};

/// The bound that `make bench-failover` checks is half of it; a test shares its cores with others.
const FAILOVER: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(200);

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_node_that_dies_or_loses_its_link_is_replaced_at_once() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    for what in ["carrier", "silence", "power"] {
        let requests = cluster.ask()?;
        tokio::time::sleep(SECOND).await;
        let crash = match what {
            "carrier" => {
                lab.cut_link(OWNER, "lan0", Cut::Carrier).await?;
                None
            }
            "silence" => {
                lab.cut_link(OWNER, "lan0", Cut::Silent).await?;
                None
            }
            _ => Some(lab.crash(OWNER).await?),
        };
        tokio::time::sleep(SECOND * 2).await;
        requests.no_longer_than(FAILOVER, what).await?;
        match crash {
            None => lab.restore_link(OWNER, "lan0").await?,
            // Its kube-proxy as well.
            Some(crash) => lab.boot(crash).await?,
        }
        cluster.fresh().await?;
    }
    cluster.down().await
}

/// Makes a change that moves the addresses away, and takes it back.
async fn away_and_back(
    cluster: &Cluster,
    what: &str,
    change: impl AsyncFn(bool) -> Result<()>,
) -> Result<()> {
    let owner = cluster.mac(OWNER)?;
    let (start, requests) = (Instant::now(), cluster.ask()?);
    tokio::time::sleep(SECOND).await;
    change(true).await?;
    tokio::time::sleep(SECOND * 2).await;
    for address in cluster.addresses {
        let macs = cluster.lab.owners(address).await?;
        ensure!(
            macs.len() == 1 && macs != [owner],
            "{what}: {macs:?} answer for {address}"
        );
    }
    change(false).await?;
    cluster.steady(OWNER).await?;
    requests.none_failed(start, what).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn what_people_plan_loses_no_request_and_no_connection_of_others() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let other = address_of("n3", &["n1", "n2", "n3"], 0);
    let bystander = lab.service("other").selector("app", "web");
    let bystander = bystander.annotation("metallb.io/loadBalancerIPs", &other.to_string());
    bystander.create().await?;
    herald_e2e::layer2::wait_owner(lab, other, "n3").await?;
    let kept = lab.connections("client", other, 80, 5, LOOK)?;
    let owner = cluster.mac(OWNER)?;

    // What moves the addresses away, and what lets them come back.
    let taint = |taints: Value| json!({"spec": {"taints": taints}});
    let label = |value: Value| json!({"metadata": {"labels": {"herald.io/drain": value}}});
    let drains = [
        ("the drain label", label("".into()), label(Value::Null)),
        (
            "a drain taint",
            taint(json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}])),
            taint(json!([])),
        ),
        (
            "the taint of a node that is out of service",
            taint(json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}])),
            taint(json!([])),
        ),
    ];
    for (what, there, back) in &drains {
        let change = async |away| {
            let patch = if away { there } else { back };
            cluster.patch_node(OWNER, patch.clone()).await
        };
        away_and_back(&cluster, what, change).await?;
    }
    let shutdown = async |begins: bool| {
        let message = if begins { "node is shutting down" } else { "" };
        cluster.set_ready(OWNER, !begins, message).await
    };
    away_and_back(&cluster, "a shutdown that the kubelet sees", shutdown).await?;
    let select = async |away: bool| cluster.advertise_except(away.then_some(OWNER)).await;
    away_and_back(&cluster, "another node selector", select).await?;
    let prefer = async |away: bool| cluster.advertise_rather_than(away.then_some(OWNER)).await;
    away_and_back(&cluster, "another preference", prefer).await?;

    // Cordoning alone moves nothing.
    let cordon = |on: bool| json!({"spec": {"unschedulable": on}});
    cluster.patch_node(OWNER, cordon(true)).await?;
    tokio::time::sleep(SECOND).await;
    assert_eq!(lab.owners(cluster.addresses[0]).await?, [owner]);
    cluster.patch_node(OWNER, cordon(false)).await?;

    let lost = kept.stop().await?;
    ensure!(lost.is_empty(), "connections to another node: {lost:?}");
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn speakers_that_end_in_any_way_lose_no_request() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let (start, requests) = (Instant::now(), cluster.ask()?);
    for speaker in &cluster.speakers {
        let status = speaker.stop().await?;
        ensure!(status.success(), "{status}: {}", speaker.log_tail(20));
        speaker.restart().await?;
        tokio::time::sleep(SECOND).await;
    }
    requests.none_failed(start, "a rolling restart").await?;
    // A clean leave is no departure: the addresses come back without a penalty.
    cluster.steady(OWNER).await?;

    let (start, requests) = (Instant::now(), cluster.ask()?);
    let speaker = cluster.speaker(OWNER)?;
    speaker.kill().await?;
    tokio::time::sleep(SECOND * 2).await;
    speaker.restart().await?;
    tokio::time::sleep(SECOND * 2).await;
    requests.none_failed(start, "a speaker killed").await?;

    cluster.fresh().await?;
    // A process that stands still and goes on: what it missed it must not answer.
    for stopped in [Duration::from_millis(200), SECOND * 3] {
        let (start, requests) = (Instant::now(), cluster.ask()?);
        tokio::time::sleep(SECOND).await;
        speaker.pause()?;
        tokio::time::sleep(stopped).await;
        let watches = cluster.watch(Duration::from_millis(50))?;
        let resumed = Instant::now();
        speaker.resume()?;
        tokio::time::sleep(SECOND * 2).await;
        let what = format!("a process that stood still for {stopped:?}");
        // Whoever answers at first may be silent for a moment. One that stood still for longer than
        // it takes to be replaced must know it before it answers; one that was hardly late may
        // answer beside its successor for no longer than that.
        let grace = if stopped < SECOND {
            SECOND / 2
        } else {
            Duration::ZERO
        };
        for watch in &watches {
            let split: Vec<_> = watch
                .looks()
                .into_iter()
                .filter(|look| look.macs.len() > 1 && look.asked > resumed + grace)
                .map(|look| (look.asked - resumed, look.macs))
                .collect();
            ensure!(split.is_empty(), "{what}: {split:?}");
        }
        one_answer(watches, resumed + SECOND, &what).await?;
        requests.none_failed(start, &what).await?;
        cluster.fresh().await?;
    }
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_node_that_returns_takes_back_what_it_had_unless_the_service_is_sticky() -> Result<()> {
    let cluster = Cluster::start(Lab::builder().one_network()).await?;
    let lab = &cluster.lab;
    let owner = cluster.mac(OWNER)?;
    for sticky in [false, true] {
        let policy = if sticky { "sticky" } else { "revertive" };
        let annotations = json!({"herald.io/failback": policy});
        let patch = json!({"metadata": {"annotations": annotations}});
        cluster.web.patch(patch).await?;
        tokio::time::sleep(SECOND / 2).await;
        lab.cut_link(OWNER, "lan0", Cut::Silent).await?;
        tokio::time::sleep(SECOND * 3).await;
        let (start, requests) = (Instant::now(), cluster.ask()?);
        tokio::time::sleep(SECOND / 2).await;
        lab.restore_link(OWNER, "lan0").await?;
        let healed = Instant::now();
        let watches = cluster.watch(LOOK)?;
        // Longer than a node must stay that left once.
        tokio::time::sleep(SECOND * 6).await;
        let last = lab.owners(cluster.addresses[0]).await?;
        ensure!((last == [owner]) != sticky, "{policy}: {last:?} answer");
        let macs = one_answer(watches, healed + SECOND, policy).await?;
        ensure!(macs.contains(&owner) != sticky, "{policy}: {macs:?}");
        requests.none_failed(start, policy).await?;
        cluster.fresh().await?;
    }
    cluster.down().await
}
