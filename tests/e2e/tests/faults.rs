//! Allocation through an API server that refuses, lies, hangs, and changes objects in between.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::faulty_api::{Call, Fate, FaultyApi};
use herald_e2e::objects::{
    SOON, addresses_of, all_addresses, allocated_from, condition, metrics, pool, versions,
    wait_counters,
};
use herald_lab::{Herald, Lab, ProxyMode, always, eventually};
use http::Method;
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

async fn start_lab() -> Result<Lab> {
    Lab::builder().nodes(1).proxy(ProxyMode::None).start().await
}

async fn create_services(lab: &Lab, count: usize) -> Result<()> {
    for number in 0..count {
        lab.service(&format!("web-{number}")).create().await?;
    }
    Ok(())
}

/// Waits until so many Services have addresses, none of them given twice.
async fn wait_all(lab: &Lab, count: usize, patience: Duration) -> Result<()> {
    let what = format!("{count} Services to have addresses");
    let assigned = eventually(patience, &what, async || {
        let assigned = all_addresses(lab).await?;
        ensure!(assigned.len() == count, "{} have", assigned.len());
        Ok(Some(assigned))
    })
    .await?;
    let distinct: BTreeSet<IpAddr> = assigned.values().flatten().copied().collect();
    ensure!(
        distinct.len() == count,
        "an address was given twice: {assigned:?}"
    );
    Ok(())
}

/// The value of one sample.
async fn metric(lab: &Lab, controller: &Herald, name: &str) -> Result<u64> {
    let text = metrics(lab, "cp", controller).await?;
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    values
        .next()
        .ok_or_else(|| anyhow::anyhow!("there is no sample {name} in\n{text}"))
}

/// Services of `default`, to be changed by a rule while a request waits.
fn services(client: &Client) -> Api<ServiceObject> {
    Api::namespaced(client.clone(), "default")
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn an_api_server_that_fails_delays_assignments_and_loses_none() -> Result<()> {
    const COUNT: usize = 60;
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    create_services(&lab, COUNT).await?;
    let (writes, watches, lists) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let rule = move |call: Call| {
        let next = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::SeqCst);
        let fate = if call.service_status().is_some() {
            match next(&writes) {
                9 | 33 => Fate::Swallow,
                write if write % 6 == 1 => Fate::Refuse(500),
                write if write % 6 == 2 => Fate::Betray(500),
                write if write % 6 == 3 => Fate::Refuse(429),
                _ => Fate::Pass,
            }
        } else if call.is_watch {
            match next(&watches) % 4 {
                0 => Fate::Refuse(500),
                1 => Fate::Refuse(410),
                _ => Fate::Cut(Duration::from_millis(700)),
            }
        } else if call.method == Method::GET && next(&lists) % 3 == 0 {
            Fate::Refuse(503)
        } else {
            Fate::Pass
        };
        async move { fate }
    };
    let api = FaultyApi::start(&lab, rule)?;
    let controller = api
        .controller(&lab, "controller")?
        .arg("--leader-elect=false")
        .start()
        .await?;
    wait_all(&lab, COUNT, Duration::from_secs(40)).await?;
    wait_counters(&lab, "lan", (60, 196), (0, 0)).await?;
    ensure!(metric(&lab, &controller, "herald_status_write_errors_total").await? >= 10);

    // Watches that break, and lists that come again, are no reason to write.
    let settled = versions(&lab).await?;
    always(
        Duration::from_secs(2),
        "settled Services are not written",
        async || Ok(versions(&lab).await? == settled),
    )
    .await?;
    create_services_after(&lab, "late").await?;
    lab.down().await
}

/// One more Service gets an address, although it is the hard way.
async fn create_services_after(lab: &Lab, name: &str) -> Result<()> {
    let service = lab.service(name).create().await?;
    let patience = Duration::from_secs(30);
    eventually(patience, "one more address", async || {
        Ok((service.addresses().await?.len() == 1).then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_service_that_changes_before_every_write_is_written_in_the_end() -> Result<()> {
    const COUNT: usize = 20;
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    let client = lab.client();
    let tries = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let rule = move |call: Call| {
        let (client, tries) = (client.clone(), Arc::clone(&tries));
        async move {
            let Some(name) = call.service_status() else {
                return Fate::Pass;
            };
            let count = {
                let mut tries = tries.lock().expect("nobody panics with it");
                let count = tries.entry(name.to_owned()).or_default();
                *count += 1;
                *count
            };
            if count <= 2 {
                let label = json!({"metadata": {"labels": {"tries": count.to_string()}}});
                let patch = Patch::Merge(label);
                let patched = services(&client)
                    .patch(name, &PatchParams::default(), &patch)
                    .await;
                patched.expect("the test's own write succeeds");
            }
            Fate::Pass
        }
    };
    let api = FaultyApi::start(&lab, rule)?;
    let controller = api
        .controller(&lab, "controller")?
        .arg("--leader-elect=false")
        .start()
        .await?;
    controller.wait_ready().await?;
    create_services(&lab, COUNT).await?;
    wait_all(&lab, COUNT, SOON).await?;
    let conflicts = metric(&lab, &controller, "herald_status_write_conflicts_total").await?;
    ensure!(conflicts >= 2 * COUNT as u64, "only {conflicts} conflicts");
    assert_eq!(
        metric(&lab, &controller, "herald_status_write_errors_total").await?,
        0
    );
    for number in 0..COUNT {
        let object = services(&lab.client())
            .get(&format!("web-{number}"))
            .await?;
        let labels = object.metadata.labels.clone().unwrap_or_default();
        assert_eq!(
            labels.get("tries").map(String::as_str),
            Some("2"),
            "a label was lost"
        );
        assert_eq!(allocated_from(&object).as_deref(), Some("lan"));
    }
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_service_that_goes_or_changes_type_during_its_write_gives_its_address_back() -> Result<()>
{
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.1-192.168.16.3"]).await?;
    let client = lab.client();
    let once = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let rule = move |call: Call| {
        let (client, once) = (client.clone(), Arc::clone(&once));
        async move {
            let Some(name) = call.service_status() else {
                return Fate::Pass;
            };
            if once
                .lock()
                .expect("nobody panics with it")
                .insert(name.to_owned())
            {
                meddle(&services(&client), name)
                    .await
                    .expect("the test's own write succeeds");
            }
            Fate::Pass
        }
    };
    let api = FaultyApi::start(&lab, rule)?;
    let controller = api
        .controller(&lab, "controller")?
        .arg("--leader-elect=false")
        .start()
        .await?;
    controller.wait_ready().await?;
    let steady = lab.service("steady").create().await?;
    let first = steady.wait_addresses(1).await?;

    let victim = lab.service("victim").create().await?;
    eventually(SOON, "the victim to be gone", async || {
        Ok(services(&lab.client())
            .get_opt(&victim.name)
            .await?
            .is_none()
            .then_some(()))
    })
    .await?;
    let turncoat = lab.service("turncoat").create().await?;
    eventually(SOON, "the other to be a plain Service", async || {
        let object = turncoat.get().await?;
        let plain =
            object.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ClusterIP");
        let clean = addresses_of(&object).is_empty() && condition(&object).is_none();
        Ok((plain && clean).then_some(()))
    })
    .await?;
    let phoenix = lab.service("phoenix").create().await?;
    let old = phoenix.get().await?.metadata.uid;
    eventually(
        SOON,
        "the one that came again to have an address",
        async || {
            let object = phoenix.get().await?;
            Ok((object.metadata.uid != old && addresses_of(&object).len() == 1).then_some(()))
        },
    )
    .await?;

    // Nothing leaked: the last address of three is free and given, and no other.
    lab.service("last")
        .create()
        .await?
        .wait_addresses(1)
        .await?;
    wait_counters(&lab, "lan", (3, 0), (0, 0)).await?;
    let after = turncoat.get().await?;
    ensure!(
        addresses_of(&after).is_empty() && allocated_from(&after).is_none(),
        "{after:?}"
    );
    assert_eq!(steady.addresses().await?, first);
    wait_all(&lab, 3, SOON).await?;
    lab.down().await
}

/// What somebody else does to a Service while its status is on the way.
async fn meddle(services: &Api<ServiceObject>, name: &str) -> Result<()> {
    match name {
        "victim" => {
            services.delete(name, &DeleteParams::default()).await?;
        }
        "turncoat" => {
            let patch = Patch::Merge(json!({"spec": {"type": "ClusterIP"}}));
            services
                .patch(name, &PatchParams::default(), &patch)
                .await?;
        }
        "phoenix" => {
            let old = services.get(name).await?;
            services.delete(name, &DeleteParams::default()).await?;
            let again = serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {"type": "LoadBalancer", "ports": old.spec.and_then(|spec| spec.ports)
                    .into_iter().flatten().map(|port| json!({"port": port.port}))
                    .collect::<Vec<_>>()},
            }))?;
            services.create(&PostParams::default(), &again).await?;
        }
        _ => {}
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_slow_api_server_makes_no_service_wait_for_another() -> Result<()> {
    const COUNT: usize = 64;
    const DELAY: Duration = Duration::from_secs(1);
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24"]).await?;
    create_services(&lab, COUNT).await?;
    let rule = |call: Call| async move {
        if call.service_status().is_some() {
            tokio::time::sleep(DELAY).await;
        }
        Fate::Pass
    };
    let api = FaultyApi::start(&lab, rule)?;
    let start = Instant::now();
    api.controller(&lab, "controller")?
        .arg("--leader-elect=false")
        .start()
        .await?;
    wait_all(&lab, COUNT, Duration::from_secs(20)).await?;
    let took = start.elapsed();
    ensure!(
        took < DELAY * 16,
        "{COUNT} writes of {DELAY:?} each took {took:?}"
    );
    lab.down().await
}
