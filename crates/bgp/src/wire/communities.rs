//! Marks on routes that the routers' policies look at.

use std::fmt;

use super::Asn;

/// A community: an AS number and a value of its own, 16 bits each (RFC 1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Asks the peer to prefer any other route, because this one goes away soon (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self::new(65_535, 0);
    /// Not to be told outside of the AS (RFC 1997).
    pub const NO_EXPORT: Self = Self::new(65_535, 0xff01);
    /// Not to be told to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self::new(65_535, 0xff02);

    /// The community `asn:value`.
    pub const fn new(asn: u16, value: u16) -> Self {
        Self((asn as u32) << 16 | value as u32)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// The AS whose community it is.
    pub global: u32,
    /// The first number that it chose.
    pub local1: u32,
    /// The second one.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// An extended community as its eight bytes (RFC 4360).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// Link bandwidth, in bytes per second: routers share the traffic of a prefix among its next hops
    /// in proportion to it. It is not transitive, and has room for two octets of the AS number
    /// (draft-ietf-idr-link-bandwidth).
    pub fn link_bandwidth(asn: Asn, bytes_per_second: f32) -> Self {
        let head = 0x4004_0000 | u32::from(asn.two_octets());
        let value = u64::from(head) << 32 | u64::from(bytes_per_second.to_bits());
        Self(value.to_be_bytes())
    }
}

impl fmt::Display for ExtendedCommunity {
    /// The way FRR and BIRD write what they do not know: sixteen hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", u64::from_be_bytes(self.0))
    }
}
