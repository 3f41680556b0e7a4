//! Each attribute on its own: what is fine, what is discarded, what takes the route away (RFC 7606
//! section 7 and the RFCs of the attributes).

use herald_bgp::wire::Negotiated;
use herald_bgp::wire::update::{Consequence, parse};

use super::support::{announcing, external, internal, plain};

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const BOTH: u8 = 0xc0;

/// What follows from one more attribute of a route.
fn verdict(negotiated: &Negotiated, flags: u8, number: u8, value: &[u8]) -> Option<Consequence> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    let mut attribute = vec![flags | 0x10, number];
    attribute.extend(len);
    attribute.extend(value);
    let mut message = announcing(&[&attribute]);
    if !negotiated.four_octet_as {
        // The path of `announcing` has four octets.
        let path = [0x40, 2, 4, 2, 1, 0xfd, 0xea];
        message = super::support::body(
            &[],
            &[
                &super::support::ORIGIN,
                &path,
                &super::support::NEXT_HOP,
                &attribute,
            ],
            &super::support::ROUTE,
        );
    }
    let received = parse(&message, negotiated).expect("the session goes on");
    let withdrawn = received.treat_as_withdraw;
    assert_eq!(received.announced.ipv4, usize::from(!withdrawn));
    assert_eq!(received.withdrawn.ipv4, usize::from(withdrawn));
    let consequences: Vec<_> = received
        .problems
        .iter()
        .map(|problem| {
            assert_eq!(problem.attribute, number);
            problem.consequence
        })
        .collect();
    assert_eq!(consequences.contains(&Consequence::Withdraw), withdrawn);
    assert!(consequences.len() <= 1, "{consequences:?}");
    consequences.first().copied()
}

/// Asserts that each value of an attribute from another AS has this consequence.
fn assert_each(expected: Option<Consequence>, flags: u8, number: u8, values: &[&[u8]]) {
    for value in values {
        let verdict = verdict(&external(), flags, number, value);
        assert_eq!(verdict, expected, "attribute {number}: {value:?}");
    }
}

const FINE: Option<Consequence> = None;
const DISCARD: Option<Consequence> = Some(Consequence::Discard);
const WITHDRAW: Option<Consequence> = Some(Consequence::Withdraw);

#[test]
fn multi_exit_disc() {
    assert_each(FINE, OPTIONAL, 4, &[&[0, 0, 0, 1]]);
    assert_each(WITHDRAW, OPTIONAL, 4, &[&[], &[0; 3], &[0; 5]]);
}

#[test]
fn local_pref_is_for_the_own_as() {
    assert_each(DISCARD, TRANSITIVE, 5, &[&[0; 4], &[0; 3], &[]]);
    assert_eq!(verdict(&external(), OPTIONAL, 5, &[0; 4]), DISCARD);
    assert_eq!(verdict(&internal(), TRANSITIVE, 5, &[0; 4]), FINE);
    assert_eq!(verdict(&internal(), TRANSITIVE, 5, &[0; 3]), WITHDRAW);
    assert_eq!(verdict(&internal(), OPTIONAL, 5, &[0; 4]), WITHDRAW);
}

#[test]
fn atomic_aggregate() {
    assert_each(FINE, TRANSITIVE, 6, &[&[]]);
    assert_each(DISCARD, TRANSITIVE, 6, &[&[0], &[0; 4]]);
    assert_each(WITHDRAW, BOTH, 6, &[&[]]);
}

#[test]
fn aggregator() {
    let old = plain();
    assert_each(FINE, BOTH, 7, &[&[0, 0, 0xfd, 0xea, 10, 0, 0, 1]]);
    assert_each(
        DISCARD,
        BOTH,
        7,
        &[&[0xfd, 0xea, 10, 0, 0, 1], &[], &[1; 7], &[1; 9]],
    );
    assert_eq!(verdict(&old, BOTH, 7, &[0xfd, 0xea, 10, 0, 0, 1]), FINE);
    assert_eq!(
        verdict(&old, BOTH, 7, &[0, 0, 0xfd, 0xea, 10, 0, 0, 1]),
        DISCARD
    );
    // RFC 7607.
    assert_each(DISCARD, BOTH, 7, &[&[0, 0, 0, 0, 10, 0, 0, 1]]);
    assert_eq!(verdict(&old, BOTH, 7, &[0, 0, 10, 0, 0, 1]), DISCARD);
}

#[test]
fn communities_of_every_kind() {
    for (number, size) in [(8, 4), (16, 8), (25, 20), (32, 12)] {
        let value = [1; 40 * 20 + 1];
        assert_each(FINE, BOTH, number, &[&value[..size], &value[..size * 40]]);
        assert_each(
            WITHDRAW,
            BOTH,
            number,
            &[&[], &value[..1], &value[..=size], &value[..size * 40 - 1]],
        );
        assert_each(WITHDRAW, OPTIONAL, number, &[&value[..size]]);
    }
}

#[test]
fn attributes_of_route_reflectors_are_for_the_own_as() {
    for number in [9, 10] {
        assert_each(DISCARD, OPTIONAL, number, &[&[1; 4], &[1; 3], &[]]);
        assert_eq!(verdict(&internal(), OPTIONAL, number, &[1; 4]), FINE);
        for value in [[].as_slice(), &[1; 3], &[1; 6]] {
            assert_eq!(verdict(&internal(), OPTIONAL, number, value), WITHDRAW);
        }
        assert_eq!(verdict(&internal(), BOTH, number, &[1; 4]), WITHDRAW);
    }
    assert_eq!(verdict(&internal(), OPTIONAL, 9, &[1; 8]), WITHDRAW);
    assert_eq!(verdict(&internal(), OPTIONAL, 10, &[1; 8]), FINE);
}

#[test]
fn attributes_of_two_octet_speakers() {
    let path = [2, 1, 0xfa, 0x56, 0xea, 0x01];
    let aggregator = [0xfa, 0x56, 0xea, 0x01, 10, 0, 0, 1];
    // From a speaker of four octets, right or wrong (RFC 6793 section 6).
    assert_each(DISCARD, BOTH, 17, &[&path, &[]]);
    assert_each(DISCARD, BOTH, 18, &[&aggregator, &[]]);
    let old = plain();
    assert_eq!(verdict(&old, BOTH, 17, &path), FINE);
    for bad in [
        [].as_slice(),
        &[2, 2, 0, 0, 0, 1],
        &[3, 1, 0, 0, 0, 1],
        &[2, 1, 0, 0, 0, 0],
    ] {
        assert_eq!(verdict(&old, BOTH, 17, bad), DISCARD, "{bad:?}");
    }
    assert_eq!(verdict(&old, BOTH, 18, &aggregator), FINE);
    for bad in [[].as_slice(), &[1; 6], &[0, 0, 0, 0, 10, 0, 0, 1]] {
        assert_eq!(verdict(&old, BOTH, 18, bad), DISCARD, "{bad:?}");
    }
}

#[test]
fn attributes_of_other_uses() {
    // PMSI_TUNNEL.
    assert_each(
        FINE,
        BOTH,
        22,
        &[&[0, 6, 0, 0, 0], &[0, 6, 0, 0, 0, 10, 0, 0, 1]],
    );
    assert_each(WITHDRAW, BOTH, 22, &[&[], &[0; 4]]);
    // TUNNEL_ENCAPSULATION.
    assert_each(
        FINE,
        BOTH,
        23,
        &[&[0, 8, 0, 0], &[0, 8, 0, 2, 1, 0, 0, 9, 0, 0]],
    );
    assert_each(WITHDRAW, BOTH, 23, &[&[], &[0, 8, 0], &[0, 8, 0, 3, 1, 0]]);
    // TRAFFIC_ENGINEERING.
    assert_each(FINE, OPTIONAL, 24, &[&[1, 2, 3]]);
    assert_each(WITHDRAW, BOTH, 24, &[&[1, 2, 3]]);
    // AIGP, which is never worse than discarded.
    assert_each(FINE, OPTIONAL, 26, &[&[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]]);
    assert_each(
        DISCARD,
        OPTIONAL,
        26,
        &[&[], &[1, 0, 2], &[1, 0, 12, 0], &[1]],
    );
    assert_each(DISCARD, BOTH, 26, &[&[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]]);
    // BGP_LS.
    assert_each(FINE, OPTIONAL, 29, &[&[4, 0, 0, 1, 0]]);
    assert_each(DISCARD, OPTIONAL, 29, &[&[], &[4, 0, 0, 2, 0]]);
    // ONLY_TO_CUSTOMER.
    assert_each(FINE, BOTH, 35, &[&[0, 0, 0xfd, 0xea]]);
    assert_each(WITHDRAW, BOTH, 35, &[&[], &[0; 5]]);
    // BFD_DISCRIMINATOR.
    assert_each(
        FINE,
        BOTH,
        38,
        &[&[1, 0, 0, 0, 1], &[1, 0, 0, 0, 1, 1, 2, 9, 9]],
    );
    assert_each(
        DISCARD,
        BOTH,
        38,
        &[&[], &[1, 0, 0, 0], &[1, 0, 0, 0, 1, 1, 3, 9]],
    );
    // PREFIX_SID.
    assert_each(FINE, BOTH, 40, &[&[1, 0, 7, 0, 0, 0, 0, 0, 0, 9]]);
    assert_each(DISCARD, BOTH, 40, &[&[], &[1, 0], &[1, 0, 8, 0]]);
    // ATTR_SET.
    assert_each(
        FINE,
        BOTH,
        128,
        &[&[0, 0, 0xfd, 0xea], &[0, 0, 0xfd, 0xea, 0x40, 1, 1, 0]],
    );
    assert_each(
        WITHDRAW,
        BOTH,
        128,
        &[&[], &[0; 3], &[0, 0, 0xfd, 0xea, 0x40, 1, 2, 0]],
    );
}
