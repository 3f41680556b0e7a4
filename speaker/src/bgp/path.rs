//! The path to a peer, watched by BFD.

use std::net::{IpAddr, SocketAddr};

use herald_api::config::bgp::{BfdProfile, BgpPeer};
use herald_bfd::{Path, Settings};
use herald_bgp::session::Endpoints;
use herald_netsys::is_on_link;

use super::plan::PeerPlan;
use crate::bfd::{PathFailed, Request, Requests};

/// How the path to a peer is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdPlan {
    /// What the session does.
    pub settings: Settings,
    /// How far away the peer is.
    pub reach: Reach,
}

/// How far away a peer is. The same rule as FRR's, so that both ends use the same port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On the same link.
    OneHop,
    /// Behind routers.
    SeveralHops,
    /// On the same link if it is in a network of the interface that the session goes over.
    AsAddressed,
}

impl BfdPlan {
    /// How the path to the peer is to be watched, if it is.
    pub(super) fn new(peer: &BgpPeer) -> Option<Self> {
        let profile = &peer.bfd.as_ref()?.profile;
        let reach = if peer.ebgp_multi_hop || peer.ttl_security.is_some_and(|hops| hops > 1) {
            Reach::SeveralHops
        } else if peer.is_internal() {
            Reach::AsAddressed
        } else {
            Reach::OneHop
        };
        Some(Self {
            settings: settings(profile),
            reach,
        })
    }

    fn request(&self, vrf: &str, endpoints: &Endpoints, failed: &PathFailed) -> Request {
        let local = endpoints.local.ip().to_canonical();
        let peer = endpoints.peer.ip().to_canonical();
        let link_local = matches!(peer, IpAddr::V6(peer) if peer.is_unicast_link_local());
        let one_hop = match self.reach {
            // Nobody forwards it.
            _ if link_local => true,
            Reach::OneHop => true,
            Reach::SeveralHops => false,
            Reach::AsAddressed => is_on_link(local, peer).unwrap_or_else(|error| {
                tracing::warn!(
                    %peer,
                    %error,
                    "the addresses of this node are not known: the peer is taken as one hop away"
                );
                true
            }),
        };
        let path = if one_hop {
            let interface = match endpoints.peer {
                SocketAddr::V6(address) if link_local => Some(address.scope_id()),
                _ => None,
            };
            Path::SingleHop { peer, interface }
        } else {
            Path::MultiHop {
                peer,
                local: Some(local),
            }
        };
        Request {
            path,
            local,
            vrf: Some(vrf.to_owned()).filter(|vrf| !vrf.is_empty()),
            settings: self.settings.clone(),
            failed: failed.clone(),
        }
    }
}

fn settings(profile: &BfdProfile) -> Settings {
    Settings {
        transmit_interval: profile.transmit_interval,
        receive_interval: profile.receive_interval,
        detect_multiplier: profile.detect_multiplier,
        passive: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl,
        echo: profile.echo_mode.then_some(profile.echo_interval),
        // Both end with the process.
        control_plane_independent: false,
    }
}

/// What BFD is asked for a session. The path is known once the session was established, and watched
/// until it is another: BFD goes on while BGP is down.
#[derive(Debug)]
pub(super) struct Watch {
    peer: String,
    requests: Requests,
    failed: PathFailed,
    /// Of the last session that was established.
    endpoints: Option<Endpoints>,
}

impl Watch {
    pub(super) fn new(peer: &str, requests: Requests) -> Self {
        Self {
            peer: peer.to_owned(),
            requests,
            failed: PathFailed::default(),
            endpoints: None,
        }
    }

    /// The session is established.
    pub(super) fn up(&mut self, plan: &PeerPlan, endpoints: Option<Endpoints>) {
        self.endpoints = endpoints;
        self.update(plan);
    }

    /// The path is to be watched like this from now on.
    pub(super) fn update(&self, plan: &PeerPlan) {
        let wanted = plan.bfd.as_ref().zip(self.endpoints.as_ref());
        let request =
            wanted.map(|(bfd, endpoints)| bfd.request(&plan.vrf, endpoints, &self.failed));
        self.requests.set(&self.peer, request);
    }

    /// Nothing of it is wanted any longer.
    pub(super) fn end(&mut self) {
        self.endpoints = None;
        self.requests.set(&self.peer, None);
    }

    /// Waits until the path fails. Cancel-safe.
    pub(super) async fn failed(&self) {
        self.failed.told().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan(reach: Reach) -> BfdPlan {
        BfdPlan {
            settings: Settings::default(),
            reach,
        }
    }

    fn path(reach: Reach, local: &str, peer: &str) -> Path {
        let address = |text: &str| text.parse().expect("an address and a port");
        let endpoints = Endpoints {
            local: address(local),
            peer: address(peer),
        };
        let request = plan(reach).request("", &endpoints, &PathFailed::default());
        assert_eq!(request.local, endpoints.local.ip().to_canonical());
        request.path
    }

    fn one_hop(peer: &str, interface: Option<u32>) -> Path {
        Path::SingleHop {
            peer: peer.parse().expect("an address"),
            interface,
        }
    }

    #[test]
    fn what_the_profile_says_is_what_the_session_does() {
        let profile = BfdProfile {
            receive_interval: Duration::from_millis(20),
            transmit_interval: Duration::from_millis(30),
            detect_multiplier: 5,
            echo_interval: Duration::from_millis(50),
            echo_mode: true,
            passive_mode: true,
            minimum_ttl: Some(60),
        };
        assert_eq!(
            settings(&profile),
            Settings {
                transmit_interval: Duration::from_millis(30),
                receive_interval: Duration::from_millis(20),
                detect_multiplier: 5,
                passive: true,
                minimum_ttl: Some(60),
                echo: Some(Duration::from_millis(50)),
                control_plane_independent: false,
            }
        );
    }

    #[test]
    fn one_hop_or_several_is_as_asked_for_or_as_addressed() {
        let (here, far) = ("127.0.0.1:40000", "192.0.2.77:179");
        assert_eq!(path(Reach::OneHop, here, far), one_hop("192.0.2.77", None));
        let several = Path::MultiHop {
            peer: IpAddr::from([192, 0, 2, 77]),
            local: Some(IpAddr::from([127, 0, 0, 1])),
        };
        assert_eq!(path(Reach::SeveralHops, here, far), several);
        assert_eq!(path(Reach::AsAddressed, here, far), several);
        let near = "127.0.0.9:179";
        assert_eq!(
            path(Reach::AsAddressed, here, near),
            one_hop("127.0.0.9", None)
        );
    }

    #[test]
    fn a_link_local_peer_is_on_its_interface_and_a_mapped_address_is_ipv4() {
        let local = "[fe80::1%3]:40000";
        for reach in [Reach::OneHop, Reach::SeveralHops, Reach::AsAddressed] {
            let path = path(reach, local, "[fe80::2%3]:179");
            assert_eq!(path, one_hop("fe80::2", Some(3)));
        }
        let mapped = path(
            Reach::OneHop,
            "[::ffff:192.0.2.1]:179",
            "[::ffff:192.0.2.2]:50000",
        );
        assert_eq!(mapped, one_hop("192.0.2.2", None));
    }
}
