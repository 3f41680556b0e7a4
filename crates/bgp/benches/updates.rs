//! What it costs to put 100,000 routes into UPDATEs, and to read them.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use herald_bgp::wire::update::{self, Writer};
use herald_bgp::wire::{
    Asn, Attributes, BgpId, Capabilities, Community, Families, Framer, Negotiated, NextHop, Open,
    Prefix,
};

const ROUTES: u32 = 100_000;

fn session(extended_message: bool) -> Negotiated {
    let open = |asn, id| Open {
        my_as: Asn(asn),
        hold_time: 90,
        id: BgpId(Ipv4Addr::from(id)),
        capabilities: Capabilities {
            families: Families::BOTH,
            extended_message,
            four_octet_as: true,
            ..Capabilities::default()
        },
    };
    Negotiated::new(&open(65_001, 1), &open(65_002, 2))
}

fn attributes(v6: bool) -> Attributes {
    let next_hop = if v6 {
        NextHop::V6 {
            global: Ipv6Addr::from(0xfd99_0001 << 96 | 1),
            link_local: None,
        }
    } else {
        NextHop::V4(Ipv4Addr::new(10, 99, 1, 1))
    };
    Attributes::new(next_hop)
        .with_as_path([Asn(65_001)])
        .with_communities([Community::new(65_001, 100)])
}

fn prefixes(v6: bool) -> Vec<Prefix> {
    (0..ROUTES)
        .filter_map(|number| {
            if v6 {
                let address = Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number));
                Prefix::new(address.into(), 128)
            } else {
                Prefix::new(Ipv4Addr::from(0x0a00_0000 + number).into(), 32)
            }
        })
        .collect()
}

fn announce(writer: Writer, attributes: &Attributes, mut rest: &[Prefix], out: &mut Vec<u8>) {
    while let Ok(taken @ 1..) = writer.announce(attributes, rest.iter().copied(), out) {
        rest = rest.get(taken..).unwrap_or_default();
    }
}

fn withdraw(writer: Writer, mut rest: &[Prefix], out: &mut Vec<u8>) {
    while let Ok(taken @ 1..) = writer.withdraw(rest.iter().copied(), out) {
        rest = rest.get(taken..).unwrap_or_default();
    }
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("updates");
    group.throughput(Throughput::Elements(ROUTES.into()));
    let mut out = Vec::new();
    for (name, v6, extended) in [
        ("ipv4", false, false),
        ("ipv6", true, false),
        ("ipv4, extended messages", false, true),
    ] {
        let (routes, attributes) = (prefixes(v6), attributes(v6));
        let negotiated = session(extended);
        let writer = Writer::new(&negotiated);
        group.bench_function(format!("announce 100,000, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                announce(writer, &attributes, black_box(&routes), &mut out);
                black_box(out.len())
            });
        });
        group.bench_function(format!("withdraw 100,000, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                withdraw(writer, black_box(&routes), &mut out);
                black_box(out.len())
            });
        });
        out.clear();
        announce(writer, &attributes, &routes, &mut out);
        group.bench_function(format!("read 100,000, {name}"), |bencher| {
            bencher.iter(|| read(black_box(&out), &negotiated));
        });
    }
    // Every route with attributes of its own: a message for each.
    let negotiated = session(false);
    let writer = Writer::new(&negotiated);
    let routes = prefixes(false);
    let attributes: Vec<_> = (0..ROUTES)
        .map(|number| attributes(false).with_med(Some(number)))
        .collect();
    group.bench_function(
        "announce 100,000, ipv4, each with its own attributes",
        |bencher| {
            bencher.iter(|| {
                out.clear();
                for (attributes, route) in attributes.iter().zip(&routes) {
                    black_box(writer.announce(attributes, [*route], &mut out).is_ok());
                }
                black_box(out.len())
            });
        },
    );
    group.finish();
}

/// Takes a stream apart in pieces of what a socket gives at a time; counts the routes.
fn read(bytes: &[u8], negotiated: &Negotiated) -> usize {
    let mut framer = Framer::new();
    framer.set_limit(negotiated.message_limit);
    let mut count = 0;
    for piece in bytes.chunks(65_536) {
        framer.push(piece);
        while let Ok(Some(message)) = framer.next() {
            if let Ok(received) = update::parse(&message.body, negotiated) {
                count += received.announced.ipv4 + received.announced.ipv6;
            }
        }
    }
    count
}

criterion_group!(benches, updates);
criterion_main!(benches);
