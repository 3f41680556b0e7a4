//! The addresses that an interface has to do with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses that is made once for each change and then only looked up in, which takes
/// O(log n) and allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// Ascending, without duplicates.
    v4: Box<[Ipv4Addr]>,
    /// Ascending, without duplicates.
    v6: Box<[Ipv6Addr]>,
}

impl AddressSet {
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

impl FromIterator<IpAddr> for AddressSet {
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

/// What an interface pays attention to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attention {
    answered: AddressSet,
    watched: AddressSet,
}

impl Attention {
    /// Questions for `answered` are answered, and what other stations say about these and about
    /// `looked_at` is seen.
    pub fn new(answered: AddressSet, looked_at: impl IntoIterator<Item = IpAddr>) -> Self {
        let watched = answered.iter().chain(looked_at).collect();
        Self { answered, watched }
    }

    /// Of the addresses that are watched, those that do not fulfil `matters` are watched no longer:
    /// questions are answered as before, but what others say is not seen.
    #[must_use]
    pub fn limited(self, matters: impl Fn(IpAddr) -> bool) -> Self {
        let watched = self.watched.iter().filter(|a| matters(*a)).collect();
        Self { watched, ..self }
    }

    /// The addresses that are answered for.
    pub fn answered(&self) -> &AddressSet {
        &self.answered
    }

    /// The addresses of which it is seen what others say.
    pub fn watched(&self) -> &AddressSet {
        &self.watched
    }
}
