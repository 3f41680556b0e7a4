//! The addresses that are announced on an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that an interface answers for. Made once for each change and then shared, for
/// example in an `Arc`; a lookup takes O(log n) and allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncedSet {
    /// Ascending, without duplicates.
    v4: Box<[Ipv4Addr]>,
    /// Ascending, without duplicates.
    v6: Box<[Ipv6Addr]>,
}

impl AnnouncedSet {
    /// True if the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.contains_v4(address),
            IpAddr::V6(address) => self.contains_v6(address),
        }
    }

    /// True if the IPv4 address is in the set.
    pub fn contains_v4(&self, address: Ipv4Addr) -> bool {
        self.v4.binary_search(&address).is_ok()
    }

    /// True if the IPv6 address is in the set.
    pub fn contains_v6(&self, address: Ipv6Addr) -> bool {
        self.v6.binary_search(&address).is_ok()
    }

    /// The IPv4 addresses, ascending.
    pub fn v4(&self) -> &[Ipv4Addr] {
        &self.v4
    }

    /// The IPv6 addresses, ascending.
    pub fn v6(&self) -> &[Ipv6Addr] {
        &self.v6
    }

    /// All addresses, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.iter().copied().map(IpAddr::V6))
    }

    /// The number of addresses.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// True if there is no address.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<IpAddr> for AnnouncedSet {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        Self {
            v4: v4.into_boxed_slice(),
            v6: v6.into_boxed_slice(),
        }
    }
}
