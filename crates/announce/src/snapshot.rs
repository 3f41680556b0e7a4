//! What a decision is made from.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::{LabelSelector, Labels, NodeName, ServiceKey};

/// A Service with at least one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which Service this is.
    pub key: ServiceKey,
    /// Its labels, for advertisements with service selectors.
    pub labels: Labels,
    /// The addresses of its status, in the order of the status; never empty.
    pub addresses: Vec<IpAddr>,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// True if `allow-shared-ip` is on the Service, whatever its value.
    pub allows_sharing: bool,
    /// `spec.publishNotReadyAddresses`: endpoints that are not ready serve as well.
    pub publish_not_ready: bool,
    /// The endpoints of all its slices.
    pub endpoints: Vec<Endpoint>,
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// Any node forwards to any endpoint.
    #[default]
    Cluster,
    /// A node forwards to its own endpoints only.
    Local,
}

/// An endpoint of an `EndpointSlice` (compat.md 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `nodeName`, or the node that was found from the address; `None` if neither is known.
    pub node: Option<NodeName>,
    /// Condition `ready`; absent counts as true.
    pub ready: bool,
    /// Condition `serving`; absent counts as `ready`.
    pub serving: bool,
    /// Condition `terminating`; absent counts as false.
    pub terminating: bool,
}

/// A node that may announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: NodeName,
    /// Its labels, for node selectors and preferences.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is true.
    pub network_unavailable: bool,
    /// It has the label `node.kubernetes.io/exclude-from-external-load-balancers`, and the flag
    /// `--ignore-exclude-lb` is not set.
    pub excluded: bool,
    /// The interfaces its speaker announces on; `None` as long as its speaker has not said.
    pub interfaces: Option<BTreeSet<String>>,
}

/// An `L2Advertisement` that covers the Service's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Advertisement {
    /// `metadata.name`.
    pub name: String,
    /// A node must match one of these, if there are any.
    pub node_selectors: Vec<LabelSelector>,
    /// The Service must match one of these, if there are any.
    pub service_selectors: Vec<LabelSelector>,
    /// The interfaces to announce on; empty means all.
    pub interfaces: BTreeSet<String>,
    /// Nodes that are to be preferred.
    pub preferred_nodes: Vec<PreferredNodes>,
}

/// An entry of `preferredNodeSelectors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferredNodes {
    /// 1 to 100; the weights of all matching entries add up.
    pub weight: u32,
    /// The nodes it prefers.
    pub selector: LabelSelector,
}
