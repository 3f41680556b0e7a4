//! What it costs to tell four peers of 100,000 routes, to change them, and to take them back.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use herald_bgp::routes::{Addresses, OutboundId, Path, Table, View};
use herald_bgp::wire::{Asn, BgpId, Community, Families, Negotiated, Prefix};

const ROUTES: u32 = 100_000;
const SERVICES: u32 = 5000;
const PEERS: usize = 4;
/// As much as a session takes at once.
const BUDGET: usize = 128 * 1024;

fn view(peer: usize) -> View {
    let local = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1));
    let negotiated = Negotiated {
        local_as: Asn(65_001),
        peer_as: Asn(65_002),
        peer_id: BgpId(Ipv4Addr::new(10, 99, 1, 2)),
        hold_time: 90,
        families: Families::BOTH,
        extended_next_hop: false,
        four_octet_as: true,
        route_refresh: true,
        enhanced_route_refresh: true,
        message_limit: 4096,
        graceful_restart: None,
        notification_restart: false,
        long_lived_graceful_restart: None,
        peer_role: None,
    };
    let name = format!("router-{peer}");
    View::new(name, Arc::new(negotiated), local, Addresses::default())
}

fn prefix(number: u32) -> Prefix {
    let address = Ipv4Addr::from(0x0a00_0000 + number).into();
    Prefix::new(address, 32).unwrap_or_else(|| unreachable!("32 bits"))
}

fn path(mark: u16) -> [Path; 1] {
    let mut path = Path::default();
    path.attributes.communities = vec![Community::new(65_001, mark)];
    [path]
}

/// Writes all that waits, for all peers; returns how many messages that were.
fn flush(table: &mut Table, peers: &[OutboundId], buffer: &mut Vec<u8>) -> u64 {
    let mut updates = 0;
    for peer in peers {
        loop {
            buffer.clear();
            updates += table.poll_messages(*peer, BUDGET, buffer).updates;
            if buffer.is_empty() {
                break;
            }
            black_box(&buffer);
        }
    }
    updates
}

/// A table with routes that its peers have been told.
fn told(routes: u32) -> (Table, Vec<OutboundId>, Vec<u8>) {
    let mut table = Table::new();
    table.set_complete(true);
    let peers: Vec<_> = (0..PEERS).map(|peer| table.open(view(peer))).collect();
    let mut buffer = Vec::with_capacity(BUDGET + 4096);
    for number in 0..routes {
        table.set(prefix(number), &path(1));
    }
    flush(&mut table, &peers, &mut buffer);
    (table, peers, buffer)
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.sample_size(10);

    group.bench_function("announce 100,000 to 4 peers", |bencher| {
        bencher.iter_batched(
            || told(0),
            |(mut table, peers, mut buffer)| {
                let path = path(1);
                for number in 0..ROUTES {
                    table.set(prefix(number), &path);
                }
                flush(&mut table, &peers, &mut buffer);
                table
            },
            BatchSize::PerIteration,
        );
    });

    group.bench_function("change 100,000 for 4 peers", |bencher| {
        bencher.iter_batched(
            || told(ROUTES),
            |(mut table, peers, mut buffer)| {
                let path = path(2);
                let routes = (0..ROUTES).map(|number| (prefix(number), &path[..]));
                table.replace(routes);
                flush(&mut table, &peers, &mut buffer);
                table
            },
            BatchSize::PerIteration,
        );
    });

    group.bench_function("withdraw 100,000 from 4 peers", |bencher| {
        bencher.iter_batched(
            || told(ROUTES),
            |(mut table, peers, mut buffer)| {
                table.replace([]);
                flush(&mut table, &peers, &mut buffer);
                table
            },
            BatchSize::PerIteration,
        );
    });

    group.bench_function("tell a new peer 100,000", |bencher| {
        bencher.iter_batched(
            || told(ROUTES),
            |(mut table, _, mut buffer)| {
                let peer = table.open(view(PEERS));
                flush(&mut table, &[peer], &mut buffer);
                table
            },
            BatchSize::PerIteration,
        );
    });

    group.bench_function("add one to 5,000 of 4 peers", |bencher| {
        let (mut table, peers, mut buffer) = told(SERVICES);
        let path = path(1);
        bencher.iter(|| {
            table.set(prefix(SERVICES), &path);
            flush(&mut table, &peers, &mut buffer);
            table.remove(prefix(SERVICES));
            flush(&mut table, &peers, &mut buffer)
        });
    });

    group.finish();
}

criterion_group!(benches, table);
criterion_main!(benches);
