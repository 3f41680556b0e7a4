//! The cluster that Herald is installed on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, NAMESPACE, chart, kubectl};
use herald_lab::{Lab, POD_IMAGE, Report, Traffic, eventually};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use serde_json::{Value, json};

use crate::image;

/// For what takes some seconds on each of the nodes, on a machine that has more to do.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// What Helm waits for, too.
const TIMEOUT: &str = "--timeout=240s";

/// A request so often.
const EVERY: Duration = Duration::from_millis(20);
/// Long enough for a packet that is lost to be sent again and again, also where all is slow.
const ANSWERED: Duration = Duration::from_secs(30);

/// Exit codes of containers that a signal ended.
const SIGKILLED: i32 = 128 + 9;
const SIGTERMED: i32 = 128 + 15;

/// Three nodes with kubelets, each with Herald's image, and Helm for them.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes and what is around them.
    pub lab: Lab,
    helm: Helm,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts the nodes.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let images = image::pack(folder.path())?;
        let lab = Lab::builder().without_crds().kubelets(images);
        let lab = lab.start().await?;
        let kubeconfig = lab.forward_api().await?;
        Ok(Self {
            lab,
            helm: Helm::for_cluster(kubeconfig.clone())?,
            kubeconfig,
        })
    }

    /// `helm install` as the documentation has it.
    pub async fn install(&self, values: &str) -> Result<()> {
        let wait = ["--create-namespace", "--wait", TIMEOUT];
        self.chart(&["install", "herald"], values, &wait).await
    }

    /// `helm upgrade` to the next image, with these values too.
    pub async fn upgrade(&self, values: &str) -> Result<()> {
        let tag = format!("--set=image.tag={}", image::NEXT);
        let more = ["--wait", TIMEOUT, &tag];
        self.chart(&["upgrade", "herald"], values, &more).await
    }

    async fn chart(&self, command: &[&str], values: &str, more: &[&str]) -> Result<()> {
        let done = tokio::task::block_in_place(|| self.helm.with_chart(command, values, more));
        self.explained(done).await
    }

    /// `helm rollback` or `helm uninstall`; returns when it is done.
    pub async fn helm(&self, command: &[&str]) -> Result<()> {
        let wait = ["--namespace", NAMESPACE, "--wait", TIMEOUT];
        let done = tokio::task::block_in_place(|| self.helm.run(&[command, &wait].concat()));
        self.explained(done).await
    }

    /// Removes CRDs with all custom resources, and the namespace, as the documentation has it.
    pub fn remove_rest(&self) -> Result<()> {
        let chart = chart();
        let (helm, kubeconfig) = (&self.helm, &self.kubeconfig);
        tokio::task::block_in_place(|| {
            let crds = helm.run(&["show", "crds", &chart.to_string_lossy()])?;
            kubectl(kubeconfig, &["delete", "--filename", "-"], &crds)?;
            kubectl(kubeconfig, &["delete", "namespace", NAMESPACE], "").map(drop)
        })
    }

    /// With what the Pods say, if it failed.
    async fn explained(&self, done: Result<String>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        let mut said = Vec::new();
        for pod in self.pods().await? {
            let log = LogParams {
                tail_lines: Some(5),
                ..LogParams::default()
            };
            let log = self.pods_api().logs(&pod.name_any(), &log).await;
            let status = pod.status.and_then(|status| status.container_statuses);
            said.push(format!("{:?} {status:?} {log:?}", pod.metadata.name));
        }
        Err(error.context(said.join("\n")))
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.lab.client(), NAMESPACE)
    }

    /// Herald's Pods but those that are about to end.
    async fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.pods_api().list(&ListParams::default()).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// Waits until two controllers and three speakers of this tag are ready, none of them an older one;
    /// their names. (Helm is content with all speakers but one.) None may have ended by itself meanwhile.
    pub async fn all_ready(&self, tag: &str, older: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let image = image::name(tag);
        let pods = eventually(PATIENCE, "five new Pods to be ready", async || {
            let pods = self.pods().await?;
            let new = |pod: &&Pod| !older.contains(&pod.name_any()) && runs(pod, &image);
            let ready = pods.iter().filter(new).filter(|pod| is_ready(pod)).count();
            let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            ensure!(ready == 5 && names.len() == 5, "{ready} are, of {names:?}");
            Ok(Some(pods))
        })
        .await?;
        for pod in &pods {
            let ended =
                statuses(pod).filter_map(|status| status.last_state.as_ref()?.terminated.as_ref());
            // A kubelet that is itself in want of time may have ended it.
            let mut failed =
                ended.filter(|end| ![0, SIGKILLED, SIGTERMED].contains(&end.exit_code));
            let failed = failed.next();
            ensure!(failed.is_none(), "{}: {failed:?}", pod.name_any());
        }
        Ok(pods.iter().map(ResourceExt::name_any).collect())
    }

    /// Applies an object, which webhooks may judge.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.lab.apply_yaml(&object.to_string()).await.map(drop)
    }

    /// Starts a Pod on each node and a Service for them; returns when they are ready.
    pub async fn backends(&self) -> Result<()> {
        let labels = json!({"app": "web"});
        let field =
            |name, path| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        self.apply(&json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "web", "image": POD_IMAGE, "args": ["serve"],
                    "env": [
                        field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName"),
                    ],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                }]},
            }},
        }))
        .await?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {
                "type": "LoadBalancer", "selector": labels,
                "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        }))
        .await?;
        let pods: Api<Pod> = Api::namespaced(self.lab.client(), "default");
        eventually(PATIENCE, "backends on three nodes", async || {
            let pods = pods.list(&ListParams::default()).await?.items;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            Ok((ready == 3).then_some(()))
        })
        .await
    }

    /// The addresses that the Service's status shows.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>> {
        let api: Api<Service> = Api::namespaced(self.lab.client(), "default");
        let status = api.get("web").await?.status;
        let balancer = status.and_then(|status| status.load_balancer);
        let ingress = balancer.and_then(|balancer| balancer.ingress);
        let addresses = ingress.into_iter().flatten().filter_map(|entry| entry.ip);
        addresses.map(|address| Ok(address.parse()?)).collect()
    }

    /// Waits until the Service has an address of each family and all nodes' Pods have answered the client
    /// at each.
    pub async fn reached(&self) -> Result<Vec<IpAddr>> {
        let addresses = eventually(PATIENCE, "two addresses", async || {
            let addresses = self.addresses().await?;
            Ok((addresses.len() == 2).then_some(addresses))
        });
        let addresses = addresses.await?;
        for address in &addresses {
            let mut nodes = BTreeSet::new();
            eventually(PATIENCE, "answers from all nodes", async || {
                nodes.insert(self.lab.ask("client", *address, 80).await?.node);
                Ok((nodes.len() == 3).then_some(()))
            })
            .await
            .with_context(|| format!("at {address}"))?;
        }
        Ok(addresses)
    }

    /// Asks the client's side of both addresses all the time.
    pub fn traffic(&self, addresses: &[IpAddr]) -> Result<Vec<Traffic>> {
        let start = |address| self.lab.traffic("client", address, 80, EVERY, ANSWERED);
        addresses.iter().copied().map(start).collect()
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten()
}

fn is_ready(pod: &Pod) -> bool {
    statuses(pod).count() > 0 && statuses(pod).all(|status| status.ready)
}

fn runs(pod: &Pod, image: &str) -> bool {
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.all(|container| container.image.as_deref() == Some(image))
}

/// At how many moments requests may be broken off, at each as many as are under way: an address moves away
/// from each speaker that ends and back, and where the cores are busy a node may be given up besides.
const MOVES: usize = 12;

/// How many requests say enough. Helm may be done sooner than so many are.
const ENOUGH: usize = 100;

/// Ends streams of requests, when they are long enough. None failed but for those that were under way when
/// an address moved, which no announcer can keep.
pub async fn none_failed(streams: Vec<Traffic>, what: &str) -> Result<()> {
    for stream in streams {
        eventually(PATIENCE, "enough requests", async || {
            Ok((stream.samples().len() >= ENOUGH).then_some(()))
        })
        .await?;
        let report: Report = stream.stop().await?;
        let breaks = report.breaks();
        let mut lost = report.failures();
        lost.retain(|sample| !sample.was_broken_off());
        let all = report.samples.len();
        ensure!(
            lost.is_empty() && breaks.len() <= MOVES,
            "{what}: of {all} requests {} were lost and {breaks:?} reset: {:#?} to {:#?}",
            lost.len(),
            lost.first(),
            lost.last()
        );
        eprintln!("{what}: of {all} requests none was lost, {breaks:?} were reset");
    }
    Ok(())
}
