//! Choosing and starting a lab.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::Client;
use serde_json::json;
use tokio::task::{JoinSet, spawn_blocking};

use crate::cluster::access;
use crate::cluster::apply;
use crate::cluster::control_plane::{Choices, ControlPlane};
use crate::cluster::pki::{Pki, User};
use crate::cluster::proxy::{self, ProxyMode};
use crate::cluster::{containerd, kubelet, node};
use crate::lab::{Lab, Shared, make_dir};
use crate::net::address::Node;
use crate::net::build::{build, netns_of};
use crate::process::{Process, start_time};
use crate::state::{LabState, sweep};
use crate::{cleanup, group, workspace};

/// The choices of a lab; [`crate::Lab::builder`] makes one.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "choices that have nothing to do with each other"
)]
pub struct LabBuilder {
    nodes: u8,
    proxy: ProxyMode,
    name: Option<String>,
    crds: bool,
    one_network: bool,
    ipv6_nodes: bool,
    audited: bool,
    /// With these images beside that of the pods.
    kubelets: Option<Vec<PathBuf>>,
}

impl Default for LabBuilder {
    fn default() -> Self {
        Self {
            nodes: 3,
            proxy: ProxyMode::default(),
            name: None,
            crds: true,
            one_network: false,
            ipv6_nodes: false,
            audited: false,
            kubelets: None,
        }
    }
}

impl LabBuilder {
    /// How many nodes, 1 to 80.
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// The nodes' service layer.
    pub fn proxy(mut self, mode: ProxyMode) -> Self {
        self.proxy = mode;
        self
    }

    /// A name for `herald-lab status`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Does not apply Herald's CRDs, for a peer that brings its own.
    pub fn without_crds(mut self) -> Self {
        self.crds = false;
        self
    }

    /// The nodes' `InternalIP`s, and so the addresses at which speakers find each other, are on the
    /// LAN, as in most clusters. The API server and the pods stay on the management network: a LAN
    /// that is cut takes clients and the speakers' group away, and nothing else.
    pub fn one_network(mut self) -> Self {
        self.one_network = true;
        self
    }

    /// The nodes' only `InternalIP`s are IPv6, and so the speakers' group is. Services and pods have
    /// both families all the same.
    pub fn ipv6_nodes(mut self) -> Self {
        self.ipv6_nodes = true;
        self
    }

    /// The API server writes down what Herald's service accounts ask of it, for [`Lab::requests`].
    pub fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Every node has a kubelet and a containerd of its own, and there is a scheduler: pods are real, of
    /// images that the nodes have. They are [`crate::POD_IMAGE`] and these, archives that
    /// `ctr images import` takes.
    pub fn kubelets(mut self, images: impl IntoIterator<Item = PathBuf>) -> Self {
        self.kubelets = Some(images.into_iter().collect());
        self
    }

    /// Starts the lab; returns when the API server is ready, the nodes are, and every kube-proxy
    /// has synced. Needs root and a multi-threaded or current-thread tokio runtime.
    pub async fn start(self) -> Result<Lab> {
        ensure!(
            (1..=80).contains(&self.nodes),
            "a lab has 1 to 80 nodes, not {}",
            self.nodes
        );
        let (one_network, ipv6_nodes) = (self.one_network, self.ipv6_nodes);
        let node = |index| Node::new(index, one_network, ipv6_nodes);
        let nodes: Vec<Node> = (1..=self.nodes).map(node).collect();
        let shared = spawn_blocking(move || prepare(self.name, nodes)).await??;
        // From here on the lab is taken down if anything fails.
        let guard = Guard(Some(Arc::clone(&shared)));
        let network = Arc::clone(&shared);
        spawn_blocking(move || build(&network.state.id, &network.nodes)).await??;

        let netns = netns_of(&shared.state.id, "cp");
        let (dir, logs) = (&shared.state.dir, shared.state.logs());
        let choices = Choices {
            kubelets: self.kubelets.is_some(),
            audited: self.audited,
        };
        let control_plane = ControlPlane::start(&netns, &shared.pki, dir, &logs, choices)?;
        let ControlPlane {
            etcd,
            api_server,
            controller_manager,
            scheduler,
        } = &control_plane;
        let processes = [etcd, api_server, controller_manager];
        for process in processes.into_iter().chain(scheduler) {
            shared
                .processes()
                .insert(process.name().to_owned(), process.clone());
        }
        let client = access::client(&netns, &shared.pki, User::Admin)?;
        control_plane.ready(&client).await?;

        let mut tasks = JoinSet::new();
        for node in shared.nodes.clone() {
            tasks.spawn(start_node(
                Arc::clone(&shared),
                client.clone(),
                node,
                self.proxy,
                self.kubelets.is_some(),
            ));
        }
        tasks.spawn(prepare_namespace(client.clone()));
        if self.crds {
            let client = client.clone();
            tasks.spawn(async move { apply::apply_crds(&client, &crds_dir()).await });
        }
        while let Some(result) = tasks.join_next().await {
            result??;
        }
        if let Some(images) = self.kubelets {
            // Their Node objects are there.
            let nodes = shared.nodes.iter();
            let kubelets = nodes.map(|node| start_kubelet(&shared, &client, node, &images));
            try_join_all(kubelets).await?;
        }
        guard.disarm();
        Ok(Lab {
            shared,
            client,
            control_plane,
        })
    }
}

/// The name of the binding that gives a service account all rights.
pub(crate) fn binding_of(account: &str) -> String {
    format!("herald-lab-{account}")
}

/// Takes a lab down that failed to start.
struct Guard(Option<Arc<Shared>>);

impl Guard {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.take_down(false);
        }
    }
}

fn crds_dir() -> PathBuf {
    std::env::var_os("HERALD_CRDS")
        .map_or_else(|| workspace().join("charts/herald/crds"), PathBuf::from)
}

/// Sweeps dead labs, then takes a free id and writes the state and the keys down.
fn prepare(name: Option<String>, nodes: Vec<Node>) -> Result<Arc<Shared>> {
    sweep();
    let pid = std::process::id();
    let id = fresh_id()?;
    let state = LabState {
        dir: make_dir(&id)?,
        id,
        name,
        pid,
        start_time: start_time(pid).context("cannot read /proc/self/stat")?,
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        api_port: None,
    };
    state.write()?;
    let pki = Pki::create(state.dir.join("pki"), &nodes)?;
    group::write_key(&state.dir)?;
    let shared = Arc::new(Shared::new(state, nodes, pki));
    cleanup::register(&shared);
    Ok(shared)
}

/// Four letters and digits; the folder under /run is what makes an id taken.
fn fresh_id() -> Result<String> {
    const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    std::fs::create_dir_all("/run/herald-lab").context("cannot make /run/herald-lab: be root")?;
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()
        ^ (u128::from(std::process::id()) << 20);
    loop {
        let id: String = (0..4)
            .map(|i| char::from(DIGITS[(seed >> (5 * i)) as usize & 31]))
            .collect();
        match std::fs::create_dir(format!("/run/herald-lab/{id}")) {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => seed += 7919,
            Err(error) => return Err(error).context("cannot make a folder in /run/herald-lab"),
        }
    }
}

async fn start_node(
    shared: Arc<Shared>,
    client: Client,
    node: Node,
    mode: ProxyMode,
    kubelet: bool,
) -> Result<()> {
    node::create(&client, &node, kubelet).await?;
    let netns = netns_of(&shared.state.id, &node.name);
    let dir = &shared.state.dir;
    let proxy = proxy::start(
        mode,
        &node,
        netns.clone(),
        &shared.pki,
        dir,
        &shared.state.logs(),
    )?;
    if let Some(proxy) = proxy {
        shared
            .processes()
            .insert(proxy.name().to_owned(), proxy.clone());
        proxy::synced(&proxy, &netns).await?;
    }
    Ok(())
}

async fn start_kubelet(
    shared: &Shared,
    client: &Client,
    node: &Node,
    images: &[PathBuf],
) -> Result<()> {
    let netns = netns_of(&shared.state.id, &node.name);
    let (id, dir, logs) = (&shared.state.id, &shared.state.dir, shared.state.logs());
    let keep = |process: &Process| {
        let mut processes = shared.processes();
        processes.insert(process.name().to_owned(), process.clone());
    };
    let containerd = containerd::start(id, node, netns, dir, &logs, images.to_vec()).await?;
    keep(&containerd);
    let kubelet = kubelet::start(id, node, &containerd, &shared.pki, dir, &logs)?;
    keep(&kubelet);
    kubelet::ready(client, node, &kubelet).await
}

/// The namespace of Herald, and all rights for its service accounts, which [`Lab::take_rights`] takes
/// away.
async fn prepare_namespace(client: Client) -> Result<()> {
    let binding = |name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": binding_of(name)},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "metallb-system"}],
        })
    };
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"},
    });
    for object in [namespace, binding("controller"), binding("speaker")] {
        apply::apply(&client, &object.to_string()).await?;
    }
    Ok(())
}
