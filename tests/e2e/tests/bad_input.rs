//! Wrong objects: each is told of with its name, its field and a remedy, and harms nobody else.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::objects::{
    SOON, advertise, allocated_from, condition, ip, metrics, pool, pool_with, pools, versions,
    wait_event, wait_for, wait_pending,
};
use herald_lab::{Herald, Lab, NAMESPACE, ProxyMode, Service, always, eventually};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const IPS_KEY: &str = "metallb.io/loadBalancerIPs";

async fn start() -> Result<(Lab, Herald)> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let controller = lab
        .controller("controller")?
        .arg("--leader-elect=false")
        .start_ready()
        .await?;
    Ok((lab, controller))
}

/// The log line about an object that was refused; everything that a reader needs is in it.
async fn wait_log(herald: &Herald, parts: &[&str]) -> Result<()> {
    let what = format!("a log line of {} with {parts:?}", herald.name());
    eventually(SOON, &what, async || {
        let log = herald.log();
        Ok(log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
            .then_some(()))
    })
    .await
}

async fn wait_stale(lab: &Lab, controller: &Herald, stale: bool) -> Result<()> {
    let line = format!("metallb_k8s_client_config_stale_bool {}", u8::from(stale));
    eventually(SOON, &line, async || {
        let text = metrics(lab, "cp", controller).await?;
        Ok(text.lines().any(|found| found == line).then_some(()))
    })
    .await
}

/// A new Service gets an address of the pool `good`.
async fn others_go_on(lab: &Lab, name: &str) -> Result<Service> {
    let service = lab.service(name).create().await?;
    service.wait_addresses(1).await?;
    assert_eq!(
        allocated_from(&service.get().await?).as_deref(),
        Some("good")
    );
    Ok(service)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_wrong_pool_is_told_of_and_keeps_no_other_from_serving() -> Result<()> {
    let (lab, controller) = start().await?;
    pool(&lab, "good", &["192.168.10.0/24"]).await?;
    others_go_on(&lab, "first").await?;
    wait_stale(&lab, &controller, false).await?;

    let selector = json!([{"matchExpressions": [{"key": "a", "operator": "Sometimes"}]}]);
    let cases = [
        (
            "a-word",
            json!({"addresses": ["abc"]}),
            "invalid CIDR \"abc\" in pool \"a-word\"",
        ),
        (
            "backwards",
            json!({"addresses": ["192.168.20.9-192.168.20.1"]}),
            "is after the end IP",
        ),
        (
            "mixed",
            json!({"addresses": ["192.168.20.1-fd10::10:9"]}),
            "192.168.20.1-fd10::10:9",
        ),
        (
            "long-mask",
            json!({"addresses": ["192.168.20.0/33"]}),
            "192.168.20.0/33",
        ),
        (
            "empty",
            json!({"addresses": []}),
            "pool has no prefixes defined",
        ),
        (
            "overlap",
            json!({"addresses": ["192.168.10.128/25"]}),
            "overlaps with already defined CIDR",
        ),
        (
            "itself",
            json!({"addresses": ["192.168.21.0/24", "192.168.21.7/32"]}),
            "overlaps",
        ),
        (
            "twice",
            json!({"addresses": ["192.168.22.0/24"], "serviceAllocation": {"namespaces": ["a", "a"]}}),
            "duplicate definition in namespaces",
        ),
        (
            "operator",
            json!({"addresses": ["192.168.23.0/24"],
                "serviceAllocation": {"namespaceSelectors": selector}}),
            "Sometimes",
        ),
    ];
    for (name, spec, text) in cases {
        // What the API server refuses by the schema need not be told of by Herald.
        if let Err(error) = pool_with(&lab, name, spec).await {
            let error = format!("{error:#}");
            ensure!(
                error.contains("Invalid") || error.contains("invalid"),
                "{name}: {error}"
            );
            println!("refused by the schema: {name}");
            continue;
        }
        let message = wait_event(&lab, name, "InvalidConfiguration", text).await?;
        ensure!(
            message.starts_with(&format!("IPAddressPool \"{name}\", field spec.")),
            "{message}"
        );
        ensure!(message.contains("until it is corrected"), "{message}");
        wait_log(
            &controller,
            &[
                "failed to parse the configuration",
                &format!("\"{name}\""),
                "spec.",
            ],
        )
        .await?;
        others_go_on(&lab, &format!("beside-{name}")).await?;
    }
    wait_stale(&lab, &controller, true).await?;

    // Corrected, a pool serves; the others stay as they are.
    pool(&lab, "backwards", &["192.168.20.1-192.168.20.9"]).await?;
    let there = lab
        .service("there")
        .annotation("metallb.io/address-pool", "backwards");
    wait_for(&there.create().await?, &["192.168.20.1"]).await?;
    lab.down().await
}

/// Waits until the condition says that a Service has its addresses, for this reason.
async fn wait_reason(service: &Service, reason: &str) -> Result<()> {
    eventually(
        SOON,
        &format!("the condition to say {reason}"),
        async || {
            let told = condition(&service.get().await?).context("it has the condition")?;
            let right = (told.status.as_str(), told.reason.as_str()) == ("True", reason);
            ensure!(right, "{told:?}");
            Ok(Some(()))
        },
    )
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_pool_that_becomes_wrong_keeps_its_services_even_over_a_restart() -> Result<()> {
    let (lab, controller) = start().await?;
    pool(&lab, "good", &["192.168.10.1-192.168.10.9"]).await?;
    pool(&lab, "typo", &["192.168.20.1-192.168.20.2"]).await?;
    let key = "metallb.io/address-pool";
    let kept = lab.service("kept").annotation(key, "typo").create().await?;
    wait_for(&kept, &["192.168.20.1"]).await?;
    pool(&lab, "typo", &["192.168.20.1-192.168.20.2", "192.168.20.x"]).await?;
    wait_event(&lab, "typo", "InvalidConfiguration", "192.168.20.x").await?;

    // Its last good version goes on serving.
    let more = lab.service("more").annotation(key, "typo").create().await?;
    wait_for(&more, &["192.168.20.2"]).await?;
    let settled = versions(&lab).await?;

    // A controller that never saw that version gives nothing of it, and takes nothing away.
    controller.restart().await?;
    let other = others_go_on(&lab, "other").await?;
    always(
        Duration::from_secs(1),
        "the Services of the pool keep their addresses",
        async || {
            let (first, second) = (kept.addresses().await?, more.addresses().await?);
            Ok(first == [ip("192.168.20.1")] && second == [ip("192.168.20.2")])
        },
    )
    .await?;
    let late = lab.service("late").annotation(key, "typo").create().await?;
    let message = wait_pending(&late, "UnusablePool").await?;
    ensure!(
        message.contains("\"typo\" cannot be used until it is corrected"),
        "{message}"
    );
    wait_reason(&kept, "UnusablePool").await?;

    // Corrected, all is as it was.
    pool(&lab, "typo", &["192.168.20.1-192.168.20.3"]).await?;
    wait_for(&late, &["192.168.20.3"]).await?;
    for (service, address) in [(&kept, "192.168.20.1"), (&more, "192.168.20.2")] {
        wait_for(service, &[address]).await?;
        wait_reason(service, "Assigned").await?;
    }
    ensure!(settled.len() == 3 && other.addresses().await?.len() == 1);
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_wrong_wish_is_told_of_and_takes_nothing_from_the_service() -> Result<()> {
    let (lab, _controller) = start().await?;
    pool(&lab, "good", &["192.168.10.0/24", "fd10::10:0/120"]).await?;
    pool(&lab, "second", &["192.168.11.0/24", "fd10::11:0/120"]).await?;
    let families = "requested addresses [fd10::10:5] do not match the families [";
    let several = "192.168.10.5,fd10::10:5,192.168.10.6";
    let cases = [
        (
            "word",
            "abc",
            "InvalidRequest",
            "LoadBalancerFailed",
            "\"abc\" of metallb.io/loadBalancerIPs",
        ),
        (
            "several",
            several,
            "InvalidRequest",
            "LoadBalancerFailed",
            "3 addresses",
        ),
        (
            "twice",
            "192.168.10.5,192.168.10.6",
            "InvalidRequest",
            "LoadBalancerFailed",
            "2 addresses",
        ),
        (
            "outside",
            "203.0.113.1",
            "NotInAnyPool",
            "AllocationFailed",
            "203.0.113.1 is not in any",
        ),
        (
            "family",
            "fd10::10:5",
            "FamilyMismatch",
            "AllocationFailed",
            families,
        ),
    ];
    for (name, wish, reason, event, text) in cases {
        let service = lab.service(name).annotation(IPS_KEY, wish).create().await?;
        let message = wait_pending(&service, reason).await?;
        let text_of_event = wait_event(&lab, name, event, text).await?;
        ensure!(
            text_of_event.contains(&message),
            "{text_of_event:?} and {message:?} differ"
        );
        others_go_on(&lab, &format!("beside-{name}")).await?;
        // Without the wish it is a Service like any other.
        service
            .patch(json!({"metadata": {"annotations": {IPS_KEY: null}}}))
            .await?;
        service.wait_addresses(1).await?;
    }
    let both = lab.service("both").annotation(IPS_KEY, "192.168.10.5");
    let both = both
        .field("loadBalancerIP", "192.168.10.6")
        .create()
        .await?;
    wait_pending(&both, "InvalidRequest").await?;
    wait_event(
        &lab,
        "both",
        "LoadBalancerFailed",
        "svc.Spec.LoadBalancerIP",
    )
    .await?;
    let split = lab
        .service("split")
        .dual_stack()
        .annotation(IPS_KEY, "192.168.10.5,fd10::11:5");
    wait_pending(&split.create().await?, "DifferentPools").await?;
    wait_event(
        &lab,
        "split",
        "AllocationFailed",
        "192.168.10.5 and fd10::11:5",
    )
    .await?;

    // A Service that has an address keeps it while its wish cannot be read.
    let settled = others_go_on(&lab, "settled").await?;
    let before = settled.addresses().await?;
    settled
        .patch(json!({"metadata": {"annotations": {IPS_KEY: "192.168.10.300"}}}))
        .await?;
    wait_event(&lab, "settled", "LoadBalancerFailed", "192.168.10.300").await?;
    assert_eq!(settled.addresses().await?, before);
    lab.down().await
}

/// Lets a kind of `metallb.io` take anything, as an older CRD or a careless hand would.
async fn loosen(lab: &Lab, plural: &str) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let patch = json!([{"op": "replace", "path": schema, "value": anything}]);
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch)?);
    crds.patch(
        &format!("{plural}.metallb.io"),
        &PatchParams::default(),
        &patch,
    )
    .await?;
    Ok(())
}

/// Stores an object that no type of Herald's can hold, as soon as the API server lets it in.
async fn store(lab: &Lab, kind: &str, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    });
    eventually(SOON, &format!("{kind} {name} to be stored"), async || {
        Ok(Some(lab.apply_yaml(&object.to_string()).await?))
    })
    .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn an_object_that_cannot_be_read_at_all_stops_nothing() -> Result<()> {
    let lab = Lab::builder().nodes(1).start().await?;
    lab.backends("web", &["n1"]).await?;
    let herald = lab.start_herald().await?;
    let [controller, speaker] = herald.as_slice() else {
        unreachable!("one node")
    };
    advertise(&lab).await?;
    pool(&lab, "good", &["192.168.10.1-192.168.10.9"]).await?;
    let web = others_go_on(&lab, "web").await?;
    let address = web.addresses().await?[0];
    eventually(SOON, "an answer", async || {
        Ok(Some(lab.ask("client", address, 80).await?))
    })
    .await?;

    for plural in ["ipaddresspools", "l2advertisements"] {
        loosen(&lab, plural).await?;
    }
    store(&lab, "IPAddressPool", "number", json!({"addresses": 5})).await?;
    store(&lab, "IPAddressPool", "nothing", json!(null)).await?;
    store(
        &lab,
        "L2Advertisement",
        "number",
        json!({"interfaces": {"lan0": true}}),
    )
    .await?;
    for name in ["number", "nothing"] {
        wait_event(&lab, name, "InvalidConfiguration", "IPAddressPool").await?;
        wait_log(
            controller,
            &["IPAddressPool", name, "until it is corrected"],
        )
        .await?;
    }
    wait_log(
        speaker,
        &["L2Advertisement", "number", "until it is corrected"],
    )
    .await?;
    others_go_on(&lab, "running").await?;

    // Nor does it when the daemons start with it.
    controller.restart().await?;
    speaker.restart().await?;
    controller.wait_ready().await?;
    speaker.wait_ready().await?;
    let next = lab.service("next").selector("app", "web").create().await?;
    let addresses = eventually(Duration::from_secs(30), "an address", async || {
        let addresses = next.addresses().await?;
        Ok((addresses.len() == 1).then_some(addresses))
    })
    .await?;
    for address in [address, addresses[0]] {
        eventually(SOON, "an answer", async || {
            Ok(Some(lab.ask("client", address, 80).await?))
        })
        .await?;
    }
    assert_eq!(web.addresses().await?, [address]);
    let names: Vec<_> = ["good", "number", "nothing"].into();
    for name in names {
        ensure!(
            pools(&lab).get_metadata(name).await.is_ok(),
            "{name} is not stored"
        );
    }
    lab.down().await
}
