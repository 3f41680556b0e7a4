//! MetalLB on the lab: its programs, as `tests/bench/peer/build.sh` builds them from its module, with its
//! own BGP. Its pods are Pod objects, and processes that the lab starts.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use herald_lab::{Lab, NAMESPACE, Node, Process, ProcessSpec, User};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

/// Where its programs, its CRDs (`crds`) and its chart (`chart`) are.
pub fn dir() -> Result<PathBuf> {
    let dir = match std::env::var_os("HERALD_PEER") {
        Some(dir) => PathBuf::from(dir),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache).join("herald/metallb"),
            (None, Some(home)) => PathBuf::from(home).join(".cache/herald/metallb"),
            (None, None) => bail!("neither HERALD_PEER nor HOME is set"),
        },
    };
    if !dir.join("controller").is_file() || !dir.join("chart").is_dir() {
        bail!(
            "{} has no controller or no chart: run tests/bench/peer/build.sh",
            dir.display()
        );
    }
    Ok(dir)
}

/// Starts its controller, without webhooks; returns as soon as the process exists.
pub async fn controller(lab: &Lab) -> Result<Process> {
    let name = "metallb-controller";
    pod(lab, lab.node("n1")?, name, "controller").await?;
    let spec = ProcessSpec::new(name, dir()?.join("controller"))
        .arg("-kubeconfig")
        .arg(lab.kubeconfig(User::Controller))
        .args(["-namespace", NAMESPACE, "-webhook-mode=disabled", "-port=0"])
        .arg(format!("-pod-name={name}"))
        .env("METALLB_BGP_TYPE", "native");
    lab.spawn("cp", spec)
}

/// Starts the speaker of a node; returns as soon as the process exists.
pub async fn speaker(lab: &Lab, node: &str) -> Result<Process> {
    let node = lab.node(node)?;
    let (name, ip) = (format!("metallb-speaker-{}", node.name), node.internal.v4);
    pod(lab, node, &name, "speaker").await?;
    let spec = ProcessSpec::new(&name, dir()?.join("speaker"))
        .arg("-kubeconfig")
        .arg(lab.kubeconfig(User::Speaker))
        .args(["-namespace", NAMESPACE, "-port=0"])
        .arg(format!("-node-name={}", node.name))
        .arg(format!("-pod-name={name}"))
        .arg("-ml-labels=app=metallb,component=speaker")
        .arg(format!("-ml-bindaddr={ip}"))
        .arg(format!(
            "-ml-secret-key-path={}",
            lab.member_key().display()
        ))
        .env("METALLB_BGP_TYPE", "native")
        .env("METALLB_HOST", ip.to_string());
    lab.spawn(&node.name, spec)
}

/// Ends a process of MetalLB's or of Herald's as the kubelet does, with the object of its Pod.
pub async fn end(lab: &Lab, process: &Process) -> Result<()> {
    process.stop().await?;
    let api: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    api.delete(process.name(), &at_once).await?;
    Ok(())
}

/// The Pod object that MetalLB looks itself up in.
async fn pod(lab: &Lab, node: &Node, name: &str, component: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "labels": {"app": "metallb", "component": component},
        },
        "spec": {
            "nodeName": node.name, "hostNetwork": true,
            "containers": [{"name": "main", "image": "metallb"}],
        },
    });
    let params = PatchParams::apply("herald-e2e").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot create the Pod {name}"))?;
    let ip = node.internal.v4;
    let status = json!({"status": {
        "phase": "Running", "hostIP": ip, "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
        .await?;
    Ok(())
}
