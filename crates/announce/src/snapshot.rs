//! What a decision is made from.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::{LabelSelector, Labels, NodeName, Phase, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{Failback, Speaker};

/// A Service with at least one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The Service's own word on failback; it wins over the advertisements'.
    pub failback: Option<Failback>,
    /// The endpoints of all its slices.
    pub endpoints: Vec<Endpoint>,
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any node forwards to any endpoint.
    #[default]
    Cluster,
    /// A node forwards to its own endpoints only.
    Local,
}

/// An endpoint of an `EndpointSlice` (compat.md 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
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
    /// It is tainted `node.kubernetes.io/out-of-service`: it may still run, but nobody may count on
    /// that.
    pub out_of_service: bool,
    /// Somebody is about to take it out of service, by label or taint: it is passed over where
    /// another node can announce.
    pub draining: bool,
    /// Most of those that listen for it on the LAN do not hear it.
    pub unheard: bool,
    /// What is known of its speaker.
    pub speaker: Speaker,
}

/// An `L2Advertisement` that covers the Service's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether addresses go back to the node that is preferred, if this says it.
    pub failback: Option<Failback>,
}

/// An entry of `preferredNodeSelectors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferredNodes {
    /// 1 to 100; the weights of all matching entries add up.
    pub weight: u32,
    /// The nodes it prefers.
    pub selector: LabelSelector,
}

impl Endpoint {
    /// An endpoint with the conditions of the API, which may be absent (compat.md 2.4).
    pub fn new(
        node: Option<NodeName>,
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
    ) -> Self {
        let ready = ready.unwrap_or(true);
        Self {
            node,
            ready,
            serving: serving.unwrap_or(ready),
            terminating: terminating.unwrap_or(false),
        }
    }
}

impl Service {
    /// True if traffic may be sent to the endpoint: it is ready, or it still serves while it
    /// terminates (compat.md 2.4), or the Service wants all of its endpoints.
    pub fn can_serve(&self, endpoint: &Endpoint) -> bool {
        self.publish_not_ready || endpoint.ready || endpoint.serving
    }

    /// True if the endpoint can serve and nothing says that it is about to end.
    pub fn is_to_stay(&self, endpoint: &Endpoint) -> bool {
        self.publish_not_ready || endpoint.ready && !endpoint.terminating
    }

    /// The nodes with an endpoint that can serve, once for each endpoint. An endpoint whose node
    /// is not known is on none.
    pub fn serving_nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.endpoints
            .iter()
            .filter(|endpoint| self.can_serve(endpoint))
            .filter_map(|endpoint| endpoint.node.as_ref())
    }

    /// Those of the [`serving_nodes`](Self::serving_nodes) with an endpoint that [is to
    /// stay](Self::is_to_stay), once for each such endpoint. To the endpoints of the others kube-proxy
    /// sends traffic as long as they serve (KEP 1669), so that other nodes can take over before they
    /// are gone.
    pub fn staying_nodes(&self) -> impl Iterator<Item = &NodeName> {
        let staying = self.endpoints.iter().filter(|e| self.is_to_stay(e));
        staying.filter_map(|endpoint| endpoint.node.as_ref())
    }
}

impl Node {
    /// How ready it is: what its speaker says, and draining if its object says so.
    pub fn phase(&self) -> Phase {
        if self.draining {
            return Phase::Draining;
        }
        self.speaker
            .state()
            .map_or(Phase::Ready, |state| state.phase)
    }
}

impl L2Advertisement {
    /// True if the advertisement is for the Service; one without service selectors is for all.
    pub fn selects_service(&self, service: &Service) -> bool {
        matches_any(&self.service_selectors, &service.labels)
    }

    /// True if the node may announce by this advertisement; one without node selectors lets all.
    pub fn covers_node(&self, node: &Node) -> bool {
        matches_any(&self.node_selectors, &node.labels)
    }

    /// The sum of the weights of the preferences that match the node.
    pub fn preference(&self, node: &Node) -> u64 {
        self.preferred_nodes
            .iter()
            .filter(|preferred| preferred.selector.matches(&node.labels))
            .map(|preferred| u64::from(preferred.weight))
            .sum()
    }
}

/// True if one of the selectors matches, or there is none.
pub(crate) fn matches_any(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}
