//! The endpoints of `EndpointSlices`, kept by Service.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use herald_announce::Endpoint;
use herald_model::{IpFamily, NodeName, ServiceKey};
use serde::{Deserialize, Serialize};

use super::nodes::Nodes;

/// An `EndpointSlice`: namespace and name.
pub type SliceKey = (Arc<str>, Arc<str>);

/// An endpoint as far as announcing cares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// `nodeName`.
    pub node: Option<NodeName>,
    /// Its addresses, only if `node` is unknown or this one: its own endpoints a node counts.
    pub addresses: Vec<IpAddr>,
    /// Condition `ready`; absent counts as true.
    pub ready: bool,
    /// Condition `serving`; absent counts as `ready`.
    pub serving: bool,
    /// Condition `terminating`; absent counts as false.
    pub terminating: bool,
}

/// Where an endpoint is, and whether it is ready, serving, terminating.
type Kind = (Option<NodeName>, bool, bool, bool);

/// How much an endpoint is good for, as elections and weights see it.
fn use_of((_, ready, serving, terminating): &Kind) -> u8 {
    match (ready, serving, terminating) {
        (true, _, false) => 2,
        (true, ..) | (_, true, _) => 1,
        _ => 0,
    }
}

#[derive(Debug, Default)]
pub(super) struct Slices {
    service_of: HashMap<SliceKey, ServiceKey>,
    by_service: HashMap<ServiceKey, BTreeMap<SliceKey, Vec<EndpointFacts>>>,
    /// Services with an endpoint whose node has to be found.
    without_node: HashSet<ServiceKey>,
    names: HashSet<NodeName>,
}

impl Slices {
    /// Returns the Services whose endpoints may be others than before.
    pub(super) fn set(
        &mut self,
        slice: &SliceKey,
        facts: Option<(ServiceKey, Vec<EndpointFacts>)>,
    ) -> Vec<ServiceKey> {
        let old = self.service_of.get(slice).cloned();
        let new = facts.as_ref().map(|(service, _)| service.clone());
        let mut touched = Vec::new();
        if let Some(old) = old
            && Some(&old) != new.as_ref()
        {
            self.service_of.remove(slice);
            if let Some(slices) = self.by_service.get_mut(&old) {
                slices.remove(slice);
                if slices.is_empty() {
                    self.by_service.remove(&old);
                }
            }
            self.index_without_node(&old);
            touched.push(old);
        }
        if let Some((service, mut endpoints)) = facts {
            for endpoint in &mut endpoints {
                endpoint.node = endpoint.node.take().map(|name| self.intern(name));
            }
            // A hundred endpoints on one node say no more than one.
            endpoints.sort_unstable();
            endpoints.dedup();
            endpoints.shrink_to_fit();
            self.service_of.insert(slice.clone(), service.clone());
            let slices = self.by_service.entry(service.clone()).or_default();
            slices.insert(slice.clone(), endpoints);
            self.index_without_node(&service);
            touched.push(service);
        }
        touched
    }

    pub(super) fn facts(
        &self,
    ) -> impl Iterator<Item = (&SliceKey, &ServiceKey, &Vec<EndpointFacts>)> {
        self.by_service.iter().flat_map(|(service, slices)| {
            let slices = slices.iter();
            slices.map(move |(slice, endpoints)| (slice, service, endpoints))
        })
    }

    pub(super) fn missing(&self, present: &HashSet<SliceKey>) -> Vec<SliceKey> {
        self.service_of
            .keys()
            .filter(|k| !present.contains(*k))
            .cloned()
            .collect()
    }

    pub(super) fn without_node(&self) -> Vec<ServiceKey> {
        self.without_node.iter().cloned().collect()
    }

    /// The endpoints of a Service, with their nodes found where the slice names none: each kind
    /// once, but all that there are on the node `me`. Those that have addresses of both families
    /// count once, unless the families differ in what they say; and so do those that are in several
    /// slices, as what the best of them says: an endpoint that moves from slice to slice is in two
    /// for a moment, and the slices of different ports may have the same endpoints.
    pub(super) fn endpoints(
        &self,
        service: &ServiceKey,
        nodes: &Nodes,
        me: Option<&NodeName>,
    ) -> Vec<Endpoint> {
        let slices = self.by_service.get(service);
        let all = slices.into_iter().flat_map(BTreeMap::values).flatten();
        let mut distinct = BTreeSet::new();
        let mut own = BTreeMap::<_, BTreeMap<_, Kind>>::new();
        for facts in all {
            let mut addresses = facts.addresses.iter();
            let node = facts.node.clone();
            let node = node.or_else(|| addresses.find_map(|address| nodes.of_address(*address)));
            let kind = (node, facts.ready, facts.serving, facts.terminating);
            match facts.addresses.first() {
                Some(address) if kind.0.is_some() && kind.0.as_ref() == me => {
                    let of_family = own.entry(IpFamily::of(*address)).or_default();
                    let known = of_family.entry(*address).or_insert_with(|| kind.clone());
                    if use_of(&kind) > use_of(known) {
                        // Other nodes see the lesser word too, and what they make of it is the same.
                        *known = kind;
                    }
                }
                _ => {
                    distinct.insert(kind);
                }
            }
        }
        let mut families: Vec<_> = own.into_values().collect();
        families.sort_by_key(BTreeMap::len);
        let most = families.pop().unwrap_or_default();
        // What only the other family has: other nodes see it too, and the election must be the same.
        let others = families.into_iter().flat_map(BTreeMap::into_values);
        let mut others: BTreeSet<_> = others.collect();
        others.retain(|kind| most.values().all(|counted| counted != kind));
        let endpoints = distinct.into_iter().chain(others).chain(most.into_values());
        endpoints
            .map(|(node, ready, serving, terminating)| Endpoint {
                node,
                ready,
                serving,
                terminating,
            })
            .collect()
    }

    fn index_without_node(&mut self, service: &ServiceKey) {
        let any = self
            .by_service
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .any(|endpoint| endpoint.node.is_none());
        if any {
            self.without_node.insert(service.clone());
        } else {
            self.without_node.remove(service);
        }
    }

    /// One copy of each name, however many endpoints are on the node.
    fn intern(&mut self, name: NodeName) -> NodeName {
        if let Some(known) = self.names.get(&name) {
            return known.clone();
        }
        self.names.insert(name.clone());
        name
    }
}
