//! Random histories: what holds after every one of them, whatever the order.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use herald_ipam::{
    Allocator, Backend, Decision, FamilyPolicy, Outcome, Pool, Port, Protocol, Request,
    ServiceAllocation, Usage,
};
use herald_model::{Cidr, IpFamily, LabelSelector, Labels, ServiceKey, parse_addresses};
use proptest::prelude::*;
use proptest::sample::select;

/// What pools are cut from. The first has a .255 and a .0 in its middle.
const BLOCKS: [&str; 6] = [
    "10.0.0.254-10.0.1.1",
    "10.0.2.0/30",
    "10.0.3.8/31",
    "2001:db8::/126",
    "2001:db8:1::/127",
    "10.0.4.255/32",
];
const POOLS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Pools(Vec<Pool>),
    Update(Box<Request>),
    Release(ServiceKey),
    /// Converge one of those that are to be converged again.
    Revisit(prop::sample::Index),
    Restart(prop::sample::Index),
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let owners = prop::collection::vec(0_usize..=POOLS.len(), BLOCKS.len());
    let settings = prop::collection::vec(
        (
            prop::bool::weighted(0.8),
            prop::bool::weighted(0.3),
            prop::option::weighted(0.4, allocation()),
        ),
        POOLS.len(),
    );
    (owners, settings).prop_map(|(owners, settings)| {
        let all = POOLS.iter().zip(settings).enumerate();
        all.filter_map(
            |(index, (name, (auto_assign, avoid_buggy_ips, allocation)))| {
                let cidrs: Vec<Cidr> = BLOCKS
                    .iter()
                    .zip(&owners)
                    .filter(|&(_, &owner)| owner == index)
                    .flat_map(|(block, _)| parse_addresses(block).expect("a block"))
                    .collect();
                (!cidrs.is_empty()).then(|| Pool {
                    name: (*name).to_owned(),
                    cidrs,
                    auto_assign,
                    avoid_buggy_ips,
                    allocation,
                })
            },
        )
        .collect()
    })
}

fn allocation() -> impl Strategy<Value = ServiceAllocation> {
    let namespaces = prop::option::of(select(vec![vec!["x"], vec!["x", "y"], vec![]]));
    (0..3, namespaces, any::<bool>()).prop_map(|(priority, namespaces, selects)| {
        let web = Labels::from([("app".to_owned(), "web".to_owned())]);
        let selector = LabelSelector::new(web, Vec::new());
        ServiceAllocation {
            priority,
            namespaces: namespaces.map(|names| names.into_iter().map(str::to_owned).collect()),
            service_selectors: selects.then_some(selector).into_iter().collect(),
        }
    })
}

fn key() -> impl Strategy<Value = ServiceKey> {
    (
        select(vec!["x", "y"]),
        select(vec!["p", "q", "r", "s", "t"]),
    )
        .prop_map(|(namespace, name)| ServiceKey::new(namespace, name))
}

fn families() -> impl Strategy<Value = (Vec<IpFamily>, FamilyPolicy)> {
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    use IpFamily::{V4, V6};
    select(vec![
        (vec![V4], SingleStack),
        (vec![V4], SingleStack),
        (vec![V6], SingleStack),
        (vec![V4], PreferDualStack),
        (vec![V4], RequireDualStack),
        (vec![V4, V6], PreferDualStack),
        (vec![V6, V4], PreferDualStack),
        (vec![V4, V6], RequireDualStack),
    ])
}

fn wishes() -> impl Strategy<Value = (Vec<IpAddr>, Option<String>)> {
    let addresses = select(vec![
        vec!["10.0.1.1"],
        vec!["10.0.1.0"],
        vec!["10.0.2.2"],
        vec!["2001:db8::1"],
        vec!["2001:db8::1", "10.0.2.2"],
        vec!["10.0.3.8", "2001:db8:1::1"],
        vec!["192.0.2.1"],
    ])
    .prop_map(|texts| texts.iter().map(|t| t.parse().expect("address")).collect());
    let pool = select(vec!["a", "b", "nowhere"]).prop_map(str::to_owned);
    (
        prop_oneof![4 => Just(Vec::new()), 1 => addresses],
        prop::option::weighted(0.15, pool),
    )
}

fn request() -> impl Strategy<Value = Request> {
    let backend = select(vec![
        Backend::Cluster,
        Backend::Cluster,
        Backend::LocalSelector("app=a".to_owned()),
        Backend::LocalWithoutSelector,
    ]);
    let sharing = prop::option::of(select(vec!["k", "k", "l"]).prop_map(str::to_owned));
    let ports = prop::collection::btree_set(select(vec![80_u16, 443, 53]), 1..=2);
    (
        key(),
        any::<bool>(),
        families(),
        wishes(),
        sharing,
        backend,
        ports,
    )
        .prop_map(
            |(
                service,
                web,
                (families, family_policy),
                (addresses, pool),
                sharing_key,
                backend,
                ports,
            )| {
                let port = |number| Port {
                    protocol: Protocol::Tcp,
                    number,
                };
                let label = web.then(|| ("app".to_owned(), "web".to_owned()));
                Request {
                    service,
                    labels: label.into_iter().collect(),
                    families,
                    family_policy,
                    addresses,
                    pool,
                    sharing_key,
                    backend,
                    ports: ports.into_iter().map(port).collect(),
                    current: Vec::new(),
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => pools().prop_map(Step::Pools),
        12 => request().prop_map(|request| Step::Update(Box::new(request))),
        4 => key().prop_map(Step::Release),
        6 => any::<prop::sample::Index>().prop_map(Step::Revisit),
        1 => any::<prop::sample::Index>().prop_map(Step::Restart),
    ]
}

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
        for _ in 0..1000 {
            let Some(service) = self.revisit.first().cloned() else {
                return;
            };
            self.converge(&service);
        }
        panic!("Services are revisited for ever");
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
                .filter(|n| !matches!(n, herald_ipam::Notice::AdditionalFailed(_)))
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
            assert_eq!(self.allocator.pool_usage(&pool.name), Some(recount));
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
            if !matches!(step, Step::Pools(_)) {
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

fn claims() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = select(vec!["10.0.0.254", "10.0.1.0", "10.0.2.1", "192.0.2.9"]);
    let v6 = select(vec!["2001:db8::", "2001:db8::1"]);
    (prop::option::of(v4), prop::option::of(v6)).prop_map(|(v4, v6)| {
        let texts = v4.into_iter().chain(v6);
        texts.map(|text| text.parse().expect("address")).collect()
    })
}
