//! The rights that the chart gives are enough for everything that controller and speakers do, and no
//! more than that.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

mod granted;
mod pods;
mod webhooks;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use granted::Right;
use herald_api::kinds::{
    BGPPeer, BGPSessionState, ConfigurationState, IPAddressPool, ServiceBGPStatus, ServiceL2Status,
};
use herald_chart::matrix::MATRIX;
use herald_chart::{Helm, Rendered};
use herald_lab::{Herald, Lab, NAMESPACE, ProxyMode, User, eventually};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The service accounts of the lab's processes.
const VALUES: &str = r"
controller: {serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
";

/// The same where others allocate.
const ONLY_WEBHOOKS: &str = r"
controller: {webhookMode: onlywebhook, serviceAccount: {name: controller}}
speaker: {enabled: false}
";

const ACCOUNTS: [(User, &str); 2] = [(User::Controller, "controller"), (User::Speaker, "speaker")];

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

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

/// A lab with the chart's rights instead of its own, and what the chart made of the values.
async fn lab(values: &str) -> Result<(Lab, Rendered)> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None).audited();
    let lab = lab.start().await?;
    let rendered = Helm::new()?.template_in(NAMESPACE, values)?;
    for object in &rendered.objects {
        lab.apply_yaml(&object.to_string()).await?;
    }
    lab.take_rights().await?;
    for (user, account) in ACCOUNTS {
        granted::in_force(&lab, user, &granted::rights(&rendered, account)).await?;
    }
    Ok((lab, rendered))
}

/// Asks for the metrics with a token that may not read them.
async fn ask_for_metrics(lab: &Lab, part: &str, herald: &Herald) -> Result<()> {
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

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn rights_are_enough_and_all_of_use() -> Result<()> {
    let (lab, rendered) = lab(VALUES).await?;
    let controller = lab
        .controller("controller")?
        .arg("--ml-secret-name=herald-memberlist")
        .arg("--deployment=herald-controller")
        .arg("--webhook-mode=enabled")
        .env("HERALD_METRICS_SECURITY", "authorized")
        .start_ready()
        .await?;
    let speaker = lab.speaker("n1")?;
    let speaker = speaker.env("HERALD_METRICS_SECURITY", "authorized");
    let speaker = speaker.start_ready().await?;
    herald_e2e::webhooks::lead(&lab).await?;
    eventually(PATIENCE, "the webhooks to be trusted", async || {
        Ok(lab.apply_yaml(CONFIGURATION).await.ok())
    })
    .await?;
    webhooks::answer(&lab).await?;
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;
    service.wait_addresses(1).await?;
    everything_is_said(&lab).await?;
    ask_for_metrics(&lab, "cp", &controller).await?;
    ask_for_metrics(&lab, "n1", &speaker).await?;

    // What others do to the objects is undone.
    disown::<ServiceL2Status>(&lab).await?;
    disown::<ServiceBGPStatus>(&lab).await?;
    disown::<BGPSessionState>(&lab).await?;
    // The same happens again: events count.
    service
        .patch(json!({"spec": {"type": "ClusterIP"}}))
        .await?;
    wait_none::<ServiceL2Status>(&lab).await?;
    wait_none::<ServiceBGPStatus>(&lab).await?;
    service
        .patch(json!({"spec": {"type": "LoadBalancer"}}))
        .await?;
    for reason in ["IPAllocated", "nodeAssigned"] {
        wait_event(&lab, reason, 2).await?;
    }
    service.delete().await?;
    wait_none::<ServiceL2Status>(&lab).await?;
    let peers: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
    peers.delete("tor", &DeleteParams::default()).await?;
    wait_none::<BGPSessionState>(&lab).await?;
    webhooks::mend_certificates(&lab).await?;

    controller.stop().await?;
    speaker.stop().await?;
    for process in [&controller, &speaker] {
        let log = process.log();
        let line = log.lines().find(|line| line.contains("forbidden"));
        ensure!(line.is_none(), "{}: {line:?}", process.name());
    }
    for (user, account) in ACCOUNTS {
        let rights = granted::rights(&rendered, account);
        granted::check(user, &rights, &lab.requests(user)?)?;
    }
    others_are_denied(&lab).await?;
    pods::meet_their_standards(&lab, &rendered).await?;
    lab.down().await
}

/// Objects, statuses and events that controller and speaker write.
async fn everything_is_said(lab: &Lab) -> Result<()> {
    let secret: Secret = wait(lab, "the key of the group", |secret: &Secret| {
        secret.name_any() == "herald-memberlist"
    })
    .await?;
    assert_eq!(secret.owner_references().len(), 1, "no owner");
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

/// What the chart does not give is forbidden, and written down.
async fn others_are_denied(lab: &Lab) -> Result<()> {
    let client = lab.client_of(User::Speaker)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.list(&ListParams::default()).await?;
    let mine = serde_json::from_value(json!({"metadata": {"name": "mine"}}))?;
    let made = secrets.create(&PostParams::default(), &mine).await;
    ensure!(matches!(made, Err(kube::Error::Api(status)) if status.code == 403));
    let elsewhere: Api<Secret> = Api::namespaced(client, "default");
    let listed = elsewhere.list(&ListParams::default()).await;
    ensure!(matches!(listed, Err(kube::Error::Api(status)) if status.code == 403));
    let denied = granted::denied(&lab.requests(User::Speaker)?);
    assert_eq!(denied.len(), 2, "{denied:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn a_controller_that_only_serves_webhooks_has_the_rights_for_that() -> Result<()> {
    let (lab, rendered) = lab(ONLY_WEBHOOKS).await?;
    let controller = lab
        .controller("controller")?
        .arg("--webhook-mode=onlywebhook")
        .env("HERALD_METRICS_SECURITY", "authorized")
        .start_ready()
        .await?;
    herald_e2e::webhooks::lead(&lab).await?;
    eventually(PATIENCE, "the webhooks to be trusted", async || {
        Ok(lab.apply_yaml(CONFIGURATION).await.ok())
    })
    .await?;
    webhooks::answer(&lab).await?;
    ask_for_metrics(&lab, "cp", &controller).await?;
    webhooks::mend_certificates(&lab).await?;
    controller.stop().await?;
    let rights = granted::rights(&rendered, "controller");
    granted::check(User::Controller, &rights, &lab.requests(User::Controller)?)?;
    lab.down().await
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn no_values_give_more_rights_than_those_that_are_tried() -> Result<()> {
    let helm = Helm::new()?;
    let all = |values: &str, accounts: [&str; 2]| -> Result<BTreeSet<_>> {
        let rendered = helm.template(values)?;
        let rights = accounts
            .iter()
            .flat_map(|it| granted::rights(&rendered, it));
        Ok(rights.map(Right::of_any_name).collect())
    };
    let tried = all(VALUES, ["controller", "speaker"])?;
    ensure!(tried.len() > 50, "{tried:?}");
    for (name, values) in MATRIX {
        for accounts in [
            ["herald-controller", "herald-speaker"],
            // Of the values that name accounts or the release otherwise.
            ["mine", "lb-speaker"],
        ] {
            let given = all(values, accounts)?;
            let more: Vec<_> = given.difference(&tried).map(ToString::to_string).collect();
            ensure!(more.is_empty(), "{name}: {more:?} is tried by no test");
        }
    }
    Ok(())
}

/// What both parts of a controller need, the one that allocates and the one that judges.
const OF_BOTH: [&str; 9] = [
    "create leases.coordination.k8s.io in metallb-system",
    "create secrets in metallb-system",
    "create subjectaccessreviews.authorization.k8s.io",
    "create tokenreviews.authentication.k8s.io",
    "list bgppeers.metallb.io in metallb-system",
    "list ipaddresspools.metallb.io in metallb-system",
    "list namespaces",
    "list nodes",
    "list services",
];

#[test]
#[ignore = "needs Helm: run by make test"]
fn a_controller_without_webhooks_has_none_of_their_rights() -> Result<()> {
    let helm = Helm::new()?;
    let of = |mode: &str| -> Result<BTreeSet<String>> {
        let account = "serviceAccount: {name: controller}";
        let values = format!("controller: {{webhookMode: {mode}, {account}}}");
        let rendered = helm.template_in(NAMESPACE, &values)?;
        let rights = granted::rights(&rendered, "controller");
        Ok(rights.iter().map(ToString::to_string).collect())
    };
    let (all, without, only) = (of("enabled")?, of("disabled")?, of("onlywebhook")?);
    let both: Vec<_> = without.intersection(&only).collect();
    assert_eq!(both, OF_BOTH);
    // Those of both modes together are all, but for the Lease.
    let more = |than: &BTreeSet<String>, rights: &BTreeSet<String>| -> Vec<String> {
        let more = rights.difference(than);
        let more = more.filter(|right| !right.contains(" herald-webhook "));
        more.cloned().collect()
    };
    let together: BTreeSet<_> = without.union(&only).cloned().collect();
    assert_eq!(more(&all, &together), [""; 0]);
    assert_eq!(more(&together, &all), [""; 0]);
    Ok(())
}
