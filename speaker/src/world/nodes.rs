//! The nodes, with what finds the node of an address.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use herald_announce::Node;
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
    by_address: HashMap<IpAddr, NodeName>,
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
            self.by_address.retain(|_, node| node != name);
            match place {
                Some(place) => {
                    self.by_address
                        .extend(place.0.iter().map(|a| (*a, name.clone())));
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

    /// The node that has this address, or whose pods have it.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<NodeName> {
        if let Some(node) = self.by_address.get(&address) {
            return Some(node.clone());
        }
        self.places
            .iter()
            .find(|(_, (_, cidrs))| cidrs.iter().any(|cidr| cidr.contains(address)))
            .map(|(name, _)| name.clone())
    }
}
