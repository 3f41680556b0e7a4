//! What others wrote, before Herald came and while it runs.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::objects::{
    SOON, addresses_of, allocated_from, condition, ip, pool, wait_counters, wait_event, wait_for,
};
use herald_lab::{Herald, Lab, ProxyMode, Service, eventually};
use serde_json::{Value, json};

const FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";

async fn start_lab() -> Result<Lab> {
    Lab::builder().nodes(1).proxy(ProxyMode::None).start().await
}

async fn start_alone(lab: &Lab) -> Result<Herald> {
    lab.controller("controller")?
        .arg("--leader-elect=false")
        .start_ready()
        .await
}

/// A Service as MetalLB leaves it.
async fn assigned(lab: &Lab, name: &str, address: &str, pool: &str) -> Result<Service> {
    let service = lab
        .service(name)
        .annotation(FROM_POOL, pool)
        .create()
        .await?;
    service.set_addresses(&[ip(address)]).await?;
    Ok(service)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn services_that_metallb_served_keep_their_addresses() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    // One that came before them and waits must not take what they have.
    let waiting = lab.service("a-waiting").create().await?;
    let kept = assigned(&lab, "kept", "192.168.16.0", "lan").await?;
    let renamed = assigned(&lab, "renamed", "192.168.16.1", "old-name").await?;
    let outside = assigned(&lab, "outside", "192.168.99.1", "gone").await?;
    let first = assigned(&lab, "twice-a", "192.168.16.7", "lan").await?;
    let second = assigned(&lab, "twice-b", "192.168.16.7", "lan").await?;
    start_alone(&lab).await?;

    outside.wait_addresses(1).await?;
    wait_event(&lab, "outside", "ClearAssignment", "192.168.99.1").await?;
    wait_event(&lab, "twice-b", "ClearAssignment", "192.168.16.7").await?;
    eventually(
        SOON,
        "every Service to have an address of its own",
        async || {
            let mut all = Vec::new();
            for service in [&waiting, &kept, &renamed, &outside, &first, &second] {
                let addresses = service.addresses().await?;
                ensure!(addresses.len() == 1, "{} has {addresses:?}", service.name);
                all.extend(addresses);
            }
            all.sort_unstable();
            all.dedup();
            Ok((all.len() == 6).then_some(()))
        },
    )
    .await?;
    wait_for(&kept, &["192.168.16.0"]).await?;
    wait_for(&renamed, &["192.168.16.1"]).await?;
    wait_for(&first, &["192.168.16.7"]).await?;
    assert_eq!(
        allocated_from(&renamed.get().await?).as_deref(),
        Some("lan")
    );
    wait_counters(&lab, "lan", (6, 250), (0, 0)).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn what_others_write_into_a_status_is_put_right() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    start_alone(&lab).await?;
    let web = lab.service("web").create().await?;
    wait_for(&web, &["192.168.16.0"]).await?;
    let wrong: [&[&str]; 3] = [&[], &["192.168.16.9"], &["192.168.16.0", "203.0.113.9"]];
    for addresses in wrong {
        let addresses: Vec<_> = addresses.iter().copied().map(ip).collect();
        web.set_addresses(&addresses).await?;
        wait_for(&web, &["192.168.16.0"]).await?;
    }
    for value in [Value::Null, json!("elsewhere")] {
        web.patch(json!({"metadata": {"annotations": {FROM_POOL: value}}}))
            .await?;
        eventually(SOON, "the annotation to be right", async || {
            let object = web.get().await?;
            Ok((allocated_from(&object).as_deref() == Some("lan")).then_some(()))
        })
        .await?;
    }
    // Conditions of others stay.
    let foreign = json!({
        "type": "example.com/Other", "status": "True", "reason": "Told", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let conditions = web.get().await?.status.and_then(|status| status.conditions);
    let mut conditions = serde_json::to_value(conditions.context("one is ours")?)?;
    conditions.as_array_mut().context("a list")?.push(foreign);
    patch_status(&lab, "web", json!({"status": {"conditions": conditions}})).await?;
    web.patch(json!({"spec": {"type": "ClusterIP"}})).await?;
    eventually(SOON, "only the foreign condition to be left", async || {
        let object = web.get().await?;
        let left = object
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let foreign = left.is_some_and(|left| left.len() == 1);
        Ok(
            (addresses_of(&object).is_empty() && condition(&object).is_none() && foreign)
                .then_some(()),
        )
    })
    .await?;
    lab.down().await
}

async fn patch_status(lab: &Lab, name: &str, patch: Value) -> Result<()> {
    use k8s_openapi::api::core::v1::Service as Object;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    let api: Api<Object> = Api::namespaced(lab.client(), "default");
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_controller_that_starts_before_its_crds_begins_when_they_come() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .without_crds()
        .start()
        .await?;
    let web = lab.service("web").create().await?;
    let controller = lab
        .controller("controller")?
        .arg("--leader-elect=false")
        .start()
        .await?;
    eventually(SOON, "a log line about the missing kind", async || {
        let log = controller.log();
        Ok(log
            .lines()
            .any(|l| l.contains("ipaddresspools") && l.contains("warn"))
            .then_some(()))
    })
    .await?;
    ensure!(
        !controller.is_ready().await?,
        "it is ready without its pools"
    );

    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/herald/crds");
    lab.apply_crds(Path::new(crds)).await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    eventually(Duration::from_secs(30), "an address", async || {
        Ok((web.addresses().await? == [ip("192.168.16.0")]).then_some(()))
    })
    .await?;
    ensure!(controller.is_ready().await?, "it serves and is not ready");
    lab.down().await
}
