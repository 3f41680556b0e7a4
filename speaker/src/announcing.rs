//! What this node announces at present, and the transitions that a new outcome or a new holding
//! brings.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use herald_announce::{Decision, Interfaces, Reason};
use herald_model::{MacAddress, NodeName, ServiceKey};
use herald_ownership::Status;
use serde_json::{Value, json};

use crate::world::{self, Outcome, verdict};

/// A Service that this node announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Those of its addresses that this node holds.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where.
    pub(crate) interfaces: Interfaces,
}

/// Why this node does not announce a Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    /// It is not this node's to announce.
    #[error(transparent)]
    World(world::Why),
    /// It is, but nobody knows yet whether another station has the address.
    #[error("looking whether any station of the LAN has {0}")]
    Probing(IpAddr),
    /// It is, but another speaker keeps it.
    #[error("node {1} has {0} and keeps it, or has not let go of it yet")]
    HeldBy(IpAddr, NodeName),
    /// It is, but a station that is none of the speakers has it.
    #[error(
        "the station {1} on the LAN has {0}: take it off that station, or out of the IPAddressPool"
    )]
    InUse(IpAddr, MacAddress),
    /// It is, but too few speakers are in the group.
    #[error(
        "this node sees too few of the other speakers to take {0} from one that it does not see"
    )]
    NoMajority(IpAddr),
    /// The others have declared this speaker down.
    #[error("the other speakers may have declared this one down, so it answers for nothing")]
    Fenced,
}

impl Why {
    /// The reason as one word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::World(why) => why.name(),
            Self::Probing(_) => "probing",
            Self::HeldBy(..) => "heldByOther",
            Self::InUse(..) => "addressInUse",
            Self::NoMajority(_) => "noMajority",
            Self::Fenced => "fenced",
        }
    }

    /// Why an address that the election gives to this node is not held.
    fn of(address: IpAddr, status: Status) -> Self {
        match status {
            // It is about to be taken, or was asked for before the machine heard of it.
            Status::Probing | Status::NotOurs | Status::Held => Self::Probing(address),
            Status::HandingOver(node) | Status::HeldBy(node) => Self::HeldBy(address, node),
            Status::InUse(mac) => Self::InUse(address, mac),
            Status::NoMajority => Self::NoMajority(address),
            Status::Fenced => Self::Fenced,
        }
    }
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

/// What an outcome means for this node, without what it says of the others.
#[derive(Debug, Clone)]
struct Stance {
    addresses: Vec<IpAddr>,
    /// Where this node can announce the Service; `None` if it is no candidate.
    here: Option<Interfaces>,
    /// Why it is not this node's to announce; `None` if it is.
    why: Option<world::Why>,
    /// This node is the one to say that no node has the interfaces.
    speaks: bool,
}

impl Stance {
    fn new(me: &NodeName, addresses: &[IpAddr], outcome: &Outcome) -> Self {
        let (candidates, speaks) = match outcome {
            Outcome::Decided(decision) => (&decision.candidates[..], is_spokesman(decision, me)),
            Outcome::NotOurs(_) => (&[][..], false),
        };
        let own = candidates.iter().find(|candidate| candidate.node == *me);
        Self {
            addresses: addresses.to_vec(),
            here: own.map(|candidate| candidate.interfaces.clone()),
            why: verdict(outcome, me).err(),
            speaks,
        }
    }

    /// What this node announces of the Service, or why nothing.
    fn announced(&self, status: impl Fn(IpAddr) -> Status) -> Result<Announced, Why> {
        let held = self.addresses.iter().copied();
        let held: Vec<_> = held.filter(|a| status(*a) == Status::Held).collect();
        match (&self.here, &self.why, self.addresses.first()) {
            // Also what the election gives to another is announced as long as it is held here.
            (Some(here), _, _) if !held.is_empty() => Ok(Announced {
                addresses: held,
                interfaces: here.clone(),
            }),
            (_, Some(why), _) => Err(Why::World(why.clone())),
            (_, None, Some(address)) => Err(Why::of(*address, status(*address))),
            (_, None, None) => Err(Why::World(world::Why::NotOurs(world::NotOurs::NoAddress))),
        }
    }
}

/// All that this node announces: the Services whose addresses it holds.
#[derive(Debug)]
pub(crate) struct Announcing {
    me: NodeName,
    stances: HashMap<ServiceKey, Stance>,
    services: HashMap<ServiceKey, Announced>,
    withheld: HashMap<ServiceKey, Why>,
    without_interface: BTreeSet<ServiceKey>,
}

impl Announcing {
    /// Nothing yet.
    pub(crate) fn new(me: NodeName) -> Self {
        Self {
            me,
            stances: HashMap::new(),
            services: HashMap::new(),
            withheld: HashMap::new(),
            without_interface: BTreeSet::new(),
        }
    }

    /// Takes over the outcome for a Service with these addresses. What follows is told by the next
    /// [`review`](Self::review).
    pub(crate) fn decided(&mut self, key: &ServiceKey, addresses: &[IpAddr], outcome: &Outcome) {
        let stance = Stance::new(&self.me, addresses, outcome);
        self.stances.insert(key.clone(), stance);
    }

    /// The Services that something is to be said of.
    pub(crate) fn known(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys().chain(self.withheld.keys())
    }

    /// What is announced of a Service and where, or why nothing is.
    pub(crate) fn describe(&self, key: &ServiceKey) -> Value {
        if let Some(announced) = self.services.get(key) {
            let interfaces = match &announced.interfaces {
                Interfaces::All => json!("all"),
                Interfaces::Named(names) => json!(names),
            };
            return json!({ "announced": announced.addresses, "interfaces": interfaces });
        }
        self.withheld.get(key).map_or(
            Value::Null,
            |why| json!({ "withheld": why.name(), "because": why.to_string() }),
        )
    }

    /// What changed for a Service, now that this node does about its addresses what `status` says.
    pub(crate) fn review(
        &mut self,
        key: &ServiceKey,
        status: impl Fn(IpAddr) -> Status,
    ) -> Vec<Transition> {
        let Some(stance) = self.stances.get(key) else {
            return Vec::new();
        };
        let speaks = stance.speaks;
        let announced = stance.announced(status);
        let mut transitions = Vec::new();
        match announced {
            Ok(now) => {
                self.withheld.remove(key);
                let before = self.services.insert(key.clone(), now.clone());
                if before.as_ref() != Some(&now) {
                    transitions.push(match before {
                        None => Transition::Started(now),
                        Some(before) => Transition::Changed { before, now },
                    });
                }
            }
            Err(why) => {
                let known = if matches!(why, Why::World(world::Why::NotOurs(_))) {
                    // Nothing more is to be said of it, and it may never come back.
                    self.stances.remove(key);
                    self.withheld.remove(key);
                    None
                } else {
                    self.withheld.insert(key.clone(), why.clone())
                };
                if let Some(before) = self.services.remove(key) {
                    transitions.push(Transition::Stopped { before, why });
                } else if known.as_ref() != Some(&why) {
                    transitions.push(Transition::Withheld(why));
                }
            }
        }
        if !speaks {
            self.without_interface.remove(key);
        } else if self.without_interface.insert(key.clone()) {
            transitions.push(Transition::NoInterface);
        }
        transitions
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

    /// `node` comes first, `me` second.
    fn owned_by(node: &str) -> Outcome {
        let candidate = |node: &str| Candidate {
            node: node.into(),
            score: 0,
            phase: Phase::Ready,
            interfaces: Interfaces::All,
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

    impl Announcing {
        fn settle(
            &mut self,
            key: &ServiceKey,
            addresses: &[IpAddr],
            outcome: &Outcome,
            status: impl Fn(IpAddr) -> Status,
        ) -> Vec<Transition> {
            self.decided(key, addresses, outcome);
            self.review(key, status)
        }
    }

    fn announcing() -> Announcing {
        Announcing::new("me".into())
    }

    fn held(_: IpAddr) -> Status {
        Status::Held
    }

    fn not_ours(_: IpAddr) -> Status {
        Status::NotOurs
    }

    #[test]
    fn a_transition_is_told_once() {
        let mut announcing = announcing();
        let one = addresses(&["192.0.2.1"]);
        let mine = owned_by("me");
        let first = announcing.settle(&key("a"), &one, &mine, held);
        assert!(matches!(first[..], [Transition::Started(_)]), "{first:?}");
        assert_eq!(announcing.settle(&key("a"), &one, &mine, held), []);
        assert_eq!(announcing.services.len(), 1);
        let other = owned_by("other");
        let gone = announcing.settle(&key("a"), &one, &other, not_ours);
        assert!(
            matches!(&gone[..], [Transition::Stopped { why, .. }] if why.name() == "notOwner"),
            "{gone:?}"
        );
        assert_eq!(announcing.settle(&key("a"), &one, &other, not_ours), []);
    }

    #[test]
    fn only_what_is_held_is_announced_and_the_reason_says_why_the_rest_is_not() {
        let mut announcing = announcing();
        let both = addresses(&["192.0.2.1", "2001:db8::1"]);
        let mine = owned_by("me");
        let (v4, v6) = (both[0], both[1]);
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        for (status, name) in [
            (Status::Probing, "probing"),
            (Status::HeldBy("other".into()), "heldByOther"),
            (Status::InUse(mac), "addressInUse"),
            (Status::NoMajority, "noMajority"),
            (Status::Fenced, "fenced"),
        ] {
            let told = announcing.settle(&key("a"), &both, &mine, |_| status.clone());
            assert!(
                matches!(&told[..], [Transition::Withheld(why)] if why.name() == name),
                "{told:?}"
            );
        }
        let one = |address| {
            if address == v6 {
                Status::Held
            } else {
                Status::Probing
            }
        };
        let told = announcing.settle(&key("a"), &both, &mine, one);
        assert!(
            matches!(&told[..], [Transition::Started(now)] if now.addresses == [v6]),
            "{told:?}"
        );
        let told = announcing.settle(&key("a"), &both, &mine, held);
        assert!(
            matches!(&told[..], [Transition::Changed { now, .. }] if now.addresses == [v4, v6]),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_kept_although_another_is_elected_is_announced() {
        let mut announcing = announcing();
        let one = addresses(&["192.0.2.1"]);
        let told = announcing.settle(&key("a"), &one, &owned_by("other"), held);
        assert!(matches!(told[..], [Transition::Started(_)]), "{told:?}");
        // As for a Service that shares the address and is not to be announced here.
        let told = announcing.settle(&key("a"), &one, &rejected(&[]), held);
        assert!(matches!(told[..], [Transition::Stopped { .. }]), "{told:?}");
    }

    #[test]
    fn one_node_tells_that_no_node_has_the_interface() {
        let missing = Reason::NoMatchingInterface;
        let outcome = rejected(&[
            ("a", Reason::NodeExcluded),
            ("me", missing.clone()),
            ("z", missing),
        ]);
        let one = addresses(&["192.0.2.1"]);
        let mut mine = announcing();
        let told = mine.settle(&key("a"), &one, &outcome, not_ours);
        assert!(told.contains(&Transition::NoInterface), "{told:?}");
        assert_eq!(mine.settle(&key("a"), &one, &outcome, not_ours), []);
        let mut other = Announcing::new("z".into());
        let told = other.settle(&key("a"), &one, &outcome, not_ours);
        assert!(!told.contains(&Transition::NoInterface), "{told:?}");
    }

    #[test]
    fn a_service_that_was_never_ours_is_no_news() {
        let mut announcing = announcing();
        let gone = Outcome::NotOurs(NotOurs::NoAddress);
        let told = announcing.settle(&key("a"), &[], &gone, not_ours);
        assert!(
            told.iter().all(|t| matches!(t, Transition::Withheld(_))),
            "{told:?}"
        );
        assert!(announcing.withheld.is_empty() && announcing.stances.is_empty());
    }
}
