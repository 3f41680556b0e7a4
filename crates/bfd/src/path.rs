//! Where the two ends of a session are, and how packets got here.

use std::net::IpAddr;

use crate::Settings;

/// Which kind of session: it decides over ports and TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// The peer is on the same link (RFC 5881).
    Single,
    /// The peer is behind routers (RFC 5883).
    Multi,
}

impl Hops {
    /// The UDP port that packets are sent to and received at.
    pub const fn port(self) -> u16 {
        match self {
            Self::Single => 3784,
            Self::Multi => 4784,
        }
    }
}

/// The TTL or hop limit of every packet that is sent (RFC 5881 5; over several hops too, since some
/// peers ask for it).
pub const TTL: u8 = 255;
/// The least TTL over several hops if none is set, as FRR has it.
const MULTIHOP_TTL: u8 = 254;

/// Where a session's peer is.
///
/// Each path has at most one session. One with an interface, or a local address, is taken before
/// one without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// The peer is on the same link.
    SingleHop {
        /// The address that packets are sent to, and that the peer sends from.
        peer: IpAddr,
        /// The index of the interface. Packets that come by another are dropped. A link-local peer
        /// needs one.
        interface: Option<u32>,
    },
    /// The peer is behind routers.
    MultiHop {
        /// The address that packets are sent to, and that the peer sends from.
        peer: IpAddr,
        /// The address that the peer sends to. Without one any address of this node will do.
        local: Option<IpAddr>,
    },
}

impl Path {
    /// The kind of session.
    pub const fn hops(&self) -> Hops {
        match self {
            Self::SingleHop { .. } => Hops::Single,
            Self::MultiHop { .. } => Hops::Multi,
        }
    }

    /// The peer's address.
    pub const fn peer(&self) -> IpAddr {
        match self {
            Self::SingleHop { peer, .. } | Self::MultiHop { peer, .. } => *peer,
        }
    }

    /// Whether echo packets are possible: over one hop and IPv4. RFC 5883 3 rules them out over
    /// several, and a `BFDProfile` names them for IPv4 alone.
    pub(crate) const fn takes_echo(&self) -> bool {
        matches!(self.hops(), Hops::Single) && self.peer().is_ipv4()
    }

    /// Whether a packet that names the session may have come like this. Its source address is
    /// allowed to be another (RFC 5880 6.3).
    pub(crate) fn admits(&self, arrival: &Arrival) -> bool {
        let interface = match self {
            Self::SingleHop { interface, .. } => *interface,
            Self::MultiHop { .. } => None,
        };
        self.hops() == arrival.hops
            && interface.is_none_or(|interface| interface == arrival.interface)
            && self.peer().is_ipv4() == arrival.from.to_canonical().is_ipv4()
    }

    /// The least TTL or hop limit of a received packet: 255 from the same link (RFC 5881 5).
    pub fn least_ttl(&self, settings: &Settings) -> u8 {
        match self {
            Self::SingleHop { .. } => TTL,
            Self::MultiHop { .. } => settings.minimum_ttl.unwrap_or(MULTIHOP_TTL),
        }
    }

    /// The same with IPv4 addresses as such.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::SingleHop { peer, interface } => Self::SingleHop {
                peer: peer.to_canonical(),
                interface,
            },
            Self::MultiHop { peer, local } => Self::MultiHop {
                peer: peer.to_canonical(),
                local: local.map(|local| local.to_canonical()),
            },
        }
    }

    /// Says what is wrong, if anything.
    pub(crate) fn check(&self) -> Result<(), PathError> {
        let peer = self.peer();
        let usable = match peer {
            IpAddr::V4(peer) => !peer.is_broadcast() && !peer.is_multicast(),
            IpAddr::V6(peer) => !peer.is_multicast(),
        };
        if !usable || peer.is_unspecified() {
            return Err(PathError::Peer(peer));
        }
        let link_local = matches!(peer, IpAddr::V6(peer) if peer.is_unicast_link_local());
        match self {
            Self::SingleHop { interface, .. } if link_local && interface.is_none() => {
                Err(PathError::NoInterface(peer))
            }
            Self::MultiHop { .. } if link_local => Err(PathError::LinkLocal(peer)),
            Self::MultiHop {
                local: Some(local), ..
            } if local.is_ipv4() != peer.is_ipv4() => Err(PathError::Families {
                peer,
                local: *local,
            }),
            _ => Ok(()),
        }
    }
}

/// What is wrong with a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The peer's address is not that of one host.
    #[error("BFD peer {0} is not one host: set a unicast address")]
    Peer(IpAddr),
    /// A link-local address without an interface.
    #[error("BFD peer {0} is link-local: set the interface that it is on")]
    NoInterface(IpAddr),
    /// A link-local address is not reached over several hops.
    #[error("BFD peer {0} is link-local: it is one hop away, set no multihop")]
    LinkLocal(IpAddr),
    /// The two ends are of different families.
    #[error("BFD peer {peer} and local address {local} are not of one family: set both alike")]
    Families {
        /// The peer's.
        peer: IpAddr,
        /// Ours.
        local: IpAddr,
    },
}

/// How a packet got here, as its socket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which of the two ports it was sent to.
    pub hops: Hops,
    /// Its source address.
    pub from: IpAddr,
    /// Its destination address.
    pub to: IpAddr,
    /// The index of the interface that it came by.
    pub interface: u32,
    /// Its TTL or hop limit.
    pub ttl: u8,
}
