//! UPDATEs that peers send: RFC 7606 for the message as a whole.

use herald_bgp::wire::update::{AttributeProblem, Change, Consequence, Received, parse, visit};
use herald_bgp::wire::{ErrorCode, Families, Family, Negotiated, Notification, PerFamily};

use super::support::{
    AS_PATH, NEXT_HOP, ORIGIN, ROUTE, announcing, body, error, external, internal, plain, prefix,
};

const V6_UNREACH: [u8; 6] = [0x80, 15, 3, 0, 2, 1];

/// `2001:db8::1/128` by way of `next_hop`.
fn v6_reach(next_hop: &[u8]) -> Vec<u8> {
    let mut value = vec![0, 2, 1, u8::try_from(next_hop.len()).unwrap()];
    value.extend(next_hop);
    value.extend([
        0, 128, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ]);
    let mut attribute = vec![0x80, 14, u8::try_from(value.len()).unwrap()];
    attribute.extend(value);
    attribute
}

fn only_ipv4(count: usize) -> PerFamily<usize> {
    PerFamily {
        ipv4: count,
        ipv6: 0,
    }
}

fn only_ipv6(count: usize) -> PerFamily<usize> {
    PerFamily {
        ipv4: 0,
        ipv6: count,
    }
}

fn received(body: &[u8]) -> Received {
    parse(body, &external()).unwrap()
}

fn reset(body: &[u8]) -> Notification {
    parse(body, &external()).expect_err("it should end the session")
}

/// Asserts that the message's one route counts as withdrawn because of the attribute.
fn assert_withdrawn(body: &[u8], attribute: u8) {
    let received = received(body);
    assert!(received.treat_as_withdraw);
    assert_eq!(received.announced, PerFamily::default());
    assert_eq!(received.withdrawn, only_ipv4(1));
    let problem = received.problems[0];
    assert_eq!(
        (problem.attribute, problem.consequence),
        (attribute, Consequence::Withdraw)
    );
}

#[test]
fn a_message_without_faults() {
    let message = body(
        &[24, 203, 0, 113],
        &[&ORIGIN, &AS_PATH, &NEXT_HOP],
        &[ROUTE.as_slice(), &[0], &[25, 192, 0, 2, 128]].concat(),
    );
    let mut changes = Vec::new();
    let received = visit(&message, &external(), |change| changes.push(change)).unwrap();
    assert_eq!(
        received,
        Received {
            announced: only_ipv4(3),
            withdrawn: only_ipv4(1),
            ..Received::default()
        }
    );
    assert_eq!(
        changes,
        [
            Change::Withdrawn(prefix("203.0.113.0/24")),
            Change::Announced(prefix("198.51.100.1/32")),
            Change::Announced(prefix("0.0.0.0/0")),
            Change::Announced(prefix("192.0.2.128/25")),
        ]
    );
}

#[test]
fn u1_an_origin_that_is_not_defined() {
    let message = body(&[], &[&[0x40, 1, 1, 3], &AS_PATH, &NEXT_HOP], &ROUTE);
    assert_withdrawn(&message, 1);
    assert_eq!(
        received(&message).problems[0].to_string(),
        "ORIGIN has a value that is not defined: the routes are treated as withdrawn"
    );
}

#[test]
fn u2_an_origin_of_two_bytes() {
    for origin in [[0x40, 1, 2, 0, 0].as_slice(), &[0x40, 1, 0]] {
        assert_withdrawn(&body(&[], &[origin, &AS_PATH, &NEXT_HOP], &ROUTE), 1);
    }
}

#[test]
fn u3_no_origin_or_no_as_path() {
    assert_withdrawn(&body(&[], &[&AS_PATH, &NEXT_HOP], &ROUTE), 1);
    assert_withdrawn(&body(&[], &[&ORIGIN, &NEXT_HOP], &ROUTE), 2);
    assert_withdrawn(&body(&[], &[], &ROUTE), 1);
    // MP_REACH_NLRI has its own next hop, but needs the other two.
    let reach = v6_reach(&[1; 16]);
    let without = received(&body(&[], &[&reach, &AS_PATH], &[]));
    assert_eq!(without.withdrawn, only_ipv6(1));
    let with = received(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]));
    assert_eq!(with.problems, []);
}

#[test]
fn u4_no_next_hop() {
    assert_withdrawn(&body(&[], &[&ORIGIN, &AS_PATH], &ROUTE), 3);
}

#[test]
fn u5_flags_that_the_type_does_not_allow() {
    for flags in [0xc0, 0x80, 0x00] {
        let origin = [flags, 1, 1, 0];
        assert_withdrawn(&body(&[], &[&origin, &AS_PATH, &NEXT_HOP], &ROUTE), 1);
    }
    // MULTI_EXIT_DISC is neither well-known nor transitive.
    for flags in [0x40, 0xc0] {
        assert_withdrawn(&announcing(&[&[flags, 4, 4, 0, 0, 0, 1]]), 4);
    }
    // Whether it is partial, or has a longer length than needed, does not matter.
    let origin = [0x70, 1, 0, 1, 0];
    let received = received(&body(&[], &[&origin, &AS_PATH, &NEXT_HOP], &ROUTE));
    assert_eq!(received.problems, []);
}

#[test]
fn u6_an_as_path_that_is_malformed() {
    let paths: [&[u8]; 8] = [
        // Ends within a segment, or within its head.
        &[2, 2, 0, 0, 0xfd, 0xea],
        &[2],
        &[2, 1, 0, 0, 0xfd, 0xea, 2],
        // Of two octets where four are spoken.
        &[2, 1, 0xfd, 0xea],
        // Without a number, of an unknown type, of a confederation.
        &[2, 0],
        &[5, 1, 0, 0, 0xfd, 0xea],
        &[3, 1, 0, 0, 0xfd, 0xea],
        // RFC 7607.
        &[2, 1, 0, 0, 0, 0],
    ];
    for value in paths {
        let mut path = vec![0x40, 2, u8::try_from(value.len()).unwrap()];
        path.extend(value);
        assert_withdrawn(&body(&[], &[&ORIGIN, &path, &NEXT_HOP], &ROUTE), 2);
    }
    // None at all is how peers in the own AS send their own routes.
    let empty = body(&[], &[&ORIGIN, &[0x40, 2, 0], &NEXT_HOP], &ROUTE);
    assert_eq!(parse(&empty, &internal()).unwrap().problems, []);
    // Two octets where that is spoken.
    let short = body(
        &[],
        &[&ORIGIN, &[0x40, 2, 4, 2, 1, 0xfd, 0xea], &NEXT_HOP],
        &ROUTE,
    );
    assert_eq!(parse(&short, &plain()).unwrap().problems, []);
}

#[test]
fn u7_a_next_hop_that_is_no_host() {
    let next_hops: [&[u8]; 6] = [
        &[0x40, 3, 3, 10, 0, 0],
        &[0x40, 3, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[0x40, 3, 4, 0, 0, 0, 0],
        &[0x40, 3, 4, 127, 0, 0, 1],
        &[0x40, 3, 4, 224, 0, 0, 5],
        &[0x40, 3, 4, 255, 255, 255, 255],
    ];
    for next_hop in next_hops {
        assert_withdrawn(&body(&[], &[&ORIGIN, &AS_PATH, next_hop], &ROUTE), 3);
    }
}

#[test]
fn u8_an_unknown_well_known_attribute() {
    let unknown = [0x40, 99, 2, 1, 2];
    assert_eq!(
        reset(&announcing(&[&unknown])),
        error(ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE, &unknown)
    );
}

#[test]
fn u9_an_unknown_optional_transitive_attribute() {
    for flags in [0xc0, 0xe0] {
        let received = received(&announcing(&[&[flags, 99, 2, 1, 2]]));
        assert_eq!(received.announced, only_ipv4(1));
        assert_eq!(received.problems, []);
    }
}

#[test]
fn u10_an_unknown_optional_attribute_that_is_not_transitive() {
    let received = received(&announcing(&[&[0x80, 99, 0]]));
    assert_eq!(received.announced, only_ipv4(1));
    assert_eq!(received.problems, []);
}

#[test]
fn u11_prefixes_that_do_not_parse() {
    let invalid = Notification::new(ErrorCode::INVALID_NETWORK_FIELD);
    let attributes: [&[u8]; 3] = [&ORIGIN, &AS_PATH, &NEXT_HOP];
    let fields: [&[u8]; 4] = [
        &[33, 198, 51, 100, 1, 0],
        &[255],
        &[32, 198, 51, 100],
        &[32, 198, 51, 100, 1, 24],
    ];
    for field in fields {
        assert_eq!(reset(&body(&[], &attributes, field)), invalid, "{field:?}");
        assert_eq!(reset(&body(field, &[], &[])), invalid, "{field:?}");
    }
    // Bits beyond the length do not matter (RFC 4271 4.3).
    let loose = body(&[20, 198, 51, 0xff], &[], &[]);
    let mut changes = Vec::new();
    visit(&loose, &external(), |change| changes.push(change)).unwrap();
    assert_eq!(changes, [Change::Withdrawn(prefix("198.51.240.0/20"))]);
}

#[test]
fn u12_lengths_that_do_not_add_up() {
    let malformed = Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST);
    let bodies: [&[u8]; 4] = [
        &[0, 1, 0, 0],
        &[0, 0, 0, 1],
        &[0, 3, 16, 10, 0, 0],
        &[0xff, 0xff, 0, 0, 0, 0],
    ];
    for body in bodies {
        assert_eq!(reset(body), malformed);
    }
}

#[test]
fn u13_an_attribute_that_is_longer_than_what_is_left() {
    let broken: [&[u8]; 4] = [
        &[0x80, 4, 9, 0, 0, 0, 1],
        &[0x90, 4, 0],
        &[0x80, 4],
        &[0x80],
    ];
    for attribute in broken {
        let number = attribute.get(1).copied().unwrap_or(0);
        assert_withdrawn(&announcing(&[attribute]), number);
    }
}

#[test]
fn u14_of_an_attribute_that_is_there_twice_the_first_counts() {
    let received = received(&announcing(&[&[0x40, 1, 1, 9], &[0x40, 1, 1, 9]]));
    assert_eq!(received.announced, only_ipv4(1));
    assert_eq!(
        received.problems,
        [AttributeProblem {
            attribute: 1,
            what: "is there more than once",
            consequence: Consequence::Discard,
        }; 2]
    );
}

#[test]
fn u15_next_hops_of_mp_reach_nlri() {
    for len in [16, 32] {
        let reach = v6_reach(&vec![0xfe; len]);
        let received = received(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]));
        assert_eq!(received.announced, only_ipv6(1));
        assert_eq!(received.problems, []);
    }
    for len in [0, 4, 8, 15, 17, 24] {
        let reach = v6_reach(&vec![0xfe; len]);
        assert_eq!(
            reset(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[])),
            error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, &reach),
            "next hop of {len} bytes"
        );
    }
    let cut: [&[u8]; 4] = [
        &[0x80, 14, 0],
        &[0x80, 14, 3, 0, 2, 1],
        &[0x80, 14, 5, 0, 2, 1, 16, 0],
        &[0x80, 14, 8, 0, 1, 1, 4, 10, 0, 0, 1],
    ];
    for reach in cut {
        assert_eq!(
            reset(&body(&[], &[reach, &ORIGIN, &AS_PATH], &[])),
            error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, reach)
        );
    }
}

#[test]
fn u15_ipv4_routes_with_ipv6_next_hops_only_where_negotiated() {
    let mut reach = vec![0x80, 14, 26, 0, 1, 1, 16];
    reach.extend([0xfe; 16]);
    reach.push(0);
    reach.extend(ROUTE);
    let message = body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]);
    assert_eq!(received(&message).announced, only_ipv4(1));
    let without = Negotiated {
        extended_next_hop: false,
        ..external()
    };
    assert_eq!(
        parse(&message, &without),
        Err(error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, &reach))
    );
    // IPv4 by the classic next hop in the new attribute is fine.
    let mut reach = vec![0x80, 14, 14, 0, 1, 1, 4, 10, 99, 1, 2, 0];
    reach.extend(ROUTE);
    let message = body(&[], &[&reach, &ORIGIN, &AS_PATH], &[]);
    assert_eq!(parse(&message, &without).unwrap().announced, only_ipv4(1));
}

#[test]
fn u16_an_attribute_with_prefixes_that_is_there_twice() {
    let malformed = Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST);
    let reach = v6_reach(&[1; 16]);
    let twice = body(&[], &[&reach, &reach, &ORIGIN, &AS_PATH], &[]);
    assert_eq!(reset(&twice), malformed);
    let twice = body(&[], &[&V6_UNREACH, &V6_UNREACH], &[]);
    assert_eq!(reset(&twice), malformed);
}

#[test]
fn u17_prefixes_in_attributes_that_do_not_parse() {
    let mut reach = vec![0x80, 14, 23, 0, 2, 1, 16];
    reach.extend([1; 16]);
    reach.extend([0, 129, 0x20]);
    assert_eq!(
        reset(&body(&[], &[&reach, &ORIGIN, &AS_PATH], &[])),
        error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, &reach)
    );
    let unreaches: [&[u8]; 4] = [
        &[0x80, 15, 0],
        &[0x80, 15, 2, 0, 2],
        &[0x80, 15, 5, 0, 2, 1, 128, 0x20],
        &[0x80, 15, 4, 0, 2, 1, 129],
    ];
    for unreach in unreaches {
        assert_eq!(
            reset(&body(&[], &[unreach], &[])),
            error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, unreach)
        );
    }
}

#[test]
fn u18_a_family_that_was_not_negotiated() {
    let only_v4 = Negotiated {
        families: Families::only(Family::Ipv4Unicast),
        ..external()
    };
    let reach = v6_reach(&[1; 16]);
    let message = body(&[], &[&reach, &ORIGIN, &AS_PATH, &NEXT_HOP], &ROUTE);
    let received = parse(&message, &only_v4).unwrap();
    assert_eq!(received.announced, only_ipv4(1));
    assert_eq!(received.problems.len(), 1);
    assert_eq!(received.problems[0].consequence, Consequence::Discard);

    // Nothing of such a family is looked at, not even whether it would parse.
    let vpn = [0x80, 14, 7, 0, 1, 128, 1, 0, 0, 99];
    let message = body(&[], &[&vpn, &ORIGIN, &AS_PATH], &[]);
    assert_eq!(
        parse(&message, &only_v4).unwrap().announced,
        PerFamily::default()
    );

    let only_v6 = Negotiated {
        families: Families::only(Family::Ipv6Unicast),
        ..external()
    };
    let mut changes = Vec::new();
    let received = visit(&announcing(&[]), &only_v6, |change| changes.push(change)).unwrap();
    assert_eq!((received, changes), (Received::default(), vec![]));
}

#[test]
fn u19_an_error_in_a_message_without_routes() {
    // The routes may be where they could not be found (RFC 7606 5.2).
    let bad = [0x40, 1, 1, 7];
    assert_eq!(
        reset(&body(&[], &[&bad, &AS_PATH, &NEXT_HOP], &[])),
        error(ErrorCode::INVALID_ORIGIN_ATTRIBUTE, &bad)
    );
    assert_eq!(
        reset(&body(&ROUTE, &[&[0x80, 4, 1, 0]], &[])),
        error(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, &[0x80, 4, 1, 0])
    );
    assert_eq!(
        reset(&body(&[], &[&[0x80, 14, 60, 0, 2]], &[])),
        error(ErrorCode::ATTRIBUTE_LENGTH_ERROR, &[0x80, 14, 60, 0, 2])
    );
    // What is only discarded is no such error, nor are flags of the attribute that withdraws.
    let discarded = received(&body(&[], &[&ORIGIN, &[0x40, 6, 1, 0]], &[]));
    assert_eq!(discarded.problems.len(), 1);
    let flags = received(&body(&[], &[&[0xc0, 15, 5, 0, 2, 1, 8, 0x20]], &[]));
    assert!(flags.treat_as_withdraw);
    assert_eq!(flags.withdrawn, only_ipv6(1));
}

#[test]
fn u20_end_of_rib() {
    assert_eq!(received(&[0; 4]).end_of_rib, Some(Family::Ipv4Unicast));
    let end = body(&[], &[&V6_UNREACH], &[]);
    assert_eq!(received(&end).end_of_rib, Some(Family::Ipv6Unicast));
    let wide = body(&[], &[&[0x90, 15, 0, 3, 0, 2, 1]], &[]);
    assert_eq!(received(&wide).end_of_rib, Some(Family::Ipv6Unicast));
    let by_attribute = body(&[], &[&[0x80, 15, 3, 0, 1, 1]], &[]);
    assert_eq!(
        received(&by_attribute).end_of_rib,
        Some(Family::Ipv4Unicast)
    );

    // Not if anything else is said.
    let v6 = [0x80, 15, 5, 0, 2, 1, 8, 0x20];
    for message in [
        body(&[], &[&v6], &[]),
        body(&[], &[&V6_UNREACH, &ORIGIN], &[]),
        body(&ROUTE, &[&V6_UNREACH], &[]),
        body(&[], &[&V6_UNREACH], &ROUTE),
        announcing(&[&V6_UNREACH]),
    ] {
        assert_eq!(received(&message).end_of_rib, None);
    }
    let only_v4 = Negotiated {
        families: Families::only(Family::Ipv4Unicast),
        ..external()
    };
    assert_eq!(parse(&end, &only_v4).unwrap().end_of_rib, None);
}

#[test]
fn the_severest_error_decides() {
    // A route to be withdrawn, an attribute to be discarded, and a prefix that ends the session.
    let bad = [0x40, 1, 1, 7];
    let reset_by_prefix = body(
        &[],
        &[&bad, &AS_PATH, &[0x40, 6, 1, 0]],
        &[33, 1, 2, 3, 4, 5],
    );
    assert_eq!(
        reset(&reset_by_prefix).error,
        ErrorCode::INVALID_NETWORK_FIELD
    );
    let reset_by_attribute = announcing(&[&[0x80, 4, 0], &[0x00, 99, 0]]);
    assert_eq!(
        reset(&reset_by_attribute).error,
        ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE
    );
}

#[test]
fn of_many_problems_the_first_are_told() {
    let repeated = [[0x80, 4, 4, 0, 0, 0, 1].as_slice(); 500];
    let received = received(&announcing(&repeated));
    assert_eq!(received.problems.len(), 8);
    assert_eq!(received.announced, only_ipv4(1));
}

#[test]
fn routes_of_both_families_in_one_message_are_withdrawn_together() {
    let reach = v6_reach(&[1; 16]);
    let message = body(
        &[],
        &[&reach, &[0x40, 1, 1, 3], &AS_PATH, &NEXT_HOP],
        &ROUTE,
    );
    let mut changes = Vec::new();
    let received = visit(&message, &external(), |change| changes.push(change)).unwrap();
    assert_eq!(received.withdrawn, PerFamily { ipv4: 1, ipv6: 1 });
    assert_eq!(
        changes,
        [
            Change::Withdrawn(prefix("198.51.100.1/32")),
            Change::Withdrawn(prefix("2001:db8::1/128")),
        ]
    );
}
