//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler in the namespace `cp`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::audit;
use super::pki::{Pki, User};
use crate::net::address::{CONTROL_PLANE, SERVICE_CIDR};
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec};

/// The controllers that matter without kubelets.
const CONTROLLERS: &str = "endpointslice-controller,endpointslice-mirroring-controller,\
    serviceaccount-controller,namespace-controller,garbage-collector-controller";

/// With kubelets all matter, but those that a cloud has need of or that give nodes their networks.
const CONTROLLERS_WITH_KUBELETS: &str = "*,-node-ipam-controller,-node-route-controller,\
    -cloud-node-lifecycle-controller,-service-lb-controller";

/// The binary that plays every role of Kubernetes; see `tests/kubernetes/build.sh`.
pub fn kubernetes() -> Result<PathBuf> {
    let path = match std::env::var_os("HERALD_KUBERNETES") {
        Some(path) => PathBuf::from(path),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache).join("herald/kubernetes"),
            (None, Some(home)) => PathBuf::from(home).join(".cache/herald/kubernetes"),
            (None, None) => bail!("neither HERALD_KUBERNETES nor HOME is set"),
        },
    };
    if !path.is_file() {
        bail!(
            "{} does not exist: run tests/kubernetes/build.sh",
            path.display()
        );
    }
    Ok(path)
}

/// What a lab's control plane can have more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    /// There are kubelets, so there is a scheduler, and Pods have tokens.
    pub(crate) kubelets: bool,
    /// The requests of Herald's accounts are written down.
    pub(crate) audited: bool,
}

/// The processes of the control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// The store.
    pub etcd: Process,
    /// The API server; pause, kill or restart it to see what a component does without.
    pub api_server: Process,
    /// Makes `EndpointSlice`s from Services and Pods.
    pub controller_manager: Process,
    /// Gives pods their nodes, where there are kubelets.
    pub scheduler: Option<Process>,
}

impl ControlPlane {
    /// Starts all at once: each waits for the one before.
    pub(crate) fn start(
        netns: &Netns,
        pki: &Pki,
        dir: &Path,
        logs: &Path,
        Choices { kubelets, audited }: Choices,
    ) -> Result<Self> {
        let binary = kubernetes()?;
        let role = |name: &str| ProcessSpec::new(name, &binary).arg(name);
        let start = |spec| Process::start(spec, netns.clone(), logs);

        let data = dir.join("etcd");
        let etcd = start(role("etcd").args([
            format!("--data-dir={}", data.display()),
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
            "--quota-backend-bytes=4294967296".into(),
            "--auto-compaction-retention=10m".into(),
            "--listen-client-urls=http://127.0.0.1:2379".into(),
            "--advertise-client-urls=http://127.0.0.1:2379".into(),
            "--listen-peer-urls=http://127.0.0.1:2380".into(),
        ]))?;
        let mut api_server = role("kube-apiserver").args([
            "--etcd-servers=http://127.0.0.1:2379".into(),
            format!("--tls-cert-file={}", pki.server_cert().display()),
            format!("--tls-private-key-file={}", pki.server_key().display()),
            format!("--token-auth-file={}", pki.tokens().display()),
            "--authorization-mode=Node,RBAC".into(),
            format!(
                "--service-account-key-file={}",
                pki.account_public_key().display()
            ),
            format!(
                "--service-account-signing-key-file={}",
                pki.account_key().display()
            ),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-cluster-ip-range={SERVICE_CIDR}"),
            "--bind-address=0.0.0.0".into(),
            format!("--advertise-address={}", CONTROL_PLANE.v4),
            "--allow-privileged=true".into(),
            "--enable-aggregator-routing=true".into(),
            "--kubelet-preferred-address-types=InternalIP".into(),
        ]);
        if !kubelets {
            // Pods are objects without processes of their own, so they need no token.
            api_server = api_server.arg("--disable-admission-plugins=ServiceAccount");
        }
        if audited {
            api_server = api_server.args([
                format!(
                    "--audit-policy-file={}",
                    audit::write_policy(dir)?.display()
                ),
                format!("--audit-log-path={}", audit::log(logs).display()),
                // Whoever has an answer finds the request in the log.
                "--audit-log-mode=blocking".into(),
            ]);
        }
        let api_server = start(api_server)?;
        let kubeconfig = pki.kubeconfig(User::ControllerManager);
        let controller_manager = start(role("kube-controller-manager").args([
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".into(),
            format!(
                "--service-account-private-key-file={}",
                pki.account_key().display()
            ),
            format!("--root-ca-file={}", pki.ca().display()),
            format!(
                "--controllers={}",
                if kubelets {
                    CONTROLLERS_WITH_KUBELETS
                } else {
                    CONTROLLERS
                }
            ),
            // The default of 20 requests a second would make a hundred pods wait for minutes.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            "--concurrent-service-endpoint-syncs=10".into(),
            "--endpointslice-updates-batch-period=0s".into(),
        ]))?;
        let scheduler = role("kube-scheduler").args([
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".into(),
        ]);
        let scheduler = kubelets.then(|| start(scheduler)).transpose()?;
        Ok(Self {
            etcd,
            api_server,
            controller_manager,
            scheduler,
        })
    }

    /// Waits until the API server says that it is ready and takes Services: for a while after it says
    /// so it has no addresses for them. The controller manager waits for that for ten seconds and
    /// ends, which on a busy machine is too short: it is started again then, and so is the scheduler.
    pub async fn ready(&self, client: &Client) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(3);
        loop {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            if client.request_text(request).await.is_ok() && takes_services(client).await {
                for process in [&self.controller_manager]
                    .into_iter()
                    .chain(&self.scheduler)
                {
                    if !process.is_running() {
                        process.restart().await?;
                    }
                }
                return Ok(());
            }
            for process in [&self.etcd, &self.api_server] {
                if let Some(status) = process.exit_status() {
                    bail!(
                        "{} ended with {status}:\n{}",
                        process.name(),
                        process.log_tail(20)
                    );
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver is not ready:\n{}",
                    self.api_server.log_tail(20)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether a Service of both families would be made.
async fn takes_services(client: &Client) -> bool {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"generateName": "ready-"},
        "spec": {"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]},
    });
    let Ok(service) = serde_json::from_value(service) else {
        return false;
    };
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let services = Api::<Service>::default_namespaced(client.clone());
    services.create(&dry_run, &service).await.is_ok()
}
