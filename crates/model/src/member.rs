//! The speakers as members of a group: what they tell each other, and how the group looks from one
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cidr, NodeName};

/// An Ethernet hardware address; `Display` gives `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far a member is ready to own addresses. The order is that of the election: a member of an
/// earlier phase comes before one of a later, whatever else is better about it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Phase {
    /// It may own what the election gives it.
    Ready,
    /// It has only just come (back): it takes only what no other can, and keeps what it has.
    #[default]
    Settling,
    /// It is about to leave: it owns only what no other can, and hands over the rest.
    Draining,
}

/// An interface that a speaker announces on: it is up, with carrier, and open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LanInterface {
    /// Its name.
    pub name: String,
    /// The MAC address that answers for addresses here.
    pub mac: MacAddress,
    /// IPv4 addresses can be announced (ARP).
    pub arp: bool,
    /// IPv6 addresses can be announced (NDP).
    pub ndp: bool,
    /// The prefixes of its own addresses, without link-local ones.
    pub prefixes: BTreeSet<Cidr>,
    /// An own address of the interface, by which others see whether the node can be heard on this
    /// LAN. None that is announced: that would be lost with the answers, and the votes with it.
    pub canary: Option<IpAddr>,
}

/// What a speaker tells the others of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemberState {
    /// How ready it is.
    pub phase: Phase,
    /// Where it announces.
    pub interfaces: Vec<LanInterface>,
    /// Members that it watches on the LAN and does not hear there, although they are in the group.
    pub unheard: BTreeSet<NodeName>,
}

/// A speaker as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it sends from and listens.
    pub address: SocketAddr,
    /// It is in the group now. If not, the rest is the last that was known.
    pub live: bool,
    /// What it last told; `None` if it is in the group but has not told yet. Shared, as a view of a
    /// large group is copied often.
    pub state: Option<Arc<MemberState>>,
}

/// How many of the speakers that there should be are in the group with this one, itself included.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Standing {
    /// Less than half: it takes on nothing new.
    #[default]
    Minority,
    /// Exactly half: it takes on only what nobody answers for on the LAN.
    Half,
    /// More than half, or there is but this one.
    Majority,
}

/// The group as one speaker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupView {
    /// All members that are known, also those that are down, without this one.
    pub members: BTreeMap<NodeName, Member>,
    /// What this one tells of itself.
    pub me: MemberState,
    /// Whether this one may take on something new.
    pub standing: Standing,
    /// This one must not answer for any address: it was declared down by the others, or its own
    /// clockwork stood still so long that it may have been, and nobody has told it better yet.
    pub fenced: bool,
}
