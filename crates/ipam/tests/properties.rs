//! Random histories: what holds after every one of them, whatever the order.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

mod generate;
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use herald_ipam::{Allocator, Decision, FamilyPolicy, Notice, Outcome, Pool, Request, Usage};
use herald_model::{IpFamily, ServiceKey};
use proptest::prelude::*;

use crate::generate::{Step, claims, key, pools, request, step};

/// A caller of the allocator, with what the API server would hold.
#[derive(Default)]
struct World {
    allocator: Allocator,
    pools: Vec<Pool>,
    services: BTreeMap<ServiceKey, Request>,
    outcomes: BTreeMap<ServiceKey, Outcome>,
    revisit: BTreeSet<ServiceKey>,
}

impl World {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Pools(pools) => self.set_pools(pools),
            Step::Edit(pools) => {
                self.pools.clone_from(&pools);
                self.revisit.extend(self.allocator.set_pools(pools));
            }
            Step::Update(request) => {
                let service = request.service.clone();
                self.services.insert(service.clone(), *request);
                self.converge(&service);
            }
            Step::Release(service) => {
                self.services.remove(&service);
                self.outcomes.remove(&service);
                self.revisit.remove(&service);
                let revisit = self.allocator.release(&service);
                self.revisit.extend(revisit);
            }
            Step::Revisit(index) => {
                if !self.revisit.is_empty() {
                    let all: Vec<_> = self.revisit.iter().cloned().collect();
                    self.converge(index.get(&all));
                }
            }
            Step::Restart(index) => {
                self.settle();
                let before = self.outcomes.clone();
                self.restart(index.index(1 << 16));
                assert_eq!(self.assignments(), assignments(&before), "after a restart");
            }
        }
        self.check_sharing();
        self.check_usage();
        if self.revisit.is_empty() {
            self.check_settled();
        }
    }

    fn book(&self) -> reference::Book {
        let held = |service: &ServiceKey| {
            let assignment = self.allocator.assignment(service);
            assignment.map(|assignment| assignment.addresses)
        };
        let services = self.services.iter();
        services
            .filter_map(|(service, request)| {
                Some((service.clone(), (request.clone(), held(service)?)))
            })
            .collect()
    }

    fn assignments(&self) -> BTreeMap<ServiceKey, Vec<IpAddr>> {
        assignments(&self.outcomes)
    }

    /// Converges a Service and compares with the reference where the Service held nothing.
    fn converge(&mut self, service: &ServiceKey) -> Decision {
        self.revisit.remove(service);
        let request = &self.services[service];
        let book = self.book();
        let expected =
            (!book.contains_key(service)).then(|| reference::select(&self.pools, &book, request));
        let decision = self.allocator.converge(request);
        if let Some(expected) = expected {
            let expected_addresses = expected.map(|(pool, mut addresses)| {
                let first = addresses[0];
                let additional = reference::additional(&self.pools, &book, request, first);
                assert!(
                    addresses.len() == 2 || request.families.len() < 2 || additional.is_none(),
                    "a second family of the same pool"
                );
                if request.addresses.is_empty() {
                    addresses.sort();
                }
                (pool, addresses)
            });
            let got = match &decision.outcome {
                Outcome::Assigned(got) => Some((got.pool.clone(), got.addresses.clone())),
                Outcome::Pending(_) => None,
            };
            assert_eq!(got, expected_addresses, "{request:?}\n{book:?}");
        }
        self.outcomes
            .insert(service.clone(), decision.outcome.clone());
        self.revisit.extend(decision.revisit.iter().cloned());
        decision
    }

    fn settle(&mut self) {
        let mut left = 1000;
        while let Some(service) = self.revisit.first().cloned() {
            self.converge(&service);
            left -= 1;
            assert!(left > 0, "Services are revisited for ever");
        }
    }

    /// Replaces the pools; what they still contain must stay.
    fn set_pools(&mut self, pools: Vec<Pool>) {
        self.settle();
        let before = self.book();
        self.pools.clone_from(&pools);
        self.revisit.extend(self.allocator.set_pools(pools));
        self.settle();
        for (service, (request, addresses)) in before {
            let pool_now = |address| {
                reference::pool_of(&self.pools, address)
                    .filter(|pool| reference::admits(pool, &request))
                    .filter(|pool| request.pool.as_ref().is_none_or(|p| *p == pool.name))
                    .map(|pool| &pool.name)
            };
            let allowed: Vec<_> = addresses
                .iter()
                .filter(|&&address| pool_now(address).is_some())
                .collect();
            let all = allowed.len() == addresses.len();
            let one_pool = addresses
                .iter()
                .all(|&a| pool_now(a) == pool_now(addresses[0]));
            let flexible = request.family_policy == FamilyPolicy::PreferDualStack
                && request.addresses.is_empty();
            if !(flexible || all && one_pool) {
                continue;
            }
            let book = self.book();
            let now = book.get(&service).map(|(_, held)| held.clone());
            let now = now.unwrap_or_default();
            let primary = request.families[0];
            for address in allowed {
                let must_stay = one_pool
                    || IpFamily::of(*address) == primary
                    || addresses
                        .iter()
                        .all(|a| a == address || pool_now(*a).is_none());
                assert!(
                    !must_stay || now.contains(address),
                    "{service} lost {address} to a pool edit that contains it, has {now:?}"
                );
            }
        }
    }

    /// A new allocator, from the statuses, in an order of its own.
    fn restart(&mut self, seed: usize) {
        let statuses = self.assignments();
        for (service, request) in &mut self.services {
            request.current = statuses.get(service).cloned().unwrap_or_default();
        }
        self.allocator = Allocator::new();
        self.revisit.clear();
        let nobody = self.allocator.set_pools(self.pools.clone());
        assert!(nobody.is_empty());
        let mut order: Vec<ServiceKey> = self.services.keys().cloned().collect();
        if !order.is_empty() {
            let middle = seed % order.len();
            order.rotate_left(middle);
        }
        if seed % 2 == 1 {
            order.reverse();
        }
        self.allocator
            .restore(order.iter().map(|service| &self.services[service]));
        for service in order {
            let decision = self.converge(&service);
            let told = decision.notices.iter();
            let news: Vec<_> = told
                .filter(|n| !matches!(n, Notice::AdditionalFailed(_)))
                .collect();
            assert!(news.is_empty(), "a restart is no news: {news:?}");
        }
        self.settle();
        for request in self.services.values_mut() {
            request.current.clear();
        }
    }

    fn check_sharing(&self) {
        let book = self.book();
        for (a, (request_a, held_a)) in &book {
            for (b, (request_b, held_b)) in book.range(a.clone()..).skip(1) {
                let both = held_a.iter().any(|address| held_b.contains(address));
                assert!(
                    !both || reference::share(request_a, request_b),
                    "{a} and {b} both have one of {held_a:?}"
                );
            }
        }
    }

    fn check_usage(&self) {
        let used: BTreeSet<IpAddr> = self.book().into_values().flat_map(|(_, a)| a).collect();
        let usage = self.allocator.usage();
        assert_eq!(usage.len(), self.pools.len());
        for pool in &self.pools {
            let mut recount = Usage::default();
            for address in reference::addresses(pool) {
                let taken = i64::from(used.contains(&address));
                if address.is_ipv4() {
                    recount.total_ipv4 += 1;
                    recount.assigned_ipv4 += taken;
                    recount.available_ipv4 += 1 - taken;
                } else {
                    recount.total_ipv6 += 1;
                    recount.assigned_ipv6 += taken;
                    recount.available_ipv6 += 1 - taken;
                }
            }
            assert_eq!(usage[&pool.name], recount, "pool {}", pool.name);
        }
    }

    /// Nothing is left to converge: nobody waits for what could be had, and to converge everybody
    /// once more changes nothing.
    fn check_settled(&mut self) {
        let book = self.book();
        for (service, request) in &self.services {
            let Some((_, held)) = book.get(service) else {
                let could = reference::select(&self.pools, &book, request);
                assert_eq!(could, None, "{service} waits for what it could have");
                continue;
            };
            if held.len() < request.families.len() {
                let could = reference::additional(&self.pools, &book, request, held[0]);
                assert_eq!(could, None, "{service} lacks a family that it could have");
            }
        }
        let before = self.outcomes.clone();
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            let decision = self.converge(&service);
            assert_eq!(decision.notices, [], "{service}");
            assert_eq!(decision.revisit, [], "{service}");
        }
        assert_eq!(self.assignments(), assignments(&before));
    }
}

fn assignments(outcomes: &BTreeMap<ServiceKey, Outcome>) -> BTreeMap<ServiceKey, Vec<IpAddr>> {
    let assigned = outcomes
        .iter()
        .filter_map(|(service, outcome)| match outcome {
            Outcome::Assigned(assignment) => Some((service.clone(), assignment.addresses.clone())),
            Outcome::Pending(_) => None,
        });
    assigned.collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_history_keeps_every_promise(
        first in pools(),
        steps in prop::collection::vec(step(), 1..60),
        end: prop::sample::Index,
    ) {
        let mut world = World::default();
        world.apply(Step::Pools(first));
        for step in steps {
            world.apply(step);
        }
        world.apply(Step::Restart(end));
        world.settle();
        world.check_settled();
    }

    /// Two addresses of each family for ten Services, so that somebody always waits.
    #[test]
    fn what_is_scarce_is_handed_on(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        let cidrs = ["10.0.3.8/31", "2001:db8:1::/127"];
        world.apply(Step::Pools(vec![Pool {
            name: "a".to_owned(),
            cidrs: cidrs.iter().map(|c| c.parse().expect("a prefix")).collect(),
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
        }]));
        for step in steps {
            if !matches!(step, Step::Pools(_) | Step::Edit(_)) {
                world.apply(step);
            }
        }
        world.settle();
        world.check_settled();
    }

    #[test]
    fn claims_that_conflict_are_settled_without_regard_to_their_order(
        pools in pools(),
        mut requests in prop::collection::btree_map(key(), (request(), claims()), 1..10)
            .prop_map(|all| all.into_iter().map(|(service, (request, current))| {
                Request { service, current, ..request }
            }).collect::<Vec<_>>()),
        rotation: prop::sample::Index,
    ) {
        let restored = |requests: &[Request]| {
            let mut allocator = Allocator::new();
            let _ = allocator.set_pools(pools.clone());
            allocator.restore(requests);
            let held: BTreeMap<_, _> = requests
                .iter()
                .map(|r| (r.service.clone(), allocator.assignment(&r.service)))
                .collect();
            held
        };
        let before = restored(&requests);
        let middle = rotation.index(requests.len());
        requests.rotate_left(middle);
        prop_assert_eq!(&restored(&requests), &before);
        requests.reverse();
        prop_assert_eq!(&restored(&requests), &before);
    }
}
