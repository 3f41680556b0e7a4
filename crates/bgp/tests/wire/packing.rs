//! UPDATEs that are sent: no more than needed, none too long, and the same routes for two parsers.

use std::net::Ipv4Addr;

use herald_bgp::wire::update::{Change, Unsendable, Writer, parse};
use herald_bgp::wire::{
    Asn, Attributes, Community, EXTENDED_LIMIT, Families, Family, LargeCommunity, Message,
    Negotiated, NextHop, Prefix, STANDARD_LIMIT,
};

use super::second_parser;
use super::support::{changes, external, hosts, internal, message, messages, plain, prefix};

const COUNTS: [u32; 5] = [1, 814, 815, 5_000, 100_000];
const LIMITS: [usize; 2] = [4096, EXTENDED_LIMIT];

fn session(limit: usize) -> Negotiated {
    Negotiated {
        message_limit: limit,
        ..external()
    }
}

fn v4() -> NextHop {
    NextHop::V4(Ipv4Addr::new(10, 99, 1, 1))
}

fn v6() -> NextHop {
    NextHop::V6 {
        global: "fd99:1::1".parse().unwrap(),
        link_local: None,
    }
}

fn attributes(next_hop: NextHop) -> Attributes {
    Attributes::new(next_hop)
        .with_as_path([Asn(65_001)])
        .with_communities([Community::new(65_001, 100)])
}

/// Calls `one` until all prefixes are written.
fn write_all(
    prefixes: &[Prefix],
    one: impl Fn(&[Prefix], &mut Vec<u8>) -> Result<usize, Unsendable>,
) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), prefixes);
    while !rest.is_empty() {
        let taken = one(rest, &mut bytes).unwrap();
        assert_ne!(taken, 0);
        rest = &rest[taken..];
    }
    assert_eq!(one(rest, &mut Vec::new()), Ok(0));
    bytes
}

fn withdraw(session: &Negotiated, prefixes: &[Prefix]) -> Vec<u8> {
    let writer = Writer::new(session);
    write_all(prefixes, |rest, out| {
        writer.withdraw(rest.iter().copied(), out)
    })
}

fn announce(session: &Negotiated, attributes: &Attributes, prefixes: &[Prefix]) -> Vec<u8> {
    let writer = Writer::new(session);
    write_all(prefixes, |rest, out| {
        writer.announce(attributes, rest.iter().copied(), out)
    })
}

/// Asserts that both parsers read `expected` out of the bytes, and that these are no more messages
/// than the bytes of the prefixes need if each message has `overhead` bytes of something else.
fn assert_packed(bytes: &[u8], session: &Negotiated, overhead: usize, expected: &[Change]) {
    let limit = session.message_limit;
    let lengths: Vec<usize> = messages(bytes, limit)
        .iter()
        .map(|message| 19 + message.body.len())
        .collect();
    assert!(lengths.iter().all(|len| *len <= limit));
    let size = |change: &Change| {
        let (Change::Announced(prefix) | Change::Withdrawn(prefix)) = change;
        1 + usize::from(prefix.prefix_len()).div_ceil(8)
    };
    let total: usize = expected.iter().map(size).sum();
    let largest = expected.iter().map(size).max().unwrap();
    let room = limit - overhead;
    // Below what is possible: as if prefixes could be cut in two.
    assert!(lengths.len() >= total.div_ceil(room));
    // No message is left with room for another prefix, but the last.
    let needed = total.div_ceil(room - (largest - 1));
    assert!(lengths.len() <= needed, "{} of {needed}", lengths.len());
    let optimum = f64::from(u32::try_from(total.div_ceil(room)).unwrap());
    let count = f64::from(u32::try_from(lengths.len()).unwrap());
    assert!(count <= (optimum * 1.05).ceil(), "{count} of {optimum}");

    assert!(
        changes(bytes, session) == expected,
        "our parser reads something else"
    );
    let theirs = second_parser::changes(bytes, limit, session.four_octet_as);
    assert!(theirs == expected, "the other parser reads something else");
}

fn assert_withdrawals(v6: bool, overhead: usize) {
    for limit in LIMITS {
        for count in COUNTS {
            let prefixes = hosts(v6, count);
            let expected: Vec<_> = prefixes.iter().copied().map(Change::Withdrawn).collect();
            let bytes = withdraw(&session(limit), &prefixes);
            assert_packed(&bytes, &session(limit), overhead, &expected);
        }
    }
}

fn assert_announcements(v6: bool, attributes: &Attributes) {
    for limit in LIMITS {
        let alone = announce(&session(limit), attributes, &hosts(v6, 1)).len();
        let overhead = alone - if v6 { 17 } else { 5 };
        for count in COUNTS {
            let prefixes = hosts(v6, count);
            let expected: Vec<_> = prefixes.iter().copied().map(Change::Announced).collect();
            let bytes = announce(&session(limit), attributes, &prefixes);
            assert_packed(&bytes, &session(limit), overhead, &expected);
        }
    }
}

#[test]
fn withdrawals_of_ipv4() {
    assert_withdrawals(false, 23);
}

#[test]
fn withdrawals_of_ipv6() {
    assert_withdrawals(true, 23 + 3 + 3);
}

#[test]
fn announcements_of_ipv4() {
    assert_announcements(false, &attributes(v4()));
}

#[test]
fn announcements_of_ipv6() {
    assert_announcements(true, &attributes(v6()));
}

#[test]
fn announcements_of_ipv4_by_an_ipv6_next_hop() {
    assert_announcements(false, &attributes(v6()));
}

#[test]
fn withdrawals_where_one_message_of_others_overflows() {
    // 814 prefixes of five bytes are the most that 4096 bytes have room for.
    for (count, expected) in [(814, 1), (815, 2), (1628, 2), (1629, 3)] {
        let bytes = withdraw(&session(4096), &hosts(false, count));
        assert_eq!(messages(&bytes, 4096).len(), expected, "{count} prefixes");
    }
    assert_eq!(
        withdraw(&session(4096), &hosts(false, 814)).len(),
        23 + 814 * 5
    );
}

#[test]
fn no_other_limit_than_the_two_of_the_rfcs() {
    for (limit, used) in [(0, STANDARD_LIMIT), (1 << 20, EXTENDED_LIMIT)] {
        let bytes = withdraw(&session(limit), &hosts(false, 20_000));
        let longest = messages(&bytes, EXTENDED_LIMIT)
            .iter()
            .map(|message| 19 + message.body.len())
            .max()
            .unwrap();
        assert!((used - 4..=used).contains(&longest), "{longest} bytes");
    }
}

#[test]
fn prefixes_of_many_lengths() {
    let mut prefixes = Vec::new();
    for number in 0..20_000_u32 {
        // The other parser takes a default route at the beginning for a path identifier.
        let len = u8::try_from(1 + number * 7 % 32).unwrap();
        let address = Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
        prefixes.push(Prefix::new(address.into(), len).unwrap());
    }
    let session = session(4096);
    let expected: Vec<_> = prefixes.iter().copied().map(Change::Withdrawn).collect();
    assert_packed(&withdraw(&session, &prefixes), &session, 23, &expected);
}

#[test]
fn a_message_has_prefixes_of_one_family() {
    let mut prefixes = hosts(true, 3);
    prefixes.extend(hosts(false, 2));
    prefixes.extend(hosts(true, 1));
    let session = session(4096);
    let bytes = withdraw(&session, &prefixes);
    assert_eq!(messages(&bytes, 4096).len(), 3);
    let expected: Vec<_> = prefixes.into_iter().map(Change::Withdrawn).collect();
    assert_eq!(changes(&bytes, &session), expected);
}

#[test]
fn attributes_are_in_canonical_order_with_canonical_flags() {
    let full = attributes(v4())
        .with_med(Some(5))
        .with_large([LargeCommunity {
            global: 1,
            local1: 2,
            local2: 3,
        }])
        .with_extended([herald_bgp::wire::ExtendedCommunity::link_bandwidth(
            Asn(65_001),
            1000.0,
        )]);
    let mut bytes = Vec::new();
    Writer::new(&external())
        .announce(&full, [prefix("198.51.100.1/32")], &mut bytes)
        .unwrap();
    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 67,
        0x40, 1, 1, 0,
        0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9,
        0x40, 3, 4, 10, 99, 1, 1,
        0x80, 4, 4, 0, 0, 0, 5,
        0xc0, 8, 4, 0xfd, 0xe9, 0, 100,
        0xc0, 16, 8, 0x40, 0x04, 0xfd, 0xe9, 0x44, 0x7a, 0, 0,
        0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3,
        32, 198, 51, 100, 1,
    ];
    let mut expected = expected.to_vec();
    expected[3] = u8::try_from(expected.len() - 4 - 5).unwrap();
    assert_eq!(bytes, message(2, &expected));
}

#[test]
fn mp_reach_nlri_comes_first() {
    let mut bytes = Vec::new();
    Writer::new(&internal())
        .announce(
            &Attributes::new(v6()),
            [prefix("2001:db8::/32")],
            &mut bytes,
        )
        .unwrap();
    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 43,
        0x80, 14, 26, 0, 2, 1, 16, 0xfd, 0x99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
        32, 0x20, 1, 0x0d, 0xb8,
        0x40, 1, 1, 0,
        0x40, 2, 0,
        0x40, 5, 4, 0, 0, 0, 100,
    ];
    assert_eq!(bytes, message(2, &expected));
}

#[test]
fn local_pref_is_told_to_the_own_as_only() {
    let route = [prefix("198.51.100.1/32")];
    let preferred = attributes(v4()).with_local_pref(Some(250));
    let told = |session: &Negotiated, attributes: &Attributes| {
        let bytes = announce(session, attributes, &route);
        second_parser::parse(&bytes[19..], session.four_octet_as)
            .attributes
            .local_preference()
    };
    assert_eq!(told(&internal(), &preferred), Some(250));
    assert_eq!(told(&internal(), &attributes(v4())), Some(100));
    assert_eq!(told(&external(), &preferred), None);
}

#[test]
fn a_path_of_more_than_255_goes_into_several_segments() {
    let long = attributes(v4()).with_as_path(vec![Asn(65_001); 600]);
    let bytes = announce(&session(4096), &long, &hosts(false, 1));
    assert_eq!(changes(&bytes, &session(4096)).len(), 1);
    let path = second_parser::parse(&bytes[19..], true);
    let path = path
        .attributes
        .as_path()
        .unwrap()
        .to_u32_vec_opt(false)
        .unwrap();
    assert_eq!(path, vec![65_001; 600]);
}

#[test]
fn end_of_rib_for_each_family() {
    let writer = Writer::new(&external());
    for (family, len) in [(Family::Ipv4Unicast, 23), (Family::Ipv6Unicast, 29)] {
        let mut bytes = Vec::new();
        writer.end_of_rib(family, &mut bytes).unwrap();
        assert_eq!(bytes.len(), len);
        let received = parse(&bytes[19..], &external()).unwrap();
        assert_eq!(received.end_of_rib, Some(family));
        assert!(second_parser::parse(&bytes[19..], true).is_end_of_rib());
    }
}

#[test]
fn what_the_peer_does_not_take_is_not_written() {
    let only_v4 = Negotiated {
        families: Families::only(Family::Ipv4Unicast),
        ..external()
    };
    let no_extended = Negotiated {
        extended_next_hop: false,
        ..external()
    };
    let mut bytes = Vec::new();
    let family = Err(Unsendable::Family(Family::Ipv6Unicast));
    let writer = Writer::new(&only_v4);
    assert_eq!(writer.withdraw(hosts(true, 1), &mut bytes), family);
    assert_eq!(
        writer.announce(&attributes(v6()), hosts(true, 1), &mut bytes),
        family
    );
    assert!(writer.end_of_rib(Family::Ipv6Unicast, &mut bytes).is_err());

    let writer = Writer::new(&no_extended);
    let next_hop = |family, next_hop: &str| {
        Err(Unsendable::NextHop {
            family,
            next_hop: next_hop.parse().unwrap(),
        })
    };
    assert_eq!(
        writer.announce(&attributes(v6()), hosts(false, 1), &mut bytes),
        next_hop(Family::Ipv4Unicast, "fd99:1::1")
    );
    assert_eq!(
        writer.announce(&attributes(v4()), hosts(true, 1), &mut bytes),
        next_hop(Family::Ipv6Unicast, "10.99.1.1")
    );
    assert!(
        writer
            .announce(&attributes(v6()), hosts(true, 1), &mut Vec::new())
            .is_ok()
    );
    assert_eq!(bytes, []);
}

#[test]
fn attributes_that_leave_no_room_for_a_prefix() {
    let communities = |count: u32| attributes(v4()).with_communities((0..count).map(Community));
    let (small, large) = (session(4096), session(EXTENDED_LIMIT));
    let fits = |session: &Negotiated, count: u32| {
        let mut bytes = Vec::new();
        let written =
            Writer::new(session).announce(&communities(count), hosts(false, 9), &mut bytes);
        assert_eq!(written.is_err(), bytes.is_empty());
        assert!(bytes.len() <= session.message_limit);
        written
    };
    // 23 bytes of the message, 20 of other attributes, 4 of the list's head, 5 of the prefix.
    let most = (4096 - 23 - 20 - 4 - 5) / 4;
    assert_eq!(fits(&small, most), Ok(1));
    let too_long = fits(&small, most + 1).unwrap_err();
    assert_eq!(
        too_long.to_string(),
        "10.0.0.0/32 has more attributes than a message of 4096 bytes has room for: announce it \
         with fewer communities"
    );
    assert!(fits(&large, most + 1).is_ok());
    assert!(fits(&large, 16_000).is_ok());
    assert!(fits(&large, 17_000).is_err());
    assert!(fits(&large, 1_000_000).is_err());
}

#[test]
fn a_peer_of_two_octets_gets_all_routes_too() {
    let prefixes = hosts(false, 5000);
    let session = plain();
    let long = attributes(v4()).with_as_path([Asn(4_200_000_001)]);
    let bytes = announce(&session, &long, &prefixes);
    let expected: Vec<_> = prefixes.into_iter().map(Change::Announced).collect();
    assert_eq!(changes(&bytes, &session), expected);
    assert_eq!(second_parser::changes(&bytes, 4096, false), expected);
    for raw in messages(&bytes, 4096) {
        assert!(matches!(Message::decode(raw), Ok(Message::Update(_))));
    }
}
