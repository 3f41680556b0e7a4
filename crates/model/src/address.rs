//! IP prefixes and ranges as a pool's `spec.addresses` writes them (compat.md 1.1 and 1.8).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The number of bits of an address of this family.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// The address of this family whose value is `number`; the upper bits are cut off for IPv4.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => {
                let [.., a, b, c, d] = number.to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Self::V6 => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A prefix: all addresses that share their first `prefix_len` bits. Host bits are always zero.
/// Serialized as the pair of its first address and its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "(IpAddr, u8)", try_from = "(IpAddr, u8)")]
pub struct Cidr {
    family: IpFamily,
    /// In network order. As a number it would be aligned, and each prefix of very many be half as
    /// large again.
    first: [u8; 16],
    prefix_len: u8,
}

impl Hash for Cidr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.first_number());
        state.write_u16(u16::from_be_bytes([self.family.bits(), self.prefix_len]));
    }
}

impl Cidr {
    /// The prefix of length `prefix_len` that `address` lies in, or `None` if the length is longer
    /// than the family's addresses.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let family = IpFamily::of(address);
        if prefix_len > family.bits() {
            return None;
        }
        let first = address_number(address) & !host_mask(family, prefix_len);
        Some(Self {
            family,
            first: first.to_be_bytes(),
            prefix_len,
        })
    }

    /// The family of the addresses.
    pub fn family(self) -> IpFamily {
        self.family
    }

    /// The number of leading bits that all addresses share.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The lowest address, as a number.
    pub fn first_number(self) -> u128 {
        u128::from_be_bytes(self.first)
    }

    /// The highest address, as a number.
    pub fn last_number(self) -> u128 {
        self.first_number() | host_mask(self.family, self.prefix_len)
    }

    /// The lowest address.
    pub fn first(self) -> IpAddr {
        self.family.address(self.first_number())
    }

    /// The highest address.
    pub fn last(self) -> IpAddr {
        self.family.address(self.last_number())
    }

    /// True if `address` is one of the prefix's.
    pub fn contains(self, address: IpAddr) -> bool {
        IpFamily::of(address) == self.family
            && (self.first_number()..=self.last_number()).contains(&address_number(address))
    }

    /// True if the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.family == other.family
            && self.first_number() <= other.last_number()
            && other.first_number() <= self.last_number()
    }

    /// The fewest prefixes that cover exactly the addresses from `first` to `last` (both
    /// included), in ascending order.
    pub fn summarize(first: IpAddr, last: IpAddr) -> Result<Vec<Self>, AddressParseError> {
        let family = IpFamily::of(first);
        if family != IpFamily::of(last) {
            return Err(AddressParseError::MixedFamilies { first, last });
        }
        let (mut next, end) = (address_number(first), address_number(last));
        if next > end {
            return Err(AddressParseError::Backwards { first, last });
        }
        let mut prefixes = Vec::new();
        loop {
            // The widest prefix that starts at `next` and does not pass `end`.
            let aligned = next.trailing_zeros().min(u32::from(family.bits()));
            let mut host_bits = u8::try_from(aligned).unwrap_or_else(|_| family.bits());
            while host_bits > 0 && next | low_bits(host_bits) > end {
                host_bits -= 1;
            }
            prefixes.push(Self {
                family,
                first: next.to_be_bytes(),
                prefix_len: family.bits() - host_bits,
            });
            let covered = next | low_bits(host_bits);
            if covered == end {
                return Ok(prefixes);
            }
            next = covered + 1;
        }
    }
}

impl From<Cidr> for (IpAddr, u8) {
    fn from(cidr: Cidr) -> Self {
        (cidr.first(), cidr.prefix_len)
    }
}

impl TryFrom<(IpAddr, u8)> for Cidr {
    type Error = AddressParseError;

    fn try_from((address, prefix_len): (IpAddr, u8)) -> Result<Self, Self::Error> {
        Self::new(address, prefix_len)
            .ok_or_else(|| AddressParseError::NotACidr(format!("{address}/{prefix_len}")))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix_len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an entry of `spec.addresses` is not a prefix or range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressParseError {
    /// Neither `address/length` nor `address-address`.
    #[error("{0:?} is neither a CIDR (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)")]
    NotACidr(String),
    /// The part before `-` is not an address.
    #[error("invalid start IP {0:?}")]
    StartIp(String),
    /// The part after `-` is not an address.
    #[error("invalid end IP {0:?}")]
    EndIp(String),
    /// The range ends before it starts.
    #[error("start IP \"{first}\" is after the end IP \"{last}\"")]
    Backwards {
        /// As written before `-`.
        first: IpAddr,
        /// As written after `-`.
        last: IpAddr,
    },
    /// One end is IPv4, the other IPv6.
    #[error("start IP \"{first}\" and end IP \"{last}\" are of different families")]
    MixedFamilies {
        /// As written before `-`.
        first: IpAddr,
        /// As written after `-`.
        last: IpAddr,
    },
}

impl FromStr for Cidr {
    type Err = AddressParseError;

    /// Parses `address/length`; host bits are masked away, as MetalLB does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || AddressParseError::NotACidr(text.to_owned());
        if !text.contains('/') {
            return Err(invalid());
        }
        let network = IpNetwork::from_str(text).map_err(|_| invalid())?;
        Self::new(network.ip(), network.prefix()).ok_or_else(invalid)
    }
}

/// Parses one entry of `spec.addresses`: a CIDR, or a range `start-end` with spaces allowed around
/// each end. A range becomes the fewest CIDRs that cover it.
pub fn parse_addresses(entry: &str) -> Result<Vec<Cidr>, AddressParseError> {
    match entry.split_once('-') {
        None => Ok(vec![entry.trim().parse()?]),
        Some((start, end)) => {
            let (start, end) = (start.trim(), end.trim());
            let first = start
                .parse()
                .map_err(|_| AddressParseError::StartIp(start.to_owned()))?;
            let last = end
                .parse()
                .map_err(|_| AddressParseError::EndIp(end.to_owned()))?;
            Cidr::summarize(first, last)
        }
    }
}

/// The value of an address as a number; [`IpFamily::address`] is the way back.
pub fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn host_mask(family: IpFamily, prefix_len: u8) -> u128 {
    low_bits(family.bits() - prefix_len)
}

fn low_bits(count: u8) -> u128 {
    1_u128
        .checked_shl(u32::from(count))
        .map_or(u128::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(entry: &str) -> Vec<String> {
        parse_addresses(entry)
            .expect(entry)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn host_bits_are_masked() {
        assert_eq!(parse("198.51.100.10/24"), ["198.51.100.0/24"]);
        assert_eq!(
            parse("fc00:f853:ccd:e799::10/124"),
            ["fc00:f853:ccd:e799::10/124"]
        );
        assert_eq!(parse("0.0.0.0/0"), ["0.0.0.0/0"]);
        assert_eq!(parse("::/0"), ["::/0"]);
    }

    #[test]
    fn a_range_is_summarised_to_the_fewest_prefixes() {
        assert_eq!(
            parse("192.0.2.10 - 192.0.2.20"),
            [
                "192.0.2.10/31",
                "192.0.2.12/30",
                "192.0.2.16/30",
                "192.0.2.20/32",
            ]
        );
        assert_eq!(parse("192.0.2.7-192.0.2.7"), ["192.0.2.7/32"]);
        assert_eq!(parse("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(
            parse("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ["::/0"]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |entry: &str| parse_addresses(entry).expect_err(entry);
        assert!(matches!(error("192.0.2.1"), AddressParseError::NotACidr(_)));
        assert!(matches!(
            error("192.0.2.1/33"),
            AddressParseError::NotACidr(_)
        ));
        assert!(matches!(
            error("192.0.2.0/255.255.255.0x"),
            AddressParseError::NotACidr(_)
        ));
        assert!(matches!(
            error("x-192.0.2.1"),
            AddressParseError::StartIp(_)
        ));
        assert!(matches!(error("192.0.2.1-"), AddressParseError::EndIp(_)));
        assert_eq!(
            error("192.0.2.9-192.0.2.1").to_string(),
            "start IP \"192.0.2.9\" is after the end IP \"192.0.2.1\""
        );
        assert!(matches!(
            error("192.0.2.1-2001:db8::1"),
            AddressParseError::MixedFamilies { .. }
        ));
    }

    proptest! {
        #[test]
        fn a_summary_covers_its_range_without_gap_or_overlap(a: u32, b: u32) {
            let (low, high) = (a.min(b), a.max(b));
            let prefixes = Cidr::summarize(
                IpAddr::V4(Ipv4Addr::from(low)),
                IpAddr::V4(Ipv4Addr::from(high)),
            ).expect("in order");
            prop_assert_eq!(prefixes[0].first_number(), u128::from(low));
            prop_assert_eq!(prefixes[prefixes.len() - 1].last_number(), u128::from(high));
            for pair in prefixes.windows(2) {
                prop_assert_eq!(pair[0].last_number() + 1, pair[1].first_number());
            }
            prop_assert!(prefixes.len() <= 62);
        }

        #[test]
        fn parsing_never_panics(entry in "\\PC*") {
            let _ = parse_addresses(&entry);
        }
    }
}
