//! What the speaker knows of the cluster, and what follows from it for each Service.
//!
//! ```text
//!   services · slices · nodes · pools+advertisements · group (or interfaces) · unheard
//!        └────────────────────────────── set_… ──────────────────────────────┘
//!                        │  marks the Services that depend on what changed
//!                        ▼
//!        take_outcomes() (layer 2), take_announcements() (BGP)
//! ```
//!
//! No I/O, no clock. An input that changes nothing marks nothing, and one that does marks only what
//! depends on it: a slice its Service, an advertisement the Services of its pools, a node those
//! whose owner it is or becomes, and those that this node owns; and with a Service those that share
//! an address with it, because they have to agree on one owner.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use herald_announce::{Decision, Endpoint, Node, Reason, Service, agree, decide};
use herald_model::{GroupView, NodeName, ServiceKey};
use serde::{Deserialize, Serialize};

mod announcements;
mod marks;
mod nodes;
mod pools;
mod saved;
mod sharers;
mod slices;
mod view;

pub use announcements::{NoRoute, Sessions};
pub use nodes::NodeFacts;
pub use pools::PoolFacts;
pub use saved::Saved;
pub use slices::{EndpointFacts, SliceKey};

use announcements::Bgp;
use nodes::{Before, Nodes};
use pools::Pools;
use sharers::Sharers;
use slices::Slices;

/// What a Service of type `LoadBalancer` of our class says; its endpoints come from slices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// The Service with `endpoints` empty. `addresses` may be empty.
    pub service: Service,
    /// The object's UID, for references to it.
    pub uid: String,
}

/// What follows for a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is none that is to be announced.
    NotOurs(NotOurs),
    /// The election's result.
    Decided(Decision),
}

impl Outcome {
    /// The node that announces the Service.
    pub fn owner(&self) -> Option<&NodeName> {
        match self {
            Self::NotOurs(_) => None,
            Self::Decided(decision) => decision.owner().map(|owner| &owner.node),
        }
    }
}

/// Why a Service is not up for election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Deleted, not of type `LoadBalancer`, or of another class.
    #[error("it is deleted, not of type LoadBalancer, or of another class")]
    NotLoadBalancer,
    /// Its status has no address.
    #[error("its status has no IP address")]
    NoAddress,
    /// No pool has all its addresses.
    #[error("no IPAddressPool contains its addresses")]
    NoPool,
}

impl NotOurs {
    /// The reason as one word, as MetalLB's logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotLoadBalancer => "notLoadBalancer",
            Self::NoAddress => "noIPAllocated",
            Self::NoPool => "ipNotInPool",
        }
    }
}

#[derive(Debug)]
struct Entry {
    facts: ServiceFacts,
    pool: Option<String>,
    /// Some outcome was taken; if not, it is marked.
    decided: bool,
    /// The owner by the last outcome that was taken.
    owner: Option<NodeName>,
}

/// Everything that decisions are made from.
#[derive(Debug, Default)]
pub struct World {
    services: HashMap<ServiceKey, Entry>,
    by_pool: HashMap<String, HashSet<ServiceKey>>,
    sharers: Sharers,
    slices: Slices,
    nodes: Nodes,
    pools: Pools,
    /// This node, once there is a group.
    me: Option<NodeName>,
    dirty: BTreeSet<ServiceKey>,
    bgp: Bgp,
}

impl World {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, as the node `me` sees it: only then there are announcements.
    pub fn on(me: NodeName) -> Self {
        Self {
            bgp: Bgp::on(me),
            ..Self::default()
        }
    }

    /// A Service is new or changed, or is not (or no longer) one of ours.
    pub fn set_service(&mut self, key: &ServiceKey, facts: Option<ServiceFacts>) {
        let Some(mut facts) = facts else {
            if let Some(entry) = self.services.remove(key) {
                self.unlink(key, entry.pool.as_deref());
                self.part(key, &entry.facts.service.addresses);
                self.mark(key);
            }
            return;
        };
        facts.service.endpoints = self.endpoints(key);
        if self.services.get(key).is_some_and(|e| e.facts == facts) {
            return;
        }
        if let Some(old) = self.services.remove(key) {
            self.unlink(key, old.pool.as_deref());
            self.part(key, &old.facts.service.addresses);
        }
        let pool = self.pools.of(&facts.service.addresses).map(str::to_owned);
        self.link(key, pool.as_deref());
        self.sharers.add(key, &facts.service.addresses);
        let entry = Entry {
            facts,
            pool,
            decided: false,
            owner: None,
        };
        self.services.insert(key.clone(), entry);
        self.mark(key);
    }

    /// The Services known are these; all others are gone.
    pub fn retain_services(&mut self, present: &HashSet<ServiceKey>) {
        let gone: Vec<_> = self
            .services
            .keys()
            .filter(|k| !present.contains(*k))
            .cloned()
            .collect();
        for key in gone {
            self.set_service(&key, None);
        }
    }

    /// A slice is new, changed or gone.
    pub fn set_slice(&mut self, slice: &SliceKey, facts: Option<(ServiceKey, Vec<EndpointFacts>)>) {
        for service in self.slices.set(slice, facts) {
            self.refresh_endpoints(&service);
        }
    }

    /// The slices known are these; all others are gone.
    pub fn retain_slices(&mut self, present: &HashSet<SliceKey>) {
        for slice in self.slices.missing(present) {
            self.set_slice(&slice, None);
        }
    }

    /// A node is new, changed or gone.
    pub fn set_node(&mut self, name: &NodeName, facts: Option<NodeFacts>) {
        let before = self.before(name);
        let moved = self.nodes.set(name, facts);
        self.own_node_may_have_changed(name);
        self.nodes_changed(&[before]);
        if moved {
            // Endpoints without nodeName may be on another node now.
            for service in self.slices.without_node() {
                self.refresh_endpoints(&service);
            }
        }
    }

    /// The nodes known are these; all others are gone.
    pub fn retain_nodes(&mut self, present: &HashSet<NodeName>) {
        for name in self.nodes.missing(present) {
            self.set_node(&name, None);
        }
    }

    /// The interfaces that a node's speaker announces on; `None` if it has not said. For speakers
    /// that are no group: of no effect after [`set_group`](Self::set_group).
    pub fn set_interfaces(&mut self, name: &NodeName, interfaces: Option<BTreeSet<String>>) {
        let before = self.before(name);
        self.nodes.set_interfaces(name, interfaces);
        self.nodes_changed(&[before]);
    }

    /// The nodes whose interfaces are known, without a group.
    pub fn nodes_with_interfaces(&self) -> Vec<NodeName> {
        self.nodes
            .interfaces()
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How the group looks from the node `me`, which is a live member of it. From now on a node
    /// that is no live member announces nothing. A member without a Node object is no candidate.
    pub fn set_group(&mut self, me: &NodeName, view: &GroupView) {
        if self.me.as_ref() != Some(me) {
            self.me = Some(me.clone());
        }
        let changed = self.nodes.set_group(me, view);
        self.nodes_changed(&changed);
    }

    /// The nodes that most of those who listen for them on the LAN do not hear: they announce
    /// only what no node can that is heard.
    pub fn set_not_heard(&mut self, nodes: BTreeSet<NodeName>) {
        let changed = self.nodes.set_unheard(nodes);
        self.nodes_changed(&changed);
    }

    /// What elections see of a node, if its object is known.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// All pools with their advertisements.
    pub fn set_pools(&mut self, pools: Vec<PoolFacts>) {
        let changed = self.pools.set(pools);
        for pool in &changed.advertisements {
            if let Some(services) = self.by_pool.get(pool) {
                self.dirty.extend(services.iter().cloned());
            }
        }
        for pool in &changed.bgp_advertisements {
            if let Some(services) = self.by_pool.get(pool) {
                self.bgp.mark(services);
            }
        }
        if !changed.addresses {
            return;
        }
        let moved: Vec<_> = self
            .services
            .iter()
            .filter_map(|(key, entry)| {
                let pool = self.pools.of(&entry.facts.service.addresses);
                (pool != entry.pool.as_deref()).then(|| (key.clone(), pool.map(str::to_owned)))
            })
            .collect();
        for (key, pool) in moved {
            self.link(&key, pool.as_deref());
            if let Some(entry) = self.services.get_mut(&key) {
                let old = std::mem::replace(&mut entry.pool, pool);
                self.unlink(&key, old.as_deref());
            }
            self.mark(&key);
        }
    }

    /// The Services whose outcome may have changed since the last call, with their outcomes.
    /// Services that share an address come together. In a group an outcome may change without
    /// being told where it says nothing new of the owner, nor of the node of
    /// [`set_group`](Self::set_group): in what it says of other nodes that are not the owner.
    pub fn take_outcomes(&mut self) -> Vec<(ServiceKey, Outcome)> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut outcomes = Vec::with_capacity(dirty.len());
        while let Some(key) = dirty.pop_first() {
            for (key, outcome) in self.outcomes_around(&key) {
                dirty.remove(&key);
                if let Some(entry) = self.services.get_mut(&key) {
                    entry.decided = true;
                    entry.owner = outcome.owner().cloned();
                }
                outcomes.push((key, outcome));
            }
        }
        outcomes
    }

    /// The outcomes of a Service and of all that are connected to it by common addresses.
    fn outcomes_around(&self, key: &ServiceKey) -> Vec<(ServiceKey, Outcome)> {
        let group = self.sharers.group(key, |key| self.addresses(key));
        let mut outcomes: Vec<_> = group
            .into_iter()
            .map(|key| {
                let outcome = self.outcome_alone(&key);
                (key, outcome)
            })
            .collect();
        if outcomes.len() > 1 {
            let mut sharers: Vec<_> = outcomes
                .iter_mut()
                .filter_map(|(key, outcome)| match outcome {
                    Outcome::Decided(decision) => Some((key.clone(), decision)),
                    Outcome::NotOurs(_) => None,
                })
                .collect();
            agree(&mut sharers);
        }
        outcomes
    }

    /// What follows for a Service from all that is known, were it the only one of its addresses.
    fn outcome_alone(&self, key: &ServiceKey) -> Outcome {
        let Some(entry) = self.services.get(key) else {
            return Outcome::NotOurs(NotOurs::NotLoadBalancer);
        };
        let service = &entry.facts.service;
        if service.addresses.is_empty() {
            return Outcome::NotOurs(NotOurs::NoAddress);
        }
        let Some(pool) = &entry.pool else {
            return Outcome::NotOurs(NotOurs::NoPool);
        };
        Outcome::Decided(decide(
            service,
            self.pools.advertisements(pool),
            self.nodes.iter(),
        ))
    }

    fn addresses(&self, key: &ServiceKey) -> &[IpAddr] {
        self.services
            .get(key)
            .map_or(&[], |entry| &entry.facts.service.addresses)
    }

    /// A Service lets go of these addresses; those that shared them may now decide otherwise.
    fn part(&mut self, key: &ServiceKey, addresses: &[IpAddr]) {
        self.sharers.remove(key, addresses);
        self.dirty.extend(self.sharers.of(addresses).cloned());
    }

    /// What is known of a Service.
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceFacts> {
        self.services.get(key).map(|entry| &entry.facts)
    }

    fn refresh_endpoints(&mut self, key: &ServiceKey) {
        let now = self.endpoints(key);
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        if entry.facts.service.endpoints == now {
            return;
        }
        let same_kinds = kinds(&entry.facts.service.endpoints) == kinds(&now);
        entry.facts.service.endpoints = now;
        if same_kinds {
            // Elections do not count them.
            self.bgp.mark([key]);
        } else {
            self.mark(key);
        }
    }

    fn endpoints(&self, key: &ServiceKey) -> Vec<Endpoint> {
        self.slices.endpoints(key, &self.nodes, self.bgp.me())
    }

    /// Something of the Service itself changed.
    fn mark(&mut self, key: &ServiceKey) {
        self.dirty.insert(key.clone());
        self.bgp.mark([key]);
    }

    fn before(&self, name: &NodeName) -> Before {
        Before {
            name: name.clone(),
            node: self.nodes.get(name).cloned(),
        }
    }

    fn link(&mut self, key: &ServiceKey, pool: Option<&str>) {
        if let Some(pool) = pool {
            self.by_pool
                .entry(pool.to_owned())
                .or_default()
                .insert(key.clone());
        }
    }

    fn unlink(&mut self, key: &ServiceKey, pool: Option<&str>) {
        if let Some(pool) = pool
            && let Some(services) = self.by_pool.get_mut(pool)
        {
            services.remove(key);
            if services.is_empty() {
                self.by_pool.remove(pool);
            }
        }
    }
}

/// The kinds of endpoints there are, however many of each.
fn kinds(endpoints: &[Endpoint]) -> BTreeSet<(Option<&NodeName>, [bool; 3])> {
    let kinds = endpoints.iter().map(|endpoint| {
        let conditions = [endpoint.ready, endpoint.serving, endpoint.terminating];
        (endpoint.node.as_ref(), conditions)
    });
    kinds.collect()
}

/// The addresses of a Service that this node announces, with where; or why it does not.
pub fn verdict(outcome: &Outcome, me: &NodeName) -> Result<herald_announce::Interfaces, Why> {
    match outcome {
        Outcome::NotOurs(why) => Err(Why::NotOurs(*why)),
        Outcome::Decided(decision) => decision.for_node(me).cloned().map_err(Why::Decision),
    }
}

/// Why this node does not announce a Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The Service is not up for election.
    #[error(transparent)]
    NotOurs(NotOurs),
    /// The election's reason.
    #[error(transparent)]
    Decision(Reason),
}

impl Why {
    /// The reason as one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotOurs(why) => why.name(),
            Self::Decision(reason) => reason.name(),
        }
    }
}

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod tests;
