//! The chart on a real API server.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, NAMESPACE, chart, kubectl, matrix};
use herald_lab::{Lab, ProxyMode, eventually};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use serde_json::{Value, json};

/// Kinds of Prometheus' operator and of cert-manager: they are not those of the API server, and their
/// CRDs are not ours.
const FOREIGN: [&str; 2] = ["monitoring.coreos.com/v1", "cert-manager.io/v1"];

async fn lab() -> Result<Lab> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .without_crds();
    let lab = lab.start().await?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    lab.apply_yaml(&namespace.to_string()).await?;
    Ok(lab)
}

async fn api_of(lab: &Lab, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types: &TypeMeta = object.types.as_ref().context("no kind")?;
    let gvk = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = pinned_kind(&lab.client(), &gvk).await?;
    Ok(match capabilities.scope {
        Scope::Cluster => Api::all_with(lab.client(), &resource),
        Scope::Namespaced => Api::namespaced_with(lab.client(), NAMESPACE, &resource),
    })
}

/// Lets the API server check an object with all fields, without storing it.
async fn accepted(lab: &Lab, object: &Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let name = object.metadata.name.clone().context("no name")?;
    let api = api_of(lab, &object).await?;
    let mut parameters = PatchParams::apply("herald-chart");
    parameters.dry_run = true;
    parameters.field_validation = Some(kube::api::ValidationDirective::Strict);
    api.patch(&name, &parameters, &Patch::Apply(&object))
        .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn the_api_server_accepts_every_object() -> Result<()> {
    let lab = lab().await?;
    let helm = Helm::new()?;
    let mut seen = 0;
    for (name, values) in matrix::MATRIX {
        let rendered = helm.template(values)?;
        for object in &rendered.objects {
            if FOREIGN
                .iter()
                .any(|version| object["apiVersion"] == *version)
            {
                continue;
            }
            seen += 1;
            let what = || {
                format!(
                    "values {name:?}: {} {}",
                    object["kind"], object["metadata"]["name"]
                )
            };
            accepted(&lab, object).await.with_context(what)?;
        }
    }
    ensure!(seen > 50, "{seen}");
    lab.down().await
}

async fn left(lab: &Lab) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "ServiceAccount"),
        ("v1", "Service"),
        ("v1", "Secret"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "DaemonSet"),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
        ),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ] {
        let types = json!({"apiVersion": version, "kind": kind, "metadata": {}});
        let api = api_of(lab, &serde_json::from_value(types)?).await?;
        let selector = ListParams::default().labels("app.kubernetes.io/instance=herald");
        for object in api.list(&selector).await? {
            names.push(format!(
                "{kind} {}",
                object.metadata.name.unwrap_or_default()
            ));
        }
    }
    Ok(names)
}

/// As the documentation says it: what an older release left is brought up to date.
async fn crds_are_upgraded(lab: &Lab, kubeconfig: &Path) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.client());
    let name = "ipaddresspools.metallb.io";
    let mut older = crds.get(name).await?;
    older.spec.versions[0].additional_printer_columns = None;
    crds.replace(name, &PostParams::default(), &older).await?;

    let text = Helm::new()?.run(&["show", "crds", &chart().to_string_lossy()])?;
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        "-",
    ];
    let said = tokio::task::block_in_place(|| kubectl(kubeconfig, &apply, &text))?;
    assert_eq!(said.lines().count(), 10, "{said}");
    let version = crds.get(name).await?.spec.versions.remove(0);
    ensure!(version.additional_printer_columns.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn a_release_is_installed_upgraded_rolled_back_and_leaves_nothing() -> Result<()> {
    let lab = lab().await?;
    let kubeconfig = lab.forward_api().await?;
    let helm = Helm::for_cluster(kubeconfig.clone())?;
    let helm = |command: &'static [&'static str], values: &'static str| {
        tokio::task::block_in_place(|| match command {
            ["install" | "upgrade", ..] => helm.with_chart(command, values, &[]),
            _ => helm.run(&[command, &["--namespace", NAMESPACE]].concat()),
        })
    };
    // No Pod runs here, so nobody answers for the webhooks.
    helm(
        &["install", "herald"],
        "crds: {validationFailurePolicy: Ignore}",
    )?;
    let first = left(&lab).await?;
    ensure!(
        first.contains(&"DaemonSet herald-speaker".to_owned()),
        "{first:?}"
    );
    // The custom resources are served.
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "lan", "namespace": NAMESPACE},
        "spec": {"addresses": ["192.0.2.0/28"]},
    });
    let applied = eventually(Duration::from_mins(1), "the CRDs", async || {
        Ok(lab.apply_yaml(&pool.to_string()).await.ok())
    });
    applied.await?;

    helm(&["upgrade", "herald"], "networkpolicies: {enabled: true}")?;
    let second = left(&lab).await?;
    ensure!(
        second.contains(&"NetworkPolicy herald-controller".to_owned()),
        "{second:?}"
    );
    crds_are_upgraded(&lab, &kubeconfig).await?;
    helm(&["rollback", "herald", "1"], "")?;
    let mut third = left(&lab).await?;
    let mut first = first;
    first.sort();
    third.sort();
    assert_eq!(third, first);

    helm(&["uninstall", "herald", "--wait"], "")?;
    eventually(Duration::from_secs(30), "nothing to be left", async || {
        Ok(left(&lab).await?.is_empty().then_some(()))
    })
    .await?;
    // What people wrote stays, and so do the CRDs.
    let object: DynamicObject = serde_json::from_value(pool)?;
    api_of(&lab, &object).await?.get("lan").await?;
    lab.down().await
}
