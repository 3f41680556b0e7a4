//! The kubelet of a node, beside its containerd.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client};

use super::cgroup;
use super::containerd::Folders;
use super::control_plane::kubernetes;
use super::pki::Pki;
use crate::net::address::Node;
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec};

/// For what takes a quarter of a minute, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(4);

/// Requests come from the lab's own namespaces only. The machine's disk and memory are not the
/// kubelet's to watch over.
const CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: CGROUP
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cpuCFSQuota: false
enforceNodeAllocatable: []
evictionHard: {imagefs.available: 0%, memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
oomScoreAdj: 0
resolvConf: \"\"
";

/// Starts the kubelet as `kubelet-<node>`, in the mount namespace of the node's containerd.
pub(crate) fn start(
    id: &str,
    node: &Node,
    containerd: &Process,
    pki: &Pki,
    dir: &Path,
    logs: &Path,
) -> Result<Process> {
    let config = Folders::new(dir, &node.name).file("kubelet.yaml");
    fs::write(
        &config,
        CONFIG.replace("CGROUP", &cgroup::node(id, &node.name)),
    )?;
    let addresses: Vec<String> = node
        .internal_ips()
        .iter()
        .map(ToString::to_string)
        .collect();
    let spec = ProcessSpec::new(format!("kubelet-{}", node.name), "nsenter")
        .arg(format!("--mount=/proc/{}/ns/mnt", containerd.pid()))
        .arg(kubernetes()?)
        .arg("kubelet")
        .arg(format!("--config={}", config.display()))
        .arg(format!(
            "--kubeconfig={}",
            pki.kubelet_kubeconfig(node).display()
        ))
        .arg(format!("--hostname-override={}", node.name))
        .arg(format!("--node-ip={}", addresses.join(",")))
        .with_cgroups();
    let netns: Netns = containerd.netns().clone();
    Process::start(spec, netns, logs)
}

/// Waits until the node is ready and takes pods.
pub(crate) async fn ready(client: &Client, node: &Node, kubelet: &Process) -> Result<()> {
    let api: Api<NodeObject> = Api::all(client.clone());
    let deadline = Instant::now() + PATIENCE;
    loop {
        if is_ready(&api.get(&node.name).await?) {
            return Ok(());
        }
        let (name, tail) = (kubelet.name(), kubelet.log_tail(10));
        ensure!(kubelet.is_running(), "{name} ended:\n{tail}");
        ensure!(Instant::now() < deadline, "{name} is not ready:\n{tail}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    taints.is_none_or(Vec::is_empty)
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
