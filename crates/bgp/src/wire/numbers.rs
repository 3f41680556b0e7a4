//! Numbers that name autonomous systems and speakers.

use std::fmt;
use std::net::Ipv4Addr;

/// The number of an autonomous system (RFC 6793).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands for a number that does not fit into two octets (RFC 6793 section 9).
    pub const TRANS: Self = Self(23_456);

    /// The number as two octets hold it: itself, or [`Asn::TRANS`].
    pub fn two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23_456)
    }
}

impl From<u16> for Asn {
    fn from(number: u16) -> Self {
        Self(number.into())
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier of a speaker: any number but 0, unique within its AS (RFC 6286), written like an
/// IPv4 address. Ordered as RFC 4271 6.8 compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BgpId(pub Ipv4Addr);

impl fmt::Display for BgpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
