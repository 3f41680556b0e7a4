//! What is written, read by a parser that others wrote, and written again by it.

use bgpkit_parser::models::{
    Asn as TheirAsn, AsnLength, BgpMessage, BgpUpdateMessage, NetworkPrefix, NextHopAddress,
};
use bgpkit_parser::parser::bgp::messages::{parse_bgp_message, parse_bgp_update_message};
use herald_bgp::wire::update::{Change, Writer};
use herald_bgp::wire::{
    Asn, Attributes, Community, ErrorCode, ExtendedCommunity, LargeCommunity, Message, NextHop,
    Notification, Prefix,
};

use super::support::{external, hosts, internal, messages, ours, plain, prefix};

fn asn_length(four_octet_as: bool) -> AsnLength {
    if four_octet_as {
        AsnLength::Bits32
    } else {
        AsnLength::Bits16
    }
}

/// The body of an UPDATE as the other parser understands it, if it finds nothing to complain about.
pub(crate) fn parse(body: &[u8], four_octet_as: bool) -> BgpUpdateMessage {
    let update =
        parse_bgp_update_message(body.to_vec().into(), false, &asn_length(four_octet_as)).unwrap();
    assert_eq!(update.attributes.validation_warnings(), []);
    update
}

/// All that UPDATEs say, in their order.
pub(crate) fn changes(bytes: &[u8], limit: usize, four_octet_as: bool) -> Vec<Change> {
    let ours = |theirs: &NetworkPrefix| -> Prefix { prefix(&theirs.prefix.to_string()) };
    let mut changes = Vec::new();
    for message in messages(bytes, limit) {
        let update = parse(&message.body, four_octet_as);
        let unreach = update.attributes.get_unreachable_nlri();
        let withdrawn = update
            .withdrawn_prefixes
            .iter()
            .chain(unreach.iter().flat_map(|nlri| &nlri.prefixes));
        changes.extend(withdrawn.map(|one| Change::Withdrawn(ours(one))));
        let reach = update.attributes.get_reachable_nlri();
        let announced = update
            .announced_prefixes
            .iter()
            .chain(reach.iter().flat_map(|nlri| &nlri.prefixes));
        changes.extend(announced.map(|one| Change::Announced(ours(one))));
    }
    changes
}

/// One UPDATE with everything that a route can have.
fn everything(next_hop: NextHop, path: &[u32]) -> Attributes {
    Attributes::new(next_hop)
        .with_as_path(path.iter().copied().map(Asn))
        .with_med(Some(77))
        .with_local_pref(Some(250))
        .with_communities([
            Community::new(65_001, 100),
            Community::NO_EXPORT,
            Community::GRACEFUL_SHUTDOWN,
        ])
        .with_large([LargeCommunity {
            global: 4_200_000_001,
            local1: 1,
            local2: 2,
        }])
        .with_extended([
            ExtendedCommunity::link_bandwidth(Asn(65_001), 1.25e9),
            ExtendedCommunity([0, 2, 0xfd, 0xe9, 0, 0, 0, 7]),
        ])
}

const V4: NextHop = NextHop::V4(std::net::Ipv4Addr::new(10, 99, 1, 1));

fn v6(link_local: bool) -> NextHop {
    NextHop::V6 {
        global: "fd99:1::1".parse().unwrap(),
        link_local: link_local.then(|| "fe80::1".parse().unwrap()),
    }
}

#[test]
fn every_attribute_is_understood() {
    let mut bytes = Vec::new();
    let attributes = everything(V4, &[65_001, 65_001, 4_200_000_001]);
    Writer::new(&internal())
        .announce(&attributes, hosts(false, 1), &mut bytes)
        .unwrap();
    let update = parse(&bytes[19..], true);
    let theirs = &update.attributes;
    assert_eq!(theirs.next_hop(), Some("10.99.1.1".parse().unwrap()));
    let path = theirs.as_path().unwrap().to_u32_vec_opt(false).unwrap();
    assert_eq!(path, [65_001, 65_001, 4_200_000_001]);
    assert_eq!(theirs.as4_path(), None);
    assert_eq!(theirs.multi_exit_discriminator(), Some(77));
    assert_eq!(theirs.local_preference(), Some(250));
    let communities: Vec<String> = theirs
        .iter_communities()
        .map(|one| one.to_string())
        .collect();
    assert_eq!(communities.len(), 6, "{communities:?}");
    for (text, count) in [("65001:100", 1), ("no-export", 1), ("4200000001:1:2", 1)] {
        let found = communities.iter().filter(|one| one.contains(text)).count();
        assert_eq!(found, count, "{text} in {communities:?}");
    }
    assert_eq!(
        theirs.iter().count(),
        8,
        "ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF and three of communities"
    );
}

#[test]
fn ipv6_next_hops_are_understood() {
    for link_local in [false, true] {
        for prefixes in [hosts(true, 1), hosts(false, 1)] {
            let mut bytes = Vec::new();
            Writer::new(&external())
                .announce(&everything(v6(link_local), &[65_001]), prefixes, &mut bytes)
                .unwrap();
            let update = parse(&bytes[19..], true);
            let reach = update.attributes.get_reachable_nlri().unwrap();
            let (global, local) = ("fd99:1::1".parse().unwrap(), "fe80::1".parse().unwrap());
            assert_eq!(
                reach.next_hop,
                Some(if link_local {
                    NextHopAddress::Ipv6LinkLocal(global, local)
                } else {
                    NextHopAddress::Ipv6(global)
                })
            );
            assert_eq!(reach.prefixes.len(), 1);
        }
    }
}

#[test]
fn a_speaker_of_two_octets_gets_the_path_in_two_attributes() {
    let mut bytes = Vec::new();
    let writer = Writer::new(&plain());
    writer
        .announce(
            &everything(V4, &[65_001, 4_200_000_001]),
            hosts(false, 1),
            &mut bytes,
        )
        .unwrap();
    let update = parse(&bytes[19..], false);
    let path = |path: &bgpkit_parser::models::AsPath| path.to_u32_vec_opt(false).unwrap();
    assert_eq!(
        update.attributes.as_path().map(path),
        Some(vec![65_001, 23_456])
    );
    assert_eq!(
        update.attributes.as4_path().map(path),
        Some(vec![65_001, 4_200_000_001])
    );
    assert_eq!(
        update.attributes.effective_as_path().as_ref().map(path),
        Some(vec![65_001, 4_200_000_001])
    );

    // No second attribute where the first one says it all (RFC 6793 4.2.2).
    bytes.clear();
    writer
        .announce(&everything(V4, &[65_001]), hosts(false, 1), &mut bytes)
        .unwrap();
    assert_eq!(parse(&bytes[19..], false).attributes.as4_path(), None);
}

#[test]
fn the_other_one_writes_the_same_bytes() {
    let cases = [
        (V4, hosts(false, 700)),
        (v6(false), hosts(true, 3)),
        (v6(true), hosts(true, 100)),
        (v6(true), hosts(false, 2)),
    ];
    for (next_hop, prefixes) in cases {
        for (negotiated, four_octet_as) in [(external(), true), (internal(), true)] {
            let attributes = everything(next_hop, &[65_001, 65_002]);
            let writer = Writer::new(&negotiated);
            let mut bytes = Vec::new();
            writer
                .announce(&attributes, prefixes.clone(), &mut bytes)
                .unwrap();
            let body = &bytes[19..];
            let again = parse(body, four_octet_as)
                .encode(asn_length(four_octet_as))
                .unwrap();
            assert_eq!(again, body);

            bytes.clear();
            writer.withdraw(prefixes.clone(), &mut bytes).unwrap();
            let body = &bytes[19..];
            let again = parse(body, four_octet_as)
                .encode(asn_length(four_octet_as))
                .unwrap();
            assert_eq!(again, body);
        }
    }
}

#[test]
fn the_other_messages_are_understood() {
    let whole =
        |bytes: Vec<u8>| parse_bgp_message(&mut bytes.into(), false, &AsnLength::Bits32).unwrap();
    let mut bytes = Vec::new();
    ours().encode(&mut bytes);
    let BgpMessage::Open(open) = whole(bytes) else {
        panic!("no OPEN");
    };
    assert_eq!(
        (open.version, open.asn, open.hold_time),
        (4, TheirAsn::new_16bit(65_001), 90)
    );
    assert_eq!(open.opt_params.len(), 1);

    let mut bytes = Vec::new();
    Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, "bye").encode(&mut bytes);
    assert!(matches!(whole(bytes), BgpMessage::Notification(one) if one.data == b"\x03bye"));

    let mut bytes = Vec::new();
    Message::encode_keepalive(&mut bytes);
    assert!(matches!(whole(bytes), BgpMessage::KeepAlive));
}
