//! UPDATEs that are received: checked (RFC 7606), counted and dropped.

use super::nlri;
use super::number::MP_UNREACH_NLRI;
use crate::wire::bytes::Reader;
use crate::wire::{ErrorCode, Family, Negotiated, Notification, PerFamily, Prefix};

/// What an attribute that is wrong leads to, where the session goes on (RFC 7606 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The attribute is dropped, and the route is as if it had never had it.
    Discard,
    /// The routes of the message count as withdrawn.
    Withdraw,
}

/// An attribute that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttributeProblem {
    /// The number of the attribute.
    pub attribute: u8,
    /// What is wrong with it.
    pub what: &'static str,
    /// What that leads to.
    pub consequence: Consequence,
}

/// What an UPDATE was about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// How many routes were announced.
    pub announced: PerFamily<usize>,
    /// How many were withdrawn, including those that are treated so.
    pub withdrawn: PerFamily<usize>,
    /// The peer has told all its routes of the family (RFC 4724).
    pub end_of_rib: Option<Family>,
    /// What is wrong with it: the first few.
    pub problems: Vec<AttributeProblem>,
    /// The announced routes of the message were taken as withdrawn (RFC 7606).
    pub treat_as_withdraw: bool,
}

/// Reads the body of an UPDATE. The error is what to close the session with.
pub fn parse(body: &[u8], _negotiated: &Negotiated) -> Result<Received, Notification> {
    let mut received = Received::default();
    let (withdrawn, attributes, announced) =
        split(body).ok_or_else(|| Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST))?;
    if body.len() == 4 {
        received.end_of_rib = Some(Family::Ipv4Unicast);
    } else if let [_, MP_UNREACH_NLRI, 3, 0, 2, 1] = attributes {
        received.end_of_rib = Some(Family::Ipv6Unicast);
    }
    count(withdrawn, Family::Ipv4Unicast, &mut received.withdrawn.ipv4)?;
    count(announced, Family::Ipv4Unicast, &mut received.announced.ipv4)?;
    Ok(received)
}

fn count(field: &[u8], family: Family, counter: &mut usize) -> Result<(), Notification> {
    nlri::decode(field, family, |_: Prefix| *counter += 1)
        .ok_or_else(|| Notification::new(ErrorCode::INVALID_NETWORK_FIELD))
}

/// The three parts of an UPDATE.
fn split(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut reader = Reader::new(body);
    let len = reader.u16()?;
    let withdrawn = reader.take(len.into())?;
    let len = reader.u16()?;
    let attributes = reader.take(len.into())?;
    Some((withdrawn, attributes, reader.rest()))
}
