//! The routes of a node: what its Services announce, put together by prefix.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use herald_model::{Cidr, ServiceKey};

use super::{Announcement, Attributes, Damper, Path, Peers, quantise};

mod pool;

use pool::Interned;

/// A route as one peer gets it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Announced {
    /// What it says, merged over all Services and advertisements that go to the peer.
    pub attributes: Attributes,
    /// Its weight among the routes of other nodes, to be sent as link bandwidth (see
    /// [`ExtendedCommunity::weight`](super::ExtendedCommunity::weight)). `None` if something in it
    /// is to have no weight, or the attributes have the link bandwidth themselves.
    pub weight: Option<u32>,
}

/// What is announced for a prefix. Equal values are shared between prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// For peers that are not in `named`; `None` if they do not get it.
    others: Option<Arc<Announced>>,
    /// For the peers that advertisements name.
    named: BTreeMap<String, Arc<Announced>>,
}

impl Route {
    /// What the peer of this name gets, if it gets the route at all.
    pub fn for_peer(&self, name: &str) -> Option<&Arc<Announced>> {
        self.named.get(name).or(self.others.as_ref())
    }
}

/// A prefix whose route is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The prefix.
    pub prefix: Cidr,
    /// Its route from now on; `None` if it is withdrawn.
    pub route: Option<Arc<Route>>,
}

/// The Services that a node announces and the routes that follow.
///
/// A change costs its own prefixes times the different [`Path`]s of each, however many Services have
/// a prefix in common.
#[derive(Debug, Default)]
pub struct Table {
    services: HashMap<ServiceKey, Announcement>,
    prefixes: BTreeMap<Cidr, Entry>,
    /// Prefixes to be looked at.
    marked: BTreeSet<Cidr>,
    /// Prefixes whose weight has to wait.
    waiting: BTreeSet<(Instant, Cidr)>,
    paths: Interned<Path>,
    announced: Interned<Announced>,
}

/// What is known of a prefix.
#[derive(Debug, Default)]
struct Entry {
    /// Each with the number of Services that have it.
    paths: BTreeMap<Arc<Path>, usize>,
    /// Of all Services, each counted once.
    endpoints: u64,
    damper: Damper,
    /// What was last told.
    told: Option<Arc<Route>>,
    waits_until: Option<Instant>,
}

impl Table {
    /// Nothing is announced.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the node announces for a Service is this from now on; `None` if nothing.
    pub fn set(&mut self, service: &ServiceKey, announcement: Option<Announcement>) {
        if self.services.get(service) == announcement.as_ref() {
            return;
        }
        if let Some(old) = self.services.remove(service) {
            self.subtract(&old);
        }
        if let Some(new) = announcement {
            self.add(&new);
            self.services.insert(service.clone(), new);
        }
    }

    /// What the node announces for a Service.
    pub fn get(&self, service: &ServiceKey) -> Option<&Announcement> {
        self.services.get(service)
    }

    /// The prefixes whose routes have changed since the last call, in ascending order. Ask again at
    /// [`next_timeout`](Self::next_timeout).
    pub fn take_changes(&mut self, now: Instant) -> Vec<Change> {
        while let Some((when, prefix)) = self.waiting.first().copied()
            && when <= now
        {
            self.waiting.pop_first();
            self.marked.insert(prefix);
        }
        let mut changes = Vec::new();
        for prefix in std::mem::take(&mut self.marked) {
            let Some(entry) = self.prefixes.get_mut(&prefix) else {
                continue;
            };
            if let Some(when) = entry.waits_until.take() {
                self.waiting.remove(&(when, prefix));
            }
            let route = entry.route(now, &mut self.announced).map(Arc::new);
            if let Some(when) = entry.waits_until {
                self.waiting.insert((when, prefix));
            }
            if entry.told != route {
                entry.told.clone_from(&route);
                changes.push(Change { prefix, route });
            }
            if entry.told.is_none() {
                self.prefixes.remove(&prefix);
            }
        }
        changes
    }

    /// When a weight changes that has to wait.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(when, _)| *when)
    }

    /// The routes as they were last told, in ascending order of their prefixes.
    pub fn routes(&self) -> impl Iterator<Item = (Cidr, &Arc<Route>)> {
        self.prefixes
            .iter()
            .filter_map(|(prefix, entry)| Some((*prefix, entry.told.as_ref()?)))
    }

    fn add(&mut self, announcement: &Announcement) {
        for (prefix, paths) in &announcement.routes {
            let entry = self.prefixes.entry(*prefix).or_default();
            entry.endpoints += u64::from(announcement.endpoints);
            for path in paths {
                *entry.paths.entry(self.paths.get(path)).or_default() += 1;
            }
            self.marked.insert(*prefix);
        }
    }

    fn subtract(&mut self, announcement: &Announcement) {
        for (prefix, paths) in &announcement.routes {
            let Some(entry) = self.prefixes.get_mut(prefix) else {
                continue;
            };
            let endpoints = u64::from(announcement.endpoints);
            entry.endpoints = entry.endpoints.saturating_sub(endpoints);
            for path in paths {
                if let Some(count) = entry.paths.get_mut(path) {
                    *count -= 1;
                    if *count == 0 {
                        entry.paths.remove(path);
                    }
                }
            }
            self.marked.insert(*prefix);
        }
    }
}

impl Entry {
    /// The route that the paths make, with the weight that may be shown at `now`.
    fn route(&mut self, now: Instant, announced: &mut Interned<Announced>) -> Option<Route> {
        if self.paths.is_empty() {
            self.damper = Damper::default();
            return None;
        }
        let weight = self.weight(now);
        let named: BTreeSet<&String> = self
            .paths
            .keys()
            .filter_map(|path| match &path.peers {
                Peers::All => None,
                Peers::Named(names) => Some(names),
            })
            .flatten()
            .collect();
        let to_all = |path: &&Arc<Path>| path.peers == Peers::All;
        let others = merge(self.paths.keys().filter(to_all), weight);
        let named = named.into_iter().filter_map(|name| {
            let to_peer = |path: &&Arc<Path>| path.peers.contain(name);
            let merged = merge(self.paths.keys().filter(to_peer), weight)?;
            Some((name.clone(), announced.get(&merged)))
        });
        let named = named.collect();
        Some(Route {
            others: others.map(|others| announced.get(&others)),
            named,
        })
    }

    /// The weight of the prefix, if any path wants one.
    fn weight(&mut self, now: Instant) -> Option<u32> {
        if !self.paths.keys().any(|path| path.weighted) {
            self.damper = Damper::default();
            return None;
        }
        let endpoints = u32::try_from(self.endpoints).unwrap_or(u32::MAX);
        let damped = self.damper.show(now, quantise(endpoints));
        self.waits_until = damped.again;
        Some(damped.weight)
    }
}

/// What the paths make together, if there are any.
fn merge<'a>(
    paths: impl Iterator<Item = &'a Arc<Path>> + Clone,
    weight: Option<u32>,
) -> Option<Announced> {
    let all_weighted = paths.clone().all(|path| path.weighted);
    let attributes = paths.map(|path| path.attributes.clone());
    let attributes = attributes.reduce(|one, other| one.merge(&other))?;
    let fixed = attributes.has_link_bandwidth();
    Some(Announced {
        attributes,
        weight: weight.filter(|_| all_weighted && !fixed),
    })
}
