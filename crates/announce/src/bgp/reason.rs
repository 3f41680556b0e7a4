//! Why a node does not announce a Service with BGP.

use std::num::NonZeroU32;

/// Why a node does not announce a Service. `Display` gives the sentence for logs and events;
/// [`Reason::name`] the word for statuses and metrics (compat.md 5.1 where it has one). The order is
/// that in which the rules are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// No advertisement of the pool covers the node.
    #[error("no BGPAdvertisement covers the pool and the node")]
    NotCovered,
    /// Some do, but none is for the Service.
    #[error("no BGPAdvertisement covers the pool, the Service and the node")]
    NoMatchingAdvertisement,
    /// Two advertisements want different local preferences for the same route.
    #[error(
        "BGPAdvertisements {first:?} and {second:?} announce the same route to the same peer with different localPref: give them the same one, or other peers, nodes or serviceSelectors"
    )]
    ConflictingAdvertisements {
        /// The first by name.
        first: String,
        /// The other.
        second: String,
    },
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
    /// No endpoint can serve.
    #[error("no endpoint is ready or serving")]
    NoEndpoints,
    /// External traffic policy `Local` and no endpoint on the node.
    #[error("externalTrafficPolicy is Local and the node has no serving endpoint")]
    NoLocalEndpoints,
    /// The node has no session that the route would go to.
    #[error("the node has no BGPPeer that its BGPAdvertisements announce to")]
    NoPeer,
    /// Enough other nodes announce it.
    #[error("{0} other nodes announce it, and herald.io/bgp-max-nodes allows no more")]
    EnoughNodes(NonZeroU32),
}

impl Reason {
    /// The reason as one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotCovered => "notOwner",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::ConflictingAdvertisements { .. } => "conflictingAdvertisements",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeExcluded => "nodeLabeledExcludeBalancers",
            Self::NodeOutOfService => "nodeOutOfService",
            Self::NoEndpoints => "noEndpoints",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoPeer => "noPeer",
            Self::EnoughNodes(_) => "enoughNodes",
        }
    }
}
