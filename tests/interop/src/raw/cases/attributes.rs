//! Attributes that are wrong by other RFCs than 4271: what RFC 7606 makes of them.

use super::super::wire::{attribute, flag};
use super::Case;
use super::update::{BOTH, WELL_KNOWN, keeps, withdraws};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a1",
        "AS_PATH with AS 0",
        "treat-as-withdraw (RFC 7607, 2)",
        |peer| {
            let mut path = vec![2, 2];
            path.extend(peer.asn.to_be_bytes());
            path.extend([0; 4]);
            let path = attribute(WELL_KNOWN, 2, &path);
            withdraws(peer, |good| good.path.clone_from(&path))
        },
    ),
    Case::new(
        "a2",
        "AS_PATH with a segment of a confederation",
        "treat-as-withdraw (RFC 5065, 5; RFC 7606, 7.2)",
        |peer| {
            let mut path = vec![3, 1];
            path.extend(peer.asn.to_be_bytes());
            let path = attribute(WELL_KNOWN, 2, &path);
            withdraws(peer, |good| good.path.clone_from(&path))
        },
    ),
    Case::new(
        "a3",
        "LOCAL_PREF from another AS",
        "the route without it (RFC 7606, 7.5)",
        |peer| {
            keeps(peer, |good| {
                good.more = attribute(WELL_KNOWN, 5, &[0, 0, 0, 200]);
            })
        },
    ),
    Case::new(
        "a4",
        "ORIGINATOR_ID and CLUSTER_LIST from another AS",
        "the route without them (RFC 7606, 7.9 and 7.10)",
        |peer| {
            keeps(peer, |good| {
                let originator = attribute(flag::OPTIONAL, 9, &[10, 0, 0, 9]);
                let clusters = attribute(flag::OPTIONAL, 10, &[10, 0, 0, 8]);
                good.more = [originator, clusters].concat();
            })
        },
    ),
    Case::new(
        "a5",
        "AS4_PATH, having agreed on four octets",
        "the route without it (RFC 6793, 6)",
        |peer| {
            keeps(peer, |good| {
                good.more = attribute(BOTH, 17, &[2, 1, 0, 0, 0xfd, 0xe9]);
            })
        },
    ),
    Case::new(
        "a6",
        "EXTENDED_COMMUNITIES of seven octets",
        "treat-as-withdraw (RFC 7606, 7.14)",
        |peer| withdraws(peer, |good| good.more = attribute(BOTH, 16, &[0; 7])),
    ),
    Case::new(
        "a7",
        "LARGE_COMMUNITIES of eleven octets",
        "treat-as-withdraw (RFC 8092, 6)",
        |peer| withdraws(peer, |good| good.more = attribute(BOTH, 32, &[0; 11])),
    ),
    Case::new(
        "a8",
        "COMMUNITIES without any",
        "treat-as-withdraw (RFC 7606, 7.8)",
        |peer| withdraws(peer, |good| good.more = attribute(BOTH, 8, &[])),
    ),
    Case::new(
        "a9",
        "the unused bits of the flags set",
        "the route (RFC 4271, 4.3)",
        |peer| {
            keeps(peer, |good| {
                good.more = attribute(flag::OPTIONAL | 0x0f, 4, &[0; 4]);
            })
        },
    ),
];
