//! A Kubernetes cluster of network namespaces on one machine, for tests.
#![allow(clippy::similar_names, reason = "part and port are the lab's words")]

mod builder;
mod cleanup;
mod cluster;
mod cluster_api;
mod herald;
mod io;
mod lab;
mod net;
mod process;
mod state;
mod wait;

use std::path::PathBuf;

pub use builder::LabBuilder;
pub use cluster::control_plane::{ControlPlane, kubernetes};
pub use cluster::pki::User;
pub use cluster::pod::{Answer, BACKEND_PORT, Pod, PodBuilder};
pub use cluster::proxy::ProxyMode;
pub use cluster::service::{Service, ServiceBuilder};
pub use herald::{Herald, HeraldBuilder, NAMESPACE, herald_bin};
pub use io::capture::Capture;
pub use io::frame::{Advertisement, Arp, Solicitation, checksum, ipv6_frame};
pub use io::http::HttpAnswer;
pub use io::probe::Ask;
pub use io::socket::{Frame, Mac, PacketSocket};
pub use io::traffic::{Report, Sample, Traffic};
pub use lab::Lab;
pub use net::address::{Addresses, Network, Node};
pub use net::link::{Cut, Fault};
pub use net::netns::Netns;
pub use process::{Process, ProcessSpec};
pub use state::{LabState, sweep};
pub use wait::{always, eventually};

/// The root of the source tree.
fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
