//! The cluster with its router, and the processes of both.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{BGPSessionState, IPAddressPool, IPAddressPoolSpec};
use herald_chart::tool;
use herald_e2e::bgp::{NODES, Tor, frr};
use herald_e2e::{metallb, webhooks};
use herald_interop::Prefix;
use herald_lab::{Lab, NAMESPACE, Process, eventually};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};

use super::services::{self, BGP, WEB};

/// For what takes seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the page gives Herald beside MetalLB.
const METRICS: u16 = 9220;
const HEALTH: u16 = 17473;
const GROUP: u16 = 7947;

/// Three nodes and a router, without anybody who gives addresses.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    pub(crate) tor: Tor,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self> {
        metallb::dir()?;
        tool("helm", "HERALD_HELM")?;
        let lab = Lab::builder().without_crds().start().await?;
        let tor = Tor::start(&lab, "frr", "router", "remote", &frr(&lab, None))?;
        Ok(Self { lab, tor })
    }

    /// Makes pools, advertisements and the peer, once the API server knows their kinds.
    pub(crate) async fn configure(&self) -> Result<()> {
        for object in services::configuration() {
            let object = object.to_string();
            eventually(PATIENCE, "the kinds of MetalLB", async || {
                self.lab.apply_yaml(&object).await.map(Some)
            })
            .await?;
        }
        Ok(())
    }

    /// Puts an authority where MetalLB's controller with webhooks puts its own, as it does it: what Herald
    /// takes over is then in part of a third manager of fields.
    pub(crate) async fn put_authority(&self) -> Result<()> {
        let made = rcgen::generate_simple_self_signed(["metallb".to_owned()])?;
        let authority = ByteString(made.cert.pem().into_bytes());
        let params = PostParams {
            field_manager: Some("MetalLB".to_owned()),
            ..PostParams::default()
        };
        let api = Api::<ValidatingWebhookConfiguration>::all(self.lab.client());
        let mut configuration = api.get("metallb-webhook-configuration").await?;
        for webhook in configuration.webhooks.iter_mut().flatten() {
            webhook.client_config.ca_bundle = Some(authority.clone());
        }
        let name = configuration.name_any();
        api.replace(&name, &params, &configuration).await?;
        let api = Api::<CustomResourceDefinition>::all(self.lab.client());
        let mut peers = api.get("bgppeers.metallb.io").await?;
        let conversion = peers.spec.conversion.as_mut();
        let webhook = conversion.and_then(|conversion| conversion.webhook.as_mut());
        let client = webhook.and_then(|webhook| webhook.client_config.as_mut());
        client.context("no converter")?.ca_bundle = Some(authority);
        api.replace(&peers.name_any(), &params, &peers).await?;
        Ok(())
    }

    /// A client of the older version reads the peer.
    pub(crate) async fn peer_is_converted(&self) -> Result<()> {
        let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/bgppeers/tor");
        eventually(PATIENCE, "the peer as v1beta1", async || {
            let request = http::Request::get(&path).body(Vec::new())?;
            let peer = self.lab.client().request_text(request).await?;
            Ok(peer.contains("peerAddress").then_some(()))
        })
        .await
    }

    /// Waits until clients get answers from each address.
    pub(crate) async fn announced(&self) -> Result<()> {
        self.tor.wait_sessions(&NODES).await?;
        self.tor
            .wait_nodes(Prefix::host(BGP.parse()?), &NODES)
            .await?;
        let [v4, v6] = WEB;
        for (part, address) in [("client", v4), ("client", v6), (self.tor.client, BGP)] {
            eventually(PATIENCE, &format!("{address} to answer"), async || {
                self.lab.ask(part, address.parse()?, 80).await.map(Some)
            })
            .await?;
        }
        Ok(())
    }

    /// All that was configured is there, as it was written.
    pub(crate) async fn objects_are_there(&self) -> Result<()> {
        for object in services::configuration() {
            // An unchanged object is taken, and stays of the generation that it had.
            let now = self.lab.apply_yaml(&object.to_string()).await?;
            let generation = now.first().and_then(|object| object.metadata.generation);
            ensure!(
                generation == Some(1),
                "{object} has changed: {generation:?}"
            );
        }
        Ok(())
    }

    /// Herald's webhooks judge under the names that were MetalLB's.
    pub(crate) async fn webhooks_answer(&self) -> Result<()> {
        webhooks::lead(&self.lab).await?;
        let pools: Api<IPAddressPool> = Api::namespaced(self.lab.client(), NAMESPACE);
        let spec = IPAddressPoolSpec {
            addresses: vec!["192.168.16.0/33".to_owned()],
            ..IPAddressPoolSpec::default()
        };
        let bad = IPAddressPool::new("bad", spec);
        eventually(PATIENCE, "the webhooks", async || {
            let refused = pools.create(&PostParams::default(), &bad).await;
            let refused = format!("{:?}", refused.err().context("it is taken")?);
            ensure!(refused.contains("invalid CIDR"), "{refused}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the router has a session with every node, and Herald says that they are its own, or
    /// does not say anything any more.
    pub(crate) async fn sessions_are_heralds(&self, heralds: bool) -> Result<()> {
        let states: Api<BGPSessionState> = Api::namespaced(self.lab.client(), NAMESPACE);
        eventually(PATIENCE, "the sessions", async || {
            for neighbor in self.tor.neighbors().await? {
                let up = neighbor.state == herald_interop::State::Established;
                ensure!(up, "{neighbor:?}");
            }
            if heralds {
                let states = states.list(&ListParams::default()).await?.items;
                let said = states.iter().filter_map(|state| state.status.as_ref());
                let up = said.filter(|said| said.bgp_status == "Established");
                ensure!(up.count() == NODES.len(), "{states:?}");
            }
            Ok(Some(()))
        })
        .await?;
        self.tor
            .wait_nodes(Prefix::host(BGP.parse()?), &NODES)
            .await
    }

    /// What has a name that only one may have, and what runs Pods, is of this release and no other.
    pub(crate) async fn only_of(&self, release: &str) -> Result<()> {
        let client = self.lab.client();
        let all = ListParams::default();
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
        let mut names: Vec<_> = deployments
            .list(&all)
            .await?
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        let daemons = Api::<DaemonSet>::namespaced(client.clone(), NAMESPACE);
        names.extend(
            daemons
                .list(&all)
                .await?
                .iter()
                .map(kube::ResourceExt::name_any),
        );
        assert_eq!(
            names,
            [
                format!("{release}-controller"),
                format!("{release}-speaker")
            ]
        );
        let owner = |annotations: &std::collections::BTreeMap<String, String>| {
            annotations.get("meta.helm.sh/release-name").cloned()
        };
        let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
        let configuration = configurations.get("metallb-webhook-configuration").await?;
        assert_eq!(owner(configuration.annotations()).as_deref(), Some(release));
        let services = Api::<Service>::namespaced(client, NAMESPACE);
        let service = services.get("metallb-webhook-service").await?;
        assert_eq!(owner(service.annotations()).as_deref(), Some(release));
        Ok(())
    }

    pub(crate) async fn down(self) -> Result<()> {
        self.lab.down().await
    }
}

/// MetalLB's processes.
#[derive(Debug)]
pub(crate) struct MetalLb {
    pub(crate) controller: Process,
    /// In the order of the nodes.
    pub(crate) speakers: Vec<Process>,
}

impl MetalLb {
    pub(crate) async fn start(lab: &Lab) -> Result<Self> {
        let controller = metallb::controller(lab).await?;
        let mut speakers = Vec::new();
        for node in lab.nodes() {
            speakers.push(metallb::speaker(lab, &node.name).await?);
        }
        Ok(Self {
            controller,
            speakers,
        })
    }
}

/// Herald's processes.
#[derive(Debug)]
pub(crate) struct Herald {
    pub(crate) controller: Process,
    /// In the order of the nodes.
    pub(crate) speakers: Vec<Process>,
}

impl Herald {
    /// Starts them with the ports that the page gives, and waits until they are ready.
    pub(crate) async fn start_beside(lab: &Lab) -> Result<Self> {
        let controller = lab
            .controller("controller")?
            .named("herald-controller")
            .arg("--webhook-mode=enabled")
            .start()
            .await?;
        let mut speakers = Vec::new();
        for node in lab.nodes() {
            let speaker = lab
                .speaker(&node.name)?
                .named(format!("herald-speaker-{}", node.name))
                .ports(HEALTH, METRICS)
                .arg(format!("--ml-bindport={GROUP}"));
            speakers.push(speaker.start().await?);
        }
        for herald in std::iter::once(&controller).chain(&speakers) {
            herald.wait_ready().await?;
        }
        let speakers = speakers.iter().map(|it| it.process().clone());
        Ok(Self {
            controller: controller.process().clone(),
            speakers: speakers.collect(),
        })
    }
}
