//! What one Service holds, kept small: there is one of these for every Service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_model::IpFamily;

use crate::ledger::Claim;

/// The addresses of a Service and the claim that it has on them.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    /// The request named the IPv6 address first.
    pub(crate) ipv6_first: bool,
    pub(crate) claim: Claim,
}

impl Held {
    /// The first address of each family in `addresses`.
    pub(crate) fn new(addresses: &[IpAddr], claim: Claim) -> Self {
        let mut held = Self {
            ipv4: None,
            ipv6: None,
            ipv6_first: false,
            claim,
        };
        for &address in addresses.iter().rev() {
            held.insert(address);
        }
        held
    }

    pub(crate) fn insert(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4 = Some(address),
            IpAddr::V6(address) => self.ipv6 = Some(address),
        }
    }

    pub(crate) fn remove(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) if self.ipv4 == Some(address) => self.ipv4 = None,
            IpAddr::V6(address) if self.ipv6 == Some(address) => self.ipv6 = None,
            _ => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.ipv4.is_some()) + usize::from(self.ipv6.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The addresses, IPv4 first unless the request has it otherwise.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.iter().collect();
        if self.ipv6_first {
            addresses.reverse();
        }
        addresses
    }

    /// The addresses, IPv4 first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let ipv4 = self.ipv4.map(IpAddr::V4);
        ipv4.into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    pub(crate) fn of_family(&self, family: IpFamily) -> Option<IpAddr> {
        match family {
            IpFamily::V4 => self.ipv4.map(IpAddr::V4),
            IpFamily::V6 => self.ipv6.map(IpAddr::V6),
        }
    }
}
