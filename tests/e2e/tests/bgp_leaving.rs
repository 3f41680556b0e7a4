//! Nodes and speakers that go and come back: whose routes go, whose stay, and that no request is lost
//! when the end was planned.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::bgp::{Fabric, NODES, Stream, Tor, object};
use herald_e2e::objects::SOON;
use herald_interop::{Prefix, Router};
use herald_lab::{Lab, always, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// How many requests may be on their way, and then be reset, when a router chooses other next hops.
const RESET: usize = 15;

/// A Service of both families whose every node has a backend and announces it, of policy `Local`, so
/// that no node needs another.
async fn web(fabric: &Fabric) -> Result<Vec<IpAddr>> {
    fabric.lab.backends("web", &NODES).await?;
    let web = fabric.lab.service("web").local().dual_stack();
    let addresses = web.create().await?.wait_addresses(2).await?;
    fabric.wait_nodes(&addresses, &NODES).await?;
    for tor in fabric.tors() {
        for address in &addresses {
            tor.wait_served(&fabric.lab, *address).await?;
        }
    }
    Ok(addresses)
}

/// Asks for all addresses from behind both routers.
async fn ask(fabric: &Fabric, addresses: &[IpAddr]) -> Result<Vec<Stream>> {
    let mut streams = Vec::new();
    for tor in fabric.tors() {
        for address in addresses {
            streams.push(tor.traffic(&fabric.lab, *address)?);
        }
    }
    tokio::time::sleep(SECOND / 2).await;
    Ok(streams)
}

async fn none_failed(streams: Vec<Stream>, when: &str) -> Result<()> {
    for stream in streams {
        stream.none_failed(RESET, when).await?;
    }
    Ok(())
}

async fn patch_node(lab: &Lab, node: &str, patch: Value) -> Result<()> {
    let nodes: Api<Node> = Api::all(lab.client());
    let patch = Patch::Merge(patch);
    nodes.patch(node, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Makes sure that a router spreads an address over these nodes at all times.
async fn kept(tor: &Tor, address: IpAddr, nodes: &[&str], duration: Duration) -> Result<()> {
    let prefix = Prefix::host(address);
    let what = format!("{} spreads {address} over {nodes:?}", tor.router().name());
    always(duration, &what, async || {
        Ok(tor.nodes(prefix).await? == nodes)
    })
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_node_that_drains_loses_no_request() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    fabric.peers(json!({}), json!({})).await?;
    let addresses = web(&fabric).await?;
    let sessions = fabric.sessions().await?;
    let drains = [
        (
            json!({"metadata": {"labels": {"herald.io/drain": ""}}}),
            json!({"metadata": {"labels": {"herald.io/drain": null}}}),
        ),
        (
            json!({"spec": {"taints": [
                {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"},
            ]}}),
            json!({"spec": {"taints": []}}),
        ),
    ];
    for (away, back) in drains {
        let streams = ask(&fabric, &addresses).await?;
        patch_node(lab, "n1", away).await?;
        // It is preferred by nobody any longer, before it is gone.
        fabric.wait_nodes(&addresses, &["n2", "n3"]).await?;
        tokio::time::sleep(SECOND).await;
        patch_node(lab, "n1", back).await?;
        fabric.wait_nodes(&addresses, &NODES).await?;
        tokio::time::sleep(SECOND / 2).await;
        none_failed(streams, "a drain").await?;
    }
    fabric.same_sessions(&sessions, "drains").await?;

    // The last one that serves goes on although it drains: a path of no preference is a path.
    let first = Prefix::host(addresses[0]);
    for node in ["n1", "n2", "n3"] {
        patch_node(
            lab,
            node,
            json!({"metadata": {"labels": {"herald.io/drain": ""}}}),
        )
        .await?;
    }
    for node in NODES {
        let gshut =
            |c: &String| ["65535:0", "gracefulShutdown", "graceful-shutdown"].contains(&c.as_str());
        let path = fabric
            .frr
            .wait_path(first, node, "graceful shutdown", |path| {
                path.communities.iter().any(gshut)
            });
        path.await?;
    }
    fabric.wait_nodes(&addresses, &NODES).await?;
    kept(&fabric.frr, addresses[0], &NODES, SECOND).await?;
    fabric.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn speakers_that_end_and_start_again_lose_no_request() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    // With one router they have graceful restart, with the other not.
    fabric
        .peers(json!({"enableGracefulRestart": true}), json!({}))
        .await?;
    let addresses = web(&fabric).await?;

    let streams = ask(&fabric, &addresses).await?;
    for node in NODES {
        let speaker = fabric.speaker(node)?;
        let ended = Instant::now();
        let status = speaker.stop().await?;
        ensure!(status.success(), "{status}: {}", speaker.log_tail(20));
        println!("{node}'s speaker ended within {:?}", ended.elapsed());
        let others: Vec<&str> = NODES.into_iter().filter(|other| *other != node).collect();
        fabric
            .bird
            .wait_nodes(Prefix::host(addresses[0]), &others)
            .await?;
        // The routes are kept for the next life, and used.
        kept(&fabric.frr, addresses[0], &NODES, SECOND).await?;
        speaker.restart().await?;
        speaker.wait_ready().await?;
        for tor in fabric.tors() {
            tor.wait_sessions(&NODES).await?;
        }
        fabric.wait_nodes(&addresses, &NODES).await?;
    }
    none_failed(streams, "a rolling restart").await?;

    let streams = ask(&fabric, &addresses).await?;
    let speaker = fabric.speaker("n1")?;
    speaker.kill().await?;
    fabric
        .bird
        .wait_nodes(Prefix::host(addresses[0]), &["n2", "n3"])
        .await?;
    kept(&fabric.frr, addresses[0], &NODES, SECOND * 2).await?;
    // What was deleted meanwhile does not come back, and does not stay either.
    let late = lab.service("late").selector("app", "web").create().await?;
    let late = late.wait_addresses(1).await?[0];
    fabric
        .frr
        .wait_nodes(Prefix::host(late), &["n2", "n3"])
        .await?;
    speaker.restart().await?;
    for tor in fabric.tors() {
        tor.wait_sessions(&NODES).await?;
    }
    fabric.wait_nodes(&addresses, &NODES).await?;
    fabric.frr.wait_nodes(Prefix::host(late), &NODES).await?;
    none_failed(streams, "a speaker killed").await?;

    // With a drain first the routes go, graceful restart or not: nobody is to come back.
    let streams = ask(&fabric, &addresses).await?;
    patch_node(
        lab,
        "n1",
        json!({"metadata": {"labels": {"herald.io/drain": ""}}}),
    )
    .await?;
    fabric.wait_nodes(&addresses, &["n2", "n3"]).await?;
    let status = speaker.stop().await?;
    ensure!(status.success(), "{status}: {}", speaker.log_tail(20));
    for tor in fabric.tors() {
        tor.wait_sessions(&["n2", "n3"]).await?;
        // A router clears what a session had told when it has time for that.
        eventually(SOON, "the path of n1 to go", async || {
            let paths = tor.paths(Prefix::host(addresses[0])).await?;
            ensure!(!paths.contains_key("n1"), "{paths:?}");
            Ok(Some(()))
        })
        .await?;
    }
    none_failed(streams, "a drained speaker's end").await?;
    patch_node(
        lab,
        "n1",
        json!({"metadata": {"labels": {"herald.io/drain": null}}}),
    )
    .await?;
    speaker.restart().await?;
    fabric.wait_nodes(&addresses, &NODES).await?;

    // A speaker that starts while there is no API has what it needs on disk.
    let api = &lab.control_plane().api_server;
    api.pause()?;
    fabric.speaker("n2")?.restart().await?;
    fabric.frr.wait_sessions(&NODES).await?;
    fabric
        .bird
        .wait_nodes(Prefix::host(addresses[0]), &NODES)
        .await?;
    fabric
        .frr
        .wait_nodes(Prefix::host(addresses[0]), &NODES)
        .await?;
    let sessions = fabric.sessions().await?;
    api.resume()?;
    let more = eventually(SOON * 3, "a Service", async || {
        Ok(Some(
            lab.service("more").selector("app", "web").create().await?,
        ))
    });
    let more = more.await?.wait_addresses(1).await?;
    fabric.wait_nodes(&more, &NODES).await?;
    fabric.same_sessions(&sessions, "the API's return").await?;
    fabric.down().await
}

/// Waits until both routers watch all nodes, and as closely as they were asked to: a session that has
/// just come up is slow at first, and one that is not up detects nothing.
async fn all_watched(fabric: &Fabric) -> Result<()> {
    const CLOSELY: Duration = Duration::from_millis(1200);
    for tor in fabric.tors() {
        eventually(SOON, "BFD with all nodes", async || {
            let sessions = tor.ask(Router::bfd).await?;
            let up: BTreeSet<IpAddr> = sessions
                .iter()
                .filter(|bfd| bfd.up && bfd.detection <= CLOSELY)
                .map(|bfd| bfd.peer)
                .collect();
            let all = tor.neighbors().await?;
            let all = all.iter().all(|n| up.contains(&n.address));
            ensure!(all, "{sessions:?}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_node_that_dies_is_out_of_the_routers_tables() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    // A test shares its cores with others: what is watched closer is late too often.
    let calm = json!({"receiveInterval": 300, "transmitInterval": 300, "detectMultiplier": 4});
    let calm = object("v1beta1", "BFDProfile", "calm", calm);
    fabric.apply(&calm).await?;
    let hold = json!({"holdTime": "6s", "keepaliveTime": "2s"});
    fabric.peers(hold.clone(), hold).await?;
    let addresses = web(&fabric).await?;
    // BIRD may take up to twice the hold time.
    let (mut limit, mut how) = (SECOND * 14, "hold time");
    for crashes in [true, false, true] {
        let begun = Instant::now();
        let crash = if crashes {
            Some(lab.crash("n1").await?)
        } else {
            None
        };
        let fault = if crashes {
            None
        } else {
            Some(lab.power_off("n1").await?)
        };
        for tor in fabric.tors() {
            for address in &addresses {
                tor.wait_nodes(Prefix::host(*address), &["n2", "n3"])
                    .await?;
            }
            let (name, took) = (tor.router().name(), begun.elapsed());
            println!("{how}: gone from {name} within {took:?}");
            ensure!(took < limit, "{how}: {name} took {took:?}");
        }
        for tor in fabric.tors() {
            let shares = tor.shares(lab, addresses[0], 20).await?;
            ensure!(!shares.contains_key("n1"), "{shares:?}");
        }
        if let Some(crash) = crash {
            lab.boot(crash).await?;
        }
        if let Some(fault) = fault {
            lab.restore(fault).await?;
        }
        fabric.wait_nodes(&addresses, &NODES).await?;

        // From now on with BFD, and the sessions go on.
        let sessions = fabric.sessions().await?;
        let watched = json!({
            "bfdProfile": "calm", "holdTime": "6s", "keepaliveTime": "2s",
        });
        fabric.peers(watched.clone(), watched).await?;
        all_watched(&fabric).await?;
        fabric.same_sessions(&sessions, "BFD").await?;
        // On a busy machine it may have gone down since, and BGP with it: then only the hold time
        // would notice a death.
        for tor in fabric.tors() {
            tor.wait_sessions(&NODES).await?;
        }
        fabric.wait_nodes(&addresses, &NODES).await?;
        all_watched(&fabric).await?;
        (limit, how) = (SECOND * 3, "BFD");
    }
    fabric.down().await
}
