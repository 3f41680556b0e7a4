//! What the user is told of BGP sessions: objects of the API, events, metrics and `herald bgp`.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{BGPPeer, BGPSessionState, BGPSessionStateStatus, ServiceBGPStatus};
use herald_e2e::bgp::{BIRD, FRR, Fabric, NODES, object, peer, to_bird, with};
use herald_e2e::objects::{SOON, metrics, wait_event};
use herald_interop::Router;
use herald_lab::{Lab, NAMESPACE, eventually, herald_bin};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Waits until the status of a peer says this.
async fn wait_peer(lab: &Lab, name: &str, established: &str, condition: &str) -> Result<BGPPeer> {
    let what = format!("BGPPeer {name} to be {established}, {condition}");
    eventually(SOON, &what, async || {
        let api: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
        let peer = api.get(name).await?;
        let status = peer.status.clone().context("it has no status")?;
        let said = status.conditions.first().map(|it| it.status.clone());
        let right = status.established == established && said.as_deref() == Some(condition);
        ensure!(right, "it is {status:?}");
        Ok(Some(peer))
    })
    .await
}

/// Waits until so many sessions with this router are as wanted.
async fn wait_states(lab: &Lab, peer: &str, state: &str, count: usize) -> Result<()> {
    let what = format!("{count} sessions with {peer} to be {state}");
    eventually(SOON, &what, async || {
        let api: Api<BGPSessionState> = Api::namespaced(lab.client(), NAMESPACE);
        let states = api.list(&ListParams::default()).await?.items.into_iter();
        let states: Vec<_> = states.filter_map(|object| object.status).collect();
        let right = |it: &&BGPSessionStateStatus| {
            it.peer == peer && it.bgp_status == state && it.vrf.is_empty()
        };
        let found = states.iter().filter(right).count();
        ensure!(found == count, "{found} in {states:?}");
        Ok(Some(()))
    })
    .await
}

/// What the speaker of a node answers.
fn ask(lab: &Lab, node: &str, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(herald_bin()?)
        .arg("bgp")
        .args(arguments)
        .arg("--json")
        .arg("--state-dir")
        .arg(lab.state_dir(node))
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "herald bgp {arguments:?}: {error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Waits until n1's speaker tells this of its session with BIRD.
async fn wait_notification(lab: &Lab, field: &str, text: &str) -> Result<()> {
    eventually(SOON, &format!("{field} to be {text}"), async || {
        let neighbor = ask(lab, "n1", &["neighbors", "bird-v4"])?;
        let told = neighbor[0][field].as_str().unwrap_or_default();
        ensure!(told.contains(text), "{neighbor}");
        Ok(Some(()))
    })
    .await
}

/// Makes sure that every series of BGP and BFD that docs/metrics.md names with a prefix of the peer's is
/// in a scrape, under both of its names.
fn documented_series(scrape: &str) -> Result<()> {
    let document = include_str!("../../../docs/metrics.md");
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| `metallb_b"));
    let names: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`'))
        .filter(|name| name.starts_with("metallb_bgp_") || name.starts_with("metallb_bfd_"))
        .collect();
    ensure!(names.len() > 15, "{names:?}");
    for name in names {
        let at_peer = format!("{name}{{peer=\"{FRR}");
        ensure!(scrape.contains(&at_peer), "no {name} in\n{scrape}");
        if name != "metallb_bgp_pending_prefixes_total" {
            let other = name.replacen("metallb_", "frrk8s_", 1);
            let at_peer = format!("{other}{{peer=\"{FRR}\"");
            ensure!(scrape.contains(&at_peer), "no {other} in\n{scrape}");
        }
    }
    Ok(())
}

/// Ends n1's session with BIRD from either side, and makes sure that it is told in words.
async fn notifications(fabric: &Fabric) -> Result<()> {
    let lab = &fabric.lab;
    let restart = |router: &Router| router.command("restart n1v4");
    fabric.bird.ask(restart).await?;
    let reset = "administrative reset (6/4)";
    wait_notification(lab, "lastNotificationReceived", reset).await?;
    eventually(SOON, "n1 to have its second session", async || {
        let neighbor = ask(lab, "n1", &["neighbors", "bird-v4"])?;
        let again = neighbor[0]["established"] == 2 && neighbor[0]["state"] == "Established";
        ensure!(again, "{neighbor}");
        Ok(Some(()))
    })
    .await?;
    let other = json!({"routerID": "192.168.0.77"});
    let other = peer("bird-v4", with(to_bird(BIRD[0]), other));
    fabric.apply(&other).await?;
    let changed = "other configuration change (6/6)";
    wait_notification(lab, "lastNotificationSent", changed).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn users_see_which_sessions_there_are_what_goes_over_them_and_why_one_is_down() -> Result<()>
{
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    let _pods = lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    let calm = json!({"receiveInterval": 300, "transmitInterval": 300});
    fabric
        .apply(&object("v1beta1", "BFDProfile", "calm", calm))
        .await?;
    fabric
        .peers(json!({"bfdProfile": "calm"}), json!({}))
        .await?;
    fabric.wait_nodes(&addresses, &NODES).await?;

    for name in ["frr", "bird-v4", "bird-v6"] {
        wait_peer(lab, name, "3/3", "True").await?;
    }
    wait_states(lab, FRR, "Established", 3).await?;
    eventually(SOON, "each node to say whom it announces to", async || {
        let api: Api<ServiceBGPStatus> = Api::namespaced(lab.client(), NAMESPACE);
        let objects = api.list(&ListParams::default()).await?.items;
        ensure!(objects.len() == 3, "{objects:?}");
        for object in &objects {
            ensure!(object.labels().len() == 3, "{object:?}");
            let status = object.status.clone().unwrap_or_default();
            let peers: Vec<_> = status.peers.iter().map(String::as_str).collect();
            ensure!(peers == ["bird-v4", "bird-v6", "frr"], "{status:?}");
        }
        Ok(Some(()))
    })
    .await?;
    wait_event(lab, "frr", "SessionUp", "the BGP session with frr").await?;

    let summary = ask(lab, "n1", &["summary"])?;
    let sessions = summary.as_array().context("a list")?;
    ensure!(sessions.len() == 3, "{summary}");
    let up = sessions.iter().all(|it| it["state"] == "Established");
    ensure!(up, "{summary}");
    let told = ask(lab, "n1", &["routes", "frr"])?;
    let routes = told[0]["routes"].as_array().context("a list")?;
    for address in &addresses {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let prefix = format!("{address}/{prefix}");
        let there = routes.iter().any(|route| route["prefix"] == prefix);
        ensure!(there, "{prefix} is not in {told}");
    }
    let speaker = fabric.speaker("n1")?;
    let text = metrics(lab, "n1", speaker).await?;
    let line =
        format!("metallb_bgp_session_up{{peer=\"{FRR}:179\",vrf=\"default\",name=\"frr\"}} 1");
    ensure!(
        text.lines().any(|it| it == line),
        "{line} is not in\n{text}"
    );

    documented_series(&text)?;

    fabric.frr.router().stop()?;
    let peer = wait_peer(lab, "frr", "0/3", "False").await?;
    let status = peer.status.context("a status")?;
    let reasons = status.nodes.iter().all(|node| !node.reason.is_empty());
    ensure!(status.nodes.len() == 3 && reasons, "{status:?}");
    wait_states(lab, FRR, "Active", 3).await?;
    wait_event(lab, "frr", "SessionDown", "the peer").await?;
    let neighbor = ask(lab, "n1", &["neighbors", "frr"])?;
    ensure!(neighbor[0]["lost"] == 1, "{neighbor}");
    ensure!(neighbor[0]["lastDown"]["reason"].is_string(), "{neighbor}");
    wait_peer(lab, "bird-v4", "3/3", "True").await?;

    // A node that dies can say nothing of it; its sessions count no longer when it is missed.
    let dark = lab.power_off("n3").await?;
    let silent = json!({"status": {"conditions": [
        {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"},
    ]}});
    let nodes: Api<Node> = Api::all(lab.client());
    let silent = Patch::Strategic(silent);
    let params = PatchParams::default();
    nodes.patch_status("n3", &params, &silent).await?;
    let peer = wait_peer(lab, "bird-v4", "2/3", "False").await?;
    let nodes_of = peer.status.context("a status")?.nodes;
    ensure!(
        nodes_of[0].node == "n3" && nodes_of[0].state == "Unknown",
        "{nodes_of:?}"
    );
    lab.restore(dark).await?;
    lab.set_node_condition("n3", "Ready", true).await?;
    wait_peer(lab, "bird-v4", "3/3", "True").await?;

    notifications(&fabric).await?;

    // What is gone leaves nothing behind.
    let api: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
    api.delete("frr", &kube::api::DeleteParams::default())
        .await?;
    wait_states(lab, FRR, "Active", 0).await?;
    let text = metrics(lab, "n1", speaker).await?;
    ensure!(!text.contains("name=\"frr\""), "{text}");
    fabric.down().await
}
