//! The two that are measured, and how each is started on a lab.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use herald_lab::{Lab, LabBuilder, NAMESPACE, Node, Process, ProcessSpec, ProxyMode, User};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Contestant {
    /// This project.
    Herald,
    /// MetalLB.
    #[value(name = "metallb")]
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
        let builder = Lab::builder().nodes(1).proxy(ProxyMode::None);
        self.start(builder).await
    }

    /// A fresh lab of three nodes that forward traffic, with the contestant's CRDs. Its speakers
    /// find each other on the LAN if there is one network, apart from it otherwise.
    pub(crate) async fn cluster(self, one_network: bool) -> Result<Lab> {
        let builder = Lab::builder().nodes(3);
        let builder = if one_network {
            builder.one_network()
        } else {
            builder
        };
        self.start(builder).await
    }

    async fn start(self, builder: LabBuilder) -> Result<Lab> {
        let builder = builder.name(format!("bench {self}"));
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
        pod(lab, node, "controller", "controller").await?;
        let spec = ProcessSpec::new("controller", peer_dir()?.join("controller"))
            .arg("-kubeconfig")
            .arg(lab.kubeconfig(User::Controller))
            .args(["-namespace", NAMESPACE, "-webhook-mode=disabled", "-port=0"])
            .arg("-pod-name=controller")
            .env("METALLB_BGP_TYPE", "native");
        lab.spawn("cp", spec)
    }

    /// Starts the speaker of a node; returns as soon as the process exists.
    pub(crate) async fn speaker_on(self, lab: &Lab, node: &str) -> Result<Process> {
        if self == Self::Herald {
            let herald = lab.speaker(node)?.start().await?;
            return Ok(herald.process().clone());
        }
        let node = lab.node(node)?;
        let (name, ip) = (format!("speaker-{}", node.name), node.internal.v4);
        pod(lab, node, &name, "speaker").await?;
        let spec = ProcessSpec::new(&name, peer_dir()?.join("speaker"))
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
    let params = PatchParams::apply("herald-bench").force();
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
