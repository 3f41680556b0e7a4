//! The path to a peer, watched by BFD.

use std::net::{IpAddr, SocketAddr};

use herald_api::config::bgp::BgpPeer;
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
    /// The profile asks for echo packets.
    pub echo: bool,
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
            settings: Settings {
                transmit_interval: profile.transmit_interval,
                receive_interval: profile.receive_interval,
                detect_multiplier: profile.detect_multiplier,
                passive: profile.passive_mode,
                minimum_ttl: profile.minimum_ttl,
                // Both end with the process.
                control_plane_independent: false,
            },
            reach,
            echo: profile.echo_mode,
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
            echo: self.echo,
            failed: failed.clone(),
        }
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
