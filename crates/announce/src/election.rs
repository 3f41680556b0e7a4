//! Which node announces a Service (compat.md 4.1 and 4.4).
//!
//! Every speaker runs this on its own view of the same objects and comes to the same owner without
//! talking to the others. The rules stand in the order in which a node learns its reason.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::NodeName;
use sha2::{Digest, Sha256};

use crate::{
    Candidate, Decision, Interfaces, L2Advertisement, Node, Reason, Service, TrafficPolicy,
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
            candidates: Vec::new(),
            rejected: Vec::new(),
            withheld: Some(reason),
        };
    }

    let local = match service.traffic_policy {
        TrafficPolicy::Cluster => None,
        TrafficPolicy::Local => Some(service.serving_nodes().collect::<BTreeSet<_>>()),
    };
    let address = service.addresses.first().map(canonical_text);
    let mut ranked = Vec::new();
    let mut rejected = Vec::new();
    for node in nodes {
        match admit(node, &advertisements, local.as_ref()) {
            Ok(candidate) => {
                let hash = hash(&node.name, address.as_deref().unwrap_or_default());
                ranked.push((hash, candidate));
            }
            Err(reason) => rejected.push((node.name.clone(), reason)),
        }
    }
    ranked.sort_by(|(hash, candidate), (other_hash, other)| {
        (other.score, hash, &candidate.node).cmp(&(candidate.score, other_hash, &other.node))
    });
    rejected.sort_by(|(name, _), (other, _)| name.cmp(other));
    Decision {
        candidates: ranked.into_iter().map(|(_, candidate)| candidate).collect(),
        rejected,
        withheld: None,
    }
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

/// The node as a candidate, or the first rule that it breaks. `local` are the nodes that have an
/// endpoint, if only those will do.
fn admit(
    node: &Node,
    advertisements: &[&L2Advertisement],
    local: Option<&BTreeSet<&NodeName>>,
) -> Result<Candidate, Reason> {
    let mut covered = false;
    let mut score = 0_u64;
    let mut named = Some(BTreeSet::new());
    for advertisement in advertisements {
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
        Err(Reason::NoMatchingAdvertisement)
    } else if node.network_unavailable {
        Err(Reason::NodeNetworkUnavailable)
    } else if node.excluded {
        Err(Reason::NodeExcluded)
    } else if local.is_some_and(|local| !local.contains(&node.name)) {
        Err(Reason::NoLocalEndpoints)
    } else if !interfaces.any_of(node) {
        Err(Reason::NoMatchingInterface)
    } else {
        Ok(Candidate {
            node: node.name.clone(),
            score,
            interfaces,
        })
    }
}

impl Interfaces {
    /// True if the node has such an interface, or has not said which it has: a speaker that is
    /// older or only starting must not lose its addresses for that.
    fn any_of(&self, node: &Node) -> bool {
        match (&node.interfaces, self) {
            (None, _) => true,
            (Some(present), Self::All) => !present.is_empty(),
            (Some(present), Self::Named(named)) => !named.is_disjoint(present),
        }
    }
}

/// The address as the hash takes it: an IPv4-mapped IPv6 address counts as the IPv4 one.
fn canonical_text(address: &IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The node's place for an address among nodes of equal score; less is better. The Service has no
/// part in it, so that Services that share an address meet on one node.
fn hash(node: &NodeName, address: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(node.as_str())
        .chain_update("#")
        .chain_update(address)
        .finalize()
        .into()
}
