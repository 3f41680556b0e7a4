//! The lab that the cases share, and how it is made as new before every round.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::layer2::address_of;
use herald_lab::{Lab, Mac, NAMESPACE, Process, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::case::Group;
use crate::contestant::Contestant;

/// The node that owns the address, and that things happen to.
pub(crate) const OWNER: &str = "n1";
/// The node with the backends. Nothing happens to it.
const BACKENDS: &str = "n3";
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Both contestants find their way within seconds; the peer needs half a minute after some faults.
const STEADY: Duration = Duration::from_mins(1);

/// A cluster with one contestant.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    contestant: Contestant,
    group: Group,
    /// The addresses of the Service whose owner is [`OWNER`], IPv4 first.
    pub(crate) addresses: [IpAddr; 2],
    /// An address whose owner is another node.
    pub(crate) bystander: IpAddr,
    speakers: Vec<Process>,
    mac: Mac,
}

impl Cluster {
    /// Starts a lab with the contestant on it, two Services and their backends.
    pub(crate) async fn start(contestant: Contestant, group: Group) -> Result<Self> {
        let lab = contestant
            .cluster(group == Group::OneNetwork)
            .await
            .context("the lab does not start")?;
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": "bench", "namespace": NAMESPACE},
            "spec": {"addresses": ["192.168.10.1-192.168.10.99", "fd10::a:1-fd10::a:99"]},
        });
        lab.apply_yaml(&pool.to_string()).await?;
        advertise(&lab, group, json!([])).await?;
        contestant.controller(&lab).await?;

        for name in ["web-0", "web-1"] {
            lab.pod(name).app("web").on(BACKENDS).create().await?;
        }
        let v4 = address_of(OWNER, &NODES, 0);
        let v6: IpAddr = "fd10::a:7".parse()?;
        let bystander = address_of(BACKENDS, &NODES, 0);
        let web = lab.service("web").dual_stack();
        let both = format!("{v4},{v6}");
        let web = web.annotation("metallb.io/loadBalancerIPs", &both);
        web.create().await?.wait_addresses(2).await?;
        let other = lab.service("other").selector("app", "web");
        let other = other.annotation("metallb.io/loadBalancerIPs", &bystander.to_string());
        other.create().await?.wait_addresses(1).await?;
        let mut speakers = Vec::new();
        for node in NODES {
            speakers.push(contestant.speaker_on(&lab, node).await?);
        }
        Ok(Self {
            mac: lab.mac(OWNER, "lan0")?,
            contestant,
            group,
            addresses: [v4, v6],
            bystander,
            speakers,
            lab,
        })
    }

    /// Ends the lab.
    pub(crate) async fn down(self) -> Result<()> {
        self.lab.down().await
    }

    /// Whose cluster it is.
    pub(crate) fn contestant(&self) -> Contestant {
        self.contestant
    }

    /// The MAC address of the owner on the LAN.
    pub(crate) fn owner_mac(&self) -> Mac {
        self.mac
    }

    /// The owner's speaker.
    pub(crate) fn owner(&self) -> &Process {
        &self.speakers[0]
    }

    /// Every speaker, in the order of the nodes.
    pub(crate) fn speakers(&self) -> &[Process] {
        &self.speakers
    }

    /// Mends everything, starts all speakers anew without a memory, and waits until the owner alone
    /// has answered for a second.
    pub(crate) async fn fresh(&self) -> Result<()> {
        self.lab.heal().await?;
        for node in NODES {
            self.lab.restore_link(node, "lan0").await?;
        }
        self.api_on().await?;
        advertise(&self.lab, self.group, json!([])).await?;
        self.drain(false).await?;
        for speaker in &self.speakers {
            if speaker.is_running() {
                speaker.kill().await?;
            }
        }
        for node in NODES {
            self.lab.wipe_state(node)?;
        }
        for speaker in &self.speakers {
            speaker.restart().await?;
        }
        self.steady().await
    }

    async fn steady(&self) -> Result<()> {
        const EVERY: Duration = Duration::from_millis(100);
        let wanted = BTreeSet::from([self.mac]);
        let mut watches = Vec::new();
        for address in self.addresses {
            watches.push((address, self.lab.watch_macs(address, EVERY)?));
        }
        eventually(STEADY, "the owner alone to answer", async || {
            for (address, watch) in &watches {
                let looks = watch.looks();
                let last = &looks[looks.len().saturating_sub(10)..];
                let macs: Vec<_> = last.iter().map(|look| &look.macs).collect();
                ensure!(
                    macs.len() == 10 && macs.iter().all(|macs| **macs == wanted),
                    "{macs:?} answer for {address}"
                );
            }
            Ok(Some(()))
        })
        .await
    }

    /// Drains the owner, or ends it, in the contestant's way.
    pub(crate) async fn drain(&self, on: bool) -> Result<()> {
        let label = match self.contestant {
            Contestant::Herald => "herald.io/drain",
            Contestant::Peer => "node.kubernetes.io/exclude-from-external-load-balancers",
        };
        let value = if on { json!("true") } else { Value::Null };
        let nodes: Api<Node> = Api::all(self.lab.client());
        let patch = Patch::Merge(json!({"metadata": {"labels": {label: value}}}));
        nodes.patch(OWNER, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Lets the advertisement choose the nodes other than the owner.
    pub(crate) async fn deselect(&self) -> Result<()> {
        let others = json!([{"matchExpressions": [{
            "key": "kubernetes.io/hostname", "operator": "NotIn", "values": [OWNER],
        }]}]);
        advertise(&self.lab, self.group, others).await
    }

    /// Kills etcd and the API server.
    pub(crate) async fn api_off(&self) -> Result<()> {
        let control_plane = self.lab.control_plane();
        control_plane.api_server.kill().await?;
        control_plane.etcd.kill().await?;
        Ok(())
    }

    /// Starts them again if they are away.
    pub(crate) async fn api_on(&self) -> Result<()> {
        let control_plane = self.lab.control_plane();
        for process in [&control_plane.etcd, &control_plane.api_server] {
            if !process.is_running() {
                process.restart().await?;
            }
        }
        control_plane.ready(&self.lab.client()).await
    }
}

/// Applies the advertisement of the pool on the nodes that these selectors choose, all if there are
/// none. Where there is one network, the other is there for the API alone: nobody announces on it.
async fn advertise(lab: &Lab, group: Group, selectors: Value) -> Result<()> {
    let interfaces: &[&str] = match group {
        Group::OneNetwork => &["lan0"],
        Group::TwoNetworks => &[],
    };
    let advertisement = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
        "spec": {
            "ipAddressPools": ["bench"], "nodeSelectors": selectors, "interfaces": interfaces,
        },
    });
    lab.apply_yaml(&advertisement.to_string()).await?;
    Ok(())
}
