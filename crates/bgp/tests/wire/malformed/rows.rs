//! The rows, in the order of RFC 7606.

use herald_bgp::wire::ErrorCode;

use super::End::{Discarded, Kept, Reset, Withdrawn};
use super::Sender::{External, Internal, Old};
use super::Sent::{Body, Fields, Instead, More, Without};
use super::{Row, row};

const LIST: ErrorCode = ErrorCode::MALFORMED_ATTRIBUTE_LIST;
const OPTIONAL: ErrorCode = ErrorCode::OPTIONAL_ATTRIBUTE_ERROR;
const NETWORK: ErrorCode = ErrorCode::INVALID_NETWORK_FIELD;
const UNKNOWN: ErrorCode = ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE;

/// `ORIGIN` and `AS_PATH`, as literals begin with them.
const ORIGIN_AND_PATH: [u8; 13] = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];

/// `198.51.100.1/32`.
const ROUTE: &[u8] = &[32, 198, 51, 100, 1];

/// `2001:db8::/32` by way of a global next hop, with these flags.
const fn reach(flags: u8) -> [u8; 29] {
    [
        flags, 14, 26, 0, 2, 1, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 32,
        0x20, 1, 0x0d, 0xb8,
    ]
}

/// Attributes that follow each other.
const fn join<const A: usize, const B: usize, const N: usize>(a: [u8; A], b: [u8; B]) -> [u8; N] {
    let mut all = [0; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { a[at] } else { b[at - A] };
        at += 1;
    }
    all
}

/// The same without a next hop and with a length that is said to be `len`.
const fn short_hop(len: u8) -> [u8; 10] {
    [0x80, 14, 7, 0, 2, 1, len, 1, 2, 3]
}

/// A route of IPv6 alone.
const SIX: [u8; 42] = join(ORIGIN_AND_PATH, reach(0x80));

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // Flags.
    row("7606 3 c", "ORIGIN flagged optional and transitive", External, Instead(&[0xc0, 1, 1, 0]), Withdrawn(1)),
    row("7606 3 c", "ORIGIN flagged optional", External, Instead(&[0x80, 1, 1, 0]), Withdrawn(1)),
    row("7606 3 c", "ORIGIN without flags", External, Instead(&[0x00, 1, 1, 0]), Withdrawn(1)),
    row("7606 3 c", "AS_PATH flagged optional and transitive", External, Instead(&[0xc0, 2, 6, 2, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 3 c", "AS_PATH without flags", External, Instead(&[0x00, 2, 6, 2, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 3 c", "NEXT_HOP flagged optional and transitive", External, Instead(&[0xc0, 3, 4, 10, 99, 1, 2]), Withdrawn(3)),
    row("7606 3 c", "NEXT_HOP flagged optional", External, Instead(&[0x80, 3, 4, 10, 99, 1, 2]), Withdrawn(3)),
    row("7606 3 c", "MULTI_EXIT_DISC flagged transitive, too", External, More(&[0xc0, 4, 4, 0, 0, 0, 1]), Withdrawn(4)),
    row("7606 3 c", "MULTI_EXIT_DISC flagged well-known", External, More(&[0x40, 4, 4, 0, 0, 0, 1]), Withdrawn(4)),
    row("7606 3 c", "LOCAL_PREF flagged optional", Internal, More(&[0x80, 5, 4, 0, 0, 0, 100]), Withdrawn(5)),
    row("7606 3 c", "LOCAL_PREF flagged optional and transitive", Internal, More(&[0xc0, 5, 4, 0, 0, 0, 100]), Withdrawn(5)),
    row("7606 3 c", "ATOMIC_AGGREGATE flagged optional and transitive", External, More(&[0xc0, 6, 0]), Withdrawn(6)),
    row("7606 3 c", "ATOMIC_AGGREGATE flagged optional", External, More(&[0x80, 6, 0]), Withdrawn(6)),
    row("7606 3 c", "AGGREGATOR flagged well-known", External, More(&[0x40, 7, 8, 0, 0, 0xfd, 0xea, 10, 0, 0, 1]), Withdrawn(7)),
    row("7606 3 c", "COMMUNITIES not transitive", External, More(&[0x80, 8, 4, 0xfd, 0xea, 0, 1]), Withdrawn(8)),
    row("7606 3 c", "COMMUNITIES flagged well-known", External, More(&[0x40, 8, 4, 0xfd, 0xea, 0, 1]), Withdrawn(8)),
    row("7606 3 c", "ORIGINATOR_ID flagged transitive, too", Internal, More(&[0xc0, 9, 4, 10, 0, 0, 1]), Withdrawn(9)),
    row("7606 3 c", "CLUSTER_LIST flagged transitive, too", Internal, More(&[0xc0, 10, 4, 10, 0, 0, 1]), Withdrawn(10)),
    row("7606 3 c", "MP_REACH_NLRI flagged transitive, too", External, Fields(&[], &join::<13, 29, 42>(ORIGIN_AND_PATH, reach(0xc0)), &[]), Withdrawn(14)),
    row("7606 3 c", "MP_UNREACH_NLRI flagged transitive, too", External, Fields(&[], &[0xc0, 15, 5, 0, 2, 1, 8, 0x20], &[]), Withdrawn(15)),
    row("7606 3 c", "EXTENDED_COMMUNITIES not transitive", External, More(&[0x80, 16, 8, 0, 2, 0xfd, 0xea, 0, 0, 0, 1]), Withdrawn(16)),
    row("7606 3 c", "LARGE_COMMUNITIES flagged well-known", External, More(&[0x40, 32, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]), Withdrawn(32)),
    row("4271 4.3", "COMMUNITIES flagged partial", External, More(&[0xe0, 8, 4, 0xfd, 0xea, 0, 1]), Kept),
    row("4271 4.3", "the bits of the flags that nobody uses", External, More(&[0x8f, 4, 4, 0, 0, 0, 1]), Kept),
    row("4271 4.3", "a length of two octets where one would do", External, Instead(&[0x50, 1, 0, 1, 0]), Kept),
    // What every route has.
    row("7606 3 d", "no ORIGIN", External, Without(1), Withdrawn(1)),
    row("7606 3 d", "no AS_PATH", External, Without(2), Withdrawn(2)),
    row("7606 3 d", "no NEXT_HOP", External, Without(3), Withdrawn(3)),
    row("7606 3 d", "no attribute at all", External, Fields(&[], &[], ROUTE), Withdrawn(1)),
    row("7606 3 d", "IPv6 without ORIGIN", External, Fields(&[], &join::<9, 29, 38>([0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea], reach(0x80)), &[]), Withdrawn(1)),
    row("7606 3 d", "IPv6 without AS_PATH", External, Fields(&[], &join::<4, 29, 33>([0x40, 1, 1, 0], reach(0x80)), &[]), Withdrawn(2)),
    row("4760 3", "IPv6 without NEXT_HOP", External, Fields(&[], &SIX, &[]), Kept),
    row("4271 5.1.5", "no LOCAL_PREF within the AS: it is discretionary", Internal, More(&[]), Kept),
    // More than once.
    row("7606 3 g", "ORIGIN twice", External, More(&[0x40, 1, 1, 2]), Discarded(1)),
    row("7606 3 g", "AS_PATH twice", External, More(&[0x40, 2, 0]), Discarded(2)),
    row("7606 3 g", "NEXT_HOP twice, the second one wrong", External, More(&[0x40, 3, 1, 0]), Discarded(3)),
    row("7606 3 g", "COMMUNITIES twice", External, More(&[0xc0, 8, 4, 0, 0, 0, 1, 0xc0, 8, 4, 0, 0, 0, 2]), Discarded(8)),
    row("7606 3 g", "an unknown attribute twice", External, More(&[0xc0, 99, 0, 0xc0, 99, 0]), Discarded(99)),
    row("7606 3 g", "MULTI_EXIT_DISC twice, the first one wrong", External, More(&[0x80, 4, 1, 0, 0x80, 4, 4, 0, 0, 0, 1]), Withdrawn(4)),
    row("7606 3 g", "MP_REACH_NLRI twice", External, Fields(&[], &join::<29, 29, 58>(reach(0x80), reach(0x80)), &[]), Reset(LIST)),
    row("7606 3 g", "MP_UNREACH_NLRI twice", External, Fields(&[], &[0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1], &[]), Reset(LIST)),
    // Several at once.
    row("7606 3 h", "one to discard and one to withdraw for", External, More(&[0x40, 6, 1, 0, 0xc0, 8, 3, 0, 0, 0]), Withdrawn(8)),
    row("7606 3 h", "one to withdraw for and one that ends the session", External, More(&[0xc0, 8, 3, 0, 0, 0, 0x40, 99, 0]), Reset(UNKNOWN)),
    // Lengths.
    row("7606 3 j", "withdrawn routes longer than the message", External, Body(&[0, 9, 16, 10, 0, 0]), Reset(LIST)),
    row("7606 3 j", "attributes longer than the message", External, Body(&[0, 0, 0, 9, 0x40, 1, 1, 0]), Reset(LIST)),
    row("7606 3 j", "no room for the length of the attributes", External, Body(&[0, 1, 0, 0]), Reset(LIST)),
    row("7606 4", "an attribute longer than all together", External, More(&[0x80, 4, 9, 0, 0, 0, 1]), Withdrawn(4)),
    row("7606 4", "a length of two octets, of which one is there", External, More(&[0x90, 4, 0]), Withdrawn(4)),
    row("7606 4", "flags and type without a length", External, More(&[0x80, 4]), Withdrawn(4)),
    row("7606 4", "flags without a type", External, More(&[0x80]), Withdrawn(0)),
    // Which routes are meant.
    row("7606 5.1", "MP_REACH_NLRI after the other attributes", External, Fields(&[], &SIX, &[]), Kept),
    row("7606 5.1", "routes of both families in a message", External, Fields(&[], &join::<42, 7, 49>(SIX, [0x40, 3, 4, 10, 99, 1, 2]), ROUTE), Kept),
    row("7606 5.2", "a wrong attribute without any route", External, Fields(&[], &[0x40, 1, 1, 7], &[]), Reset(ErrorCode::INVALID_ORIGIN_ATTRIBUTE)),
    row("7606 5.2", "a wrong attribute with nothing but withdrawn routes", External, Fields(ROUTE, &[0x80, 4, 1, 0], &[]), Reset(OPTIONAL)),
    row("7606 5.3", "a prefix of 33 bits", External, Fields(&[], &ORIGIN_AND_PATH, &[33, 198, 51, 100, 1, 0]), Reset(NETWORK)),
    row("7606 5.3", "a prefix that is cut off", External, Fields(&[], &ORIGIN_AND_PATH, &[32, 198, 51]), Reset(NETWORK)),
    row("7606 5.3", "a withdrawn prefix of 33 bits", External, Fields(&[33, 198, 51, 100, 1, 0], &[], &[]), Reset(NETWORK)),
    row("7606 5.3", "a withdrawn prefix that is cut off", External, Fields(&[24, 198, 51], &[], &[]), Reset(NETWORK)),
    row("7606 5.3", "an IPv6 prefix of 129 bits withdrawn", External, Fields(&[], &[0x80, 15, 4, 0, 2, 1, 129], &[]), Reset(OPTIONAL)),
    // ORIGIN.
    row("7606 7.1", "ORIGIN without a value", External, Instead(&[0x40, 1, 0]), Withdrawn(1)),
    row("7606 7.1", "ORIGIN of two octets", External, Instead(&[0x40, 1, 2, 0, 0]), Withdrawn(1)),
    row("7606 7.1", "ORIGIN 3", External, Instead(&[0x40, 1, 1, 3]), Withdrawn(1)),
    row("7606 7.1", "ORIGIN 255", External, Instead(&[0x40, 1, 1, 255]), Withdrawn(1)),
    row("4271 5.1.1", "ORIGIN 2, incomplete", External, Instead(&[0x40, 1, 1, 2]), Kept),
    // AS_PATH.
    row("7606 7.2", "AS_PATH with a segment of type 0", External, Instead(&[0x40, 2, 6, 0, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH with a segment of type 5", External, Instead(&[0x40, 2, 6, 5, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH whose segment is longer than it", External, Instead(&[0x40, 2, 6, 2, 2, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH with one octet after its segment", External, Instead(&[0x40, 2, 7, 2, 1, 0, 0, 0xfd, 0xea, 2]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH with a segment of no AS", External, Instead(&[0x40, 2, 2, 2, 0]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH of two octets where four were agreed on", External, Instead(&[0x40, 2, 4, 2, 1, 0xfd, 0xea]), Withdrawn(2)),
    row("7606 7.2", "AS_PATH of four octets where two were agreed on", Old, Instead(&[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("5065 5", "AS_PATH with AS_CONFED_SEQUENCE from another AS", External, Instead(&[0x40, 2, 6, 3, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("5065 5", "AS_PATH with AS_CONFED_SET from another AS", External, Instead(&[0x40, 2, 6, 4, 1, 0, 0, 0xfd, 0xea]), Withdrawn(2)),
    row("7607 2", "AS_PATH with AS 0", External, Instead(&[0x40, 2, 6, 2, 1, 0, 0, 0, 0]), Withdrawn(2)),
    row("4271 5.1.2", "AS_PATH without a segment", Internal, Instead(&[0x40, 2, 0]), Kept),
    row("4271 4.3", "AS_PATH with AS_SET after AS_SEQUENCE", External, Instead(&[0x40, 2, 12, 2, 1, 0, 0, 0xfd, 0xea, 1, 1, 0, 0, 0, 1]), Kept),
    // NEXT_HOP.
    row("7606 7.3", "NEXT_HOP without a value", External, Instead(&[0x40, 3, 0]), Withdrawn(3)),
    row("7606 7.3", "NEXT_HOP of three octets", External, Instead(&[0x40, 3, 3, 10, 99, 1]), Withdrawn(3)),
    row("7606 7.3", "NEXT_HOP of five octets", External, Instead(&[0x40, 3, 5, 10, 99, 1, 2, 0]), Withdrawn(3)),
    row("7606 7.3", "NEXT_HOP of sixteen octets", External, Instead(&[0x40, 3, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]), Withdrawn(3)),
    row("4271 6.3", "NEXT_HOP 0.0.0.0", External, Instead(&[0x40, 3, 4, 0, 0, 0, 0]), Withdrawn(3)),
    row("4271 6.3", "NEXT_HOP 224.0.0.5", External, Instead(&[0x40, 3, 4, 224, 0, 0, 5]), Withdrawn(3)),
    // MULTI_EXIT_DISC.
    row("7606 7.4", "MULTI_EXIT_DISC without a value", External, More(&[0x80, 4, 0]), Withdrawn(4)),
    row("7606 7.4", "MULTI_EXIT_DISC of three octets", External, More(&[0x80, 4, 3, 0, 0, 1]), Withdrawn(4)),
    row("7606 7.4", "MULTI_EXIT_DISC of five octets", External, More(&[0x80, 4, 5, 0, 0, 0, 1, 0]), Withdrawn(4)),
    // LOCAL_PREF.
    row("7606 7.5", "LOCAL_PREF from another AS", External, More(&[0x40, 5, 4, 0, 0, 0, 100]), Discarded(5)),
    row("7606 7.5", "LOCAL_PREF of three octets from another AS", External, More(&[0x40, 5, 3, 0, 0, 1]), Discarded(5)),
    row("7606 7.5", "LOCAL_PREF of wrong flags from another AS", External, More(&[0xc0, 5, 4, 0, 0, 0, 100]), Discarded(5)),
    row("7606 7.5", "LOCAL_PREF without a value", Internal, More(&[0x40, 5, 0]), Withdrawn(5)),
    row("7606 7.5", "LOCAL_PREF of three octets", Internal, More(&[0x40, 5, 3, 0, 0, 1]), Withdrawn(5)),
    row("7606 7.5", "LOCAL_PREF of five octets", Internal, More(&[0x40, 5, 5, 0, 0, 0, 1, 0]), Withdrawn(5)),
    // ATOMIC_AGGREGATE.
    row("7606 7.6", "ATOMIC_AGGREGATE of one octet", External, More(&[0x40, 6, 1, 0]), Discarded(6)),
    row("7606 7.6", "ATOMIC_AGGREGATE of four octets", External, More(&[0x40, 6, 4, 0, 0, 0, 0]), Discarded(6)),
    // AGGREGATOR.
    row("7606 7.7", "AGGREGATOR without a value", External, More(&[0xc0, 7, 0]), Discarded(7)),
    row("7606 7.7", "AGGREGATOR of two octets where four were agreed on", External, More(&[0xc0, 7, 6, 0xfd, 0xea, 10, 0, 0, 1]), Discarded(7)),
    row("7606 7.7", "AGGREGATOR of seven octets", External, More(&[0xc0, 7, 7, 0, 0, 0xfd, 0xea, 10, 0, 0]), Discarded(7)),
    row("7606 7.7", "AGGREGATOR of nine octets", External, More(&[0xc0, 7, 9, 0, 0, 0xfd, 0xea, 10, 0, 0, 1, 0]), Discarded(7)),
    row("7606 7.7", "AGGREGATOR of four octets where two were agreed on", Old, More(&[0xc0, 7, 8, 0, 0, 0xfd, 0xea, 10, 0, 0, 1]), Discarded(7)),
    row("7606 7.7", "AGGREGATOR of two octets where these were agreed on", Old, More(&[0xc0, 7, 6, 0xfd, 0xea, 10, 0, 0, 1]), Kept),
    row("7607 2", "AGGREGATOR with AS 0", External, More(&[0xc0, 7, 8, 0, 0, 0, 0, 10, 0, 0, 1]), Discarded(7)),
    row("7607 2", "AGGREGATOR of two octets with AS 0", Old, More(&[0xc0, 7, 6, 0, 0, 10, 0, 0, 1]), Discarded(7)),
    // COMMUNITIES.
    row("7606 7.8", "COMMUNITIES without any", External, More(&[0xc0, 8, 0]), Withdrawn(8)),
    row("7606 7.8", "COMMUNITIES of three octets", External, More(&[0xc0, 8, 3, 0, 0, 1]), Withdrawn(8)),
    row("7606 7.8", "COMMUNITIES of five octets", External, More(&[0xc0, 8, 5, 0, 0, 0, 1, 0]), Withdrawn(8)),
    // ORIGINATOR_ID.
    row("7606 7.9", "ORIGINATOR_ID from another AS", External, More(&[0x80, 9, 4, 10, 0, 0, 1]), Discarded(9)),
    row("7606 7.9", "ORIGINATOR_ID of three octets from another AS", External, More(&[0x80, 9, 3, 10, 0, 0]), Discarded(9)),
    row("7606 7.9", "ORIGINATOR_ID without a value", Internal, More(&[0x80, 9, 0]), Withdrawn(9)),
    row("7606 7.9", "ORIGINATOR_ID of five octets", Internal, More(&[0x80, 9, 5, 10, 0, 0, 1, 0]), Withdrawn(9)),
    row("4456 8", "ORIGINATOR_ID", Internal, More(&[0x80, 9, 4, 10, 0, 0, 1]), Kept),
    // CLUSTER_LIST.
    row("7606 7.10", "CLUSTER_LIST from another AS", External, More(&[0x80, 10, 4, 10, 0, 0, 1]), Discarded(10)),
    row("7606 7.10", "CLUSTER_LIST of five octets from another AS", External, More(&[0x80, 10, 5, 10, 0, 0, 1, 0]), Discarded(10)),
    row("7606 7.10", "CLUSTER_LIST without any", Internal, More(&[0x80, 10, 0]), Withdrawn(10)),
    row("7606 7.10", "CLUSTER_LIST of six octets", Internal, More(&[0x80, 10, 6, 10, 0, 0, 1, 0, 0]), Withdrawn(10)),
    row("4456 8", "CLUSTER_LIST of two", Internal, More(&[0x80, 10, 8, 10, 0, 0, 1, 10, 0, 0, 2]), Kept),
    // MP_REACH_NLRI.
    row("7606 7.11", "MP_REACH_NLRI without a value", External, More(&[0x80, 14, 0]), Reset(OPTIONAL)),
    row("7606 7.11", "MP_REACH_NLRI of three octets", External, More(&[0x80, 14, 3, 0, 2, 1]), Reset(OPTIONAL)),
    row("7606 7.11", "MP_REACH_NLRI with a next hop of no octet", External, More(&short_hop(0)), Reset(OPTIONAL)),
    row("7606 7.11", "MP_REACH_NLRI with a next hop of three octets", External, More(&short_hop(3)), Reset(OPTIONAL)),
    row("7606 7.11", "MP_REACH_NLRI with a next hop longer than it", External, More(&short_hop(16)), Reset(OPTIONAL)),
    row("4760 6", "MP_REACH_NLRI of a family that was not agreed on", External, More(&[0x80, 14, 5, 0, 1, 128, 0, 0]), Discarded(14)),
    // MP_UNREACH_NLRI.
    row("7606 7.12", "MP_UNREACH_NLRI without a value", External, More(&[0x80, 15, 0]), Reset(OPTIONAL)),
    row("7606 7.12", "MP_UNREACH_NLRI of two octets", External, More(&[0x80, 15, 2, 0, 2]), Reset(OPTIONAL)),
    row("4760 6", "MP_UNREACH_NLRI of a family that was not agreed on", External, More(&[0x80, 15, 3, 0x40, 4, 71]), Discarded(15)),
    // Those that came later, and those of other uses.
    row("7606 7.13", "TRAFFIC_ENGINEERING with anything in it", External, More(&[0x80, 24, 3, 1, 2, 3]), Kept),
    row("7606 7.14", "EXTENDED_COMMUNITIES without any", External, More(&[0xc0, 16, 0]), Withdrawn(16)),
    row("7606 7.14", "EXTENDED_COMMUNITIES of seven octets", External, More(&[0xc0, 16, 7, 0, 2, 0xfd, 0xea, 0, 0, 0]), Withdrawn(16)),
    row("7606 7.14", "EXTENDED_COMMUNITIES of nine octets", External, More(&[0xc0, 16, 9, 0, 2, 0xfd, 0xea, 0, 0, 0, 1, 0]), Withdrawn(16)),
    row("7606 7.15", "IPV6_EXTENDED_COMMUNITIES without any", External, More(&[0xc0, 25, 0]), Withdrawn(25)),
    row("7606 7.15", "IPV6_EXTENDED_COMMUNITIES of three octets", External, More(&[0xc0, 25, 3, 0, 2, 0x20]), Withdrawn(25)),
    row("7606 7.16", "ATTR_SET of three octets", External, More(&[0xc0, 128, 3, 0, 0, 0xfd]), Withdrawn(128)),
    row("7606 7.16", "ATTR_SET with an attribute longer than it", External, More(&[0xc0, 128, 8, 0, 0, 0xfd, 0xea, 0x40, 1, 2, 0]), Withdrawn(128)),
    row("8092 6", "LARGE_COMMUNITIES without any", External, More(&[0xc0, 32, 0]), Withdrawn(32)),
    row("8092 6", "LARGE_COMMUNITIES of eleven octets", External, More(&[0xc0, 32, 11, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]), Withdrawn(32)),
    row("8092 6", "LARGE_COMMUNITIES of thirteen octets", External, More(&[0xc0, 32, 13, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]), Withdrawn(32)),
    row("6793 6", "AS4_PATH where four octets were agreed on", External, More(&[0xc0, 17, 6, 2, 1, 0, 0, 0xfd, 0xea]), Discarded(17)),
    row("6793 6", "AS4_AGGREGATOR where four octets were agreed on", External, More(&[0xc0, 18, 8, 0, 0, 0xfd, 0xea, 10, 0, 0, 1]), Discarded(18)),
    row("6793 6", "AS4_PATH whose segment is longer than it", Old, More(&[0xc0, 17, 6, 2, 2, 0, 0, 0xfd, 0xea]), Discarded(17)),
    row("6793 6", "AS4_PATH with a segment of type 9", Old, More(&[0xc0, 17, 6, 9, 1, 0, 0, 0xfd, 0xea]), Discarded(17)),
    row("6793 6", "AS4_PATH with a segment of a confederation", Old, More(&[0xc0, 17, 6, 3, 1, 0, 0, 0xfd, 0xea]), Discarded(17)),
    row("6793 6", "AS4_AGGREGATOR of seven octets", Old, More(&[0xc0, 18, 7, 0, 0, 0xfd, 0xea, 10, 0, 0]), Discarded(18)),
    row("6793 4.2.2", "AS4_PATH", Old, More(&[0xc0, 17, 6, 2, 1, 0, 0, 0xfd, 0xea]), Kept),
    row("9234 5", "ONLY_TO_CUSTOMER of three octets", External, More(&[0xc0, 35, 3, 0, 0, 1]), Withdrawn(35)),
    row("7311 3", "AIGP whose element is longer than it", External, More(&[0x80, 26, 3, 1, 0, 11]), Discarded(26)),
    row("8669 6", "PREFIX_SID whose element is longer than it", External, More(&[0xc0, 40, 3, 1, 0, 7]), Discarded(40)),
    row("9026 3.1.6", "BFD_DISCRIMINATOR of four octets", External, More(&[0xc0, 38, 4, 1, 0, 0, 1]), Discarded(38)),
    row("9552 8.2.2", "BGP_LS whose element is longer than it", External, More(&[0x80, 29, 4, 4, 0, 0, 1]), Discarded(29)),
    row("6514 5", "PMSI_TUNNEL of four octets", External, More(&[0xc0, 22, 4, 0, 6, 0, 0]), Withdrawn(22)),
    row("9012 13", "TUNNEL_ENCAPSULATION whose tunnel is longer than it", External, More(&[0xc0, 23, 4, 0, 8, 0, 9]), Withdrawn(23)),
    // Those that nobody knows.
    row("4271 6.3", "an unknown well-known attribute", External, More(&[0x40, 99, 1, 0]), Reset(UNKNOWN)),
    row("4271 6.3", "an unknown attribute without flags", External, More(&[0x00, 99, 1, 0]), Reset(UNKNOWN)),
    row("4271 9", "an unknown optional transitive attribute", External, More(&[0xc0, 99, 1, 0]), Kept),
    row("4271 9", "an unknown optional attribute that is not transitive", External, More(&[0x80, 99, 1, 0]), Kept),
];
