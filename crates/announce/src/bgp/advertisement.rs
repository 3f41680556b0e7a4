//! `BGPAdvertisement`s and `BGPPeer`s as far as the decision needs them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use herald_model::{IpFamily, LabelSelector};
use serde::{Deserialize, Serialize};

use super::Community;
use crate::snapshot::matches_any;
use crate::{Node, Service};

/// A `BGPAdvertisement` that covers the Service's pool (compat.md 1.3), and what Herald's annotations
/// add to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertisement {
    /// `metadata.name`.
    pub name: String,
    /// A node must match one of these, if there are any.
    pub node_selectors: Vec<LabelSelector>,
    /// The Service must match one of these, if there are any.
    pub service_selectors: Vec<LabelSelector>,
    /// To whom it is announced.
    pub peers: Peers,
    /// The length of IPv4 prefixes, at most 32.
    pub aggregation_length: u8,
    /// The length of IPv6 prefixes, at most 128.
    pub aggregation_length_v6: u8,
    /// `LOCAL_PREF` for peers in our autonomous system; `None` leaves it at the default.
    pub local_pref: Option<u32>,
    /// The communities, names looked up.
    pub communities: BTreeSet<Community>,
    /// `MULTI_EXIT_DISC`: among paths from one neighbouring system the lowest wins.
    pub med: Option<u32>,
    /// How many more times our number stands in the path: a longer path is less wanted.
    pub prepend: u8,
    /// Services of external traffic policy `Local` are announced with the number of their endpoints
    /// on the node, for routers that weight their paths.
    pub link_bandwidth: bool,
    /// Services of external traffic policy `Local` are announced with their host route beside the
    /// aggregate, so that no other node attracts what is for them.
    pub local_host_routes: bool,
    /// At most so many nodes announce a Service by this advertisement; no limit if `None`.
    pub max_nodes: Option<NonZeroU32>,
}

/// To which peers something goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Peers {
    /// To every one that the node has.
    #[default]
    All,
    /// To those of these names. A name that no `BGPPeer` has is passed over.
    Named(BTreeSet<String>),
}

/// A `BGPPeer` as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `metadata.name`.
    pub name: String,
    /// A node must match one of these to have the session, if there are any.
    pub node_selectors: Vec<LabelSelector>,
}

impl Advertisement {
    /// True if the advertisement is for the Service; one without service selectors is for all.
    pub fn selects_service(&self, service: &Service) -> bool {
        matches_any(&self.service_selectors, &service.labels)
    }

    /// True if the node may announce by this advertisement; one without node selectors lets all.
    pub fn covers_node(&self, node: &Node) -> bool {
        matches_any(&self.node_selectors, &node.labels)
    }

    /// True if what one node announces depends on the other nodes.
    pub fn depends_on_other_nodes(&self) -> bool {
        self.max_nodes.is_some()
    }

    /// The length of the prefixes of a family.
    pub fn length(&self, family: IpFamily) -> u8 {
        match family {
            IpFamily::V4 => self.aggregation_length,
            IpFamily::V6 => self.aggregation_length_v6,
        }
    }
}

impl Peers {
    /// Those of these names, or all if there is none: as `spec.peers` means it.
    pub fn named(names: BTreeSet<String>) -> Self {
        if names.is_empty() {
            Self::All
        } else {
            Self::Named(names)
        }
    }

    /// True if the peer of this name is one of them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// True if a peer may be among both.
    pub fn overlap(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(names), Self::Named(others)) => !names.is_disjoint(others),
            _ => true,
        }
    }
}

impl Peer {
    /// True if the node has the session.
    pub fn runs_on(&self, node: &Node) -> bool {
        matches_any(&self.node_selectors, &node.labels)
    }
}
