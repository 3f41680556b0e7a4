//! One owner for Services that share an address.
//!
//! The hash takes the address and not the Service, so Services with the same address and the same
//! candidates have the same owner by themselves. There are three ways to differ:
//!
//! - A Service without endpoints has no candidates. It does not count: the address follows the
//!   others.
//! - With policy `Local` one of them may count endpoints that the other does not
//!   (`publishNotReadyAddresses`), or their endpoints are seen at different times.
//! - A dual-stack Service hashes its first address, and one that shares only the second hashes
//!   that.
//!
//! Two nodes that answer for one address are worse than a Service that waits, so the Services have
//! to agree.

use std::cmp::Reverse;
use std::collections::HashMap;

use herald_model::{NodeName, ServiceKey};

use crate::{Decision, Reason};

/// Makes Services that have addresses in common agree on one owner. `sharers` are all Services
/// that are connected by common addresses; their order does not matter.
///
/// The owner is the node that the most of them admit and, among several, the one that the first
/// Service by name ranks best. A Service that does not admit it is withheld with
/// [`Reason::SharedAddressElsewhere`]. All of them get one order, by the same rule, and an address
/// stays where it is if one of them wants that. Decisions that agree already stay as they are.
pub fn agree(sharers: &mut [(ServiceKey, &mut Decision)]) {
    sharers.sort_by(|(key, _), (other, _)| key.cmp(other));
    let decisions = || sharers.iter().map(|(_, decision)| &**decision);
    let sticky = decisions().map(|decision| decision.failback).max();
    let order = by_votes(decisions().map(|decision| decision.order.iter()));
    let candidates = decisions().map(|decision| decision.candidates.iter().map(|c| &c.node));
    let owner = by_votes(candidates).into_iter().next();
    for (_, decision) in sharers {
        if let Some(owner) = &owner {
            decision.yield_to(owner);
        }
        if decision.withheld.is_none() {
            decision.order.clone_from(&order);
            decision.failback = sticky.unwrap_or_default();
        }
    }
}

/// The nodes of all lists, those first that the most lists have; among equals in the order of
/// their first appearance.
fn by_votes<'a>(lists: impl Iterator<Item = impl Iterator<Item = &'a NodeName>>) -> Vec<NodeName> {
    let mut votes: HashMap<&NodeName, usize> = HashMap::new();
    let mut seen = Vec::new();
    for node in lists.flatten() {
        let votes = votes.entry(node).or_default();
        *votes += 1;
        if *votes == 1 {
            seen.push(node);
        }
    }
    seen.sort_by_key(|node| Reverse(votes.get(node).copied()));
    seen.into_iter().cloned().collect()
}

impl Decision {
    /// Makes `owner` the owner if it is a candidate; otherwise nobody announces the Service.
    fn yield_to(&mut self, owner: &NodeName) {
        let position = self.candidates.iter().position(|c| c.node == *owner);
        if let Some(position) = position {
            if let Some(before) = self.candidates.get_mut(..=position) {
                before.rotate_right(1);
            }
        } else if !self.candidates.is_empty() {
            *self = Self {
                withheld: Some(Reason::SharedAddressElsewhere(owner.clone())),
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_model::Phase;

    use super::*;
    use crate::{Candidate, Interfaces};

    fn decision(nodes: &[&str]) -> Decision {
        let candidates = nodes.iter().map(|node| Candidate {
            node: (*node).into(),
            score: 0,
            phase: Phase::Ready,
            interfaces: Interfaces::All,
        });
        Decision {
            candidates: candidates.collect(),
            order: nodes.iter().copied().map(NodeName::from).collect(),
            withheld: nodes.is_empty().then_some(Reason::NoEndpoints),
            ..Decision::default()
        }
    }

    /// The owners after an agreement, and the words for why there is none.
    fn owners(candidates: &[&[&str]]) -> Vec<String> {
        let mut decisions: Vec<Decision> = candidates.iter().map(|nodes| decision(nodes)).collect();
        let mut sharers: Vec<_> = decisions
            .iter_mut()
            .enumerate()
            .map(|(n, decision)| (ServiceKey::new("ns", n.to_string()), decision))
            // The order of the arguments must not matter.
            .rev()
            .collect();
        agree(&mut sharers);
        let told = decisions.iter().map(|decision| {
            let withheld = decision.withheld.as_ref().map(Reason::name);
            let owner = decision.owner().map(|owner| owner.node.to_string());
            owner.unwrap_or_else(|| withheld.unwrap_or("none").to_owned())
        });
        told.collect()
    }

    #[test]
    fn services_that_agree_stay_as_they_are() {
        assert_eq!(owners(&[&["b", "a"], &["b", "a"]]), ["b", "b"]);
        assert_eq!(owners(&[&["b", "a"]]), ["b"]);
        assert_eq!(owners(&[]), [""; 0]);
    }

    #[test]
    fn a_service_without_endpoints_does_not_count() {
        assert_eq!(owners(&[&[], &["b", "a"]]), ["noEndpoints", "b"]);
        assert_eq!(owners(&[&[], &[]]), ["noEndpoints", "noEndpoints"]);
    }

    #[test]
    fn the_node_that_most_admit_is_the_owner() {
        assert_eq!(owners(&[&["a", "b"], &["b"]]), ["b", "b"]);
        assert_eq!(owners(&[&["b"], &["a", "b"], &["a", "c"]])[..2], ["b", "b"]);
    }

    #[test]
    fn among_equals_the_first_service_by_name_decides() {
        assert_eq!(owners(&[&["a", "b"], &["b", "a"]]), ["a", "a"]);
        assert_eq!(owners(&[&["b", "a"], &["a", "b"]]), ["b", "b"]);
    }

    #[test]
    fn a_service_that_does_not_admit_the_owner_is_withheld() {
        assert_eq!(
            owners(&[&["a"], &["b"]]),
            ["a", "sharedIPElsewhere"],
            "never two owners"
        );
    }

    #[test]
    fn the_order_of_the_other_candidates_stays() {
        let mut first = decision(&["b"]);
        let mut second = decision(&["a", "b", "c"]);
        agree(&mut [
            (ServiceKey::new("ns", "x"), &mut first),
            (ServiceKey::new("ns", "y"), &mut second),
        ]);
        let nodes: Vec<_> = second.candidates.iter().map(|c| c.node.as_str()).collect();
        assert_eq!(nodes, ["b", "a", "c"]);
    }
}
