//! The Secret with the key of the speakers.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::objects::SOON;
use herald_lab::{Herald, Lab, NAMESPACE, ProxyMode, always, eventually};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

const NAME: &str = "metallb-memberlist";
const DEPLOYMENT: &str = "metallb-controller";
/// Longer than a Lease lives without renewal.
const TAKEOVER: Duration = Duration::from_secs(25);

fn secrets(lab: &Lab) -> Api<Secret> {
    Api::namespaced(lab.client(), NAMESPACE)
}

async fn start(lab: &Lab, name: &str) -> Result<Herald> {
    lab.controller(name)?
        .arg(format!("--ml-secret-name={NAME}"))
        .arg(format!("--deployment={DEPLOYMENT}"))
        .start_ready()
        .await
}

async fn wait_secret(lab: &Lab, patience: Duration) -> Result<Secret> {
    eventually(patience, "the Secret to be there", async || {
        Ok(secrets(lab).get_opt(NAME).await?)
    })
    .await
}

async fn is_still(lab: &Lab, secret: &Secret, time: Duration) -> Result<()> {
    always(time, "the Secret to stay as it is", async || {
        Ok(secrets(lab).get(NAME).await?.metadata.resource_version
            == secret.metadata.resource_version)
    })
    .await
}

fn key(secret: &Secret) -> Result<&[u8]> {
    let data = secret.data.as_ref().context("it has no data")?;
    Ok(&data.get("secretkey").context("it has no key")?.0)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn the_leader_makes_the_secret_of_the_speakers_once() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    // No Deployment of that name yet: the Secret is made all the same.
    let first = start(&lab, "first").await?;
    let unowned = wait_secret(&lab, SOON).await?;
    ensure!(unowned.owner_references().is_empty(), "{unowned:?}");
    // 16 bytes in base64 without padding.
    ensure!(key(&unowned)?.len() == 22, "{unowned:?}");
    ensure!(key(&unowned)?.iter().all(u8::is_ascii_graphic));

    // One that waits and one that takes over leave it alone.
    let second = start(&lab, "second").await?;
    is_still(&lab, &unowned, Duration::from_secs(2)).await?;
    first.kill().await?;
    is_still(&lab, &unowned, TAKEOVER).await?;

    // After a removal the next leader makes another, of the Deployment.
    let labels = json!({"app": "metallb"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "controller", "image": "herald"}]},
            },
        },
    });
    lab.apply_yaml(&deployment.to_string()).await?;
    let deployments: Api<Deployment> = Api::namespaced(lab.client(), NAMESPACE);
    let uid = deployments.get(DEPLOYMENT).await?.uid();
    second.stop().await?;
    secrets(&lab).delete(NAME, &DeleteParams::default()).await?;
    start(&lab, "third").await?;
    let owned = wait_secret(&lab, TAKEOVER).await?;
    ensure!(key(&owned)? != key(&unowned)?, "the key is the same");
    let owners = owned.owner_references();
    ensure!(owners.len() == 1, "{owners:?}");
    ensure!(Some(&owners[0].uid) == uid.as_ref(), "{owners:?}");
    ensure!(owners[0].kind == "Deployment", "{owners:?}");
    lab.down().await
}
