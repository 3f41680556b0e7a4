//! The attributes of the routes that are announced.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Asn, Community, ExtendedCommunity, LargeCommunity};

/// Where the peer is to send packets for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// For IPv4 routes.
    V4(Ipv4Addr),
    /// For IPv6 routes, and for IPv4 routes to a peer that takes it (RFC 8950).
    V6 {
        /// The address that is valid beyond the link, or a link-local one if there is no other.
        global: Ipv6Addr,
        /// The address on the link that is shared with the peer (RFC 2545 section 3).
        link_local: Option<Ipv6Addr>,
    },
}

/// Everything that a route is announced with, but its prefix. What is written is this, except that
/// `LOCAL_PREF` is for the own AS only, where it is never missing (RFC 4271 5.1.5). The origin is IGP.
///
/// Equal sets are written once for many prefixes. Communities are sorted and each is there once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    next_hop: NextHop,
    as_path: Vec<Asn>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    large: Vec<LargeCommunity>,
    extended: Vec<ExtendedCommunity>,
}

impl Attributes {
    /// With an empty AS path and nothing else.
    pub fn new(next_hop: NextHop) -> Self {
        Self {
            next_hop,
            as_path: Vec::new(),
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large: Vec::new(),
            extended: Vec::new(),
        }
    }

    /// With this path, the neighbor AS first. To a peer in another AS it begins with the own one.
    pub fn with_as_path(mut self, path: impl IntoIterator<Item = Asn>) -> Self {
        self.as_path = path.into_iter().collect();
        self
    }

    /// With this `MULTI_EXIT_DISC`, or without one.
    pub fn with_med(mut self, med: Option<u32>) -> Self {
        self.med = med;
        self
    }

    /// With this `LOCAL_PREF`; without one, peers in the own AS are told 100.
    pub fn with_local_pref(mut self, local_pref: Option<u32>) -> Self {
        self.local_pref = local_pref;
        self
    }

    /// With exactly these communities.
    pub fn with_communities(mut self, communities: impl IntoIterator<Item = Community>) -> Self {
        self.communities = sorted(communities);
        self
    }

    /// With exactly these large communities.
    pub fn with_large(mut self, large: impl IntoIterator<Item = LargeCommunity>) -> Self {
        self.large = sorted(large);
        self
    }

    /// With exactly these extended communities.
    pub fn with_extended(mut self, extended: impl IntoIterator<Item = ExtendedCommunity>) -> Self {
        self.extended = sorted(extended);
        self
    }

    /// Where the peer is to send packets.
    pub fn next_hop(&self) -> NextHop {
        self.next_hop
    }

    /// The AS path, one `AS_SEQUENCE`.
    pub fn as_path(&self) -> &[Asn] {
        &self.as_path
    }

    /// `MULTI_EXIT_DISC`.
    pub fn med(&self) -> Option<u32> {
        self.med
    }

    /// `LOCAL_PREF`.
    pub fn local_pref(&self) -> Option<u32> {
        self.local_pref
    }

    /// The communities in ascending order.
    pub fn communities(&self) -> &[Community] {
        &self.communities
    }

    /// The large communities in ascending order.
    pub fn large(&self) -> &[LargeCommunity] {
        &self.large
    }

    /// The extended communities in ascending order.
    pub fn extended(&self) -> &[ExtendedCommunity] {
        &self.extended
    }
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values
}
