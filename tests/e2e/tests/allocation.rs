//! Allocation as the cluster's users see it: Services, pools, statuses, events, counters.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use herald_e2e::objects::{
    Changes, SOON, addresses_of, allocated_from, condition, events_of, ip, metrics, namespace,
    pool, pools, versions, wait_counters, wait_event, wait_for, wait_pending,
};
use herald_lab::{Herald, Lab, ProxyMode, always, eventually};
use kube::api::{Patch, PatchParams};
use serde_json::json;

const POOL_KEY: &str = "metallb.io/address-pool";

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
