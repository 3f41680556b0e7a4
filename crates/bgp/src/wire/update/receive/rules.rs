//! What each attribute has to look like, and what follows if it does not: RFC 7606 section 7 and the
//! RFCs of the attributes. Those that are not used here are checked, too: a peer that sends them
//! wrong is told of in the same words.

use super::attribute::Attribute;
use super::problem::{AttributeProblem, Consequence};
use super::values::{
    Check, aggregator, aigp, any, as_path, as4_aggregator, as4_path, attribute_set,
    bfd_discriminator, empty, four_octets, list_of, next_hop, origin, pmsi_tunnel, prefix_sid,
    wide_tlvs,
};
use crate::wire::update::number;
use crate::wire::update::path::{OPTIONAL, TRANSITIVE};
use crate::wire::{ErrorCode, Negotiated};

const AIGP: u8 = 26;

const WELL_KNOWN: u8 = TRANSITIVE;
const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

/// Who may send an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Anyone,
    /// Peers in our AS: what others send is discarded.
    Internal,
    /// Peers that speak AS numbers of two octets (RFC 6793 section 6).
    OldSpeaker,
}

/// One attribute's rule.
struct Rule {
    number: u8,
    name: &'static str,
    flags: u8,
    from: Sender,
    check: Check,
    /// What follows if the check fails.
    consequence: Consequence,
    /// The error of it, where it ends the session.
    error: ErrorCode,
}

const fn rule(
    number: u8,
    name: &'static str,
    flags: u8,
    from: Sender,
    check: Check,
    consequence: Consequence,
) -> Rule {
    Rule {
        number,
        name,
        flags,
        from,
        check,
        consequence,
        error: match number {
            number::ORIGIN => ErrorCode::INVALID_ORIGIN_ATTRIBUTE,
            number::AS_PATH => ErrorCode::MALFORMED_AS_PATH,
            number::NEXT_HOP => ErrorCode::INVALID_NEXT_HOP_ATTRIBUTE,
            _ if flags & OPTIONAL == 0 => ErrorCode::ATTRIBUTE_LENGTH_ERROR,
            _ => ErrorCode::OPTIONAL_ATTRIBUTE_ERROR,
        },
    }
}

use Consequence::{Discard, Withdraw};
use Sender::{Anyone, Internal, OldSpeaker};

#[rustfmt::skip]
static RULES: [Rule; 26] = [
    rule(number::ORIGIN, "ORIGIN", WELL_KNOWN, Anyone, origin, Withdraw),
    rule(number::AS_PATH, "AS_PATH", WELL_KNOWN, Anyone, as_path, Withdraw),
    rule(number::NEXT_HOP, "NEXT_HOP", WELL_KNOWN, Anyone, next_hop, Withdraw),
    rule(number::MULTI_EXIT_DISC, "MULTI_EXIT_DISC", OPTIONAL, Anyone, four_octets, Withdraw),
    rule(number::LOCAL_PREF, "LOCAL_PREF", WELL_KNOWN, Internal, four_octets, Withdraw),
    rule(6, "ATOMIC_AGGREGATE", WELL_KNOWN, Anyone, empty, Discard),
    rule(7, "AGGREGATOR", OPTIONAL_TRANSITIVE, Anyone, aggregator, Discard),
    rule(number::COMMUNITIES, "COMMUNITIES", OPTIONAL_TRANSITIVE, Anyone, list_of::<4>, Withdraw),
    rule(9, "ORIGINATOR_ID", OPTIONAL, Internal, four_octets, Withdraw),
    rule(10, "CLUSTER_LIST", OPTIONAL, Internal, list_of::<4>, Withdraw),
    // What is in these two is checked where the prefixes are read.
    rule(number::MP_REACH_NLRI, "MP_REACH_NLRI", OPTIONAL, Anyone, any, Withdraw),
    rule(number::MP_UNREACH_NLRI, "MP_UNREACH_NLRI", OPTIONAL, Anyone, any, Withdraw),
    rule(number::EXTENDED_COMMUNITIES, "EXTENDED_COMMUNITIES", OPTIONAL_TRANSITIVE, Anyone, list_of::<8>, Withdraw),
    rule(number::AS4_PATH, "AS4_PATH", OPTIONAL_TRANSITIVE, OldSpeaker, as4_path, Discard),
    rule(18, "AS4_AGGREGATOR", OPTIONAL_TRANSITIVE, OldSpeaker, as4_aggregator, Discard),
    rule(22, "PMSI_TUNNEL", OPTIONAL_TRANSITIVE, Anyone, pmsi_tunnel, Withdraw),
    rule(23, "TUNNEL_ENCAPSULATION", OPTIONAL_TRANSITIVE, Anyone, wide_tlvs, Withdraw),
    // RFC 5543 does not say when it is malformed (RFC 7606 7.13).
    rule(24, "TRAFFIC_ENGINEERING", OPTIONAL, Anyone, any, Withdraw),
    rule(25, "IPV6_EXTENDED_COMMUNITIES", OPTIONAL_TRANSITIVE, Anyone, list_of::<20>, Withdraw),
    rule(AIGP, "AIGP", OPTIONAL, Anyone, aigp, Discard),
    rule(29, "BGP_LS", OPTIONAL, Anyone, wide_tlvs, Discard),
    rule(number::LARGE_COMMUNITIES, "LARGE_COMMUNITIES", OPTIONAL_TRANSITIVE, Anyone, list_of::<12>, Withdraw),
    rule(35, "ONLY_TO_CUSTOMER", OPTIONAL_TRANSITIVE, Anyone, four_octets, Withdraw),
    rule(38, "BFD_DISCRIMINATOR", OPTIONAL_TRANSITIVE, Anyone, bfd_discriminator, Discard),
    rule(40, "PREFIX_SID", OPTIONAL_TRANSITIVE, Anyone, prefix_sid, Discard),
    rule(128, "ATTR_SET", OPTIONAL_TRANSITIVE, Anyone, attribute_set, Withdraw),
];

fn rule_of(number: u8) -> Option<&'static Rule> {
    let at = RULES.binary_search_by_key(&number, |rule| rule.number);
    RULES.get(at.ok()?)
}

/// The name of an attribute, if it is known.
pub(super) fn name(number: u8) -> Option<&'static str> {
    rule_of(number).map(|rule| rule.name)
}

/// What is to be done about an attribute.
pub(super) enum Verdict {
    Fine,
    /// Nobody may send a well-known attribute that is not known to all (RFC 4271 6.3).
    Unrecognized,
    /// The error is used where the consequence is not enough.
    Problem(AttributeProblem, ErrorCode),
}

/// Checks flags and value of an attribute.
pub(super) fn check(attribute: &Attribute<'_>, negotiated: &Negotiated) -> Verdict {
    let Some(rule) = rule_of(attribute.number) else {
        return if attribute.is_optional() {
            Verdict::Fine
        } else {
            Verdict::Unrecognized
        };
    };
    let problem = |what, consequence, error| {
        let attribute = rule.number;
        Verdict::Problem(
            AttributeProblem {
                attribute,
                what,
                consequence,
            },
            error,
        )
    };
    match rule.from {
        Internal if !negotiated.is_internal() => {
            let what = "is not for peers in other ASes";
            return problem(what, Discard, rule.error);
        }
        OldSpeaker if negotiated.four_octet_as => {
            let what = "is only for speakers without AS numbers of four octets";
            return problem(what, Discard, rule.error);
        }
        _ => {}
    }
    if attribute.kind() != rule.flags {
        let what = "has flags that its type does not allow";
        // Not a matter of the attribute (RFC 7606 section 3 c), unless its RFC says so (RFC 7311 3).
        let consequence = if rule.number == AIGP {
            Discard
        } else {
            Withdraw
        };
        return problem(what, consequence, ErrorCode::ATTRIBUTE_FLAGS_ERROR);
    }
    match (rule.check)(attribute.value, negotiated) {
        Ok(()) => Verdict::Fine,
        Err(what) => problem(what, rule.consequence, rule.error),
    }
}
