//! Server-side apply of YAML.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};

/// Applies every document of a YAML text; namespaced objects without a namespace go to `default`.
pub(crate) async fn apply(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    let values: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(yaml).context("the manifest is not YAML")?;
    let mut applied = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let object: DynamicObject =
            serde_json::from_value(value).context("a document of the manifest is no object")?;
        applied.push(apply_one(client, object).await?);
    }
    Ok(applied)
}

async fn apply_one(client: &Client, object: DynamicObject) -> Result<DynamicObject> {
    let name = object
        .metadata
        .name
        .clone()
        .context("an object of the manifest has no name")?;
    let types: &TypeMeta = object
        .types
        .as_ref()
        .context("an object has no apiVersion and kind")?;
    let what = format!("{} {name}", types.kind);
    let gvk = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = pinned_kind(client, &gvk)
        .await
        .with_context(|| format!("cannot apply {what}: the API server does not know its kind"))?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    api.patch(
        &name,
        &PatchParams::apply("herald-lab").force(),
        &Patch::Apply(&object),
    )
    .await
    .with_context(|| format!("cannot apply {what}"))
}

/// Applies every `.yaml` file of a folder of CRDs and waits until they are served. A folder that
/// does not exist holds none.
pub(crate) async fn apply_crds(client: &Client, dir: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(());
    };
    let mut files: Vec<_> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    let mut applying = tokio::task::JoinSet::new();
    for file in files {
        let client = client.clone();
        applying.spawn(async move {
            let text = fs::read_to_string(&file)?;
            let applied = apply(&client, &text)
                .await
                .with_context(|| format!("in {}", file.display()))?;
            let api: Api<CustomResourceDefinition> = Api::all(client);
            let mut kinds = Vec::new();
            for object in applied {
                let name = object.metadata.name.unwrap_or_default();
                let served = await_condition(api.clone(), &name, conditions::is_crd_established());
                let crd = tokio::time::timeout(Duration::from_secs(30), served)
                    .await
                    .with_context(|| format!("CRD {name} is not established"))??;
                kinds.extend(crd.iter().flat_map(kinds_of));
            }
            anyhow::Ok(kinds)
        });
    }
    // Discovery learns of an established kind some time later, and `apply` needs discovery.
    while let Some(result) = applying.join_next().await {
        for kind in result?? {
            discovered(client, &kind).await?;
        }
    }
    Ok(())
}

async fn discovered(client: &Client, kind: &GroupVersionKind) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = pinned_kind(client, kind).await {
        ensure!(
            Instant::now() < deadline,
            "the API server does not know {kind:?}: {error}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The kinds that the API server is to serve for a CRD.
fn kinds_of(crd: &CustomResourceDefinition) -> Vec<GroupVersionKind> {
    let (group, kind) = (&crd.spec.group, &crd.spec.names.kind);
    let served = crd.spec.versions.iter().filter(|version| version.served);
    served
        .map(|version| GroupVersionKind::gvk(group, &version.name, kind))
        .collect()
}
