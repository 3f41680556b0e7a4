//! Whether the value of an attribute is well-formed.

use super::attribute::{Attributes, Next};
use crate::wire::Negotiated;
use crate::wire::bytes::Reader;

/// Says what is wrong with a value, to be read after the attribute's name.
pub(super) type Check = fn(&[u8], &Negotiated) -> Result<(), &'static str>;

const LENGTH: &str = "has a length that its type does not allow";
const AS_ZERO: &str = "has AS 0";

const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;

fn ensure(fine: bool, what: &'static str) -> Result<(), &'static str> {
    if fine { Ok(()) } else { Err(what) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of the checks")]
pub(super) fn any(_: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    Ok(())
}

pub(super) fn empty(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    ensure(value.is_empty(), LENGTH)
}

pub(super) fn four_octets(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    ensure(value.len() == 4, LENGTH)
}

/// At least one value of `N` octets.
pub(super) fn list_of<const N: usize>(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    ensure(!value.is_empty() && value.len().is_multiple_of(N), LENGTH)
}

pub(super) fn origin(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    match value {
        [0..=2] => Ok(()),
        [_] => Err("has a value that is not defined"),
        _ => Err(LENGTH),
    }
}

/// Any address that a host may have (RFC 4271 6.3).
pub(super) fn next_hop(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    match value {
        [0 | 127 | 224.., _, _, _] => Err("is no address of a host"),
        [_, _, _, _] => Ok(()),
        _ => Err(LENGTH),
    }
}

pub(super) fn as_path(value: &[u8], negotiated: &Negotiated) -> Result<(), &'static str> {
    if negotiated.four_octet_as {
        segments::<4>(value)
    } else {
        segments::<2>(value)
    }
}

pub(super) fn as4_path(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    ensure(!value.is_empty(), LENGTH)?;
    segments::<4>(value)
}

/// Segments of a type, a count and as many AS numbers of `N` octets (RFC 7606 7.2). Those of a
/// confederation have no place in a session with another AS (RFC 5065), and are not spoken here.
fn segments<const N: usize>(value: &[u8]) -> Result<(), &'static str> {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        let (Some(kind), Some(count)) = (reader.u8(), reader.u8()) else {
            return Err("ends within a segment");
        };
        ensure(
            matches!(kind, AS_SET | AS_SEQUENCE),
            "has a segment of an unknown type",
        )?;
        ensure(count != 0, "has an empty segment")?;
        let numbers = reader
            .take(usize::from(count) * N)
            .ok_or("ends within a segment")?;
        let (numbers, _) = numbers.as_chunks::<N>();
        ensure(numbers.iter().all(|number| *number != [0; N]), AS_ZERO)?;
    }
    Ok(())
}

/// An AS number and an identifier (RFC 7606 7.7, RFC 7607).
pub(super) fn aggregator(value: &[u8], negotiated: &Negotiated) -> Result<(), &'static str> {
    match (value, negotiated.four_octet_as) {
        ([0, 0, 0, 0, _, _, _, _], true) | ([0, 0, _, _, _, _], false) => Err(AS_ZERO),
        ([_, _, _, _, _, _, _, _], true) | ([_, _, _, _, _, _], false) => Ok(()),
        _ => Err(LENGTH),
    }
}

pub(super) fn as4_aggregator(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    match value {
        [0, 0, 0, 0, _, _, _, _] => Err(AS_ZERO),
        [_, _, _, _, _, _, _, _] => Ok(()),
        _ => Err(LENGTH),
    }
}

/// Flags, a type and a label of three octets at least (RFC 6514 section 5).
pub(super) fn pmsi_tunnel(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    ensure(value.len() >= 5, LENGTH)
}

/// Type and length of two octets each (RFC 9012 section 2, RFC 9552 5.1).
pub(super) fn wide_tlvs(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    chain(value, |reader| {
        reader.u16()?;
        reader.u16().map(usize::from)
    })
}

/// A type of one octet, a length of two (RFC 8669 section 3).
pub(super) fn prefix_sid(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    chain(value, |reader| {
        reader.u8()?;
        reader.u16().map(usize::from)
    })
}

/// A type of one octet, a length of two that counts these three, too (RFC 7311 section 3).
pub(super) fn aigp(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    chain(value, |reader| {
        reader.u8()?;
        usize::from(reader.u16()?).checked_sub(3)
    })
}

/// A mode of one octet, a discriminator of four, then types and lengths of one octet each (RFC 9026
/// 3.1.6).
pub(super) fn bfd_discriminator(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    let tlvs = value.get(5..).ok_or(LENGTH)?;
    if tlvs.is_empty() {
        return Ok(());
    }
    chain(tlvs, |reader| {
        reader.u8()?;
        reader.u8().map(usize::from)
    })
}

/// At least one value, each after a head from which `head` takes the value's length.
fn chain(
    value: &[u8],
    head: impl Fn(&mut Reader<'_>) -> Option<usize>,
) -> Result<(), &'static str> {
    ensure(!value.is_empty(), LENGTH)?;
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        head(&mut reader)
            .and_then(|len| reader.take(len))
            .ok_or("has an element that does not end within it")?;
    }
    Ok(())
}

/// An AS number and attributes (RFC 6368 section 5).
pub(super) fn attribute_set(value: &[u8], _: &Negotiated) -> Result<(), &'static str> {
    let mut attributes = Attributes::new(value.get(4..).ok_or(LENGTH)?);
    loop {
        match attributes.next() {
            Next::Attribute(_) => {}
            Next::Broken { .. } => return Err("has an attribute that does not end within it"),
            Next::End => return Ok(()),
        }
    }
}
