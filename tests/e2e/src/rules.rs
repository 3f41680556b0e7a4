//! The table of rules of compat.md 1.8, with its objects stored before anybody is asked.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Lab, NAMESPACE, eventually};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::objects::SOON;

/// The cases, which the tests of the webhooks have too.
const CASES: &str = include_str!("../../../crates/api/src/config/admission/cases.yaml");

/// Kind, plural and version of what makes up the configuration.
const KINDS: [(&str, &str, &str); 6] = [
    ("IPAddressPool", "ipaddresspools", "v1beta1"),
    ("L2Advertisement", "l2advertisements", "v1beta1"),
    ("BGPAdvertisement", "bgpadvertisements", "v1beta1"),
    ("BGPPeer", "bgppeers", "v1beta2"),
    ("BFDProfile", "bfdprofiles", "v1beta1"),
    ("Community", "communities", "v1beta1"),
];

/// A case of the table.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// What it is about, after the number of the rule.
    pub name: String,
    #[serde(default)]
    stored: Vec<Object>,
    #[serde(default)]
    nodes: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    create: Option<Object>,
    update: Option<Object>,
    delete: Option<Object>,
    #[serde(default)]
    errors: Vec<Vec<String>>,
    #[serde(default)]
    warnings: Vec<Vec<String>>,
    found: Option<Vec<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
struct Object {
    kind: String,
    name: String,
    namespace: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deleting: bool,
    spec: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Secret {
    r#type: String,
    password: Option<String>,
}

/// All cases.
pub fn cases() -> Result<Vec<Case>> {
    serde_saphyr::from_str(CASES).context("the table of rules cannot be read")
}

impl Object {
    fn raw(&self) -> Value {
        let mut raw = json!({ "metadata": { "name": self.name } });
        if let Some(annotations) = &self.annotations {
            raw["metadata"]["annotations"] = json!(annotations);
        }
        if let Some(spec) = &self.spec {
            raw["spec"] = spec.clone();
        }
        raw
    }
}

impl Case {
    /// Of each line that the speaker is to say, in any order, the parts that it must contain.
    pub fn found(&self) -> Vec<Vec<String>> {
        let said = || self.errors.iter().chain(&self.warnings).cloned().collect();
        self.found.clone().unwrap_or_else(said)
    }

    /// True for what the API server itself does not let happen, or Herald does not look at.
    pub fn cannot_be_stored(&self) -> bool {
        self.changes()
            .any(|object| object.deleting || object.name.is_empty() || object.namespace.is_some())
    }

    /// True if what was stored before the change matters.
    pub fn is_about_a_change(&self) -> bool {
        self.create.is_none()
    }

    /// The kinds of all objects.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<_> = self
            .stored
            .iter()
            .chain(self.changes())
            .map(|object| object.kind.as_str())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn changes(&self) -> impl Iterator<Item = &Object> {
        let changes = [&self.create, &self.update, &self.delete];
        changes.into_iter().flatten()
    }

    /// Stores what the case has stored, and gives the node its labels.
    pub async fn store(&self, lab: &Lab, node: &str) -> Result<()> {
        if let Some(labels) = self.nodes.get(node) {
            label(lab, node, json!(labels)).await?;
        }
        for (name, secret) in &self.secrets {
            // The API server wants one of the two.
            let mut data = json!({ "username": "somebody" });
            if let Some(password) = &secret.password {
                data["password"] = json!(password);
            }
            let raw = json!({ "type": secret.r#type, "stringData": data });
            apply_secret(lab, name, raw).await?;
        }
        for object in &self.stored {
            apply(lab, &object.kind, &object.name, object.raw()).await?;
        }
        Ok(())
    }

    /// Makes the change.
    pub async fn change(&self, lab: &Lab) -> Result<()> {
        if let Some(new) = self.create.as_ref().or(self.update.as_ref()) {
            return apply(lab, &new.kind, &new.name, new.raw()).await;
        }
        let old = self.delete.as_ref().context("a case without a change")?;
        delete(lab, &old.kind, &old.name).await
    }

    /// Deletes everything but what is called `good`, and takes the node's labels.
    pub async fn clear(&self, lab: &Lab, node: &str) -> Result<()> {
        for kind in self.kinds() {
            let api = api(lab, kind)?;
            for object in api.list(&ListParams::default()).await? {
                let name = object.name_any();
                if name != GOOD {
                    api.delete(&name, &DeleteParams::default()).await?;
                }
            }
        }
        for name in self.secrets.keys() {
            delete_secret(lab, name).await?;
        }
        if let Some(labels) = self.nodes.get(node) {
            let gone: BTreeMap<_, _> = labels.keys().map(|key| (key, Value::Null)).collect();
            label(lab, node, json!(gone)).await?;
        }
        Ok(())
    }
}

/// The name of the objects that stay.
pub const GOOD: &str = "good";

async fn label(lab: &Lab, node: &str, labels: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    let nodes: Api<Node> = Api::all(lab.client());
    nodes.patch(node, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn api(lab: &Lab, kind: &str) -> Result<Api<DynamicObject>> {
    let known = KINDS.iter().find(|(known, ..)| *known == kind);
    let (_, plural, version) = known.with_context(|| format!("unknown kind {kind}"))?;
    let gvk = GroupVersionKind::gvk("metallb.io", version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    Ok(Api::namespaced_with(lab.client(), NAMESPACE, &resource))
}

/// Creates an object, or replaces its spec and annotations.
pub async fn apply(lab: &Lab, kind: &str, name: &str, mut raw: Value) -> Result<()> {
    let known = KINDS.iter().find(|(known, ..)| *known == kind);
    let (_, _, version) = known.with_context(|| format!("unknown kind {kind}"))?;
    raw["apiVersion"] = json!(format!("metallb.io/{version}"));
    raw["kind"] = json!(kind);
    raw["metadata"]["name"] = json!(name);
    let parameters = PatchParams::apply("rules").force();
    let patch = Patch::Apply(&raw);
    let applied = api(lab, kind)?.patch(name, &parameters, &patch).await;
    applied.with_context(|| format!("{kind} {name}"))?;
    Ok(())
}

/// Creates a Secret in Herald's namespace, or changes it.
pub async fn apply_secret(lab: &Lab, name: &str, mut raw: Value) -> Result<()> {
    raw["apiVersion"] = json!("v1");
    raw["kind"] = json!("Secret");
    raw["metadata"] = json!({ "name": name, "namespace": NAMESPACE });
    lab.apply_yaml(&raw.to_string()).await?;
    Ok(())
}

/// Deletes such a Secret.
pub async fn delete_secret(lab: &Lab, name: &str) -> Result<()> {
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(lab.client(), NAMESPACE);
    secrets.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Deletes an object.
pub async fn delete(lab: &Lab, kind: &str, name: &str) -> Result<()> {
    api(lab, kind)?
        .delete(name, &DeleteParams::default())
        .await?;
    Ok(())
}

/// Lets all kinds take anything, as older CRDs or a careless hand would: what the schema refuses
/// today may be stored all the same.
pub async fn loosen(lab: &Lab) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client());
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    for (_, plural, _) in KINDS {
        let name = format!("{plural}.metallb.io");
        let versions = crds.get(&name).await?.spec.versions.len();
        let patch: Vec<_> = (0..versions)
            .map(|index| {
                let path = format!("/spec/versions/{index}/schema/openAPIV3Schema");
                json!({ "op": "replace", "path": path, "value": anything })
            })
            .collect();
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(json!(patch))?);
        crds.patch(&name, &PatchParams::default(), &patch).await?;
    }
    // The API server takes the new schemas up in its own time.
    for (kind, ..) in KINDS {
        let what = format!("{kind} to take anything");
        eventually(SOON, &what, async || {
            apply(lab, kind, "probe", json!({ "spec": 7 })).await?;
            Ok(Some(()))
        })
        .await?;
        delete(lab, kind, "probe").await?;
    }
    Ok(())
}

/// True if each line contains all parts of another entry of `found`, and none is left over.
pub fn matches(lines: &[&str], found: &[Vec<String>]) -> Result<()> {
    let mut left: Vec<_> = lines.to_vec();
    for parts in found {
        let line = left
            .iter()
            .position(|line| parts.iter().all(|part| line.contains(part.as_str())));
        let line = line.with_context(|| format!("no line with {parts:?} in {lines:#?}"))?;
        left.remove(line);
    }
    ensure!(left.is_empty(), "not expected: {left:#?}");
    Ok(())
}
