//! What this node announces at present, and the transitions that a new outcome brings.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use herald_announce::{Decision, Interfaces, Reason};
use herald_model::{NodeName, ServiceKey};
use herald_ownership::{Duty, Task};

use crate::layer2::Desired;
use crate::world::{Outcome, Why, verdict};

/// A Service that this node announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where.
    pub(crate) interfaces: Interfaces,
}

/// What changed for a Service on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transition {
    /// This node announces it from now on.
    Started(Announced),
    /// This node goes on to announce it, but with other addresses or interfaces than `before`.
    Changed {
        /// What was announced.
        before: Announced,
        /// What is announced now.
        now: Announced,
    },
    /// This node no longer announces it.
    Stopped {
        /// What was announced.
        before: Announced,
        /// Why no longer.
        why: Why,
    },
    /// This node does not announce it, for another reason than before.
    Withheld(Why),
    /// Nobody can announce it because no node has the interfaces that are asked for, and this node
    /// is the one to say so.
    NoInterface,
}

/// All that this node announces. An address that several Services share is announced as long as one
/// of them is.
#[derive(Debug)]
pub(crate) struct Announcing {
    me: NodeName,
    services: HashMap<ServiceKey, Announced>,
    withheld: HashMap<ServiceKey, Why>,
    without_interface: BTreeSet<ServiceKey>,
    holders: HashMap<IpAddr, BTreeMap<ServiceKey, Interfaces>>,
    desired: Arc<Desired>,
}

impl Announcing {
    /// Nothing yet.
    pub(crate) fn new(me: NodeName) -> Self {
        Self {
            me,
            services: HashMap::new(),
            withheld: HashMap::new(),
            without_interface: BTreeSet::new(),
            holders: HashMap::new(),
            desired: Arc::default(),
        }
    }

    /// What the driver has to make true.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        Arc::clone(&self.desired)
    }

    /// Takes over the outcome for a Service with these addresses.
    pub(crate) fn settle(
        &mut self,
        key: &ServiceKey,
        addresses: &[IpAddr],
        outcome: &Outcome,
    ) -> Vec<Transition> {
        let mut transitions = Vec::new();
        match verdict(outcome, &self.me) {
            Ok(interfaces) => {
                self.withheld.remove(key);
                let now = Announced {
                    addresses: addresses.to_vec(),
                    interfaces,
                };
                let before = self.services.insert(key.clone(), now.clone());
                if before.as_ref() != Some(&now) {
                    self.hold(key, before.as_ref(), Some(&now));
                    transitions.push(match before {
                        None => Transition::Started(now),
                        Some(before) => Transition::Changed { before, now },
                    });
                }
            }
            Err(why) => {
                let known = match outcome {
                    Outcome::NotOurs(_) => {
                        self.withheld.remove(key);
                        None
                    }
                    Outcome::Decided(_) => self.withheld.insert(key.clone(), why.clone()),
                };
                if let Some(before) = self.services.remove(key) {
                    self.hold(key, Some(&before), None);
                    transitions.push(Transition::Stopped { before, why });
                } else if known.as_ref() != Some(&why) {
                    transitions.push(Transition::Withheld(why));
                }
            }
        }
        let speaks = matches!(outcome, Outcome::Decided(d) if is_spokesman(d, &self.me));
        if !speaks {
            self.without_interface.remove(key);
        } else if self.without_interface.insert(key.clone()) {
            transitions.push(Transition::NoInterface);
        }
        transitions
    }

    fn hold(&mut self, key: &ServiceKey, before: Option<&Announced>, now: Option<&Announced>) {
        let touched: BTreeSet<IpAddr> = before
            .iter()
            .chain(now.iter())
            .flat_map(|announced| announced.addresses.iter().copied())
            .collect();
        let desired = Arc::make_mut(&mut self.desired);
        for address in touched {
            let holders = self.holders.entry(address).or_default();
            match now.filter(|now| now.addresses.contains(&address)) {
                Some(now) => holders.insert(key.clone(), now.interfaces.clone()),
                None => holders.remove(key),
            };
            if let Some(interfaces) = holders.values().cloned().reduce(union) {
                let duty = Duty::Announce;
                desired.insert(address, Task { duty, interfaces });
            } else {
                self.holders.remove(&address);
                desired.remove(&address);
            }
        }
    }
}

fn union(a: Interfaces, b: Interfaces) -> Interfaces {
    match (a, b) {
        (Interfaces::Named(mut a), Interfaces::Named(b)) => {
            a.extend(b);
            Interfaces::Named(a)
        }
        _ => Interfaces::All,
    }
}

/// True if nobody can be owner for want of interfaces, and `me` is the first of those nodes: one of
/// them has to tell the user, not all.
fn is_spokesman(decision: &Decision, me: &NodeName) -> bool {
    decision.withheld.is_none()
        && decision.candidates.is_empty()
        && decision
            .rejected
            .iter()
            .find(|(_, reason)| *reason == Reason::NoMatchingInterface)
            .is_some_and(|(node, _)| node == me)
}

#[cfg(test)]
mod tests {
    use herald_announce::Candidate;
    use herald_model::Phase;

    use super::*;
    use crate::world::NotOurs;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().expect("valid")).collect()
    }

    fn named(names: &[&str]) -> Interfaces {
        Interfaces::Named(names.iter().map(|n| (*n).to_owned()).collect())
    }

    /// `node` comes first, `me` second.
    fn owned_by(node: &str, interfaces: &Interfaces) -> Outcome {
        let candidate = |node: &str| Candidate {
            node: node.into(),
            score: 0,
            phase: Phase::Ready,
            interfaces: interfaces.clone(),
        };
        Outcome::Decided(Decision {
            candidates: vec![candidate(node), candidate("me")],
            ..Decision::default()
        })
    }

    fn rejected(reasons: &[(&str, Reason)]) -> Outcome {
        Outcome::Decided(Decision {
            rejected: reasons
                .iter()
                .map(|(n, r)| ((*n).into(), r.clone()))
                .collect(),
            ..Decision::default()
        })
    }

    fn announcing() -> Announcing {
        Announcing::new("me".into())
    }

    #[test]
    fn a_transition_is_told_once() {
        let mut announcing = announcing();
        let one = addresses(&["192.0.2.1"]);
        let mine = owned_by("me", &Interfaces::All);
        let first = announcing.settle(&key("a"), &one, &mine);
        assert!(matches!(first[..], [Transition::Started(_)]), "{first:?}");
        assert_eq!(announcing.settle(&key("a"), &one, &mine), []);
        assert_eq!(announcing.services.len(), 1);
        let other = owned_by("other", &Interfaces::All);
        let gone = announcing.settle(&key("a"), &one, &other);
        assert!(
            matches!(&gone[..], [Transition::Stopped { why, .. }] if why.name() == "notOwner"),
            "{gone:?}"
        );
        assert_eq!(announcing.settle(&key("a"), &one, &other), []);
        assert!(announcing.desired().is_empty());
    }

    #[test]
    fn a_shared_address_stays_until_the_last_service_goes() {
        let mut announcing = announcing();
        let shared = addresses(&["192.0.2.1"]);
        announcing.settle(&key("a"), &shared, &owned_by("me", &named(&["eth0"])));
        announcing.settle(&key("b"), &shared, &owned_by("me", &named(&["eth1"])));
        assert_eq!(
            announcing.desired()[&shared[0]].interfaces,
            named(&["eth0", "eth1"])
        );
        let gone = Outcome::NotOurs(NotOurs::NotLoadBalancer);
        announcing.settle(&key("a"), &[], &gone);
        assert_eq!(
            announcing.desired()[&shared[0]].interfaces,
            named(&["eth1"])
        );
        announcing.settle(&key("b"), &[], &gone);
        assert!(announcing.desired().is_empty());
    }

    #[test]
    fn an_address_that_changes_replaces_the_old_one() {
        let mut announcing = announcing();
        let mine = owned_by("me", &Interfaces::All);
        announcing.settle(&key("a"), &addresses(&["192.0.2.1", "2001:db8::1"]), &mine);
        let now = addresses(&["192.0.2.2", "2001:db8::1"]);
        let changed = announcing.settle(&key("a"), &now, &mine);
        assert!(
            matches!(changed[..], [Transition::Changed { .. }]),
            "{changed:?}"
        );
        let desired: Vec<_> = announcing.desired().keys().copied().collect();
        assert_eq!(desired, now);
    }

    #[test]
    fn one_node_tells_that_no_node_has_the_interface() {
        let missing = Reason::NoMatchingInterface;
        let outcome = rejected(&[
            ("a", Reason::NodeExcluded),
            ("me", missing.clone()),
            ("z", missing),
        ]);
        let mut mine = announcing();
        let told = mine.settle(&key("a"), &addresses(&["192.0.2.1"]), &outcome);
        assert!(told.contains(&Transition::NoInterface), "{told:?}");
        assert_eq!(
            mine.settle(&key("a"), &addresses(&["192.0.2.1"]), &outcome),
            []
        );
        let mut other = Announcing::new("z".into());
        let told = other.settle(&key("a"), &addresses(&["192.0.2.1"]), &outcome);
        assert!(!told.contains(&Transition::NoInterface), "{told:?}");
    }

    #[test]
    fn a_service_that_was_never_ours_is_no_news() {
        let mut announcing = announcing();
        let gone = Outcome::NotOurs(NotOurs::NoAddress);
        let told = announcing.settle(&key("a"), &[], &gone);
        assert!(
            told.iter().all(|t| matches!(t, Transition::Withheld(_))),
            "{told:?}"
        );
        assert!(announcing.withheld.is_empty());
    }
}
