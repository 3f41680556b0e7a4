//! Endpoints decide who may announce: externalTrafficPolicy, readiness, pods that move and end.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::layer2::{
    self, CLIENT, address_of, elected, names, takes_over, v4, v6, wait_nobody, wait_owner,
};
use herald_e2e::objects::{SOON, ip};
use herald_lab::{Lab, always, eventually};
use serde_json::json;

/// How long the LAN may go without a right owner after a change of endpoints.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The address by which the far client is seen.
const REMOTE: [u8; 4] = [198, 51, 100, 10];

/// Waits for an answer of a pod on this node to this client, whose address is the client's own.
async fn answered_by(lab: &Lab, address: IpAddr, node: &str) -> Result<()> {
    for (part, v4, v6) in [
        ("client", IpAddr::from(CLIENT), ip("fd10::64")),
        ("remote", IpAddr::from(REMOTE), ip("fd99::a")),
    ] {
        let source = if address.is_ipv4() { v4 } else { v6 };
        eventually(
            SOON,
            &format!("{address} to be answered on {node}"),
            async || {
                let answer = lab.ask(part, address, 80).await?;
                ensure!(
                    answer.node == node && answer.client.ip() == source,
                    "{answer:?}"
                );
                Ok(Some(()))
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn local_keeps_the_clients_address_and_follows_the_endpoints() -> Result<()> {
    let lab = layer2::start(Lab::builder()).await?;
    let mut pods = lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").local().dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    let (four, six) = (v4(&addresses)?, v6(&addresses)?);

    // Of the nodes with an endpoint, for both addresses the one elected for the first.
    let first = elected(addresses[0], &["n1", "n2"]);
    let second = if first == "n1" { "n2" } else { "n1" };
    if first == "n2" {
        pods.swap(0, 1);
    }
    for &address in &addresses {
        wait_owner(&lab, address, &first).await?;
        answered_by(&lab, address, &first).await?;
    }

    // Readiness toggles.
    let mut moves = Vec::new();
    for (ready, node) in [(false, second), (true, first.as_str())] {
        pods[0].set_ready(ready).await?;
        moves.push(takes_over(&lab, four, node, Instant::now()).await?);
        wait_owner(&lab, six, node).await?;
        answered_by(&lab, six, node).await?;
    }

    // The owner's pod is on its way out: the node of the other one takes over while it still serves.
    pods[0].terminate().await?;
    moves.push(takes_over(&lab, four, second, Instant::now()).await?);
    for address in [four, six] {
        wait_owner(&lab, address, second).await?;
        answered_by(&lab, address, second).await?;
    }
    // Both are: what still serves is as good as the other.
    pods[1].terminate().await?;
    moves.push(takes_over(&lab, four, &first, Instant::now()).await?);
    for address in [four, six] {
        wait_owner(&lab, address, &first).await?;
        answered_by(&lab, address, &first).await?;
    }
    // It serves no more.
    pods[0].set_ready(false).await?;
    moves.push(takes_over(&lab, four, second, Instant::now()).await?);
    answered_by(&lab, four, second).await?;

    // The last pod moves to another node.
    lab.pod("web-moved").app("web").on("n3").create().await?;
    for pod in pods {
        pod.delete().await?;
    }
    moves.push(takes_over(&lab, four, "n3", Instant::now()).await?);
    for address in [four, six] {
        wait_owner(&lab, address, "n3").await?;
        answered_by(&lab, address, "n3").await?;
    }
    ensure!(
        moves.iter().all(|took| *took < AT_ONCE),
        "the moves took {moves:?}"
    );

    // Any node will do for Cluster, and its node's address is what the pods see.
    web.patch(json!({"spec": {"externalTrafficPolicy": "Cluster"}}))
        .await?;
    let node = elected(addresses[0], &names(&lab));
    for &address in &addresses {
        wait_owner(&lab, address, &node).await?;
    }
    web.patch(json!({"spec": {"externalTrafficPolicy": "Local"}}))
        .await?;
    wait_owner(&lab, four, "n3").await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn endpoints_of_every_kind_count_as_the_service_says() -> Result<()> {
    let lab = layer2::start(Lab::builder()).await?;
    let all = names(&lab);

    // Cluster: a node without an endpoint may be the owner.
    let pod = lab.pod("far").app("far").on("n1").create().await?;
    let address = address_of("n2", &all, 0);
    let far = lab
        .service("far")
        .annotation("metallb.io/loadBalancerIPs", &address.to_string())
        .create()
        .await?;
    wait_owner(&lab, address, "n2").await?;
    let answer = eventually(SOON, "an answer", async || {
        Ok(Some(lab.ask("client", address, 80).await?))
    });
    ensure!(answer.await?.node == "n1");
    pod.set_ready(false).await?;
    wait_nobody(&lab, address).await?;
    pod.set_ready(true).await?;
    wait_owner(&lab, address, "n2").await?;
    far.delete().await?;
    wait_nobody(&lab, address).await?;

    // Not ready, but published.
    let early = lab
        .service("early")
        .local()
        .publish_not_ready()
        .create()
        .await?;
    let address = early.wait_addresses(1).await?[0];
    let pod = lab
        .pod("early-0")
        .app("early")
        .on("n3")
        .not_ready()
        .create()
        .await?;
    wait_owner(&lab, address, "n3").await?;
    answered_by(&lab, address, "n3").await?;
    pod.delete().await?;
    wait_nobody(&lab, address).await?;

    // Not ready, and not published.
    let late = lab.service("late").local().create().await?;
    let address = late.wait_addresses(1).await?[0];
    let pod = lab
        .pod("late-0")
        .app("late")
        .on("n2")
        .not_ready()
        .create()
        .await?;
    let nobody = async || Ok(lab.owners(address).await?.is_empty());
    always(
        Duration::from_secs(1),
        "a pod that is not ready makes no owner",
        nobody,
    )
    .await?;
    pod.set_ready(true).await?;
    wait_owner(&lab, address, "n2").await?;

    // Made by hand, without a node's name.
    let by_hand = lab.service("by-hand").without_selector().create().await?;
    let address = by_hand.wait_addresses(1).await?[0];
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"name": "tcp-80", "port": herald_lab::BACKEND_PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [pod.addresses.v4]}],
    });
    lab.apply_yaml(&slice.to_string()).await?;
    wait_owner(&lab, address, &elected(address, &all)).await?;
    let ask = async || Ok(Some(lab.ask("client", address, 80).await?));
    ensure!(eventually(SOON, "an answer", ask).await?.pod == "late-0");
    // For Local the endpoint's address tells the node: it is one of its pods'.
    by_hand
        .patch(json!({"spec": {"externalTrafficPolicy": "Local"}}))
        .await?;
    wait_owner(&lab, address, "n2").await?;
    slice["endpoints"][0]["addresses"] = json!(["192.0.2.1"]);
    lab.apply_yaml(&slice.to_string()).await?;
    wait_nobody(&lab, address).await?;
    slice["endpoints"][0]["nodeName"] = "n3".into();
    lab.apply_yaml(&slice.to_string()).await?;
    wait_owner(&lab, address, "n3").await?;
    // Not ready by hand: only the Service's own word counts it in.
    slice["endpoints"][0]["conditions"] = json!({"ready": false});
    lab.apply_yaml(&slice.to_string()).await?;
    wait_nobody(&lab, address).await?;
    by_hand
        .patch(json!({"spec": {"publishNotReadyAddresses": true}}))
        .await?;
    wait_owner(&lab, address, "n3").await?;
    lab.down().await
}
