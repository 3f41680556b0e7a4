//! Which node announces a Service (compat.md 4.1 and 4.4).
//!
//! Every speaker runs this on its own view of the same objects and the same group and comes to the
//! same owner without asking the others. The rules stand in the order in which a node learns its
//! reason.
//!
//! Nodes that may announce are put in order by their [`Place`], then by score, then by hash. What a
//! place says of a node is compared with the other nodes only, so where all are alike the order is
//! MetalLB's, and a node that goes changes nothing between the others.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::{IpFamily, NodeName, Phase};
use sha2::{Digest, Sha256};

use crate::speaker::{Coverage, NoReach, Reach, reach};
use crate::{
    Candidate, Decision, Failback, Interfaces, L2Advertisement, Node, Reason, Service, Speaker,
    TrafficPolicy,
};

/// Decides who announces `service`.
///
/// `advertisements` are those that cover the pool of the Service's addresses, `nodes` those that
/// may have a speaker; the order of neither matters. The cost is endpoints plus advertisements ×
/// nodes, whatever the number of Services.
pub fn decide<'a>(
    service: &Service,
    advertisements: impl IntoIterator<Item = &'a L2Advertisement>,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> Decision {
    let advertisements: Vec<&L2Advertisement> = advertisements
        .into_iter()
        .filter(|advertisement| advertisement.selects_service(service))
        .collect();
    if let Some(reason) = withheld(service, &advertisements) {
        return Decision {
            withheld: Some(reason),
            ..Decision::default()
        };
    }

    let failback = failback(service, &advertisements);
    let election = Election {
        service,
        advertisements,
        local: match service.traffic_policy {
            TrafficPolicy::Cluster => None,
            TrafficPolicy::Local => Some(service.serving_nodes().collect()),
        },
        staying: service.staying_nodes().collect(),
        address: service.addresses.first().map(canonical_text),
    };
    let mut entrants = Vec::new();
    let mut rejected = Vec::new();
    for node in nodes {
        match election.admit(node) {
            Ok(entrant) => entrants.push(entrant),
            Err(reason) => rejected.push((node.name.clone(), reason)),
        }
    }
    Decision {
        failback,
        ..rank(entrants, rejected)
    }
}

/// What is the same for all nodes.
struct Election<'a> {
    service: &'a Service,
    /// Those that select the Service.
    advertisements: Vec<&'a L2Advertisement>,
    /// The nodes that have an endpoint, if only those will do.
    local: Option<BTreeSet<&'a NodeName>>,
    /// The nodes that have one that is to stay.
    staying: BTreeSet<&'a NodeName>,
    /// The text of the first address.
    address: Option<String>,
}

/// What comes before preference and hash; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Place {
    tier: Tier,
    phase: Phase,
    /// Only its endpoints will do, and all of them are about to end.
    ending: bool,
    /// How many of the Service's addresses lie in no subnet of the node.
    strange: usize,
}

/// Only nodes of the best tier that any node is in are candidates: whoever is in another can
/// announce less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Tier {
    unheard: bool,
    coverage: Coverage,
}

/// A node that every rule admits, if it is up.
struct Entrant {
    /// `None` if it has never told; then it counts as the best of those that are up.
    place: Option<Place>,
    draining: bool,
    /// As in [`Place`].
    ending: bool,
    /// The first family that it cannot announce.
    lacks: Option<IpFamily>,
    hash: [u8; 32],
    candidate: Candidate,
    /// Why it is not up.
    barred: Option<Reason>,
}

/// Puts the entrants in order and tells the candidates among them.
fn rank(mut entrants: Vec<Entrant>, mut rejected: Vec<(NodeName, Reason)>) -> Decision {
    let up = entrants.iter().filter(|entrant| entrant.barred.is_none());
    let best = up.filter_map(|entrant| entrant.place).min();
    let best = best.unwrap_or_else(|| Place {
        phase: Phase::Ready,
        ..Place::default()
    });
    entrants.sort_by_cached_key(|entrant| {
        // Two nodes that never heard of each other both put the other where they are themselves,
        // and so agree on who comes first.
        let place = entrant.place.unwrap_or(Place {
            phase: if entrant.draining {
                Phase::Draining
            } else {
                best.phase
            },
            ending: entrant.ending,
            ..best
        });
        let candidate = &entrant.candidate;
        (
            place,
            Reverse(candidate.score),
            entrant.hash,
            candidate.node.clone(),
        )
    });
    let mut decision = Decision {
        order: Vec::with_capacity(entrants.len()),
        ..Decision::default()
    };
    for entrant in entrants {
        let node = entrant.candidate.node.clone();
        decision.order.push(node.clone());
        let tier = entrant.place.unwrap_or(best).tier;
        if let Some(reason) = entrant.barred {
            rejected.push((node, reason));
        } else if tier.unheard && !best.tier.unheard {
            rejected.push((node, Reason::NotHeard));
        } else if let Some(family) = entrant.lacks.filter(|_| tier > best.tier) {
            rejected.push((node, Reason::NoFamily(family)));
        } else {
            decision.candidates.push(entrant.candidate);
        }
    }
    rejected.sort_by(|(name, _), (other, _)| name.cmp(other));
    decision.rejected = rejected;
    decision
}

/// The Service's own word, or that of the advertisements that select it: sticky if one says so.
fn failback(service: &Service, advertisements: &[&L2Advertisement]) -> Failback {
    let said = advertisements.iter().filter_map(|ad| ad.failback);
    service.failback.or_else(|| said.max()).unwrap_or_default()
}

/// Why no node may announce the Service. `advertisements` are those that select it.
fn withheld(service: &Service, advertisements: &[&L2Advertisement]) -> Option<Reason> {
    if !service.endpoints.iter().any(|e| service.can_serve(e)) {
        return Some(Reason::NoEndpoints);
    }
    if !service.allows_sharing {
        return None;
    }
    // The first by name, so that all nodes tell the same.
    advertisements
        .iter()
        .filter(|advertisement| !advertisement.service_selectors.is_empty())
        .map(|advertisement| &advertisement.name)
        .min()
        .map(|name| Reason::SharedAddressWithServiceSelector(name.clone()))
}

impl Election<'_> {
    /// The node as one that could announce, or the first rule that it breaks.
    fn admit(&self, node: &Node) -> Result<Entrant, Reason> {
        let mut covered = false;
        let mut score = 0_u64;
        let mut named = Some(BTreeSet::new());
        for advertisement in &self.advertisements {
            if !advertisement.covers_node(node) {
                continue;
            }
            covered = true;
            score = score.saturating_add(advertisement.preference(node));
            if advertisement.interfaces.is_empty() {
                named = None;
            } else if let Some(named) = &mut named {
                named.extend(advertisement.interfaces.iter().cloned());
            }
        }
        let interfaces = named.map_or(Interfaces::All, Interfaces::Named);

        if !covered {
            return Err(Reason::NoMatchingAdvertisement);
        } else if node.network_unavailable {
            return Err(Reason::NodeNetworkUnavailable);
        } else if node.excluded {
            return Err(Reason::NodeExcluded);
        } else if node.out_of_service {
            return Err(Reason::NodeOutOfService);
        } else if self
            .local
            .as_ref()
            .is_some_and(|local| !local.contains(&node.name))
        {
            return Err(Reason::NoLocalEndpoints);
        }
        let (reached, barred) = self.reached(node, &interfaces)?;
        let ending = self.local.is_some() && !self.staying.contains(&node.name);
        let place = reached.map(|reached| Place {
            tier: Tier {
                unheard: node.unheard,
                coverage: reached.coverage,
            },
            phase: node.phase(),
            ending,
            strange: reached.strange,
        });
        Ok(Entrant {
            place,
            draining: node.draining,
            ending,
            lacks: reached.and_then(|reached| reached.lacks),
            hash: hash(&node.name, self.address.as_deref().unwrap_or_default()),
            candidate: Candidate {
                node: node.name.clone(),
                score,
                phase: node.phase(),
                interfaces,
            },
            barred,
        })
    }

    /// What the node can do for the Service on these interfaces, as far as its speaker has told, and
    /// why it is not up. An error if it could do nothing even if it were up.
    fn reached(
        &self,
        node: &Node,
        interfaces: &Interfaces,
    ) -> Result<(Option<Reach>, Option<Reason>), Reason> {
        let of = |state| reach(state, interfaces, &self.service.addresses);
        match &node.speaker {
            Speaker::Unknown { interfaces: known } => {
                // A speaker that has not said is older or only starting, and must not lose its
                // addresses for that.
                let any = known.as_ref().is_none_or(|present| match interfaces {
                    Interfaces::All => !present.is_empty(),
                    Interfaces::Named(named) => !named.is_disjoint(present),
                });
                if any {
                    Ok((Some(Reach::default()), None))
                } else {
                    Err(Reason::NoMatchingInterface)
                }
            }
            Speaker::Live(state) => match of(state) {
                Ok(reached) => Ok((Some(reached), None)),
                Err(NoReach::Interface) => Err(Reason::NoMatchingInterface),
                Err(NoReach::Family(family)) => Err(Reason::NoFamily(family)),
            },
            Speaker::Joining => Ok((None, Some(Reason::NodeJoining))),
            Speaker::Down { last: None } => Ok((None, Some(Reason::NodeDown))),
            Speaker::Down { last: Some(state) } => of(state)
                .map(|reached| (Some(reached), Some(Reason::NodeDown)))
                .map_err(|_| Reason::NodeDown),
        }
    }
}

impl Interfaces {
    /// True if the interface of this name is one of them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// The address as the hash takes it: an IPv4-mapped IPv6 address counts as the IPv4 one.
pub(crate) fn canonical_text(address: &IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The node's place for an address among nodes of equal score; less is better. The Service has no
/// part in it, so that Services that share an address meet on one node.
pub(crate) fn hash(node: &NodeName, address: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(node.as_str())
        .chain_update("#")
        .chain_update(address)
        .finalize()
        .into()
}
