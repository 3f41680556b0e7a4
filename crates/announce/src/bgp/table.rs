//! The routes of a node: what its Services announce, put together by prefix.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use herald_model::{Cidr, ServiceKey};

use super::{Announcement, Attributes, Damper, Path, Peers, quantise};

mod pool;
mod prefixes;

use pool::Interned;
use prefixes::{Entry, Mark, Prefixes};

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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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

    /// What the peers that advertisements name get, each its own.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Arc<Announced>)> {
        self.named.iter().map(|(name, of)| (name.as_str(), of))
    }

    /// What all other peers get, if they get the route at all.
    pub fn others(&self) -> Option<&Arc<Announced>> {
        self.others.as_ref()
    }

    /// The route of a node that is about to go, where `unaware` are the peers that must not notice:
    /// all others get it [to be passed over](Attributes::shut_gracefully).
    #[must_use]
    pub fn shut_gracefully(&self, unaware: &BTreeSet<String>) -> Self {
        let shut = |announced: &Arc<Announced>| {
            Arc::new(Announced {
                attributes: announced.attributes.clone().shut_gracefully(),
                weight: announced.weight,
            })
        };
        let mut route = Self {
            others: self.others.as_ref().map(shut),
            named: self.kept_for(unaware),
        };
        for (name, announced) in &self.named {
            let named = route.named.entry(name.clone());
            named.or_insert_with(|| shut(announced));
        }
        route
    }

    /// The route as these peers have it, withdrawn from all others; `None` if none of them has it.
    pub fn only_for(&self, peers: &BTreeSet<String>) -> Option<Self> {
        let named = self.kept_for(peers);
        let any = !named.is_empty();
        any.then_some(Self {
            others: None,
            named,
        })
    }

    fn kept_for(&self, peers: &BTreeSet<String>) -> BTreeMap<String, Arc<Announced>> {
        let kept = peers.iter();
        kept.filter_map(|name| Some((name.clone(), Arc::clone(self.for_peer(name)?))))
            .collect()
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
    services: HashMap<ServiceKey, Announcement, RandomState>,
    prefixes: Prefixes,
    /// Prefixes whose weight has to wait.
    waiting: BTreeSet<(Instant, Cidr)>,
    paths: Interned<Path>,
    told: Told,
}

/// What is shared between routes.
#[derive(Debug, Default)]
struct Told {
    announced: Interned<Announced>,
    routes: Interned<Route>,
    /// The route that a path alone makes. Neighbours mostly have the same path.
    last: Option<(Arc<Path>, Arc<Route>)>,
}

/// The weight of a prefix.
#[derive(Debug, Default)]
struct Weight {
    damper: Damper,
    waits_until: Option<Instant>,
}

impl Table {
    /// Nothing is announced.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the node announces for a Service is this from now on; `None` if nothing.
    pub fn set(&mut self, service: &ServiceKey, announcement: Option<Announcement>) {
        let Some(mut new) = announcement else {
            if let Some(old) = self.services.remove(service) {
                self.prefixes.subtract(&old, &Announcement::default());
            }
            return;
        };
        for (_, path) in &mut new.routes {
            *path = self.paths.share(path);
        }
        match self.services.get_mut(service) {
            Some(old) if *old == new => {}
            Some(place) => {
                self.prefixes.subtract(place, &new);
                self.prefixes.add(&new);
                *place = new;
            }
            None => {
                self.prefixes.add(&new);
                self.services.insert(service.clone(), new);
            }
        }
    }

    /// What the node announces for a Service.
    pub fn get(&self, service: &ServiceKey) -> Option<&Announcement> {
        self.services.get(service)
    }

    /// The prefixes whose routes have changed since the last call, withdrawals last. Ask again at
    /// [`next_timeout`](Self::next_timeout).
    pub fn take_changes(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(part) = self.take_part(now, usize::MAX) {
            changes.extend(part);
        }
        changes
    }

    /// A part of [`take_changes`](Self::take_changes) for which it looks at `most` prefixes at most;
    /// `None` if there are no changes left.
    pub fn take_part(&mut self, now: Instant, most: usize) -> Option<Vec<Change>> {
        while let Some((when, prefix)) = self.waiting.first().copied()
            && when <= now
        {
            self.waiting.pop_first();
            self.prefixes.mark(prefix);
        }
        let (looked, mark) = self.prefixes.take(most)?;
        Some(self.look(now, looked, mark))
    }

    /// The changes so far, without the withdrawals: a prefix that one Service no longer has may be
    /// one that another is about to get, and so they wait for [`take_part`](Self::take_part).
    pub fn take_routes(&mut self, now: Instant) -> Vec<Change> {
        let marked = self.prefixes.take_changed(usize::MAX);
        self.look(now, marked, Mark::Changed)
    }

    fn look(&mut self, now: Instant, prefixes: Vec<Cidr>, mark: Mark) -> Vec<Change> {
        let mut changes = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            let Place::Occupied(mut place) = self.prefixes.entry(prefix) else {
                continue;
            };
            let entry = place.get_mut();
            if entry.mark != mark {
                // It is told with the others of the other mark, or has been told.
                continue;
            }
            entry.mark = Mark::None;
            if let Some(when) = entry.waits_until() {
                self.waiting.remove(&(when, prefix));
            }
            let route = entry.route(now, &mut self.told);
            if let Some(when) = entry.waits_until() {
                self.waiting.insert((when, prefix));
            }
            let before = std::mem::replace(&mut entry.told, route.clone());
            if route.is_none() {
                place.remove();
            }
            if before != route {
                changes.push(Change { prefix, route });
            }
        }
        changes
    }

    /// When a weight changes that has to wait.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(when, _)| *when)
    }

    /// The routes as they were last told, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (Cidr, &Arc<Route>)> {
        self.prefixes
            .iter()
            .filter_map(|(prefix, entry)| Some((*prefix, entry.told.as_ref()?)))
    }
}

impl Entry {
    fn waits_until(&self) -> Option<Instant> {
        self.weight.as_ref()?.waits_until
    }

    /// The path that alone makes the route.
    fn only_path(&self) -> Option<&Arc<Path>> {
        match self.paths.as_slice() {
            [(path, _)] if !path.weighted && self.weight.is_none() => Some(path),
            _ => None,
        }
    }

    /// The route that the paths make, with the weight that may be shown at `now`.
    fn route(&mut self, now: Instant, told: &mut Told) -> Option<Arc<Route>> {
        let Some(only) = self.only_path() else {
            return self.merged(now, told);
        };
        if let Some((path, route)) = &told.last
            && Arc::ptr_eq(path, only)
        {
            return Some(Arc::clone(route));
        }
        let only = Arc::clone(only);
        let route = self.merged(now, told)?;
        told.last = Some((only, Arc::clone(&route)));
        Some(route)
    }

    fn merged(&mut self, now: Instant, told: &mut Told) -> Option<Arc<Route>> {
        let weight = self.weight(now);
        let paths = || self.paths.iter().map(|(path, _)| &**path);
        let named: BTreeSet<&String> = paths()
            .filter_map(|path| match &path.peers {
                Peers::All => None,
                Peers::Named(names) => Some(names),
            })
            .flatten()
            .collect();
        let others = paths().filter(|path| path.peers == Peers::All);
        let others = merge(others, weight).map(|others| told.announced.get(others));
        let named = named.into_iter().filter_map(|name| {
            let to_peer = paths().filter(|path| path.peers.contain(name));
            Some((name.clone(), told.announced.get(merge(to_peer, weight)?)))
        });
        let named = named.collect();
        let any = !self.paths.is_empty();
        any.then(|| told.routes.get(Route { others, named }))
    }

    /// The weight of the prefix, if any path wants one.
    fn weight(&mut self, now: Instant) -> Option<u32> {
        if !self.paths.iter().any(|(path, _)| path.weighted) {
            self.weight = None;
            return None;
        }
        let weight = self.weight.get_or_insert_default();
        let damped = weight.damper.show(now, quantise(self.endpoints));
        weight.waits_until = damped.again;
        Some(damped.weight)
    }
}

/// What the paths make together, if there are any.
fn merge<'a>(
    paths: impl Iterator<Item = &'a Path> + Clone,
    weight: Option<u32>,
) -> Option<Announced> {
    let all_weighted = paths.clone().all(|path| path.weighted);
    let all_ending = paths.clone().all(|path| path.ending);
    let attributes = paths.map(|path| path.attributes.clone());
    let attributes = attributes.reduce(|one, other| one.merge(&other))?;
    let attributes = if all_ending {
        attributes.shut_gracefully()
    } else {
        attributes
    };
    let fixed = attributes.has_link_bandwidth();
    Some(Announced {
        attributes,
        weight: weight.filter(|_| all_weighted && !fixed),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_endpoints(endpoints: u32) -> Announcement {
        let path = Path {
            peers: Peers::All,
            attributes: Attributes::default(),
            ending: false,
            weighted: true,
        };
        let prefix = "10.0.0.1/32".parse().expect("valid");
        Announcement {
            routes: vec![(prefix, Arc::new(path))],
            endpoints,
        }
    }

    /// The weight that is told, if there is a change.
    fn told(table: &mut Table, now: Instant) -> Option<u32> {
        let changes = table.take_changes(now);
        let route = changes.first()?.route.clone()?;
        route.for_peer("tor").expect("for all").weight
    }

    #[test]
    fn a_node_that_leaves_tells_all_but_those_that_must_not_notice() {
        let announced = |med| {
            let attributes = Attributes {
                med: Some(med),
                ..Attributes::default()
            };
            Arc::new(Announced {
                attributes,
                weight: None,
            })
        };
        let named = ["a", "b"].map(|name| (name.to_owned(), announced(1)));
        let route = Route {
            others: Some(announced(2)),
            named: named.into(),
        };
        let unaware: BTreeSet<String> = ["b", "c"].map(str::to_owned).into();
        let leaving = route.shut_gracefully(&unaware);
        let said = |name| {
            let announced = leaving.for_peer(name).expect("for all");
            let attributes = &announced.attributes;
            (attributes.med, attributes.local_pref)
        };
        assert_eq!(said("a"), (Some(1), Some(0)));
        assert_eq!(said("b"), (Some(1), None));
        assert_eq!(said("c"), (Some(2), None));
        assert_eq!(said("d"), (Some(2), Some(0)));

        let left = route.only_for(&unaware).expect("some keep it");
        assert_eq!(left.for_peer("b"), route.for_peer("b"));
        assert_eq!(left.for_peer("c"), route.for_peer("c"));
        assert_eq!((left.for_peer("a"), left.for_peer("d")), (None, None));
        let for_named = Route {
            others: None,
            ..route
        };
        assert_eq!(for_named.only_for(&["c".to_owned()].into()), None);
        assert_eq!(for_named.shut_gracefully(&unaware).for_peer("c"), None);
    }

    #[test]
    fn a_prefix_that_goes_over_to_another_service_is_never_withdrawn() {
        let now = Instant::now();
        let [one, other] = ["one", "other"].map(|name| ServiceKey::new("default", name));
        let mut table = Table::new();
        table.set(&one, Some(with_endpoints(4)));
        assert_eq!(table.take_routes(now).len(), 1);
        table.set(&one, None);
        assert!(table.take_routes(now).is_empty(), "somebody may get it");
        table.set(&other, Some(with_endpoints(4)));
        assert!(table.take_changes(now).is_empty(), "it is as it was");
        table.set(&other, None);
        assert!(table.take_routes(now).is_empty());
        let changes = table.take_part(now, 1).expect("nobody got it");
        assert!(matches!(&changes[..], [Change { route: None, .. }]));
        assert_eq!(table.take_part(now, 1), None);
    }

    #[test]
    fn a_weight_that_waits_is_told_in_time_and_one_that_returns_never() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let service = ServiceKey::new("default", "web");
        let mut table = Table::new();
        table.set(&service, Some(with_endpoints(4)));
        assert_eq!(told(&mut table, start), Some(4));

        table.set(&service, Some(with_endpoints(3)));
        assert_eq!(told(&mut table, after(1)), None);
        assert_eq!(table.next_timeout(), Some(after(5)));
        table.set(&service, Some(with_endpoints(2)));
        assert_eq!(told(&mut table, after(2)), None);
        assert_eq!(told(&mut table, after(5)), Some(2));
        assert_eq!(table.next_timeout(), None);

        table.set(&service, Some(with_endpoints(1)));
        assert_eq!(told(&mut table, after(6)), None);
        table.set(&service, Some(with_endpoints(2)));
        assert_eq!(told(&mut table, after(7)), None);
        assert_eq!(table.next_timeout(), None);

        // What is withdrawn does not wait, and nothing is left of it.
        table.set(&service, Some(with_endpoints(1)));
        assert_eq!(told(&mut table, after(8)), None);
        table.set(&service, None);
        let changes = table.take_changes(after(8));
        assert!(matches!(&changes[..], [Change { route: None, .. }]));
        assert_eq!(table.next_timeout(), None);
        assert_eq!(table.routes().count(), 0);
    }
}
