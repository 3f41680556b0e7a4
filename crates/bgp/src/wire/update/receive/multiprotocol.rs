//! The attributes that carry prefixes of any family (RFC 4760, RFC 2545, RFC 8950).

use super::problem::AttributeProblem;
use crate::wire::bytes::Reader;
use crate::wire::{Family, Negotiated};

/// What an attribute of prefixes has.
pub(super) enum Reach<'a> {
    /// The prefixes of a family of the session, not yet looked at.
    Routes(Family, &'a [u8]),
    /// Those of a family that is not exchanged; to be ignored.
    OtherFamily,
    /// Something from which the prefixes cannot be told.
    Malformed,
}

/// `| AFI: 2 | SAFI: 1 | length: 1 | next hop | reserved: 1 | prefixes |`
pub(super) fn reach<'a>(value: &'a [u8], negotiated: &Negotiated) -> Reach<'a> {
    let mut reader = Reader::new(value);
    let Some((afi, safi, next_hop_len)) = head(&mut reader) else {
        return Reach::Malformed;
    };
    let Some(family) = family(afi, safi, negotiated) else {
        return Reach::OtherFamily;
    };
    let expected = match (family, next_hop_len) {
        (Family::Ipv4Unicast, 4) | (Family::Ipv6Unicast, 16 | 32) => true,
        (Family::Ipv4Unicast, 16 | 32) => negotiated.extended_next_hop,
        _ => false,
    };
    // RFC 4760 had subnetwork addresses where one octet is reserved now.
    if expected && reader.u8().is_some() {
        Reach::Routes(family, reader.rest())
    } else {
        Reach::Malformed
    }
}

/// `| AFI: 2 | SAFI: 1 | prefixes |`
pub(super) fn unreach<'a>(value: &'a [u8], negotiated: &Negotiated) -> Reach<'a> {
    let mut reader = Reader::new(value);
    let (Some(afi), Some(safi)) = (reader.u16(), reader.u8()) else {
        return Reach::Malformed;
    };
    match family(afi, safi, negotiated) {
        Some(family) => Reach::Routes(family, reader.rest()),
        None => Reach::OtherFamily,
    }
}

/// The problem of an attribute whose prefixes are ignored.
pub(super) fn other_family(number: u8) -> AttributeProblem {
    AttributeProblem::discard(number, "is of a family that was not negotiated")
}

/// Family and next hop, which is read over.
fn head(reader: &mut Reader<'_>) -> Option<(u16, u8, u8)> {
    let (afi, safi, len) = (reader.u16()?, reader.u8()?, reader.u8()?);
    reader.take(len.into())?;
    Some((afi, safi, len))
}

fn family(afi: u16, safi: u8, negotiated: &Negotiated) -> Option<Family> {
    Family::from_codes(afi, safi).filter(|family| negotiated.families.contains(*family))
}
