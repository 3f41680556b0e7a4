//! The webhooks of the chart judge and convert, and are trusted by what the controller has set.

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{IPAddressPool, IPAddressPoolSpec};
use herald_lab::{Lab, NAMESPACE, eventually};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::PATIENCE;

/// Objects are judged and converted.
pub(crate) async fn answer(lab: &Lab) -> Result<()> {
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

/// Nothing is converted any longer.
pub(crate) async fn conversion_is_taken_back(lab: &Lab) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client());
    eventually(PATIENCE, "the conversion to be taken back", async || {
        let conversion = crds.get("bgppeers.metallb.io").await?.spec.conversion;
        let none = conversion.is_none_or(|it| it.strategy == "None");
        Ok(none.then_some(()))
    })
    .await
}

/// What somebody does to the certificates is undone.
pub(crate) async fn mend_certificates(lab: &Lab) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(lab.client(), NAMESPACE);
    let name = "metallb-webhook-cert";
    let rubbish = Patch::Merge(json!({"stringData": {"state.json": "rubbish"}}));
    let params = PatchParams::default();
    secrets.patch(name, &params, &rubbish).await?;
    made_anew(&secrets, name).await?;
    secrets.delete(name, &DeleteParams::default()).await?;
    made_anew(&secrets, name).await
}

async fn made_anew(secrets: &Api<Secret>, name: &str) -> Result<()> {
    eventually(PATIENCE, "certificates made anew", async || {
        let data = secrets.get(name).await?.data.unwrap_or_default();
        let state = data.get("state.json").context("no state")?;
        let read = serde_json::from_slice::<Value>(&state.0);
        Ok(read.is_ok().then_some(()))
    })
    .await
}
