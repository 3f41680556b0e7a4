//! What a cluster has controller and speakers do, so that they need all of their rights.

use std::fmt::Debug;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{
    BGPPeer, BGPSessionState, ConfigurationState, IPAddressPool, ServiceBGPStatus, ServiceL2Status,
};
use herald_lab::{Herald, Lab, NAMESPACE, User, eventually};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::PATIENCE;

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

/// A kind whose objects are in namespaces.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
{
}

/// Waits until there is such an object.
async fn wait<K: Kind>(lab: &Lab, what: &str, is: impl Fn(&K) -> bool) -> Result<K> {
    let api: Api<K> = Api::namespaced(lab.client(), NAMESPACE);
    eventually(PATIENCE, what, async || {
        let objects = api.list(&ListParams::default()).await?;
        Ok(objects.into_iter().find(&is))
    })
    .await
}

/// Waits until an event has happened so often.
async fn wait_event(lab: &Lab, reason: &str, times: i32) -> Result<()> {
    let api: Api<Event> = Api::all(lab.client());
    eventually(PATIENCE, reason, async || {
        let events = api.list(&ListParams::default()).await?;
        let is = |event: &Event| {
            event.reason.as_deref() == Some(reason) && event.count.is_some_and(|n| n >= times)
        };
        Ok(events.iter().any(is).then_some(()))
    })
    .await
}

/// Takes the owners from all objects of a kind, and waits until they are there again.
async fn disown<K: Kind>(lab: &Lab) -> Result<()> {
    let api: Api<K> = Api::namespaced(lab.client(), NAMESPACE);
    let nobody = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    let objects = api.list(&ListParams::default()).await?.items;
    ensure!(!objects.is_empty(), "there is no {}", K::plural(&()));
    for object in &objects {
        let name = object.name_any();
        api.patch(&name, &PatchParams::default(), &nobody).await?;
        eventually(PATIENCE, "the owner to be there again", async || {
            let owners = api.get(&name).await?.owner_references().len();
            Ok((owners == 1).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Waits until there is none.
async fn wait_none<K: Kind>(lab: &Lab) -> Result<()> {
    let api: Api<K> = Api::namespaced(lab.client(), NAMESPACE);
    let what = format!("the end of {}", K::plural(&()));
    eventually(PATIENCE, &what, async || {
        let left = api.list(&ListParams::default()).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await
}

/// Stores the configuration, once that can be done: it is judged where there are webhooks.
pub(crate) async fn configure(lab: &Lab) -> Result<()> {
    eventually(PATIENCE, "the configuration to be taken", async || {
        lab.apply_yaml(CONFIGURATION).await?;
        Ok(Some(()))
    })
    .await
}

/// The controller makes the key of the speakers' group.
pub(crate) async fn the_key_is_made(lab: &Lab) -> Result<()> {
    let secret: Secret = wait(lab, "the key of the group", |secret: &Secret| {
        secret.name_any() == "herald-memberlist"
    })
    .await?;
    assert_eq!(secret.owner_references().len(), 1, "no owner");
    Ok(())
}

/// The Lease of this name goes when the chart's Deployment goes.
pub(crate) async fn lease_goes_with_deployment(lab: &Lab, name: &str) -> Result<()> {
    let lease = wait(lab, name, |lease: &Lease| lease.name_any() == name).await?;
    let deployments: Api<Deployment> = Api::namespaced(lab.client(), NAMESPACE);
    let uid = deployments.get("herald-controller").await?.uid();
    let owners = lease.owner_references().iter();
    let owners: Vec<_> = owners.map(|owner| Some(&owner.uid)).collect();
    assert_eq!(owners, [uid.as_ref()]);
    Ok(())
}

/// A Service comes, is announced, changes and goes, and so does the peer; what others do meanwhile to
/// the objects that tell of it is undone.
pub(crate) async fn a_service_comes_and_goes(lab: &Lab) -> Result<()> {
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;
    service.wait_addresses(1).await?;
    everything_is_said(lab).await?;

    disown::<ServiceL2Status>(lab).await?;
    disown::<ServiceBGPStatus>(lab).await?;
    disown::<BGPSessionState>(lab).await?;
    // The same happens again: events count.
    service
        .patch(json!({"spec": {"type": "ClusterIP"}}))
        .await?;
    wait_none::<ServiceL2Status>(lab).await?;
    wait_none::<ServiceBGPStatus>(lab).await?;
    service
        .patch(json!({"spec": {"type": "LoadBalancer"}}))
        .await?;
    for reason in ["IPAllocated", "nodeAssigned"] {
        wait_event(lab, reason, 2).await?;
    }
    service.delete().await?;
    wait_none::<ServiceL2Status>(lab).await?;
    let peers: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
    peers.delete("tor", &DeleteParams::default()).await?;
    wait_none::<BGPSessionState>(lab).await
}

/// Objects, statuses and events that controller and speaker write.
async fn everything_is_said(lab: &Lab) -> Result<()> {
    wait(lab, "the pool's counters", |pool: &IPAddressPool| {
        pool.status
            .as_ref()
            .is_some_and(|status| status.assigned_ipv4 == 1)
    })
    .await?;
    let status = wait(lab, "a status of layer 2", |status: &ServiceL2Status| {
        status.status.is_some()
    });
    assert_eq!(status.await?.owner_references().len(), 1, "no owner");
    wait(lab, "a status of BGP", |status: &ServiceBGPStatus| {
        status.status.is_some()
    })
    .await?;
    wait(
        lab,
        "the state of the session",
        |state: &BGPSessionState| state.status.is_some(),
    )
    .await?;
    wait(lab, "the status of the peer", |peer: &BGPPeer| {
        peer.status.is_some()
    })
    .await?;
    for name in ["controller", "speaker-n1"] {
        let state = wait(lab, name, |state: &ConfigurationState| {
            state.name_any() == name && state.status.is_some()
        });
        assert_eq!(state.await?.owner_references().len(), 1, "no owner");
    }
    for reason in ["nodeAssigned", "SessionFailed"] {
        wait_event(lab, reason, 1).await?;
    }
    Ok(())
}

/// Asks for the metrics with a token that may not read them.
pub(crate) async fn ask_for_metrics(lab: &Lab, part: &str, herald: &Herald) -> Result<()> {
    let kubeconfig = fs::read_to_string(lab.kubeconfig(User::Speaker))?;
    let (_, token) = kubeconfig.split_once("token: ").context("no token")?;
    let header = format!("Authorization: Bearer {}", token.trim());
    let url = format!("https://localhost:{}/metrics", herald.metrics_port);
    let curl = ["curl", "--silent", "--insecure", "--output", "/dev/null"];
    let more = ["--write-out", "%{http_code}", "--header", &header, &url];
    eventually(PATIENCE, "a refusal", async || {
        let said = lab.exec(part, &[&curl[..], &more].concat()).await?;
        ensure!(said.trim() == "403", "{said}");
        Ok(Some(()))
    })
    .await
}
