//! What the world is made of, to be kept on disk for a start without the API.

use std::collections::BTreeSet;

use herald_model::{NodeName, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{EndpointFacts, NodeFacts, PoolFacts, ServiceFacts, SliceKey, World};

/// All facts of a [`World`] that come from the API. The group is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The Services, without endpoints; sorted by key.
    pub services: Vec<ServiceFacts>,
    /// The slices with their Services; sorted by key.
    pub slices: Vec<(SliceKey, ServiceKey, Vec<EndpointFacts>)>,
    /// The nodes.
    pub nodes: Vec<(NodeName, NodeFacts)>,
    /// The interfaces that speakers published, as far as there is no group; sorted by node.
    pub interfaces: Vec<(NodeName, BTreeSet<String>)>,
    /// The pools with their advertisements.
    pub pools: Vec<PoolFacts>,
}

impl World {
    /// All that is known, in an order that depends on nothing else.
    pub fn export(&self) -> Saved {
        let mut services: Vec<_> = self
            .services
            .values()
            .map(|entry| {
                let mut facts = entry.facts.clone();
                facts.service.endpoints = Vec::new();
                facts
            })
            .collect();
        services.sort_unstable_by(|one, other| one.service.key.cmp(&other.service.key));
        let mut slices: Vec<_> = self
            .slices
            .facts()
            .map(|(slice, service, endpoints)| (slice.clone(), service.clone(), endpoints.clone()))
            .collect();
        slices.sort_unstable();
        let interfaces = self.nodes.interfaces();
        let mut interfaces: Vec<_> = interfaces
            .map(|(name, interfaces)| (name.clone(), interfaces.clone()))
            .collect();
        interfaces.sort_unstable();
        Saved {
            services,
            slices,
            nodes: self.nodes.facts().collect(),
            interfaces,
            pools: self.pools.facts().cloned().collect(),
        }
    }

    /// Takes over what was saved, in addition to what is known. Lists that come from the API later
    /// replace it as they replace what an earlier list said.
    pub fn import(&mut self, saved: Saved) {
        self.set_pools(saved.pools);
        for (name, facts) in saved.nodes {
            self.set_node(&name, Some(facts));
        }
        for (name, interfaces) in saved.interfaces {
            self.set_interfaces(&name, Some(interfaces));
        }
        for (slice, service, endpoints) in saved.slices {
            self.set_slice(&slice, Some((service, endpoints)));
        }
        for facts in saved.services {
            let key = facts.service.key.clone();
            self.set_service(&key, Some(facts));
        }
    }
}
