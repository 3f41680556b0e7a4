//! What a frame costs, with 5,000 addresses of each family announced.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use herald_l2::{
    Attention, Interface, MAX_FRAME_LEN, Nonce, Responder, Verdict, filter, multicast_mac,
    solicited_node,
};
use herald_model::MacAddress;

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const SPREAD: u32 = 7;

fn v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number * SPREAD)
}

fn v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number * SPREAD))
}

fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(CLIENT);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT);
    frame.extend([192, 0, 2, 99, 0, 0, 0, 0, 0, 0]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(CLIENT);
    let sum = pnet_packet::util::ipv6_checksum(
        &message,
        1,
        &[],
        &source,
        &solicited_node(target),
        pnet_packet::ip::IpNextHeaderProtocols::Icmpv6,
    );
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = multicast_mac(solicited_node(target)).0.to_vec();
    frame.extend(CLIENT);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(source.octets());
    frame.extend(solicited_node(target).octets());
    frame.extend(message);
    frame
}

fn responder(criterion: &mut Criterion) {
    let interface = Interface {
        index: 2,
        name: "eth0".to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
    };
    let responder = Responder::new(interface, Nonce([1; 6]));
    let answered = (0..5_000).flat_map(|n| [IpAddr::V4(v4(n)), IpAddr::V6(v6(n))]);
    let announced = Attention::new(answered.collect(), []);
    let mut out = [0; MAX_FRAME_LEN];
    let cases = [
        ("arp answered", arp_request(v4(3_217)), true),
        (
            "arp not ours",
            arp_request(Ipv4Addr::new(10, 0, 9, 1)),
            false,
        ),
        ("ndp answered", solicitation(v6(3_217)), true),
        ("ndp not ours", solicitation(Ipv6Addr::LOCALHOST), false),
    ];
    for (name, frame, answered) in cases {
        let verdict = responder.handle(&frame, &announced, &mut out);
        let replied = matches!(verdict, Verdict::Reply { .. });
        assert_eq!(replied, answered, "{name}: {verdict:?}");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| responder.handle(black_box(&frame), &announced, &mut out));
        });
    }
    criterion.bench_function("arp filter of 5,000 addresses", |bencher| {
        bencher.iter(|| filter::arp(black_box(&announced)));
    });
}

criterion_group!(benches, responder);
criterion_main!(benches);
