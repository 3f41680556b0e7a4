//! The rights that the chart gives are enough for everything that controller and speakers do.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{
    BGPPeer, BGPSessionState, ConfigurationState, IPAddressPool, IPAddressPoolSpec,
    ServiceBGPStatus, ServiceL2Status,
};
use herald_chart::Helm;
use herald_lab::{Lab, NAMESPACE, ProxyMode, User, eventually};
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The service accounts of the lab's processes.
const VALUES: &str = r"
controller: {serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
";

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(1);

const CONFIGURATION: &str = r"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.168.16.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: v1
kind: Secret
metadata: {name: tor, namespace: metallb-system}
type: kubernetes.io/basic-auth
stringData: {password: secret}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 65001, peerASN: 65002, peerAddress: 127.0.0.9, passwordSecret: {name: tor}}
";

/// How many requests the API server has not allowed.
async fn denied(lab: &Lab) -> Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = lab.client().request_text(request).await?;
    let attempts = text
        .lines()
        .filter(|line| line.starts_with("authorization_attempts_total{"));
    let mut denied = 0;
    let mut allowed = false;
    for line in attempts {
        let (_, count) = line.rsplit_once(' ').context("no number")?;
        if line.contains("result=\"allowed\"") {
            allowed = true;
        } else {
            denied += count.parse::<u64>()?;
        }
    }
    ensure!(allowed, "the API server does not count its decisions");
    Ok(denied)
}

/// Waits until there is such an object.
async fn wait<K>(lab: &Lab, what: &str, is: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(lab.client(), NAMESPACE);
    eventually(PATIENCE, what, async || {
        let objects = api.list(&ListParams::default()).await?;
        Ok(objects.into_iter().find(&is))
    })
    .await
}

async fn wait_event(lab: &Lab, reason: &str) -> Result<()> {
    let api: Api<Event> = Api::all(lab.client());
    eventually(PATIENCE, reason, async || {
        let events = api.list(&ListParams::default()).await?;
        let is = |event: &Event| event.reason.as_deref() == Some(reason);
        Ok(events.iter().any(is).then_some(()))
    })
    .await
}

/// Leads the Service of the webhooks to the controller, which is where the API server is.
async fn lead_to_webhooks(lab: &Lab) -> Result<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(lab.client(), "default");
    let api_server = slices.get("kubernetes").await?;
    let endpoint = api_server.endpoints.first().context("no API server")?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "webhooks",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "metallb-webhook-service"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": endpoint.addresses, "conditions": {"ready": true}}],
        "ports": [{"name": "webhook-server", "port": 9443, "protocol": "TCP"}],
    });
    lab.apply_yaml(&slice.to_string()).await?;
    Ok(())
}

/// The webhooks of the chart judge and convert, and are trusted by what the controller has set.
async fn webhooks_answer(lab: &Lab) -> Result<()> {
    let mut pool = IPAddressPool::new("bad", IPAddressPoolSpec::default());
    pool.spec.addresses = vec!["192.168.16.0/33".to_owned()];
    let pools: Api<IPAddressPool> = Api::namespaced(lab.client(), NAMESPACE);
    let refused = pools.create(&PostParams::default(), &pool).await;
    let refused = format!("{:?}", refused.err().context("it is taken")?);
    ensure!(refused.contains("invalid CIDR"), "{refused}");
    // An edit for which Services, nodes and namespaces are looked at, and the deletion after it.
    pool.spec.addresses = vec!["198.51.100.0/24".to_owned()];
    pool.metadata.name = Some("other".to_owned());
    let made = pools.create(&PostParams::default(), &pool).await?;
    let mut edited = made;
    edited.spec.addresses = vec!["198.51.100.0/25".to_owned()];
    eventually(PATIENCE, "the edit", async || {
        // The controller writes the status of pools.
        edited.metadata.resource_version = pools.get("other").await?.metadata.resource_version;
        let params = PostParams::default();
        Ok(pools.replace("other", &params, &edited).await.ok())
    })
    .await?;
    pools.delete("other", &DeleteParams::default()).await?;
    // v1beta1 has no word for passwordSecret: the converter puts it into an annotation.
    let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/bgppeers/tor");
    eventually(PATIENCE, "the peer as v1beta1", async || {
        let request = http::Request::get(&path).body(Vec::new())?;
        let peer = lab.client().request_text(request).await.unwrap_or_default();
        Ok(peer.contains("herald.io/bgppeer-v1beta2").then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn nothing_that_herald_does_is_forbidden() -> Result<()> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let rendered = Helm::new()?.template_in(NAMESPACE, VALUES)?;
    for object in &rendered.objects {
        lab.apply_yaml(&object.to_string()).await?;
    }
    let bindings: Api<ClusterRoleBinding> = Api::all(lab.client());
    for name in ["herald-lab-controller", "herald-lab-speaker"] {
        bindings.delete(name, &DeleteParams::default()).await?;
    }
    let before = denied(&lab).await?;

    let controller = lab
        .controller("controller")?
        .arg("--ml-secret-name=herald-memberlist")
        .arg("--deployment=herald-controller")
        .arg("--webhook-mode=enabled")
        .start_ready()
        .await?;
    let speaker = lab.start_speaker("n1").await?;
    lead_to_webhooks(&lab).await?;
    eventually(PATIENCE, "the webhooks to be trusted", async || {
        Ok(lab.apply_yaml(CONFIGURATION).await.ok())
    })
    .await?;
    webhooks_answer(&lab).await?;
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;

    service.wait_addresses(1).await?;
    let secret: Secret = wait(&lab, "the key of the group", |secret: &Secret| {
        secret.name_any() == "herald-memberlist"
    })
    .await?;
    assert_eq!(secret.owner_references().len(), 1, "no owner");
    wait(&lab, "the pool's counters", |pool: &IPAddressPool| {
        pool.status
            .as_ref()
            .is_some_and(|status| status.assigned_ipv4 == 1)
    })
    .await?;
    let status = wait(&lab, "a status of layer 2", |status: &ServiceL2Status| {
        status.status.is_some()
    });
    assert_eq!(status.await?.owner_references().len(), 1, "no owner");
    wait(&lab, "a status of BGP", |status: &ServiceBGPStatus| {
        status.status.is_some()
    })
    .await?;
    wait(
        &lab,
        "the state of the session",
        |state: &BGPSessionState| state.status.is_some(),
    )
    .await?;
    wait(&lab, "the status of the peer", |peer: &BGPPeer| {
        peer.status.is_some()
    })
    .await?;
    for name in ["controller", "speaker-n1"] {
        let state = wait(&lab, name, |state: &ConfigurationState| {
            state.name_any() == name && state.status.is_some()
        });
        assert_eq!(state.await?.owner_references().len(), 1, "no owner");
    }
    for reason in ["nodeAssigned", "SessionFailed"] {
        wait_event(&lab, reason).await?;
    }

    service.delete().await?;
    let statuses: Api<ServiceL2Status> = Api::namespaced(lab.client(), NAMESPACE);
    eventually(PATIENCE, "the status to be deleted", async || {
        let left = statuses.list(&ListParams::default()).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await?;
    let peers: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
    peers.delete("tor", &DeleteParams::default()).await?;
    let sessions: Api<BGPSessionState> = Api::namespaced(lab.client(), NAMESPACE);
    eventually(PATIENCE, "the state to be deleted", async || {
        let left = sessions.list(&ListParams::default()).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await?;

    controller.stop().await?;
    speaker.stop().await?;
    for process in [&controller, &speaker] {
        let log = process.log();
        let line = log.lines().find(|line| line.contains("forbidden"));
        ensure!(line.is_none(), "{}: {line:?}", process.name());
    }
    assert_eq!(denied(&lab).await?, before, "requests were not allowed");
    others_are_denied(&lab, before).await?;
    lab.down().await
}

/// What the chart does not give is forbidden, and counted.
async fn others_are_denied(lab: &Lab, before: u64) -> Result<()> {
    let client = lab.client_of(User::Speaker)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.list(&ListParams::default()).await?;
    let mine = serde_json::from_value(json!({"metadata": {"name": "mine"}}))?;
    let made = secrets.create(&PostParams::default(), &mine).await;
    ensure!(matches!(made, Err(kube::Error::Api(status)) if status.code == 403));
    let elsewhere: Api<Secret> = Api::namespaced(client, "default");
    let listed = elsewhere.list(&ListParams::default()).await;
    ensure!(matches!(listed, Err(kube::Error::Api(status)) if status.code == 403));
    ensure!(denied(lab).await? >= before + 2, "they are not counted");
    Ok(())
}
