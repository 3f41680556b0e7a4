//! How one session puts routes into words.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::path::RouteAttributes;
use crate::wire::update::Writer;
use crate::wire::{Attributes, Community, ExtendedCommunity, Family, Negotiated, NextHop};

/// The own addresses that a peer can reach this node at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address that is valid beyond the link.
    pub v6: Option<Ipv6Addr>,
    /// The link-local one, if the peer is on the same link.
    pub link_local: Option<Ipv6Addr>,
}

impl Addresses {
    /// With the local address of the session itself in its place.
    #[must_use]
    pub fn with_local(mut self, local: IpAddr) -> Self {
        match local.to_canonical() {
            IpAddr::V4(address) => self.v4 = Some(address),
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                self.link_local = Some(address);
            }
            IpAddr::V6(address) => self.v6 = Some(address),
        }
        self
    }
}

/// How one session puts routes into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The session's name, which audiences are made of.
    pub name: String,
    /// What the two sides agreed on.
    pub negotiated: Arc<Negotiated>,
    /// The own addresses, as next hops.
    pub addresses: Addresses,
    /// The connection itself is IPv4: then that is what IPv4 routes have as next hop. Over IPv6 they
    /// have an IPv6 one if the peer takes it (RFC 8950).
    pub over_v4: bool,
    /// All routes say that they go away soon (RFC 8326).
    pub draining: bool,
}

impl View {
    /// The view of a session whose own address is `local`; `others` are the addresses that it may
    /// tell beside that one.
    pub fn new(
        name: impl Into<String>,
        negotiated: Arc<Negotiated>,
        local: IpAddr,
        others: Addresses,
    ) -> Self {
        Self {
            name: name.into(),
            negotiated,
            addresses: others.with_local(local),
            over_v4: local.to_canonical().is_ipv4(),
            draining: false,
        }
    }

    /// True if the peer is told of a family at all.
    pub fn tells(&self, family: Family) -> bool {
        self.negotiated.families.contains(family)
    }

    /// What routes of a family have as next hop; `None` if there is no address for it, or the peer
    /// is not told of the family: then none of them is announced.
    pub fn next_hop(&self, family: Family) -> Option<NextHop> {
        if !self.tells(family) {
            return None;
        }
        let v4 = self.addresses.v4.map(NextHop::V4);
        match family {
            Family::Ipv6Unicast => self.next_hop_v6(),
            Family::Ipv4Unicast if !self.negotiated.extended_next_hop => v4,
            Family::Ipv4Unicast if self.over_v4 => v4.or_else(|| self.next_hop_v6()),
            Family::Ipv4Unicast => self.next_hop_v6().or(v4),
        }
    }

    /// A link-local address is told beside the global one, or in its place if there is none
    /// (RFC 2545 section 3).
    fn next_hop_v6(&self) -> Option<NextHop> {
        let Addresses { v6, link_local, .. } = self.addresses;
        Some(NextHop::V6 {
            global: v6.or(link_local)?,
            link_local,
        })
    }

    pub(super) fn writer(&self) -> Writer {
        Writer::new(&self.negotiated)
    }

    /// What a route is announced with. `None` if it cannot be.
    pub(super) fn attributes(&self, family: Family, route: &RouteAttributes) -> Option<Attributes> {
        let own = self.negotiated.local_as;
        let internal = self.negotiated.is_internal();
        let (path_len, local_pref) = if internal {
            (0, Some(route.local_pref.unwrap_or(100)))
        } else {
            (1 + usize::from(route.prepend), None)
        };
        // Within an AS nothing but LOCAL_PREF makes a route the last choice (RFC 8326 section 4).
        let local_pref = local_pref.map(|preference| if self.draining { 0 } else { preference });
        let graceful_shutdown = self.draining.then_some(Community::GRACEFUL_SHUTDOWN);
        #[expect(
            clippy::cast_precision_loss,
            reason = "the community has a float of 32 bits, it is a weight"
        )]
        let bandwidth = route
            .link_bandwidth
            .map(|bytes| ExtendedCommunity::link_bandwidth(own, bytes as f32));
        Some(
            Attributes::new(self.next_hop(family)?)
                .with_as_path(iter::repeat_n(own, path_len))
                .with_med(route.med)
                .with_local_pref(local_pref)
                .with_communities(route.communities.iter().copied().chain(graceful_shutdown))
                .with_large(route.large.iter().copied())
                .with_extended(route.extended.iter().copied().chain(bandwidth)),
        )
    }
}
