//! The interface that frames come in on and go out of.

use std::fmt;

use pnet_base::MacAddr;

/// An Ethernet hardware address; `Display` gives `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for group addresses, which include the broadcast address.
    pub fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 1
    }

    /// True if a frame may be sent to it as to one station: neither a group nor all zero.
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self.0 != [0; 6]
    }
}

impl From<[u8; 6]> for MacAddress {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl From<MacAddr> for MacAddress {
    fn from(address: MacAddr) -> Self {
        Self(address.octets())
    }
}

impl From<MacAddress> for MacAddr {
    fn from(address: MacAddress) -> Self {
        Self::from(address.0)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&MacAddr::from(*self), f)
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An interface that addresses are announced on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, which answers give out.
    pub mac: MacAddress,
}
