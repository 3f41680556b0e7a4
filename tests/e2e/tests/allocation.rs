//! Allocation as the cluster's users see it: Services, pools, statuses, events, counters.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use herald_e2e::objects::{
    Changes, SOON, addresses_of, all_addresses, allocated_from, condition, events_of, ip, metrics,
    namespace, pool, pool_with, pools, versions, wait_counters, wait_event, wait_for, wait_pending,
};
use herald_lab::{Herald, Lab, ProxyMode, always, eventually};
use kube::api::{Patch, PatchParams};
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
async fn a_service_has_an_address_of_each_of_its_families() -> Result<()> {
    let (lab, _controller) = start().await?;
    pool(
        &lab,
        "both",
        &["192.168.10.1-192.168.10.9", "fd10::10:1-fd10::10:9"],
    )
    .await?;
    let v4 = lab.service("v4").create().await?;
    wait_for(&v4, &["192.168.10.1"]).await?;
    let v6 = lab.service("v6").ipv6().create().await?;
    wait_for(&v6, &["fd10::10:1"]).await?;
    let both = lab.service("both").dual_stack().create().await?;
    wait_for(&both, &["192.168.10.2", "fd10::10:2"]).await?;

    let object = both.get().await?;
    assert_eq!(allocated_from(&object).as_deref(), Some("both"));
    let condition = condition(&object).expect("the addresses' own condition");
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "Assigned")
    );
    wait_event(
        &lab,
        "both",
        "IPAllocated",
        "Assigned IP [\"192.168.10.2\" \"fd10::10:2\"]",
    )
    .await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_service_follows_its_family_policy_and_the_families_of_its_pool() -> Result<()> {
    let (lab, _controller) = start().await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.9"]).await?;
    let prefers = lab
        .service("prefers")
        .field("ipFamilyPolicy", "PreferDualStack")
        .create()
        .await?;
    wait_for(&prefers, &["192.168.10.1"]).await?;
    let requires = lab.service("requires").dual_stack().create().await?;
    wait_pending(&requires, "NoAvailableAddresses").await?;
    wait_event(&lab, "requires", "AllocationFailed", "no available IPs").await?;

    // A pool that grows the other family serves both at once.
    pool(
        &lab,
        "lan",
        &["192.168.10.1-192.168.10.9", "fd10::10:1-fd10::10:9"],
    )
    .await?;
    eventually(SOON, "both to have both families", async || {
        let (first, second) = (prefers.addresses().await?, requires.addresses().await?);
        Ok((first.len() == 2 && second.len() == 2).then_some(()))
    })
    .await?;
    assert_eq!(prefers.addresses().await?[0], ip("192.168.10.1"));
    wait_event(
        &lab,
        "prefers",
        "IPAllocated",
        "Assigned additional IP \"fd10::10:",
    )
    .await?;

    // From one family to both and back: the address of the family that stays, stays.
    let moving = lab.service("moving").create().await?;
    let first = moving.wait_addresses(1).await?;
    moving
        .patch(json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}))
        .await?;
    let two = moving.wait_addresses(2).await?;
    assert_eq!(two[0], first[0]);
    moving
        .patch(json!({"spec": {"ipFamilyPolicy": "SingleStack"}}))
        .await?;
    let one = moving.wait_addresses(1).await?;
    assert_eq!(one, first);
    wait_counters(&lab, "lan", (3, 6), (2, 7)).await?;

    // Without a free address of the other family it has the one, and its owner is told.
    pool(
        &lab,
        "scarce",
        &["192.168.11.1-192.168.11.9", "fd10::11:1/128"],
    )
    .await?;
    let scarce = |name: &str| lab.service(name).annotation(POOL_KEY, "scarce");
    scarce("only")
        .ipv6()
        .create()
        .await?
        .wait_addresses(1)
        .await?;
    let alone = scarce("alone")
        .field("ipFamilyPolicy", "PreferDualStack")
        .create()
        .await?;
    wait_for(&alone, &["192.168.11.1"]).await?;
    wait_event(&lab, "alone", "AdditionalAssignFailed", "PreferDualStack").await?;
    lab.down().await
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

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn an_address_that_becomes_free_goes_at_once_to_the_one_that_waits() -> Result<()> {
    let (lab, _controller) = start().await?;
    let early = lab.service("early").create().await?;
    let message = wait_pending(&early, "NoPools").await?;
    ensure!(message.contains("IPAddressPool"), "{message}");
    pool(&lab, "one", &["192.168.10.1/32"]).await?;
    wait_for(&early, &["192.168.10.1"]).await?;
    let waiting = lab.service("waiting").create().await?;
    wait_pending(&waiting, "NoAvailableAddresses").await?;

    early.delete().await?;
    wait_for(&waiting, &["192.168.10.1"]).await?;

    // A Service that stops being a load balancer keeps nothing of ours.
    let next = lab.service("next").create().await?;
    wait_pending(&next, "NoAvailableAddresses").await?;
    waiting
        .patch(json!({"spec": {"type": "ClusterIP"}}))
        .await?;
    wait_for(&next, &["192.168.10.1"]).await?;
    eventually(SOON, "the ClusterIP Service to be clean", async || {
        let object = waiting.get().await?;
        let clean = addresses_of(&object).is_empty()
            && allocated_from(&object).is_none()
            && condition(&object).is_none();
        Ok(clean.then_some(()))
    })
    .await?;
    waiting
        .patch(json!({"spec": {"type": "LoadBalancer"}}))
        .await?;
    wait_pending(&waiting, "NoAvailableAddresses").await?;

    // Services of another class are another's, with or without an address.
    let foreign = lab
        .service("foreign")
        .class("example.com/other")
        .create()
        .await?;
    foreign.set_addresses(&[ip("203.0.113.5")]).await?;
    pool(&lab, "one", &["192.168.10.1/32", "192.168.10.2/32"]).await?;
    wait_for(&waiting, &["192.168.10.2"]).await?;
    let object = foreign.get().await?;
    assert_eq!(addresses_of(&object), [ip("203.0.113.5")]);
    assert_eq!((allocated_from(&object), condition(&object)), (None, None));
    wait_counters(&lab, "one", (2, 0), (0, 0)).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_controller_with_a_class_serves_that_class_only() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let class = "--lb-class=herald.io/lan";
    lab.controller("controller")?
        .arg(class)
        .start_ready()
        .await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.9"]).await?;
    let plain = lab.service("plain").create().await?;
    let other = lab.service("other").class("herald.io/wan").create().await?;
    let ours = lab.service("ours").class("herald.io/lan").create().await?;
    wait_for(&ours, &["192.168.10.1"]).await?;
    // Created before ours, so decided before it if they were decided at all.
    for service in [plain, other] {
        let object = service.get().await?;
        assert_eq!((addresses_of(&object), condition(&object)), (vec![], None));
    }
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn status_annotation_and_condition_come_in_one_write_and_no_more_follow() -> Result<()> {
    let (lab, controller) = start().await?;
    pool(
        &lab,
        "lan",
        &["192.168.10.1-192.168.10.20", "fd10::10:1-fd10::10:20"],
    )
    .await?;
    let changes = Changes::watch(&lab).await?;
    let mut services = Vec::new();
    for number in 0..8 {
        let service = lab
            .service(&format!("web-{number}"))
            .dual_stack()
            .create()
            .await?;
        services.push(service);
    }
    let waiting = lab
        .service("waiting")
        .annotation(POOL_KEY, "nowhere")
        .create()
        .await?;
    wait_pending(&waiting, "UnknownPool").await?;
    for service in &services {
        service.wait_addresses(2).await?;
    }
    wait_counters(&lab, "lan", (8, 12), (8, 24)).await?;
    wait_metrics(&lab, &controller).await?;

    // Touched pools, touched namespaces and a new leader are no reason to write.
    let settled = versions(&lab).await?;
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    pools(&lab)
        .patch("lan", &PatchParams::default(), &Patch::Merge(label))
        .await?;
    namespace(&lab, "new", json!({})).await?;
    pool(&lab, "other", &["192.168.30.0/24"]).await?;
    controller.restart().await?;
    controller.wait_ready().await?;
    let probe = lab.service("probe").create().await?;
    probe.wait_addresses(1).await?;
    always(
        Duration::from_secs(2),
        "settled Services are not written",
        async || {
            let mut now = versions(&lab).await?;
            now.retain(|name, _| name != "default/probe");
            Ok(now == settled)
        },
    )
    .await?;

    for service in &services {
        let states = changes.of(&service.name);
        ensure!(
            states.len() == 2,
            "{} was written {} times",
            service.name,
            states.len() - 1
        );
        ensure!(addresses_of(&states[0]).is_empty() && condition(&states[0]).is_none());
        let written = &states[1];
        assert_eq!(addresses_of(written).len(), 2);
        assert_eq!(allocated_from(written).as_deref(), Some("lan"));
        assert_eq!(
            condition(written).map(|c| c.status).as_deref(),
            Some("True")
        );
        let events = events_of(&lab, &service.name).await?;
        assert_eq!(
            events.len(),
            1,
            "one event tells of one assignment: {events:?}"
        );
    }
    lab.down().await
}

/// The allocator's metrics say what the counters of the pool say.
async fn wait_metrics(lab: &Lab, controller: &Herald) -> Result<()> {
    let wanted = [
        "metallb_allocator_addresses_total{pool=\"lan\"} 52",
        "metallb_allocator_addresses_in_use_total{pool=\"lan\"} 16",
        "metallb_allocator_ipv4_addresses_total{pool=\"lan\"} 20",
        "metallb_allocator_ipv4_addresses_in_use_total{pool=\"lan\"} 8",
        "metallb_allocator_ipv6_addresses_total{pool=\"lan\"} 32",
        "metallb_allocator_ipv6_addresses_in_use_total{pool=\"lan\"} 8",
        "metallb_allocator_services_allocated_total{pool=\"lan\"} 8",
        "metallb_k8s_client_config_loaded_bool 1",
        "metallb_k8s_client_config_stale_bool 0",
        "herald_controller_leader_bool 1",
        "herald_status_writes_total 9",
        "herald_status_write_errors_total 0",
    ];
    eventually(SOON, "the metrics", async || {
        let text = metrics(lab, "cp", controller).await?;
        let missing: Vec<_> = wanted
            .iter()
            .filter(|line| !text.lines().any(|l| l == **line))
            .collect();
        ensure!(missing.is_empty(), "missing {missing:?} in\n{text}");
        Ok(Some(()))
    })
    .await
}
