//! The two that are measured, and how each is started on a lab.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use herald_lab::{Lab, NAMESPACE, Node, Process, ProcessSpec, ProxyMode, User};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// This project.
    Herald,
    /// MetalLB.
    Peer,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Herald => "Herald",
            Self::Peer => "MetalLB",
        })
    }
}

/// Where MetalLB's programs and CRDs are.
pub(crate) fn peer_dir() -> Result<PathBuf> {
    let dir = match std::env::var_os("HERALD_PEER") {
        Some(dir) => PathBuf::from(dir),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache).join("herald/metallb"),
            (None, Some(home)) => PathBuf::from(home).join(".cache/herald/metallb"),
            (None, None) => bail!("neither HERALD_PEER nor HOME is set"),
        },
    };
    if !dir.join("controller").is_file() {
        bail!(
            "{} has no controller: run tests/bench/peer/build.sh",
            dir.display()
        );
    }
    Ok(dir)
}

impl Contestant {
    /// A fresh lab with the contestant's CRDs. One node and no kube-proxy: what else runs there
    /// would take part of the few cores from what is measured.
    pub(crate) async fn lab(self) -> Result<Lab> {
        let builder = Lab::builder()
            .nodes(1)
            .proxy(ProxyMode::None)
            .name(format!("bench {self}"));
        match self {
            Self::Herald => builder.start().await,
            Self::Peer => {
                let lab = builder.without_crds().start().await?;
                lab.apply_crds(&peer_dir()?.join("crds")).await?;
                Ok(lab)
            }
        }
    }

    /// Starts a controller; returns as soon as the process exists.
    pub(crate) async fn controller(self, lab: &Lab) -> Result<Process> {
        if self == Self::Herald {
            let herald = lab.controller("controller")?.start().await?;
            return Ok(herald.process().clone());
        }
        let node = lab.node("n1")?;
        pod(lab, node, "controller").await?;
        let spec = ProcessSpec::new("controller", peer_dir()?.join("controller"))
            .arg("-kubeconfig")
            .arg(lab.kubeconfig(User::Controller))
            .args(["-namespace", NAMESPACE, "-webhook-mode=disabled", "-port=0"])
            .arg("-pod-name=controller")
            .env("METALLB_BGP_TYPE", "native");
        lab.spawn("cp", spec)
    }

    /// Starts the speaker of the one node; returns as soon as the process exists.
    pub(crate) async fn speaker(self, lab: &Lab) -> Result<Process> {
        if self == Self::Herald {
            let herald = lab.speaker("n1")?.start().await?;
            return Ok(herald.process().clone());
        }
        let node = lab.node("n1")?;
        pod(lab, node, "speaker").await?;
        let secret = lab.dir().join("memberlist");
        std::fs::create_dir_all(&secret)?;
        std::fs::write(secret.join("secretkey"), [b'k'; 32])?;
        let spec = ProcessSpec::new("speaker", peer_dir()?.join("speaker"))
            .arg("-kubeconfig")
            .arg(lab.kubeconfig(User::Speaker))
            .args(["-namespace", NAMESPACE, "-port=0", "-node-name=n1"])
            .args([
                "-pod-name=speaker",
                "-ml-labels=app=metallb,component=speaker",
            ])
            .arg(format!("-ml-bindaddr={}", node.mgmt.v4))
            .arg(format!("-ml-secret-key-path={}", secret.display()))
            .env("METALLB_BGP_TYPE", "native")
            .env("METALLB_HOST", node.mgmt.v4.to_string());
        lab.spawn("n1", spec)
    }
}

/// The Pod object that MetalLB looks itself up in.
async fn pod(lab: &Lab, node: &Node, component: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": component, "labels": {"app": "metallb", "component": component},
        },
        "spec": {
            "nodeName": node.name, "hostNetwork": true,
            "containers": [{"name": "main", "image": "metallb"}],
        },
    });
    let params = PatchParams::apply("herald-bench").force();
    api.patch(component, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot create the Pod {component}"))?;
    let ip = node.mgmt.v4;
    let status = json!({"status": {
        "phase": "Running", "hostIP": ip, "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    api.patch_status(
        component,
        &PatchParams::default(),
        &Patch::Strategic(status),
    )
    .await?;
    Ok(())
}
