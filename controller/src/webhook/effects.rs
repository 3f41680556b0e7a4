//! What a change would do to Services that have addresses: the allocator and the advertisements are
//! asked with the configuration as it is and as it would be, and the answers are compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;

use herald_api::annotations::ALLOW_ADDRESS_LOSS;
use herald_api::config::admission::{self, Change, Object, Verdict};
use herald_api::config::{Config, Configurator, Resources};
use herald_api::slim::Service;
use herald_ipam::{Allocator, Request};
use herald_model::{LabelSelector, Labels, ServiceKey};

use crate::request;

/// How many Services are named; of the others there is a count.
const NAMED: usize = 3;

/// A Service and those of its addresses that something happens to.
type Touched = BTreeMap<ServiceKey, Vec<IpAddr>>;

/// What a change would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Addresses that Services would lose.
    lost: Touched,
    /// Addresses that nobody would announce any more.
    silenced: Touched,
}

impl Effects {
    /// What `change` would do to those of `services` that are of our class.
    pub(super) fn of(
        change: &Change,
        stored: &Resources,
        services: &[Service],
        class: &str,
    ) -> Self {
        let mut configurator = Configurator::default();
        let mut configured = |mut resources: Resources| {
            admission::trust_secrets(&mut resources);
            configurator.update(&resources).0
        };
        let before = configured(stored.clone());
        let after = configured(change.applied_to(stored));
        let ours = services
            .iter()
            .filter(|service| request::is_ours(service, class));
        let ours: Vec<_> = ours
            .filter_map(|service| Some((request::key(service)?, service)))
            .collect();
        let requests: BTreeMap<_, _> = ours
            .iter()
            .filter_map(|(key, service)| Some((key.clone(), request::read(key, service).request?)))
            .collect();

        let mut allocator = Allocator::new();
        let mut due: VecDeque<_> = allocator.set_pools(before.pools.clone()).into();
        allocator.restore(requests.values());
        due.extend(requests.keys().cloned());
        settle(&mut allocator, &requests, due);
        let had: Touched = requests
            .values()
            .map(|request| held(&allocator, request))
            .collect();
        let due = allocator.set_pools(after.pools.clone()).into();
        settle(&mut allocator, &requests, due);

        let announced_before = Announced::new(&before, &stored.nodes);
        let announced_after = Announced::new(&after, &stored.nodes);
        let mut effects = Self::default();
        for (key, service) in &ours {
            let Some(request) = requests.get(key) else {
                continue;
            };
            let labels = service.metadata.labels.clone().unwrap_or_default();
            let (_, kept) = held(&allocator, request);
            let had = had.get(key).map(Vec::as_slice).unwrap_or_default();
            let (kept, lost): (Vec<_>, Vec<_>) =
                had.iter().copied().partition(|it| kept.contains(it));
            let silenced: Vec<_> = kept
                .into_iter()
                .filter(|it| announced_before.has(&before, *it, &labels))
                .filter(|it| !announced_after.has(&after, *it, &labels))
                .collect();
            for (found, all) in [(lost, &mut effects.lost), (silenced, &mut effects.silenced)] {
                if !found.is_empty() {
                    all.insert(key.clone(), found);
                }
            }
        }
        effects
    }

    /// Adds to a verdict what the author of the change should know, or has to confirm.
    pub(super) fn add_to(&self, verdict: &mut Verdict, object: &Object) {
        let (kind, name) = (object.kind(), object.name());
        if !self.lost.is_empty() {
            let text = format!(
                "{kind} {name:?}: this takes the address from {}",
                services(&self.lost)
            );
            let annotations = object.meta().annotations.as_ref();
            let allowed = annotations.and_then(|all| all.get(ALLOW_ADDRESS_LOSS));
            if allowed.is_some_and(|value| value == "true") {
                verdict.warnings.push(text);
            } else {
                verdict.errors.push(format!(
                    "{text}; to do it all the same, set the annotation {ALLOW_ADDRESS_LOSS}: \
                     \"true\" on the {kind}"
                ));
            }
        }
        if !self.silenced.is_empty() {
            verdict.warnings.push(format!(
                "{kind} {name:?}: this leaves {} with no announcer: no advertisement covers it on any \
                 node",
                services(&self.silenced)
            ));
        }
    }
}

/// Converges until nobody waits for what another let go.
fn settle(
    allocator: &mut Allocator,
    requests: &BTreeMap<ServiceKey, Request>,
    mut due: VecDeque<ServiceKey>,
) {
    while let Some(key) = due.pop_front() {
        if let Some(request) = requests.get(&key) {
            due.extend(allocator.converge(request).revisit);
        }
    }
}

/// The addresses that the Service has now and may keep.
fn held(allocator: &Allocator, request: &Request) -> (ServiceKey, Vec<IpAddr>) {
    let assignment = allocator.assignment(&request.service);
    let assigned = assignment.map(|it| it.addresses).unwrap_or_default();
    let mut addresses = request.current.clone();
    addresses.retain(|address| assigned.contains(address));
    (request.service.clone(), addresses)
}

/// For each pool the service selectors of the advertisements that some node announces by.
struct Announced<'a>(BTreeMap<&'a str, Vec<&'a [LabelSelector]>>);

impl<'a> Announced<'a> {
    fn new(config: &'a Config, nodes: &BTreeMap<String, Labels>) -> Self {
        let mut by_pool: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (pool, advertisements) in &config.l2_advertisements {
            let by = advertisements.iter().filter(|advertisement| {
                let mut nodes = nodes.values();
                nodes.any(|node| matches(&advertisement.node_selectors, node))
            });
            let selectors = by.map(|advertisement| advertisement.service_selectors.as_slice());
            by_pool.entry(pool.as_str()).or_default().extend(selectors);
        }
        for (pool, advertisements) in &config.bgp_advertisements {
            let by = advertisements.iter().filter(|advertisement| {
                let peers = || {
                    let peers = config.bgp_peers.iter();
                    peers.filter(|peer| advertisement.peers.contain(&peer.name))
                };
                nodes.values().any(|node| {
                    matches(&advertisement.node_selectors, node)
                        && peers().any(|peer| matches(&peer.node_selectors, node))
                })
            });
            let selectors = by.map(|advertisement| advertisement.service_selectors.as_slice());
            by_pool.entry(pool.as_str()).or_default().extend(selectors);
        }
        Self(by_pool)
    }

    fn has(&self, config: &Config, address: IpAddr, labels: &Labels) -> bool {
        let pool = config.pool_of(address);
        let selectors = pool.and_then(|pool| self.0.get(pool.name.as_str()));
        selectors.is_some_and(|all| all.iter().any(|selectors| matches(selectors, labels)))
    }
}

/// True if one of the selectors matches, or there is none.
fn matches(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

fn services(touched: &Touched) -> String {
    let count = touched.len();
    let mut text = match count {
        1 => "the Service ".to_owned(),
        _ => format!("{count} Services: "),
    };
    for (number, (key, addresses)) in touched.iter().take(NAMED).enumerate() {
        let addresses: BTreeSet<_> = addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
        let comma = if number == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{key} ({addresses})");
    }
    if count > NAMED {
        let _ = write!(text, " and {} more", count - NAMED);
    }
    text
}

#[cfg(test)]
mod tests;
