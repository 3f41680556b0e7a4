//! The nodes, with what finds the node of an address.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use herald_announce::{Node, NodeLocator, Speaker};
use herald_model::{Cidr, GroupView, Labels, Member, NodeName};
use serde::{Deserialize, Serialize};

/// What a Node object says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub struct NodeFacts {
    /// Its labels.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is true.
    pub network_unavailable: bool,
    /// It is labelled to be left out, and that is not ignored.
    pub excluded: bool,
    /// It is tainted as out of service.
    pub out_of_service: bool,
    /// It is labelled or tainted to be drained.
    pub draining: bool,
    /// It says that it is about to be switched off, which drains it too. Nobody who reads a file
    /// knows whether it has come back since.
    #[serde(skip)]
    pub shutting_down: bool,
    /// The addresses of its status.
    pub addresses: BTreeSet<IpAddr>,
    /// The first of them that is of type `InternalIP` and IPv4: routers know the node by it.
    pub internal: Option<Ipv4Addr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: BTreeSet<Cidr>,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_name: BTreeMap<NodeName, Node>,
    places: BTreeMap<NodeName, Place>,
    /// Made from `places` when it is asked for the first time after they changed.
    locator: OnceLock<NodeLocator>,
    /// Also of nodes whose object is not known (yet).
    speakers: HashMap<NodeName, Speaker>,
    /// There is a group, so that a node without an entry in `speakers` is down.
    grouped: bool,
    /// Also names of nodes that are not known.
    unheard: BTreeSet<NodeName>,
    /// Those that are drained only because they are about to be switched off.
    shutting_down: BTreeSet<NodeName>,
}

/// Where a node is, and its pods are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    addresses: BTreeSet<IpAddr>,
    internal: Option<Ipv4Addr>,
    pod_cidrs: BTreeSet<Cidr>,
}

/// A node as it was before a change.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) name: NodeName,
    pub(super) node: Option<Node>,
}

impl Nodes {
    pub(super) fn get(&self, name: &NodeName) -> Option<&Node> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_name.values()
    }

    /// What is known of the nodes for longer than they run.
    pub(super) fn facts(&self) -> impl Iterator<Item = (NodeName, NodeFacts)> {
        self.by_name.iter().map(|(name, node)| {
            let place = self.places.get(name).cloned().unwrap_or_default();
            let facts = NodeFacts {
                labels: node.labels.clone(),
                network_unavailable: node.network_unavailable,
                excluded: node.excluded,
                out_of_service: node.out_of_service,
                draining: node.draining && !self.shutting_down.contains(name),
                shutting_down: false,
                addresses: place.addresses,
                internal: place.internal,
                pod_cidrs: place.pod_cidrs,
            };
            (name.clone(), facts)
        })
    }

    /// Returns true if addresses may belong to another node than before.
    pub(super) fn set(&mut self, name: &NodeName, facts: Option<NodeFacts>) -> bool {
        let place = facts.as_ref().map(|facts| Place {
            addresses: facts.addresses.clone(),
            internal: facts.internal,
            pod_cidrs: facts.pod_cidrs.clone(),
        });
        let moved = self.places.get(name) != place.as_ref();
        if moved {
            self.locator = OnceLock::new();
            match place {
                Some(place) => {
                    self.places.insert(name.clone(), place);
                }
                None => {
                    self.places.remove(name);
                }
            }
        }
        if facts
            .as_ref()
            .is_some_and(|f| f.shutting_down && !f.draining)
        {
            self.shutting_down.insert(name.clone());
        } else {
            self.shutting_down.remove(name);
        }
        match facts {
            Some(facts) => {
                let node = Node {
                    name: name.clone(),
                    labels: facts.labels,
                    network_unavailable: facts.network_unavailable,
                    excluded: facts.excluded,
                    out_of_service: facts.out_of_service,
                    draining: facts.draining || facts.shutting_down,
                    unheard: self.unheard.contains(name),
                    speaker: self.speaker(name),
                };
                self.by_name.insert(name.clone(), node);
            }
            None => {
                self.by_name.remove(name);
            }
        }
        moved
    }

    fn speaker(&self, name: &NodeName) -> Speaker {
        let known = self.speakers.get(name).cloned();
        known.unwrap_or_else(|| self.stranger())
    }

    /// The speaker of a node that nothing is known of.
    fn stranger(&self) -> Speaker {
        if self.grouped {
            Speaker::Down { last: None }
        } else {
            Speaker::default()
        }
    }

    /// What a speaker has said without a group; of no effect in one.
    pub(super) fn set_interfaces(&mut self, name: &NodeName, interfaces: Option<BTreeSet<String>>) {
        if self.grouped {
            return;
        }
        let speaker = Speaker::Unknown { interfaces };
        if let Some(node) = self.by_name.get_mut(name) {
            node.speaker.clone_from(&speaker);
        }
        if speaker == Speaker::default() {
            self.speakers.remove(name);
        } else {
            self.speakers.insert(name.clone(), speaker);
        }
    }

    /// The nodes whose interfaces are known, without a group.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&NodeName, &BTreeSet<String>)> {
        self.speakers
            .iter()
            .filter_map(|(name, speaker)| match speaker {
                Speaker::Unknown { interfaces } => Some((name, interfaces.as_ref()?)),
                _ => None,
            })
    }

    /// Takes over how the group looks from `me`. Returns the nodes that elections see differently
    /// now.
    pub(super) fn set_group(&mut self, me: &NodeName, view: &GroupView) -> Vec<Before> {
        let mut changed = Vec::new();
        if !self.grouped {
            self.grouped = true;
            self.speakers.clear();
        }
        self.speakers
            .retain(|name, _| name == me || view.members.contains_key(name));
        let known = self.speakers.get(me).and_then(Speaker::state);
        if known.is_none_or(|known| **known != view.me) {
            let mine = Speaker::Live(Arc::new(view.me.clone()));
            self.speakers.insert(me.clone(), mine);
        }
        for (name, member) in view.members.iter().filter(|(name, _)| *name != me) {
            let known = self.speakers.get(name);
            if !known.is_some_and(|known| is(known, member)) {
                self.speakers.insert(name.clone(), speaker_of(member));
            }
        }
        for (name, node) in &mut self.by_name {
            let down = Speaker::Down { last: None };
            let speaker = self.speakers.get(name).unwrap_or(&down);
            if node.speaker == *speaker {
                continue;
            }
            if !node.speaker.elects_like(speaker) {
                changed.push(Before {
                    name: name.clone(),
                    node: Some(node.clone()),
                });
            }
            node.speaker.clone_from(speaker);
        }
        changed
    }

    /// Returns the nodes of which it was otherwise before.
    pub(super) fn set_unheard(&mut self, unheard: BTreeSet<NodeName>) -> Vec<Before> {
        let before = std::mem::replace(&mut self.unheard, unheard);
        let mut changed = Vec::new();
        for name in before.symmetric_difference(&self.unheard) {
            if let Some(node) = self.by_name.get_mut(name) {
                changed.push(Before {
                    name: name.clone(),
                    node: Some(node.clone()),
                });
                node.unheard = self.unheard.contains(name);
            }
        }
        changed
    }

    /// The address that routers know a node by.
    pub(super) fn internal(&self, name: &NodeName) -> Option<Ipv4Addr> {
        self.places.get(name)?.internal
    }

    pub(super) fn has_address(&self, name: &NodeName, address: IpAddr) -> bool {
        let place = self.places.get(name);
        place.is_some_and(|place| place.addresses.contains(&address))
    }

    pub(super) fn missing(&self, present: &HashSet<NodeName>) -> Vec<NodeName> {
        self.by_name
            .keys()
            .filter(|n| !present.contains(*n))
            .cloned()
            .collect()
    }

    /// The node that has this address, or whose pods have it; `None` if several claim it.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<NodeName> {
        let locator = self.locator.get_or_init(|| {
            let mut locator = NodeLocator::default();
            for (name, place) in &self.places {
                let pods = place.pod_cidrs.iter().copied();
                locator.add(name, place.addresses.iter().copied(), pods);
            }
            locator
        });
        locator.locate(address).cloned()
    }
}

/// True if the speaker is just what the group says of the member.
fn is(speaker: &Speaker, member: &Member) -> bool {
    match (speaker, member.live, &member.state) {
        (Speaker::Live(known), true, Some(state))
        | (Speaker::Down { last: Some(known) }, false, Some(state)) => known == state,
        (Speaker::Joining, true, None) | (Speaker::Down { last: None }, false, None) => true,
        _ => false,
    }
}

fn speaker_of(member: &Member) -> Speaker {
    match (member.live, member.state.clone()) {
        (true, Some(state)) => Speaker::Live(state),
        (true, None) => Speaker::Joining,
        (false, last) => Speaker::Down { last },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(address: &str, pods: &str, length: u8) -> NodeFacts {
        let pods = Cidr::new(pods.parse().expect("valid"), length).expect("valid");
        NodeFacts {
            addresses: [address.parse().expect("valid")].into(),
            pod_cidrs: [pods].into(),
            ..NodeFacts::default()
        }
    }

    fn of(nodes: &Nodes, address: &str) -> Option<String> {
        let node = nodes.of_address(address.parse().expect("valid"));
        node.map(|node| node.to_string())
    }

    #[test]
    fn the_node_of_an_address_does_not_depend_on_what_came_first() {
        let (a, b) = (NodeName::from("a"), NodeName::from("b"));
        let (of_a, of_b) = (
            facts("192.0.2.1", "10.1.0.0", 16),
            facts("192.0.2.1", "10.1.2.0", 24),
        );
        for order in [[(&a, &of_a), (&b, &of_b)], [(&b, &of_b), (&a, &of_a)]] {
            let mut nodes = Nodes::default();
            for (name, facts) in order {
                assert!(nodes.set(name, Some(facts.clone())));
            }
            assert_eq!(of(&nodes, "192.0.2.1"), None, "both claim it");
            assert_eq!(of(&nodes, "10.1.2.3").as_deref(), Some("b"), "the longest");
            assert_eq!(of(&nodes, "10.1.3.3").as_deref(), Some("a"));
            // With one gone, the other still has it.
            assert!(nodes.set(&b, None));
            assert_eq!(of(&nodes, "192.0.2.1").as_deref(), Some("a"));
            assert_eq!(of(&nodes, "10.1.2.3").as_deref(), Some("a"));
            assert!(!nodes.set(&a, Some(of_a.clone())), "the same again");
        }
    }
}
