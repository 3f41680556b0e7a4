//! A Kubernetes cluster of network namespaces on one machine, for tests.

mod builder;
mod cleanup;
mod cluster;
mod cluster_api;
mod io;
mod lab;
mod net;
mod process;
mod state;
mod wait;

use std::path::PathBuf;

pub use builder::LabBuilder;
pub use cluster::control_plane::ControlPlane;
pub use cluster::pki::User;
pub use cluster::pod::{Answer, BACKEND_PORT, Pod, PodBuilder};
pub use cluster::proxy::ProxyMode;
pub use cluster::service::{Service, ServiceBuilder};
pub use io::http::HttpAnswer;
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
