//! kube-proxy on a node.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::control_plane::kubernetes;
use super::pki::{Pki, User};
use crate::io::http;
use crate::net::address::{Node, POD_CIDR};
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec};

/// The node's service layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyMode {
    /// kube-proxy in mode nftables.
    #[default]
    Nftables,
    /// kube-proxy in mode iptables.
    Iptables,
    /// No kube-proxy: traffic to Services goes nowhere.
    None,
}

/// Starts kube-proxy as `kube-proxy-<node>`; nothing in mode `None`.
pub(crate) fn start(
    mode: ProxyMode,
    node: &Node,
    netns: Netns,
    pki: &Pki,
    dir: &Path,
    logs: &Path,
) -> Result<Option<Process>> {
    let mode = match mode {
        ProxyMode::Nftables => "nftables",
        ProxyMode::Iptables => "iptables",
        ProxyMode::None => return Ok(None),
    };
    let name = format!("kube-proxy-{}", node.name);
    let config = dir.join(format!("{name}.yaml"));
    // NodePorts on every address: the nodes' InternalIPs are on the management network. The short
    // sync period makes tests quick; the connection tracking limits are not a namespace's to set.
    let text = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\n\
         hostnameOverride: {}\nclusterCIDR: {POD_CIDR}\ndetectLocalMode: ClusterCIDR\n\
         nodePortAddresses: [0.0.0.0/0, \"::/0\"]\nhealthzBindAddress: 0.0.0.0:10256\n\
         metricsBindAddress: 127.0.0.1:10249\nclientConnection:\n  kubeconfig: {}\n\
         conntrack:\n  maxPerCore: 0\n  min: 0\n  tcpEstablishedTimeout: 0s\n  \
         tcpCloseWaitTimeout: 0s\n\
         nftables: {{minSyncPeriod: 50ms}}\niptables: {{minSyncPeriod: 50ms}}\n",
        node.name,
        pki.kubeconfig(User::Proxy).display(),
    );
    fs::write(&config, text)?;
    let spec = ProcessSpec::new(name, kubernetes()?)
        .arg("kube-proxy")
        .arg(format!("--config={}", config.display()));
    Process::start(spec, netns, logs).map(Some)
}

/// Waits until kube-proxy has written its first rules.
pub(crate) async fn synced(proxy: &Process, netns: &Netns) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let url = "127.0.0.1:10256".parse()?;
        let answer = netns.run_async(move || http::get(url, "/healthz", Duration::from_secs(1)));
        if answer.await?.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if let Some(status) = proxy.exit_status() {
            bail!(
                "{} ended with {status}:\n{}",
                proxy.name(),
                proxy.log_tail(20)
            );
        }
        if Instant::now() > deadline {
            bail!("{} has not synced:\n{}", proxy.name(), proxy.log_tail(20));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
