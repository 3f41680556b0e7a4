//! Backends: a Pod object whose status the lab writes, and a server in a namespace of its own
//! behind the node's bridge.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::io::be_another_machine;
use crate::lab::Lab;
use crate::net::address::{Addresses, Node};
use crate::net::build::{add_namespaces, address_lines, netns_of};
use crate::net::command::{ip_batch, run};
use crate::net::netns::Netns;

/// The port that backends serve, HTTP on TCP and an echo on UDP.
pub const BACKEND_PORT: u16 = 8080;

/// What a backend answers to a request or a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The pod's name.
    pub pod: String,
    /// The pod's node.
    pub node: String,
    /// The source of the request as the backend sees it.
    pub client: SocketAddr,
    /// What a datagram held.
    pub echo: Option<String>,
}

/// A pod to be; [`Lab::pod`] makes one.
#[derive(Debug)]
pub struct PodBuilder<'a> {
    lab: &'a Lab,
    name: String,
    namespace: String,
    node: String,
    labels: Vec<(String, String)>,
    ready: bool,
}

impl<'a> PodBuilder<'a> {
    pub(crate) fn new(lab: &'a Lab, name: &str) -> Self {
        Self {
            lab,
            name: name.into(),
            namespace: "default".into(),
            node: "n1".into(),
            labels: Vec::new(),
            ready: true,
        }
    }

    /// The Kubernetes namespace; `default` otherwise.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The node; `n1` otherwise.
    pub fn on(mut self, node: &str) -> Self {
        self.node = node.into();
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Adds the label `app`, which is what a Service of that name selects.
    pub fn app(self, app: &str) -> Self {
        self.label("app", app)
    }

    /// Starts out not ready.
    pub fn not_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Starts the backend and creates the object, Running and (unless told) Ready.
    pub async fn create(self) -> Result<Pod> {
        let node = self.lab.node(&self.node)?.clone();
        let host = self.lab.shared.pod_hosts[usize::from(node.index) - 1]
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |host| {
                (host < 254).then(|| host + 1)
            })
            .ok()
            .with_context(|| format!("node {} has no pod address left", node.name))?;
        let addresses = node.pod(host);
        let stop = self.lab.shared.end.child_token();
        let part = format!("pod-{}-{}", self.namespace, self.name);
        let pod = Pod {
            api: Api::namespaced(self.lab.client(), &self.namespace),
            netns: self.lab.netns(&part),
            part: part.clone(),
            name: self.name.clone(),
            node: node.name.clone(),
            addresses,
            stop: stop.clone(),
        };
        let id = self.lab.id().to_owned();
        let (name, node_name) = (self.name.clone(), node.name.clone());
        tokio::task::spawn_blocking(move || {
            plug_in(&id, &part, &node, host, addresses)?;
            serve(&id, &part, name, node_name, stop)
        })
        .await??;
        self.create_object(&pod).await?;
        Ok(pod)
    }

    async fn create_object(&self, pod: &Pod) -> Result<()> {
        let labels: serde_json::Map<String, serde_json::Value> = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let object = serde_json::from_value(json!({
            "metadata": {"name": pod.name, "labels": labels},
            "spec": {
                "nodeName": pod.node,
                "containers": [{
                    "name": "backend",
                    "image": "herald-lab-backend",
                    "ports": [
                        {"name": "http", "containerPort": BACKEND_PORT},
                        {"name": "echo", "containerPort": BACKEND_PORT, "protocol": "UDP"},
                    ],
                }],
            },
        }))?;
        pod.api.create(&PostParams::default(), &object).await?;
        let [v4, v6] = pod.addresses.both();
        let status = json!({"status": {
            "phase": "Running", "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}],
            "conditions": [{"type": "Ready", "status": truth(self.ready)}],
        }});
        pod.patch_status(status).await
    }
}

/// A pod of the lab. The backend serves until [`Pod::delete`] or the end of the lab.
#[derive(Debug, Clone)]
pub struct Pod {
    api: Api<PodObject>,
    part: String,
    /// The object's name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// The pod's addresses.
    pub addresses: Addresses,
    netns: Netns,
    stop: CancellationToken,
}

impl Pod {
    /// The part of the lab that is the pod's namespace, for [`Lab::exec`] and the like.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// Sets the condition Ready.
    pub async fn set_ready(&self, ready: bool) -> Result<()> {
        let condition = json!({"type": "Ready", "status": truth(ready)});
        self.patch_status(json!({"status": {"conditions": [condition]}}))
            .await
    }

    /// Begins the end: the object has a deletion timestamp, its endpoint is terminating (and
    /// serving while the pod is ready), the backend goes on. [`Self::delete`] is the end.
    pub async fn terminate(&self) -> Result<()> {
        let grace = DeleteParams {
            grace_period_seconds: Some(3600),
            ..DeleteParams::default()
        };
        self.api.delete(&self.name, &grace).await?;
        Ok(())
    }

    /// Removes the object at once and ends the backend.
    pub async fn delete(self) -> Result<()> {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        self.api.delete(&self.name, &now).await?;
        self.stop.cancel();
        let netns = self.netns;
        tokio::task::spawn_blocking(move || run("ip", &["netns", "del", netns.name()])).await??;
        Ok(())
    }

    async fn patch_status(&self, status: serde_json::Value) -> Result<()> {
        let patch = Patch::Strategic(status);
        self.api
            .patch_status(&self.name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Makes the pod's namespace and plugs it into the node's bridge.
fn plug_in(id: &str, part: &str, node: &Node, host: u8, addresses: Addresses) -> Result<()> {
    let netns = netns_of(id, part);
    if netns.path().exists() {
        // A pod of this name was here before.
        run("ip", &["netns", "del", netns.name()])?;
    }
    add_namespaces(std::slice::from_ref(&netns))?;
    let port = format!("pod{host}");
    let node_netns = netns_of(id, &node.name);
    // The veth of an earlier pod goes away with its namespace, some time later.
    let _ = run("ip", &["-n", node_netns.name(), "link", "del", &port]);
    ip_batch(
        node_netns.name(),
        &[
            format!(
                "link add {port} type veth peer name eth0 netns {}",
                netns.name()
            ),
            format!("link set {port} master cni0 up"),
            format!("link set {port} type bridge_slave hairpin on"),
        ],
    )?;
    let mut lines = vec!["link set lo up".to_owned()];
    lines.extend(address_lines("eth0", addresses, (24, 64)));
    let gateway = node.pod_gateway();
    lines.push(format!("route add default via {}", gateway.v4));
    lines.push(format!("route add default via {}", gateway.v6));
    ip_batch(netns.name(), &lines)
}

/// Serves on a thread inside the pod's namespace until stopped; returns once it listens.
fn serve(id: &str, part: &str, pod: String, node: String, stop: CancellationToken) -> Result<()> {
    let netns = netns_of(id, part);
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        be_another_machine();
        let listening = netns.enter().and_then(|()| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let everything = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, BACKEND_PORT));
            let (tcp, udp) = runtime.block_on(async {
                Ok::<_, std::io::Error>((
                    TcpListener::bind(everything).await?,
                    UdpSocket::bind(everything).await?,
                ))
            })?;
            Ok((runtime, tcp, udp))
        });
        match listening {
            Ok((runtime, tcp, udp)) => {
                // Whoever started the backend waits for this.
                let _ = sender.send(Ok(()));
                runtime.block_on(stop.run_until_cancelled(async {
                    tokio::join!(serve_http(tcp, &pod, &node), serve_echo(udp, &pod, &node))
                }));
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        }
    });
    receiver.recv().context("the backend's thread panicked")?
}

fn answer(pod: &str, node: &str, client: SocketAddr, echo: Option<String>) -> String {
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let answer = Answer {
        pod: pod.into(),
        node: node.into(),
        client,
        echo,
    };
    serde_json::to_string(&answer).expect("a struct of strings is JSON")
}

async fn serve_http(listener: TcpListener, pod: &str, node: &str) {
    loop {
        // A connection that is gone before it is accepted is its client's business.
        if let Ok((stream, client)) = listener.accept().await {
            let body = answer(pod, node, client, None);
            tokio::spawn(answer_http(stream, body));
        }
    }
}

/// Answers one request after the other, until the client wants no more.
async fn answer_http(mut stream: TcpStream, body: String) -> std::io::Result<()> {
    loop {
        let mut request = Vec::new();
        while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if request.len() > 16 * 1024 || stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&request).to_lowercase();
        let last = head.contains("\r\nconnection: close\r\n");
        let connection = if last { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        if last {
            return stream.shutdown().await;
        }
    }
}

async fn serve_echo(socket: UdpSocket, pod: &str, node: &str) {
    let mut buffer = vec![0; 65536];
    loop {
        // An ICMP error for an earlier answer concerns nobody here.
        if let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let echo = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = socket
                .send_to(answer(pod, node, client, Some(echo)).as_bytes(), client)
                .await;
        }
    }
}

/// A Pod object without a backend, e.g. for a speaker: Running, Ready, on the node's network.
pub(crate) async fn create_host_pod(
    client: &Client,
    namespace: &str,
    name: &str,
    node: &Node,
    labels: serde_json::Value,
) -> Result<()> {
    let api: Api<PodObject> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": node.name, "hostNetwork": true,
            "containers": [{"name": "main", "image": "herald"}],
        },
    });
    let params = PatchParams::apply("herald-lab").force();
    api.patch(name, &params, &Patch::Apply(object)).await?;
    let (first, all) = (node.member_address(), node.internal_ips());
    let all: Vec<_> = all.iter().map(|ip| json!({"ip": ip})).collect();
    let status = json!({"status": {
        "phase": "Running", "hostIP": first, "podIP": first, "podIPs": all,
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
        .await?;
    Ok(())
}
