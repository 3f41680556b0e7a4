//! What the allocator costs: by size of the prefix, number of Services, number of pools, sharing,
//! waiting Services, and at a restart.
#![allow(
    missing_docs,
    reason = "criterion's macros generate public functions without any"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use herald_ipam::{Allocator, Backend, FamilyPolicy, Outcome, Pool, Port, Protocol, Request};
use herald_model::{IpFamily, Labels, ServiceKey};

fn pool(name: String, cidrs: &[&str]) -> Pool {
    Pool {
        name,
        cidrs: cidrs.iter().map(|c| c.parse().expect("a prefix")).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

fn request(number: u32) -> Request {
    Request {
        service: ServiceKey::new("bench", format!("service-{number}")),
        labels: Labels::new(),
        families: vec![IpFamily::V4],
        family_policy: FamilyPolicy::SingleStack,
        addresses: Vec::new(),
        pool: None,
        sharing_key: None,
        backend: Backend::Cluster,
        ports: vec![Port {
            protocol: Protocol::Tcp,
            number: 80,
        }],
        current: Vec::new(),
    }
}

fn shared(number: u32) -> Request {
    Request {
        sharing_key: Some("everybody".to_owned()),
        ..request(number)
    }
}

/// An allocator in which `count` Services have an address.
fn filled(pools: Vec<Pool>, count: u32, request: impl Fn(u32) -> Request) -> Allocator {
    let mut allocator = Allocator::new();
    let _ = allocator.set_pools(pools);
    for number in 0..count {
        let decision = allocator.converge(&request(number));
        assert!(matches!(decision.outcome, Outcome::Assigned(_)));
    }
    allocator
}

/// One Service comes and goes.
fn come_and_go(allocator: &mut Allocator, request: &Request) {
    let decision = allocator.converge(black_box(request));
    assert!(matches!(decision.outcome, Outcome::Assigned(_)));
    let _ = black_box(allocator.release(&request.service));
}

fn million(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fill");
    group.sample_size(10);
    group.bench_function("1,000,000 allocations in a /8", |bench| {
        bench.iter_batched(
            || (0..1_000_000).map(request).collect::<Vec<_>>(),
            |requests| {
                let mut allocator = Allocator::new();
                let mut pool = pool("a".to_owned(), &["10.0.0.0/8"]);
                pool.avoid_buggy_ips = true;
                let _ = allocator.set_pools(vec![pool]);
                for request in &requests {
                    let _ = black_box(allocator.converge(request));
                }
                allocator
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn one_more(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one more Service");
    for held in [10, 5_000, 100_000] {
        let pools = vec![pool("a".to_owned(), &["10.0.0.0/8"])];
        let mut allocator = filled(pools, held, request);
        let next = request(held);
        group.bench_function(BenchmarkId::new("in a /8, held", held), |bench| {
            bench.iter(|| come_and_go(&mut allocator, &next));
        });
    }
    let mut ipv6 = pool("a".to_owned(), &["2001:db8::/64"]);
    ipv6.cidrs.push("::/1".parse().expect("a prefix"));
    ipv6.cidrs.swap_remove(0);
    let of_ipv6 = |number| Request {
        families: vec![IpFamily::V6],
        ..request(number)
    };
    let mut allocator = filled(vec![ipv6], 5_000, of_ipv6);
    group.bench_function("in an IPv6 /1, 5000 held", |bench| {
        bench.iter(|| come_and_go(&mut allocator, &of_ipv6(5_000)));
    });
    for count in [10_u32, 100, 1_000] {
        // All but the last are full, which is the worst order.
        let pools = (0..count)
            .map(|n| {
                pool(
                    format!("pool-{n:04}"),
                    &[&format!("10.{}.{}.0/32", n / 256, n % 256)],
                )
            })
            .collect();
        let mut allocator = filled(pools, count - 1, request);
        group.bench_function(BenchmarkId::new("the last of pools", count), |bench| {
            bench.iter(|| come_and_go(&mut allocator, &request(count)));
        });
    }
    group.finish();
}

fn sharing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sharing");
    for held in [10, 5_000] {
        let pools = vec![pool("a".to_owned(), &["10.0.0.0/8"])];
        let mut allocator = filled(pools, held, shared);
        let same_port = shared(held);
        group.bench_function(BenchmarkId::new("same key and port, held", held), |bench| {
            bench.iter(|| come_and_go(&mut allocator, &same_port));
        });
        let mut other_port = shared(held);
        other_port.ports[0].number = 443;
        group.bench_function(
            BenchmarkId::new("same key, other port, held", held),
            |bench| {
                bench.iter(|| come_and_go(&mut allocator, &other_port));
            },
        );
    }
    group.finish();
}

fn waiting(criterion: &mut Criterion) {
    let mut allocator = filled(vec![pool("a".to_owned(), &["10.0.0.0/30"])], 4, request);
    for number in 4..5_004 {
        let _ = allocator.converge(&request(number));
    }
    let first = request(0);
    criterion.bench_function("an address is handed on, 5000 waiting", |bench| {
        bench.iter(|| {
            let woken = allocator.release(&first.service);
            assert_eq!(woken.len(), 1);
            // The first in line takes it, gives it back, and waits again.
            let number = woken[0].name().trim_start_matches("service-").parse();
            let next = request(number.expect("a number"));
            let _ = allocator.converge(&next);
            let again = allocator.release(&next.service);
            let _ = allocator.converge(&first);
            let _ = allocator.converge(&next);
            for service in again {
                let number = service.name().trim_start_matches("service-").parse();
                let _ = allocator.converge(&request(number.expect("a number")));
            }
        });
    });
}

fn restart(criterion: &mut Criterion) {
    let pools = vec![pool("a".to_owned(), &["10.0.0.0/16"])];
    let allocator = filled(pools.clone(), 5_000, request);
    let requests: Vec<Request> = (0..5_000)
        .map(|number| {
            let mut request = request(number);
            let held = allocator.assignment(&request.service);
            request.current = held.expect("assigned").addresses;
            request
        })
        .collect();
    criterion.bench_function("restart with 5000 Services", |bench| {
        bench.iter(|| {
            let mut allocator = Allocator::new();
            let _ = allocator.set_pools(pools.clone());
            allocator.restore(&requests);
            for request in &requests {
                let _ = black_box(allocator.converge(request));
            }
            allocator
        });
    });
    let mut allocator = filled(pools.clone(), 5_000, request);
    criterion.bench_function("pool edit with 5000 Services", |bench| {
        bench.iter(|| black_box(allocator.set_pools(pools.clone())));
    });
}

criterion_group!(benches, million, one_more, sharing, waiting, restart);
criterion_main!(benches);
