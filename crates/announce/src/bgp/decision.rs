//! Whether a node announces a Service, and by which paths (compat.md 5.1).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use herald_model::{Cidr, IpFamily, NodeName, Phase};

use super::{Advertisement, Attributes, Path, Peer, Reason};
use crate::election::{canonical_text, hash};
use crate::{Node, Service, Speaker, TrafficPolicy};

/// What a node announces for a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcement {
    /// Prefixes with the paths that the advertisements make of them, in ascending order, each pair
    /// once; never empty.
    pub routes: Vec<(Cidr, Arc<Path>)>,
    /// How many of the Service's endpoints on the node are to stay; none if all that serve there are
    /// about to end.
    pub endpoints: u32,
}

impl Announcement {
    /// Those of `peers` that some route goes to, in the order of their names.
    pub fn peers<'a>(&self, peers: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let peers = peers.into_iter();
        peers
            .filter(|name| self.routes.iter().any(|(_, path)| path.peers.contain(name)))
            .collect()
    }
}

/// Decides what `node` announces for `service`.
///
/// `advertisements` are those that cover the pool of the Service's addresses, `peers` all that are
/// configured. `nodes` are those that may have a speaker; they only count if an advertisement
/// [limits](Advertisement::max_nodes) their number. The order of none of them matters. The cost is
/// endpoints plus advertisements × peers, and that for each node if their number is limited;
/// whatever the number of Services.
///
/// Where the number of nodes is limited those come first that come first in the election on
/// layer 2 (the hash of node and address), among the nodes that would announce and are up. One that
/// is draining goes on in its place, but does not count, so that the next one announces before it
/// leaves.
///
/// With external traffic policy `Local` a node whose endpoints are all about to end does what a node
/// does that is drained: what comes there is still served, but routers that know another path are
/// asked to take it.
pub fn decide<'a>(
    service: &Service,
    advertisements: impl IntoIterator<Item = &'a Advertisement>,
    peers: &[Peer],
    node: &Node,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> Result<Announcement, Reason> {
    let mut advertisements: Vec<_> = advertisements.into_iter().collect();
    advertisements.sort_by(|a, b| a.name.cmp(&b.name));
    let rules = Rules {
        service,
        advertisements,
        peers,
        address: service.addresses.first().map(canonical_text),
    };
    let mut admitted = rules.admit(node)?;
    let before = rules.nodes_before(node, &admitted, nodes);
    let mut full = None;
    admitted.retain(|advertisement| {
        let before = before.get(advertisement.name.as_str()).copied();
        let most = advertisement.max_nodes.map(NonZeroU32::get);
        let place = most.is_none_or(|most| before.unwrap_or(0) < most);
        if !place {
            full = full.or(advertisement.max_nodes);
        }
        place
    });
    match full {
        Some(most) if admitted.is_empty() => Err(Reason::EnoughNodes(most)),
        _ => Ok(rules.announcement(node, &admitted)),
    }
}

/// What is the same for all nodes.
struct Rules<'a> {
    service: &'a Service,
    /// In the order of their names.
    advertisements: Vec<&'a Advertisement>,
    peers: &'a [Peer],
    /// The text of the first address.
    address: Option<String>,
}

impl<'a> Rules<'a> {
    /// The advertisements by which the node announces if it is up and their number of nodes is not
    /// limited, or the first rule that it breaks.
    fn admit(&self, node: &Node) -> Result<Vec<&'a Advertisement>, Reason> {
        let mut covering = self.advertisements.clone();
        covering.retain(|advertisement| advertisement.covers_node(node));
        if covering.is_empty() {
            return Err(Reason::NotCovered);
        }
        let mut matching = covering;
        matching.retain(|advertisement| advertisement.selects_service(self.service));
        if matching.is_empty() {
            return Err(Reason::NoMatchingAdvertisement);
        }
        if let Some((first, second)) = self.conflict(&matching) {
            return Err(Reason::ConflictingAdvertisements {
                first: first.name.clone(),
                second: second.name.clone(),
            });
        }
        if node.network_unavailable {
            return Err(Reason::NodeNetworkUnavailable);
        } else if node.excluded {
            return Err(Reason::NodeExcluded);
        } else if node.out_of_service {
            return Err(Reason::NodeOutOfService);
        }
        let service = self.service;
        if !service.endpoints.iter().any(|e| service.can_serve(e)) {
            return Err(Reason::NoEndpoints);
        }
        if self.is_local() && !service.serving_nodes().any(|name| *name == node.name) {
            return Err(Reason::NoLocalEndpoints);
        }
        let sessions: Vec<_> = self.peers.iter().filter(|p| p.runs_on(node)).collect();
        matching.retain(|advertisement| {
            let mut sessions = sessions.iter();
            sessions.any(|peer| advertisement.peers.contain(&peer.name))
        });
        if matching.is_empty() {
            return Err(Reason::NoPeer);
        }
        Ok(matching)
    }

    /// The first two that announce the same route to the same peer with different preferences.
    fn conflict(
        &self,
        matching: &[&'a Advertisement],
    ) -> Option<(&'a Advertisement, &'a Advertisement)> {
        let mut remaining = matching.iter();
        while let Some(first) = remaining.next() {
            let second = remaining.clone().find(|second| {
                first.local_pref != second.local_pref
                    && first.peers.overlap(&second.peers)
                    && self.have_a_length_in_common(first, second)
            });
            if let Some(second) = second {
                return Some((*first, *second));
            }
        }
        None
    }

    fn have_a_length_in_common(&self, one: &Advertisement, other: &Advertisement) -> bool {
        self.service.addresses.iter().any(|address| {
            let family = IpFamily::of(*address);
            let mut lengths = self.lengths(one, family);
            lengths.any(|length| self.lengths(other, family).any(|other| length == other))
        })
    }

    /// The lengths of the prefixes that an advertisement makes of an address, one or two.
    fn lengths(
        &self,
        advertisement: &Advertisement,
        family: IpFamily,
    ) -> impl Iterator<Item = u8> + use<> {
        let host = (advertisement.local_host_routes && self.is_local()).then(|| family.bits());
        [advertisement.length(family)].into_iter().chain(host)
    }

    fn is_local(&self) -> bool {
        self.service.traffic_policy == TrafficPolicy::Local
    }

    /// By each of the advertisements that limit the number of nodes, how many announce that come
    /// before `node`.
    fn nodes_before<'n>(
        &self,
        node: &Node,
        admitted: &[&'a Advertisement],
        nodes: impl IntoIterator<Item = &'n Node>,
    ) -> BTreeMap<&'a str, u32> {
        let mut before = BTreeMap::new();
        if admitted.iter().all(|a| a.max_nodes.is_none()) {
            return before;
        }
        let own = self.place(&node.name);
        let ending = self.is_ending(node);
        for other in nodes {
            let up = matches!(other.speaker, Speaker::Live(_) | Speaker::Unknown { .. });
            let counts = up
                && other.phase() != Phase::Draining
                && (ending || !self.is_ending(other))
                && self.place(&other.name) < own;
            if counts && let Ok(admitted) = self.admit(other) {
                for advertisement in admitted {
                    *before.entry(advertisement.name.as_str()).or_default() += 1;
                }
            }
        }
        before
    }

    fn place<'n>(&self, node: &'n NodeName) -> ([u8; 32], &'n NodeName) {
        let address = self.address.as_deref().unwrap_or_default();
        (hash(node, address), node)
    }

    fn announcement(&self, node: &Node, admitted: &[&Advertisement]) -> Announcement {
        let mut routes = Vec::with_capacity(admitted.len() * self.service.addresses.len());
        for advertisement in admitted {
            let path = Arc::new(self.path(node, advertisement));
            for address in &self.service.addresses {
                for length in self.lengths(advertisement, IpFamily::of(*address)) {
                    if let Some(prefix) = Cidr::new(*address, length) {
                        routes.push((prefix, Arc::clone(&path)));
                    }
                }
            }
        }
        routes.sort_unstable();
        routes.dedup();
        routes.shrink_to_fit();
        Announcement {
            routes,
            endpoints: self.endpoints_on(&node.name),
        }
    }

    fn path(&self, node: &Node, advertisement: &Advertisement) -> Path {
        let attributes = Attributes {
            local_pref: advertisement.local_pref,
            med: advertisement.med,
            prepend: advertisement.prepend,
            communities: advertisement.communities.clone(),
        };
        Path {
            peers: advertisement.peers.clone(),
            attributes,
            ending: node.phase() == Phase::Draining || self.is_ending(node),
            weighted: advertisement.link_bandwidth && self.is_local(),
        }
    }

    /// Only the endpoints on the node get what comes there, and all of them are about to end.
    fn is_ending(&self, node: &Node) -> bool {
        self.is_local() && self.endpoints_on(&node.name) == 0
    }

    /// How many endpoints on the node are to stay.
    fn endpoints_on(&self, node: &NodeName) -> u32 {
        let here = self.service.staying_nodes().filter(|name| *name == node);
        u32::try_from(here.count()).unwrap_or(u32::MAX)
    }
}
