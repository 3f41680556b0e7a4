//! From the configuration to what a session is made with.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use herald_api::config::bgp::{BgpPeer, Connection, Password, PeerAsn, PeerEndpoint};
use herald_api::kinds::DynamicAsn;
use herald_bgp::session::{Config, Direction, Restart, Timers};
use herald_bgp::wire::{Asn, BgpId, ExpectedAs, Families, Family};
use herald_model::{IpFamily, NodeName};
use herald_netsys::tcp::{self, Hops};
use herald_netsys::{Dscp, Error, SocketStep};
use sha2::{Digest as _, Sha256};

use super::listener::Guest;
use super::path::BfdPlan;
use super::transition::Security;

/// How long peers keep the routes of a speaker that restarts, in seconds.
const RESTART_TIME: u16 = 120;

/// A session with a router as this node is to have it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerPlan {
    /// What the two sides agree on, and who connects.
    pub session: Config,
    /// Where the peer is.
    pub endpoint: PeerEndpoint,
    /// The port that it listens on.
    pub port: u16,
    /// The own address; the kernel's choice if `None`.
    pub source: Option<IpAddr>,
    /// The VRF that the session is in; empty for none.
    pub vrf: String,
    /// How far away the peer may be.
    pub hops: Hops,
    /// The password for MD5 signatures.
    pub password: Option<tcp::Password>,
    /// How the path is watched, if it is.
    pub bfd: Option<BfdPlan>,
}

/// What routers may have of an earlier life of this speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierLife {
    until: Instant,
    same_boot: bool,
}

impl EarlierLife {
    /// One before `now`, at which this life begins. `same_boot`: the node has forwarded all the time
    /// since.
    pub fn before(now: Instant, same_boot: bool) -> Self {
        Self {
            until: now + Duration::from_secs(RESTART_TIME.into()),
            same_boot,
        }
    }
}

/// The address of a peer, with its interface if it is of one link only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) address: IpAddr,
    pub(super) interface: Option<String>,
}

/// What is asked for and cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A password that the kernel does not take.
    #[error("BGPPeer {0:?}: {1}")]
    Password(String, String),
}

impl PeerPlan {
    /// The plan for a peer on the node `me`, whose IPv4 address is `address`, if it has one.
    /// `earlier`: this speaker has started anew and may have left routes with the peer.
    pub fn new(
        peer: &BgpPeer,
        me: &NodeName,
        address: Option<Ipv4Addr>,
        earlier: Option<EarlierLife>,
    ) -> Result<Self, Unsupported> {
        let password = peer.password.as_ref().map(Password::as_bytes);
        let password = password.map(tcp::Password::new).transpose();
        let password = password
            .map_err(|error| Unsupported::Password(peer.name.clone(), error.to_string()))?;
        Ok(Self {
            session: config(peer, identifier(peer, me, address), earlier),
            endpoint: peer.endpoint.clone(),
            port: peer.port,
            source: peer.source_address,
            vrf: peer.vrf.clone(),
            hops: hops(peer),
            password,
            bfd: BfdPlan::new(peer),
        })
    }

    /// Where the peer is, if the configuration itself says it.
    pub(super) fn remote(&self) -> Option<Remote> {
        match &self.endpoint {
            PeerEndpoint::Address(address) => Some(Remote {
                address: *address,
                interface: None,
            }),
            PeerEndpoint::LinkLocal { address, interface } => Some(Remote {
                address: IpAddr::V6(*address),
                interface: Some(interface.clone()),
            }),
            PeerEndpoint::Interface(_) | PeerEndpoint::DefaultGateway(_) => None,
        }
    }

    /// The peer as one that connects, if it may and if it is known where it is.
    pub(super) fn guest(&self, name: &str, remote: Option<&Remote>) -> Option<Guest> {
        let remote = remote.filter(|_| self.session.direction != Direction::Dial)?;
        Some(Guest {
            name: name.to_owned(),
            vrf: self.vrf().cloned(),
            remote: remote.clone(),
            local: self.source,
            hops: self.hops,
            password: self.password.clone(),
        })
    }

    pub(super) fn vrf(&self) -> Option<&String> {
        Some(&self.vrf).filter(|vrf| !vrf.is_empty())
    }

    /// What connections with the peer are secured by.
    pub(super) fn security(&self) -> Security {
        Security {
            hops: self.hops,
            password: self.password.clone(),
        }
    }

    /// How a connection to the peer is made if it is there.
    pub(super) fn options(&self, remote: &Remote) -> tcp::Options {
        tcp::Options {
            remote: SocketAddr::new(remote.address, self.port),
            local: self.source,
            interface: remote.interface.as_ref().or_else(|| self.vrf()).cloned(),
            hops: self.hops,
            password: self.password.clone(),
            dscp: Dscp::CS6,
        }
    }

    /// Why a connection could not be made; with the field of the `BGPPeer`, if it asks for what this
    /// node does not have.
    pub(super) fn explain(&self, error: &Error) -> String {
        let remedy = match error {
            Error::Socket { step, source, .. } => match (step, source.kind()) {
                (SocketStep::Interface(_), _)
                    if matches!(self.endpoint, PeerEndpoint::LinkLocal { .. }) =>
                {
                    " (the zone of spec.peerAddress)"
                }
                (SocketStep::Interface(_), _) => " (spec.vrf)",
                (SocketStep::Address(_), _) if self.source.is_some() => {
                    ": correct spec.sourceAddress, or give this node the address"
                }
                (
                    SocketStep::Connect,
                    ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable,
                ) => {
                    ": correct spec.peerAddress, or give this node an address of that family and a route"
                }
                _ => "",
            },
            _ => "",
        };
        error.of_attempt() + remedy
    }
}

fn config(peer: &BgpPeer, id: BgpId, earlier: Option<EarlierLife>) -> Config {
    let local = Asn(peer.local_asn.unwrap_or(peer.my_asn));
    let expected = match peer.peer_asn {
        PeerAsn::Number(number) => ExpectedAs::Exactly(Asn(number)),
        PeerAsn::Dynamic(DynamicAsn::Internal) => ExpectedAs::Internal,
        PeerAsn::Dynamic(DynamicAsn::External) => ExpectedAs::External,
    };
    let mut config = Config::new(local, expected, id);
    config.direction = match peer.connection {
        Connection::Outbound => Direction::Dial,
        Connection::Inbound => Direction::Accept,
        Connection::Both => Direction::Both,
    };
    // Without addresses there is no family to prefer: IPv4 routes have IPv6 next hops (RFC 8950).
    let unnumbered = matches!(peer.endpoint, PeerEndpoint::Interface(_));
    config.families = if peer.dual_stack || unnumbered {
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
        restarted: earlier.map(|earlier| earlier.until),
        forwarding_kept: earlier.is_some_and(|earlier| earlier.same_boot),
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::bgp::testing;

    #[test]
    fn what_a_node_lacks_is_told_with_the_field_that_asks_for_it() {
        let (status, _) = testing::down("192.0.2.2:179");
        let plan = PeerPlan {
            source: Some([192, 0, 2, 9].into()),
            ..PeerPlan::clone(&status.plan)
        };
        let near = PeerPlan {
            endpoint: PeerEndpoint::LinkLocal {
                address: "fe80::1".parse().expect("an address"),
                interface: "eth9".to_owned(),
            },
            ..plan.clone()
        };
        let failed = |step, kind: ErrorKind| Error::Socket {
            socket: "BGP connection to 192.0.2.2:179".to_owned(),
            step,
            source: io::Error::from(kind),
        };
        let interface = || SocketStep::Interface("eth9".to_owned());
        let address = SocketStep::Address("192.0.2.9:0".parse().expect("an address"));
        let connect = || SocketStep::Connect;
        for (plan, error, field) in [
            (&plan, failed(interface(), ErrorKind::Other), "spec.vrf"),
            (
                &near,
                failed(interface(), ErrorKind::Other),
                "spec.peerAddress",
            ),
            (
                &plan,
                failed(address, ErrorKind::AddrNotAvailable),
                "spec.sourceAddress",
            ),
            (
                &plan,
                failed(connect(), ErrorKind::NetworkUnreachable),
                "spec.peerAddress",
            ),
        ] {
            let words = plan.explain(&error);
            assert!(words.starts_with(&error.of_attempt()), "{words}");
            assert!(words.contains(field), "{words}");
        }
        // Of the other side, or of no field.
        for error in [
            failed(connect(), ErrorKind::ConnectionRefused),
            failed(SocketStep::Open, ErrorKind::PermissionDenied),
        ] {
            assert_eq!(plan.explain(&error), error.of_attempt());
        }
    }
}
