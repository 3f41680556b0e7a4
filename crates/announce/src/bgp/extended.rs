//! Extended communities (RFC 4360): those that make sense on a unicast route.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::CommunityError;
use super::community::number;

/// An extended community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExtendedCommunity {
    /// Route target (RFC 4360, section 4): `rt:65000:1`.
    RouteTarget(Administrator),
    /// Route origin, also site of origin (RFC 4360, section 5): `soo:65000:1`.
    RouteOrigin(Administrator),
    /// Link bandwidth (draft-ietf-idr-link-bandwidth), not transitive: `link-bandwidth:65000:125000`.
    /// Routers that spread flows over several paths take it as the weight of each.
    LinkBandwidth {
        /// The autonomous system that says it; by the draft one of two octets.
        asn: u16,
        /// Bytes a second; on the wire a 32-bit floating point number.
        bytes_per_second: u64,
    },
}

/// Whose number the number of a community is: RFC 4360, 3.1 and 3.2, and RFC 5668.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Administrator {
    /// An autonomous system of two octets, and a number of four.
    As2(u16, u32),
    /// An address, and a number of two octets.
    Ipv4(Ipv4Addr, u16),
    /// An autonomous system of four octets, and a number of two.
    As4(u32, u16),
}

/// Link bandwidth for each unit of weight: 1 Mbit/s, which routers show as a whole number.
const BYTES_PER_SECOND: u64 = 125_000;
/// RFC 6793: stands for a number of four octets where only two fit.
const AS_TRANS: u16 = 23456;

impl ExtendedCommunity {
    /// The link bandwidth that gives a path `weight` among those of other nodes. `asn` is our number
    /// in the session.
    pub fn weight(asn: u32, weight: u32) -> Self {
        Self::LinkBandwidth {
            asn: u16::try_from(asn).unwrap_or(AS_TRANS),
            bytes_per_second: u64::from(weight) * BYTES_PER_SECOND,
        }
    }

    /// The eight octets on the wire: type, sub-type and value.
    pub fn octets(self) -> [u8; 8] {
        const ROUTE_TARGET: u64 = 0x02;
        const ROUTE_ORIGIN: u64 = 0x03;
        const LINK_BANDWIDTH: u64 = 0x4004;
        let number = match self {
            Self::RouteTarget(administrator) => administrator.number(ROUTE_TARGET),
            Self::RouteOrigin(administrator) => administrator.number(ROUTE_ORIGIN),
            Self::LinkBandwidth {
                asn,
                bytes_per_second,
            } => {
                #[expect(clippy::cast_precision_loss, reason = "the wire has 24 bits of it")]
                let bandwidth = bytes_per_second as f32;
                LINK_BANDWIDTH << 48 | u64::from(asn) << 32 | u64::from(bandwidth.to_bits())
            }
        };
        number.to_be_bytes()
    }

    /// The community of `word`, which is one of those in [`fmt::Display`]'s forms.
    pub(super) fn parse(
        word: &str,
        administrator: &str,
        value: &str,
        text: &str,
    ) -> Result<Self, CommunityError> {
        match word {
            "rt" => Administrator::parse(administrator, value, text).map(Self::RouteTarget),
            "soo" => Administrator::parse(administrator, value, text).map(Self::RouteOrigin),
            _ => Ok(Self::LinkBandwidth {
                asn: number(administrator, text)?,
                bytes_per_second: number(value, text)?,
            }),
        }
    }
}

impl Administrator {
    fn parse(administrator: &str, value: &str, text: &str) -> Result<Self, CommunityError> {
        if let Ok(address) = administrator.parse() {
            return Ok(Self::Ipv4(address, number(value, text)?));
        }
        let asn: u32 = number(administrator, text)?;
        Ok(match u16::try_from(asn) {
            Ok(asn) => Self::As2(asn, number(value, text)?),
            Err(_) => Self::As4(asn, number(value, text)?),
        })
    }

    fn number(self, sub_type: u64) -> u64 {
        let (kind, value) = match self {
            Self::As2(asn, number) => (0x00, u64::from(asn) << 32 | u64::from(number)),
            Self::Ipv4(address, number) => {
                (0x01, u64::from(address.to_bits()) << 16 | u64::from(number))
            }
            Self::As4(asn, number) => (0x02, u64::from(asn) << 16 | u64::from(number)),
        };
        kind << 56 | sub_type << 48 | value
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RouteTarget(administrator) => write!(f, "rt:{administrator}"),
            Self::RouteOrigin(administrator) => write!(f, "soo:{administrator}"),
            Self::LinkBandwidth {
                asn,
                bytes_per_second,
            } => write!(f, "link-bandwidth:{asn}:{bytes_per_second}"),
        }
    }
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::As2(asn, number) => write!(f, "{asn}:{number}"),
            Self::Ipv4(address, number) => write!(f, "{address}:{number}"),
            Self::As4(asn, number) => write!(f, "{asn}:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Community;

    fn octets(text: &str) -> [u8; 8] {
        match text.parse() {
            Ok(Community::Extended(extended)) => extended.octets(),
            other => unreachable!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_octets_are_those_of_the_rfcs() {
        assert_eq!(octets("rt:65000:7"), [0, 2, 0xfd, 0xe8, 0, 0, 0, 7]);
        assert_eq!(octets("soo:192.0.2.1:7"), [1, 3, 192, 0, 2, 1, 0, 7]);
        assert_eq!(octets("rt:65536:7"), [2, 2, 0, 1, 0, 0, 0, 7]);
        // 125,000 as IEEE 754: 0x47f42400.
        assert_eq!(
            octets("link-bandwidth:65001:125000"),
            [0x40, 0x04, 0xfd, 0xe9, 0x47, 0xf4, 0x24, 0x00]
        );
    }

    #[test]
    fn a_weight_is_so_many_megabits_of_our_system() {
        use super::ExtendedCommunity;
        let text = |asn, weight| ExtendedCommunity::weight(asn, weight).to_string();
        assert_eq!(text(65001, 8), "link-bandwidth:65001:1000000");
        assert_eq!(text(4_200_000_001, 1), "link-bandwidth:23456:125000");
    }
}
