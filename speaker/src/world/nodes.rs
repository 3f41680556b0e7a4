//! The nodes, with what finds the node of an address.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::OnceLock;

use herald_announce::{Node, NodeLocator};
use herald_model::{Cidr, Labels, NodeName};

/// What a Node object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its labels.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is true.
    pub network_unavailable: bool,
    /// It is labelled to be left out, and that is not ignored.
    pub excluded: bool,
    /// The addresses of its status.
    pub addresses: BTreeSet<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: BTreeSet<Cidr>,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_name: BTreeMap<NodeName, Node>,
    places: BTreeMap<NodeName, (BTreeSet<IpAddr>, BTreeSet<Cidr>)>,
    /// Made from `places` when it is asked for the first time after they changed.
    locator: OnceLock<NodeLocator>,
    /// Also of nodes whose object is not known (yet).
    interfaces: HashMap<NodeName, BTreeSet<String>>,
}

impl Nodes {
    pub(super) fn get(&self, name: &NodeName) -> Option<&Node> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_name.values()
    }

    /// Returns true if addresses may belong to another node than before.
    pub(super) fn set(&mut self, name: &NodeName, facts: Option<NodeFacts>) -> bool {
        let place = facts
            .as_ref()
            .map(|f| (f.addresses.clone(), f.pod_cidrs.clone()));
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
        match facts {
            Some(facts) => {
                let node = Node {
                    name: name.clone(),
                    labels: facts.labels,
                    network_unavailable: facts.network_unavailable,
                    excluded: facts.excluded,
                    interfaces: self.interfaces.get(name).cloned(),
                };
                self.by_name.insert(name.clone(), node);
            }
            None => {
                self.by_name.remove(name);
            }
        }
        moved
    }

    pub(super) fn set_interfaces(&mut self, name: &NodeName, interfaces: Option<BTreeSet<String>>) {
        if let Some(node) = self.by_name.get_mut(name) {
            node.interfaces.clone_from(&interfaces);
        }
        match interfaces {
            Some(interfaces) => self.interfaces.insert(name.clone(), interfaces),
            None => self.interfaces.remove(name),
        };
    }

    pub(super) fn with_interfaces(&self) -> Vec<NodeName> {
        self.interfaces.keys().cloned().collect()
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
            for (name, (addresses, pod_cidrs)) in &self.places {
                locator.add(name, addresses.iter().copied(), pod_cidrs.iter().copied());
            }
            locator
        });
        locator.locate(address).cloned()
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
