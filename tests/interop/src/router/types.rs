//! What a router says of itself, in the same words for all routers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// An address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address, with no bits set beyond the length in what routers say.
    pub address: IpAddr,
    /// The length in bits.
    pub length: u8,
}

impl Prefix {
    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }
}

impl FromStr for Prefix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((address, length)) = text.split_once('/') else {
            let address = text.parse().with_context(|| format!("no prefix: {text}"))?;
            return Ok(Self::host(address));
        };
        Ok(Self {
            address: address
                .parse()
                .with_context(|| format!("no prefix: {text}"))?,
            length: length
                .parse()
                .with_context(|| format!("no prefix: {text}"))?,
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The address families that routers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

/// A session's state (RFC 4271, 8.2.2). `Down` is where a router does not say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not connected, in a way that the router does not name.
    Down,
    /// Refuses connections.
    Idle,
    /// Dials.
    Connect,
    /// Waits to dial again.
    Active,
    /// Has sent its OPEN.
    OpenSent,
    /// Has the peer's OPEN.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

impl State {
    /// A state by the name in RFC 4271, in whatever case.
    pub(crate) fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "idle" => Self::Idle,
            "connect" => Self::Connect,
            "active" => Self::Active,
            "opensent" => Self::OpenSent,
            "openconfirm" => Self::OpenConfirm,
            "established" => Self::Established,
            _ => Self::Down,
        }
    }
}

/// A peer as a router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address; of an unnumbered peer the link-local one, once it is known.
    pub address: IpAddr,
    /// Its AS, once it is known.
    pub remote_as: Option<u32>,
    /// The session's state.
    pub state: State,
    /// How long the session has been up, in whole seconds; `None` while it is not.
    pub uptime: Option<Duration>,
    /// How many prefixes the router has of it, all families together.
    pub prefixes: usize,
}

/// A path to a prefix that a router received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Next hops, the global one before the link-local one.
    pub next_hops: Vec<IpAddr>,
    /// The ASes from the nearest on.
    pub as_path: Vec<u32>,
    /// `LOCAL_PREF`, if the router shows it.
    pub local_pref: Option<u32>,
    /// `MULTI_EXIT_DISC`.
    pub med: Option<u32>,
    /// Communities as `65001:100`.
    pub communities: Vec<String>,
    /// Large communities as `65001:1:2`.
    pub large: Vec<String>,
    /// Extended communities in the router's own words.
    pub extended: Vec<String>,
}

/// A path that a router received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub prefix: Prefix,
    /// Of which peer.
    pub from: IpAddr,
    /// Whether the router prefers it (or shares the load over it).
    pub best: bool,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A BFD session as a router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdSession {
    /// The peer.
    pub peer: IpAddr,
    /// Whether it is up.
    pub up: bool,
    /// How long the peer may be silent, as the router sees it: until both sides have told each other
    /// that they send faster, longer than either is configured with (RFC 5880, section 6.8.3).
    pub detection: Duration,
    /// How many echo packets it has sent, and how many came back; none if it does not tell.
    pub echoes: Option<(u64, u64)>,
    /// The peer's discriminator, if the router tells.
    pub remote_discriminator: Option<u32>,
}

/// A route in a kernel's main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRoute {
    /// Where to.
    pub prefix: Prefix,
    /// The gateways with their weights, ordered; empty for a route that has none.
    pub next_hops: Vec<(IpAddr, u32)>,
    /// Who installed it, e.g. `bgp`, `bird`, `kernel`.
    pub protocol: String,
}
