//! A Kubernetes cluster of network namespaces on one machine, for tests.
//!
//! A [`Lab`] is a real API server, etcd, controller manager and kube-proxy, around nodes that are
//! network namespaces: traffic to a Service is forwarded for real, both families. Unless
//! [`LabBuilder::kubelets`] asks for them nobody runs a kubelet: Nodes and Pods are objects whose status
//! the lab writes, and a backend is a small server in a namespace behind its node's bridge. Everything
//! needs root; several labs run side by side.
//!
//! ```text
//!             mgmt 172.30.0.0/24 fd30::/64            lan 192.168.0.0/16 fd10::/64
//!   cp .2 ───────┤                                       ├─────── client .100
//!   (API server) ├── mgmt0  n1 .11  lan0 ────────────────┤
//!                ├── mgmt0  n2 .12  lan0 ────────────────┤        198.51.100.0/24 fd99::/64
//!                └── mgmt0  n3 .13  lan0 ────────────────┴─── .1 router .1 ─── remote .10
//!                           └ cni0 10.244.N.1/24, fd44:0:0:N::1/64: pods
//! ```
//!
//! The bridges are in the namespace `sw`, where links are cut and packets dropped. Addresses from
//! 192.168.1.0 on and `fd10::1:0` on are free for pools. Services are in 10.96.0.0/16 and
//! `fd96::/112`. The parts `cp`, `sw`, `client`, `router`, `remote`, `n1`… and `pod-<namespace>-<name>`
//! are the namespaces `hl-<id>-<part>`.
//!
//! # A test
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use herald_lab::{Cut, Lab, ProxyMode, eventually};
//!
//! #[tokio::main]
//! async fn main() -> anyhow::Result<()> {
//!     let lab = Lab::builder().nodes(3).proxy(ProxyMode::Nftables).start().await?;
//!     lab.start_herald().await?;
//!     lab.apply_yaml(
//!         r#"
//! apiVersion: metallb.io/v1beta1
//! kind: IPAddressPool
//! metadata: {name: pool, namespace: metallb-system}
//! spec: {addresses: [192.168.10.0/24, "fd10::10:0/112"]}
//! ---
//! apiVersion: metallb.io/v1beta1
//! kind: L2Advertisement
//! metadata: {name: all, namespace: metallb-system}
//! "#,
//!     )
//!     .await?;
//!     lab.backends("web", &["n1", "n2"]).await?;
//!     let web = lab.service("web").dual_stack().create().await?;
//!     for address in web.wait_addresses(2).await? {
//!         let soon = Duration::from_secs(5);
//!         let ask = async || Ok(Some(lab.ask("client", address, 80).await?));
//!         println!("{:?}", eventually(soon, "an answer", ask).await?);
//!         let owners = lab.owner_nodes(address).await?;
//!         assert_eq!(owners.len(), 1);
//!
//!         let every = Duration::from_millis(20);
//!         let traffic = lab.traffic("client", address, 80, every, Duration::from_millis(200))?;
//!         lab.cut_link(&owners[0], "lan0", Cut::Carrier).await?;
//!         tokio::time::sleep(soon).await;
//!         lab.restore_link(&owners[0], "lan0").await?;
//!         assert!(traffic.stop().await?.longest_gap() < Duration::from_secs(4));
//!     }
//!     lab.down().await
//! }
//! ```
//!
//! End a test that passed with [`Lab::down`]: it removes everything. A lab that is merely dropped
//! (an error returned with `?`, a panic) is removed as well, but its logs and captures are kept and
//! their place is printed. Ctrl-C and SIGTERM take the process's labs down; after SIGKILL the kernel
//! ends a lab's processes and the next start of any lab removes the rest.
//!
//! [`Bare`] is the same without the cluster: namespaces, links and processes.
//!
//! # The environment
//!
//! | variable | default |
//! |---|---|
//! | `HERALD_BIN` | `target/release/herald` |
//! | `HERALD_KUBERNETES` | what `tests/kubernetes/build.sh` built in the user's cache |
//! | `HERALD_CONTAINERD` | what `tests/kubernetes/containerd/build.sh` built in the user's cache, for kubelets |
//! | `HERALD_POD_IMAGE` | `target/herald-pod.tar`, for kubelets |
//! | `HERALD_CRDS` | `charts/herald/crds` |
//! | `HERALD_LAB_KEEP` | set: the logs of tests that passed are kept too |
#![allow(clippy::similar_names, reason = "part and port are the lab's words")]

mod bare;
mod builder;
mod cleanup;
mod cluster;
mod cluster_api;
mod group;
mod herald;
mod io;
mod lab;
mod net;
mod process;
mod state;
mod stutter;
mod wait;

use std::path::PathBuf;

pub use bare::Bare;
pub use builder::LabBuilder;
pub use cluster::audit::Request;
pub use cluster::containerd::POD_IMAGE;
pub use cluster::control_plane::{ControlPlane, kubernetes};
pub use cluster::pki::User;
pub use cluster::pod::{Answer, BACKEND_PORT, Pod, PodBuilder};
pub use cluster::proxy::ProxyMode;
pub use cluster::service::{Service, ServiceBuilder};
pub use herald::{Herald, HeraldBuilder, NAMESPACE, herald_bin};
pub use io::capture::Capture;
pub use io::connections::{Connections, Lost};
pub use io::frame::{Advertisement, Arp, Solicitation, checksum, ipv6_frame};
pub use io::http::HttpAnswer;
pub use io::probe::Ask;
pub use io::socket::{Frame, Mac, PacketSocket};
pub use io::traffic::{Report, Sample, Traffic};
pub use io::watch::{Look, MacWatch};
pub use lab::Lab;
pub use net::address::{Addresses, Network, Node};
pub use net::fault::Packets;
pub use net::link::{Cut, Fault};
pub use net::netns::Netns;
pub use net::outage::Crash;
pub use process::{Process, ProcessSpec};
pub use state::{LabState, sweep};
pub use stutter::Stutter;
pub use wait::{always, eventually};

/// The root of the source tree.
fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
