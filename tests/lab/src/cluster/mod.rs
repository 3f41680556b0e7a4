//! The Kubernetes that runs on the lab's network.

pub(crate) mod access;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod cgroup;
pub(crate) mod containerd;
pub(crate) mod control_plane;
pub(crate) mod kubelet;
pub(crate) mod node;
pub(crate) mod pki;
pub(crate) mod pod;
pub(crate) mod proxy;
pub(crate) mod service;
