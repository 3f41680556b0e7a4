//! What is decided about a Service on layer 2.

use std::collections::BTreeSet;

use herald_model::{IpFamily, NodeName, Phase};

use crate::Failback;

/// Who announces a Service, and why the others do not. The same for every node that decides from
/// the same snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The candidates, best first: the first one is the owner. Services that share an address have
    /// to [`agree`](crate::agree) on one. Empty if `withheld` is set or every
    /// node is rejected.
    pub candidates: Vec<Candidate>,
    /// The candidates and all nodes that would be some if they were up and heard, best first: each
    /// in the place that it would have then. Two nodes that do not see each other in the group have
    /// the same order, so that it can decide between them.
    pub order: Vec<NodeName>,
    /// Whether an address stays with a candidate that has it although another one comes first.
    pub failback: Failback,
    /// The nodes that cannot be owner, each with its first reason; sorted by name. Empty if
    /// `withheld` is set: then that is the reason of every node.
    pub rejected: Vec<(NodeName, Reason)>,
    /// Why no node at all announces the Service, for a reason that is the Service's own.
    pub withheld: Option<Reason>,
}

/// A node that could announce the Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// The sum of the preferences that match it; more is better.
    pub score: u64,
    /// How ready it is; one of an earlier phase comes first.
    pub phase: Phase,
    /// Where it would announce.
    pub interfaces: Interfaces,
}

/// Interfaces of a node to announce on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All that the speaker announces on.
    All,
    /// Those of the speaker's that have one of these names.
    Named(BTreeSet<String>),
}

/// Why a node, or no node at all, announces a Service. `Display` gives the sentence for logs and
/// events; [`Reason::name`] the word for statuses and metrics (compat.md 4.1 where it has one).
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// No endpoint can serve.
    #[error("no endpoint is ready or serving")]
    NoEndpoints,
    /// The Service shares its address, and an advertisement has service selectors.
    #[error(
        "the Service allows sharing of its address, which serviceSelectors of L2Advertisement {0:?} rule out"
    )]
    SharedAddressWithServiceSelector(String),
    /// The Service shares an address with others, which this node announces, and it must not
    /// announce this one.
    #[error(
        "the Service shares an address with Services that node {0} announces, which cannot announce this one"
    )]
    SharedAddressElsewhere(NodeName),
    /// No advertisement covers the pool, the Service and the node.
    #[error("no L2Advertisement covers the pool, the Service and the node")]
    NoMatchingAdvertisement,
    /// The node's condition `NetworkUnavailable` is true.
    #[error("the node's condition NetworkUnavailable is true")]
    NodeNetworkUnavailable,
    /// The node is labelled to be left out.
    #[error("the node has the label node.kubernetes.io/exclude-from-external-load-balancers")]
    NodeExcluded,
    /// The node is tainted as out of service.
    #[error(
        "the node has the taint node.kubernetes.io/out-of-service: remove it when the node is well again"
    )]
    NodeOutOfService,
    /// External traffic policy `Local` and no endpoint on the node.
    #[error("externalTrafficPolicy is Local and the node has no serving endpoint")]
    NoLocalEndpoints,
    /// The node has none of the interfaces that the advertisements name, or none at all.
    #[error("the node has none of the interfaces that its L2Advertisements allow")]
    NoMatchingInterface,
    /// No interface of the node can announce addresses of a family that is asked for, or another
    /// node can announce more of the Service's addresses.
    #[error("{}", no_family(*.0))]
    NoFamily(IpFamily),
    /// The node's speaker is not in the group.
    #[error(
        "the node's speaker is not in the group: see that its Pod runs and that the speakers reach each other on the membership port (UDP)"
    )]
    NodeDown,
    /// The node's speaker is in the group, but has not told its state yet.
    #[error("the node's speaker has joined the group, but has not told its interfaces yet")]
    NodeJoining,
    /// Most of those that listen for the node on the LAN do not hear it, and other nodes are heard.
    #[error(
        "the node is in the group, but most other nodes do not hear it on the LAN: check the link and the switch port of its interfaces"
    )]
    NotHeard,
    /// Another node is the owner.
    #[error("node {0} announces it")]
    NotOwner(NodeName),
}

fn no_family(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => {
            "none of the node's interfaces that its L2Advertisements allow can announce IPv4 \
             addresses: one without the flag NOARP is needed"
        }
        IpFamily::V6 => {
            "none of the node's interfaces that its L2Advertisements allow can announce IPv6 \
             addresses: one with an IPv6 link-local address that is no duplicate is needed"
        }
    }
}

impl Reason {
    /// The reason as one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoEndpoints => "noEndpoints",
            Self::SharedAddressWithServiceSelector(_) => "sharedIPWithServiceSelector",
            Self::SharedAddressElsewhere(_) => "sharedIPElsewhere",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeExcluded => "nodeLabeledExcludeBalancers",
            Self::NodeOutOfService => "nodeOutOfService",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoMatchingInterface => "noMatchingInterface",
            Self::NoFamily(_) => "noMatchingFamily",
            Self::NodeDown => "nodeDown",
            Self::NodeJoining => "nodeJoining",
            Self::NotHeard => "nodeNotHeard",
            Self::NotOwner(_) => "notOwner",
        }
    }
}

impl Decision {
    /// The node that announces the Service.
    pub fn owner(&self) -> Option<&Candidate> {
        self.candidates.first()
    }

    /// The node as a candidate, first or not.
    pub fn candidate(&self, node: &NodeName) -> Option<&Candidate> {
        self.candidates.iter().find(|c| c.node == *node)
    }

    /// Where `node` announces the Service, or why it does not.
    pub fn for_node(&self, node: &NodeName) -> Result<&Interfaces, Reason> {
        if let Some(reason) = &self.withheld {
            return Err(reason.clone());
        }
        if let Some(owner) = self.owner() {
            if owner.node == *node {
                return Ok(&owner.interfaces);
            }
            if self.candidate(node).is_some() {
                return Err(Reason::NotOwner(owner.node.clone()));
            }
        }
        let rejected = self.rejected.binary_search_by_key(&node, |(name, _)| name);
        Err(rejected
            .ok()
            .and_then(|index| self.rejected.get(index))
            .map_or(Reason::NoMatchingAdvertisement, |(_, reason)| {
                reason.clone()
            }))
    }
}
