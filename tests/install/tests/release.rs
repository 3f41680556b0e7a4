//! A release of Herald on three nodes with kubelets, from its first day to its last.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use herald_chart::NAMESPACE;
use herald_install::{Cluster, FIRST, NEXT, PATIENCE, nodes, none_failed, objects};
use herald_lab::eventually;
use serde_json::{Value, json};

fn custom(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind,
        "metadata": {"name": "lan", "namespace": NAMESPACE}, "spec": spec,
    })
}

/// What an uninstallation leaves by the documentation: what people wrote and what it is written in, the
/// namespace with what every namespace has, the state of the speakers.
fn stays(what: &str) -> bool {
    let of_speakers = [
        "/var/lib/herald",
        "/var/lib/herald/herald.lock",
        "/var/lib/herald/herald.state",
    ];
    match *what.split(' ').collect::<Vec<_>>() {
        ["CustomResourceDefinition" | "APIService", name] => name.ends_with(".metallb.io"),
        [_, "ConfigMap", "kube-root-ca.crt"]
        | [_, "ServiceAccount", "default"]
        | [_, "IPAddressPool" | "L2Advertisement", "lan"] => true,
        ["Namespace", name] => name == NAMESPACE,
        [_, path] => of_speakers.contains(&path),
        _ => false,
    }
}

/// The objects of the cluster, and what is on its nodes.
async fn everything(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut all = objects(&cluster.lab).await?;
    all.append(&mut nodes(&cluster.lab).await?);
    Ok(all)
}

/// Waits until there is what there was `before`, and nothing else but what may stay.
async fn all_else_is_gone(
    cluster: &Cluster,
    before: &BTreeSet<String>,
    stays: impl Fn(&str) -> bool,
) -> Result<()> {
    eventually(PATIENCE, "the rest to go", async || {
        let after = everything(cluster).await?;
        let mut differs: Vec<&String> = before.symmetric_difference(&after).collect();
        differs.retain(|what| before.contains(*what) || !stays(what));
        ensure!(differs.is_empty(), "what differs: {differs:#?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, kubelets, Helm and a static binary: run by make test-install"]
async fn a_release_serves_from_its_installation_on_and_leaves_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.backends().await?;
    let before = everything(&cluster).await?;

    cluster.install("{}").await?;
    let first = cluster.all_ready(FIRST, &BTreeSet::new()).await?;
    // The webhooks are asked, and answer.
    let backwards = json!({"addresses": ["192.168.10.9-192.168.10.1"]});
    let bad = custom("IPAddressPool", &backwards);
    eventually(PATIENCE, "a bad pool to be refused", async || {
        let error = cluster.apply(&bad).await.err().context("it is taken")?;
        let refused = format!("{error:#}").contains("denied the request");
        ensure!(refused, "{error:#}");
        Ok(Some(()))
    })
    .await?;
    let ranges = json!({"addresses": ["192.168.10.0/28", "fd10::10:0/124"]});
    cluster.apply(&custom("IPAddressPool", &ranges)).await?;
    cluster
        .apply(&custom("L2Advertisement", &json!({})))
        .await?;
    let addresses = cluster.reached().await?;

    let traffic = cluster.traffic(&addresses)?;
    let other = "{controller: {logLevel: debug}, speaker: {logLevel: debug}}";
    cluster.upgrade(other).await?;
    let second = cluster.all_ready(NEXT, &first).await?;
    none_failed(traffic, "upgrade").await?;

    let traffic = cluster.traffic(&addresses)?;
    cluster.helm(&["rollback", "herald", "1"]).await?;
    cluster.all_ready(FIRST, &second).await?;
    none_failed(traffic, "rollback").await?;

    // Who knows where the addresses are goes on, since the nodes still take what is sent to them.
    let traffic = cluster.traffic(&addresses)?;
    cluster.helm(&["uninstall", "herald"]).await?;
    none_failed(traffic, "uninstallation").await?;
    all_else_is_gone(&cluster, &before, stays).await?;
    // Nobody answers for the addresses any more. They stay the Service's, for who comes next.
    for address in &addresses {
        eventually(PATIENCE, "no owner", async || {
            let owners = cluster.lab.owner_nodes(*address).await?;
            Ok(owners.is_empty().then_some(()))
        })
        .await?;
    }
    assert_eq!(cluster.addresses().await?, addresses);

    cluster.install("{controller: {replicas: 1}}").await?;
    assert_eq!(cluster.reached().await?, addresses);
    cluster.helm(&["uninstall", "herald"]).await?;
    cluster.remove_rest()?;
    let state = |what: &str| what.contains(" /var/lib/herald");
    all_else_is_gone(&cluster, &before, state).await?;
    cluster.lab.down().await
}
