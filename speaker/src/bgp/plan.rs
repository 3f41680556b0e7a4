//! From the configuration to what a session is made with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use herald_api::config::bgp::{BgpPeer, Connection, Password, PeerAsn, PeerEndpoint};
use herald_api::kinds::DynamicAsn;
use herald_bgp::session::{Config, Direction, Restart, Timers};
use herald_bgp::wire::{Asn, BgpId, ExpectedAs, Families, Family};
use herald_model::{IpFamily, NodeName};
use herald_netsys::Dscp;
use herald_netsys::tcp::{self, Hops};
use sha2::{Digest as _, Sha256};

use super::path::BfdPlan;

/// How long peers keep the routes of a speaker that restarts, in seconds.
const RESTART_TIME: u16 = 120;

/// A session with a router as this node is to have it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerPlan {
    /// What the two sides agree on.
    pub session: Config,
    /// How the connection is made.
    pub connection: tcp::Options,
    /// The VRF that it is in; empty if in none.
    pub vrf: String,
    /// How the path is watched, if it is.
    pub bfd: Option<BfdPlan>,
}

/// What is asked for and not there yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A peer behind an interface, or at the default gateway.
    #[error(
        "BGPPeer {0:?}: peers without an address of their own are not supported yet: give it spec.peerAddress"
    )]
    Endpoint(String),
    /// A peer that connects.
    #[error(
        "BGPPeer {0:?}: connections that the peer makes are not supported yet: remove the annotation"
    )]
    Inbound(String),
    /// A password that the kernel does not take.
    #[error("BGPPeer {0:?}: {1}")]
    Password(String, String),
}

impl PeerPlan {
    /// The plan for a peer on the node `me`, whose IPv4 address is `address`, if it has one.
    /// `restarted`: this speaker has started anew and may have left routes with the peer.
    pub fn new(
        peer: &BgpPeer,
        me: &NodeName,
        address: Option<Ipv4Addr>,
        restarted: bool,
    ) -> Result<Self, Unsupported> {
        let name = || peer.name.clone();
        let (remote, interface) = match &peer.endpoint {
            PeerEndpoint::Address(address) => (*address, None),
            PeerEndpoint::LinkLocal { address, interface } => {
                (IpAddr::V6(*address), Some(interface.clone()))
            }
            PeerEndpoint::Interface(_) | PeerEndpoint::DefaultGateway(_) => {
                return Err(Unsupported::Endpoint(name()));
            }
        };
        if peer.connection != Connection::Outbound {
            return Err(Unsupported::Inbound(name()));
        }
        let password = peer.password.as_ref().map(Password::as_bytes);
        let password = password.map(tcp::Password::new).transpose();
        let password =
            password.map_err(|error| Unsupported::Password(name(), error.to_string()))?;
        let vrf = Some(peer.vrf.clone()).filter(|vrf| !vrf.is_empty());
        Ok(Self {
            session: config(peer, identifier(peer, me, address), restarted),
            connection: tcp::Options {
                remote: SocketAddr::new(remote, peer.port),
                local: peer.source_address,
                interface: interface.or(vrf),
                hops: hops(peer),
                password,
                dscp: Dscp::CS6,
            },
            vrf: peer.vrf.clone(),
            bfd: BfdPlan::new(peer),
        })
    }
}

fn config(peer: &BgpPeer, id: BgpId, restarted: bool) -> Config {
    let local = Asn(peer.local_asn.unwrap_or(peer.my_asn));
    let expected = match peer.peer_asn {
        PeerAsn::Number(number) => ExpectedAs::Exactly(Asn(number)),
        PeerAsn::Dynamic(DynamicAsn::Internal) => ExpectedAs::Internal,
        PeerAsn::Dynamic(DynamicAsn::External) => ExpectedAs::External,
    };
    let mut config = Config::new(local, expected, id);
    config.direction = Direction::Dial;
    config.families = if peer.dual_stack {
        Families::BOTH
    } else {
        Families::only(match peer.endpoint.family() {
            IpFamily::V4 => Family::Ipv4Unicast,
            IpFamily::V6 => Family::Ipv6Unicast,
        })
    };
    config.restart = peer.graceful_restart.then_some(Restart {
        time: RESTART_TIME,
        long_lived: None,
        restarted,
        forwarding_kept: true,
    });
    let seconds = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
    config.timers = Timers {
        hold: seconds(peer.timers.hold),
        keepalive: Some(peer.timers.keepalive).filter(|time| !time.is_zero()),
        connect: peer.timers.connect,
        ..Timers::default()
    };
    config
}

/// The identifier that is asked for, or one that every life of this node has: routers know a speaker
/// that restarts by it. A node without an IPv4 address gets one from its name.
fn identifier(peer: &BgpPeer, me: &NodeName, address: Option<Ipv4Addr>) -> BgpId {
    let source = peer.source_address.and_then(|source| match source {
        IpAddr::V4(source) => Some(source),
        IpAddr::V6(_) => None,
    });
    let known = [peer.router_id, source, address].into_iter().flatten();
    if let Some(id) = known.into_iter().find(|id| !id.is_unspecified()) {
        return BgpId(id);
    }
    let digest = Sha256::digest(me.as_str());
    let first = digest.iter().take(4);
    let number = first.fold(0, |number, byte| number << 8 | u32::from(*byte));
    BgpId(Ipv4Addr::from_bits(number.max(1)))
}

fn hops(peer: &BgpPeer) -> Hops {
    let secured = peer.ttl_security.and_then(NonZeroU8::new);
    match secured {
        Some(hops) => Hops::Within(hops),
        None if peer.ebgp_multi_hop || peer.is_internal() => Hops::ANY,
        None => Hops::ONE,
    }
}
