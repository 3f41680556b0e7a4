//! What Services ask for: an address, a pool, company on an address; and pools that choose.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use anyhow::{Result, ensure};
use herald_e2e::objects::{
    SOON, all_addresses, allocated_from, ip, namespace, pool, pool_with, wait_counters, wait_event,
    wait_for, wait_pending,
};
use herald_lab::{Herald, Lab, ProxyMode, eventually};
use serde_json::{Value, json};

const POOL_KEY: &str = "metallb.io/address-pool";
const IPS_KEY: &str = "metallb.io/loadBalancerIPs";
const SHARE_KEY: &str = "metallb.io/allow-shared-ip";

/// A lab without traffic, and a controller.
async fn start() -> Result<(Lab, Herald)> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let controller = lab.start_controller("controller").await?;
    Ok((lab, controller))
}

fn annotate(key: &str, value: impl Into<Value>) -> Value {
    json!({"metadata": {"annotations": {key: value.into()}}})
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_service_gets_the_address_and_the_pool_it_asks_for() -> Result<()> {
    let (lab, _controller) = start().await?;
    pool(&lab, "first", &["192.168.10.0/24", "fd10::10:0/120"]).await?;
    let by_hand = json!({
        "addresses": ["192.168.20.0/24"], "autoAssign": false, "avoidBuggyIPs": true,
    });
    pool_with(&lab, "by-hand", by_hand).await?;

    let one = lab
        .service("one")
        .annotation(IPS_KEY, "192.168.10.77")
        .create()
        .await?;
    wait_for(&one, &["192.168.10.77"]).await?;
    let field = lab
        .service("field")
        .field("loadBalancerIP", "192.168.10.78")
        .create()
        .await?;
    wait_for(&field, &["192.168.10.78"]).await?;
    let two = lab
        .service("two")
        .dual_stack()
        .annotation(IPS_KEY, "fd10::10:79, 192.168.10.79");
    wait_for(&two.create().await?, &["fd10::10:79", "192.168.10.79"]).await?;

    let old = "metallb.universe.tf/loadBalancerIPs";
    let deprecated = lab
        .service("deprecated")
        .annotation(old, "192.168.10.80")
        .create()
        .await?;
    wait_for(&deprecated, &["192.168.10.80"]).await?;
    wait_event(&lab, "deprecated", "deprecatedAnnotation", old).await?;

    // A pool that assigns nothing by itself serves those who name it, or one of its addresses.
    let named = lab
        .service("named")
        .annotation(POOL_KEY, "by-hand")
        .create()
        .await?;
    wait_for(&named, &["192.168.20.1"]).await?;
    assert_eq!(
        allocated_from(&named.get().await?).as_deref(),
        Some("by-hand")
    );
    let inside = lab
        .service("inside")
        .annotation(IPS_KEY, "192.168.20.9")
        .create()
        .await?;
    wait_for(&inside, &["192.168.20.9"]).await?;
    let buggy = lab
        .service("buggy")
        .annotation(IPS_KEY, "192.168.20.255")
        .create()
        .await?;
    let message = wait_pending(&buggy, "BuggyAddress").await?;
    ensure!(
        message.contains("192.168.20.255") && message.contains("by-hand"),
        "{message}"
    );

    // Another wish is another address; the old one is free again, at once.
    one.patch(annotate(IPS_KEY, "192.168.10.81")).await?;
    wait_for(&one, &["192.168.10.81"]).await?;
    let heir = lab
        .service("heir")
        .annotation(IPS_KEY, "192.168.10.77")
        .create()
        .await?;
    wait_for(&heir, &["192.168.10.77"]).await?;
    named.patch(annotate(POOL_KEY, "first")).await?;
    wait_for(&named, &["192.168.10.0"]).await?;
    named.patch(annotate(POOL_KEY, "nowhere")).await?;
    wait_pending(&named, "UnknownPool").await?;
    wait_event(
        &lab,
        "named",
        "AllocationFailed",
        "unknown pool \"nowhere\"",
    )
    .await?;
    named.patch(annotate(POOL_KEY, Value::Null)).await?;
    wait_for(&named, &["192.168.10.0"]).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_pinned_pool_serves_the_namespaces_and_services_it_is_for() -> Result<()> {
    let (lab, _controller) = start().await?;
    for (name, team) in [("blue", "blue"), ("green", "green")] {
        namespace(&lab, name, json!({"team": team})).await?;
    }
    let pinned = |addresses: &str, allocation: Value| json!({"addresses": [addresses], "serviceAllocation": allocation});
    pool(&lab, "open", &["192.168.10.1-192.168.10.9"]).await?;
    let named = pinned(
        "192.168.20.1/32",
        json!({"priority": 20, "namespaces": ["blue"]}),
    );
    pool_with(&lab, "named", named).await?;
    let selector = json!([{"matchLabels": {"team": "blue"}}]);
    let selected = pinned(
        "192.168.21.1/32",
        json!({"priority": 10, "namespaceSelectors": selector}),
    );
    pool_with(&lab, "selected", selected).await?;
    let services =
        json!([{"matchExpressions": [{"key": "tier", "operator": "In", "values": ["db"]}]}]);
    let labelled = pinned(
        "192.168.22.0/24",
        json!({"priority": 5, "serviceSelectors": services}),
    );
    pool_with(&lab, "labelled", labelled).await?;

    // The lower number first, then the next, then what is open to all.
    for (name, address) in [
        ("a", "192.168.21.1"),
        ("b", "192.168.20.1"),
        ("c", "192.168.10.1"),
    ] {
        wait_for(
            &lab.service(name).namespace("blue").create().await?,
            &[address],
        )
        .await?;
    }
    let db = lab
        .service("db")
        .namespace("green")
        .label("tier", "db")
        .create()
        .await?;
    wait_for(&db, &["192.168.22.0"]).await?;
    let other = lab.service("other").namespace("green").create().await?;
    wait_for(&other, &["192.168.10.2"]).await?;
    let refused = lab
        .service("refused")
        .namespace("green")
        .annotation(POOL_KEY, "named");
    let refused = refused.create().await?;
    let message = wait_pending(&refused, "IncompatiblePool").await?;
    ensure!(
        message.contains("named") && message.contains("namespace"),
        "{message}"
    );

    // A namespace's label is part of the configuration.
    namespace(&lab, "blue", json!({"team": "red"})).await?;
    eventually(
        SOON,
        "the Service of the pool that is closed now to move",
        async || {
            Ok((!all_addresses(&lab).await?["blue/a"].contains(&ip("192.168.21.1"))).then_some(()))
        },
    )
    .await?;
    wait_event(
        &lab,
        "a",
        "ClearAssignment",
        "pool \"selected\" is not compatible",
    )
    .await?;
    // Labels of the Service as well.
    db.patch(json!({"metadata": {"labels": {"tier": null}}}))
        .await?;
    eventually(
        SOON,
        "the Service without the label to leave the pool",
        async || Ok((!db.addresses().await?.contains(&ip("192.168.22.0"))).then_some(())),
    )
    .await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn services_share_an_address_by_key_as_long_as_their_ports_differ() -> Result<()> {
    let (lab, _controller) = start().await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.2"]).await?;
    let shared = |name: &str| lab.service(name).annotation(SHARE_KEY, "dns");
    wait_for(&shared("tcp").port(53).create().await?, &["192.168.10.1"]).await?;
    wait_for(
        &shared("udp").udp_port(53).create().await?,
        &["192.168.10.1"],
    )
    .await?;
    let clash = shared("clash")
        .port(53)
        .annotation(IPS_KEY, "192.168.10.1")
        .create()
        .await?;
    let message = wait_pending(&clash, "PortInUse").await?;
    ensure!(
        message.contains("TCP/53") && message.contains("default/tcp"),
        "{message}"
    );
    wait_event(
        &lab,
        "clash",
        "AllocationFailed",
        "port TCP/53 is already in use",
    )
    .await?;
    let stranger = lab
        .service("stranger")
        .port(80)
        .annotation(IPS_KEY, "192.168.10.1");
    let stranger = stranger.create().await?;
    let message = wait_pending(&stranger, "NotShareable").await?;
    ensure!(
        message.contains("default/tcp") && message.contains("default/udp"),
        "{message}"
    );
    wait_event(
        &lab,
        "stranger",
        "AllocationFailed",
        "can't change sharing key",
    )
    .await?;
    let local = shared("local")
        .port(81)
        .local()
        .annotation(IPS_KEY, "192.168.10.1")
        .create()
        .await?;
    wait_pending(&local, "NotShareable").await?;
    wait_counters(&lab, "lan", (1, 1), (0, 0)).await?;

    // Another port, or the same key, and they share after all.
    clash
        .patch(json!({"spec": {"ports": [{"name": "tcp-53", "port": 54, "targetPort": 8080}]}}))
        .await?;
    stranger.patch(annotate(SHARE_KEY, "dns")).await?;
    wait_for(&stranger, &["192.168.10.1"]).await?;
    eventually(SOON, "the Service with another port to share", async || {
        Ok((clash.addresses().await? == [ip("192.168.10.1")]).then_some(()))
    })
    .await?;
    // One that gives up sharing while others are there has to leave.
    stranger.patch(annotate(SHARE_KEY, Value::Null)).await?;
    wait_pending(&stranger, "NotShareable").await?;
    wait_event(
        &lab,
        "stranger",
        "ClearAssignment",
        "can't change sharing key",
    )
    .await?;
    lab.down().await
}
