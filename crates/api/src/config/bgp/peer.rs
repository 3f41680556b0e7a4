//! `BGPPeer`s (compat.md 1.4 and 1.8, rules 10, 12 and 13).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use herald_announce::bgp::Peer;
use herald_model::{IpFamily, LabelSelector, Labels};
use serde::{Deserialize, Serialize};

use super::endpoint::{interface_name, parsed};
use super::password::password;
use super::{BfdProfile, Password, PasswordSecret, PeerEndpoint, Timers};
use crate::annotations::{BGP_CONNECTION, BGP_TTL_SECURITY};
use crate::config::annotated::Annotations;
use crate::config::keep::Parsed;
use crate::config::nodes::NodeSet;
use crate::config::problem::Fault;
use crate::config::selectors::distinct_selectors;
use crate::kinds::{self, BGPPeerSpec, DynamicAsn};

/// A router and the session with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpPeer {
    /// `metadata.name`.
    pub name: String,
    /// Our autonomous system.
    pub my_asn: u32,
    /// The peer's.
    pub peer_asn: PeerAsn,
    /// The number that the peer sees instead of ours.
    pub local_asn: Option<u32>,
    /// Where the peer is.
    pub endpoint: PeerEndpoint,
    /// The port that it listens on.
    pub port: u16,
    /// Our address.
    pub source_address: Option<IpAddr>,
    /// Hold, keepalive and connect time.
    pub timers: Timers,
    /// Our BGP identifier.
    pub router_id: Option<Ipv4Addr>,
    /// The nodes that have the session; empty means all.
    pub node_selectors: Vec<LabelSelector>,
    /// The key of TCP MD5. Serialized it is left out: it is nobody's who reads a file.
    #[serde(skip)]
    pub password: Option<Password>,
    /// How the path is watched, if it is.
    pub bfd: Option<PeerBfd>,
    /// Keeps the routes at the peer while our side restarts.
    pub graceful_restart: bool,
    /// The peer is more than one hop away.
    pub ebgp_multi_hop: bool,
    /// How many hops away the peer may be if packets with a lower TTL are to be dropped (RFC 5082).
    pub ttl_security: Option<u8>,
    /// Who connects.
    pub connection: Connection,
    /// The VRF that the session is in; empty for none.
    pub vrf: String,
    /// Both families go over the one session.
    pub dual_stack: bool,
}

/// The autonomous system of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// What the session says, within limits.
    Dynamic(DynamicAsn),
}

/// The BFD session beside a BGP session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerBfd {
    /// The name of the profile.
    pub name: String,
    /// What it says.
    pub profile: BfdProfile,
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Connection {
    /// We do.
    #[default]
    Outbound,
    /// The peer does.
    Inbound,
    /// Whoever is first.
    Both,
}

impl BgpPeer {
    /// What decides about announcements.
    pub fn summary(&self) -> Peer {
        Peer {
            name: self.name.clone(),
            node_selectors: self.node_selectors.clone(),
        }
    }

    /// True if a session that runs by `self` can go on when the object says `next`. What both sides
    /// have agreed on needs a new one; passwords, hop limits, BFD, the keepalive time and who
    /// connects are changed on the live one.
    pub fn keeps_session(&self, next: &Self) -> bool {
        let agreed = Self {
            node_selectors: self.node_selectors.clone(),
            password: self.password.clone(),
            bfd: self.bfd.clone(),
            ebgp_multi_hop: self.ebgp_multi_hop,
            ttl_security: self.ttl_security,
            connection: self.connection,
            timers: Timers {
                hold: next.timers.hold,
                ..self.timers
            },
            ..next.clone()
        };
        agreed == *self
    }

    /// True if the peer is in our autonomous system.
    pub fn is_internal(&self) -> bool {
        match self.peer_asn {
            PeerAsn::Number(number) => number == self.my_asn,
            PeerAsn::Dynamic(dynamic) => dynamic == DynamicAsn::Internal,
        }
    }
}

/// A peer that is valid by itself.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct ParsedPeer {
    pub(super) peer: BgpPeer,
    pub(super) nodes: NodeSet,
    remarks: Vec<Fault>,
}

/// What a peer is checked against.
pub(super) struct Context<'a> {
    pub(super) profiles: &'a BTreeMap<String, BfdProfile>,
    pub(super) secrets: &'a BTreeMap<String, PasswordSecret>,
    pub(super) nodes: &'a BTreeMap<String, Labels>,
}

/// What a router tells one of our sessions from another by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct SessionKey {
    endpoint: PeerEndpoint,
    port: u16,
    vrf: String,
    source_address: Option<IpAddr>,
}

impl Parsed for ParsedPeer {
    /// The sessions and the nodes that have them.
    type Claims = BTreeMap<SessionKey, Vec<(NodeSet, String)>>;

    /// Two sessions between the same two addresses would take each other down for ever.
    fn claim(&self, claims: &mut Self::Claims) -> Result<(), Fault> {
        let peer = &self.peer;
        let key = SessionKey {
            endpoint: peer.endpoint.clone(),
            port: peer.port,
            vrf: peer.vrf.clone(),
            source_address: peer.source_address,
        };
        let sessions = claims.entry(key).or_default();
        let other = sessions.iter().find(|(nodes, _)| nodes.meets(&self.nodes));
        if let Some((_, other)) = other {
            let message = format!(
                "duplicate BGPPeers selecting the same node: {} is the peer of BGPPeer {other:?} \
                 too; give one of them another address, port, VRF or sourceAddress, or other nodes",
                peer.endpoint
            );
            return Err(Fault::new(peer.endpoint.field(), message));
        }
        sessions.push((self.nodes.clone(), peer.name.clone()));
        Ok(())
    }

    fn remarks(&self) -> &[Fault] {
        &self.remarks
    }
}

impl ParsedPeer {
    pub(super) fn parse(
        name: &str,
        object: &kinds::BGPPeer,
        context: &Context<'_>,
    ) -> Result<Self, Fault> {
        let spec = &object.spec;
        let mut annotations = Annotations::of(object);
        let endpoint = PeerEndpoint::parse(spec, &mut annotations)?;
        let mut peer = BgpPeer {
            name: name.to_owned(),
            my_asn: my_asn(spec)?,
            peer_asn: peer_asn(spec)?,
            local_asn: local_asn(spec)?,
            source_address: source_address(spec, endpoint.family())?,
            endpoint,
            // The old version of the kind has 0 for the default.
            port: if spec.peer_port == 0 {
                kinds::DEFAULT_BGP_PORT
            } else {
                spec.peer_port
            },
            timers: Timers::parse(spec)?,
            router_id: router_id(spec)?,
            node_selectors: distinct_selectors("spec.nodeSelectors", &spec.node_selectors)?,
            password: None,
            bfd: None,
            graceful_restart: spec.enable_graceful_restart,
            ebgp_multi_hop: spec.ebgp_multi_hop,
            ttl_security: annotations.number(BGP_TTL_SECURITY, &(1..=254)),
            connection: connection(&mut annotations),
            vrf: match spec.vrf.as_str() {
                "" => String::new(),
                vrf => interface_name("spec.vrf", vrf)?,
            },
            dual_stack: spec.dual_stack_address_family,
        };
        if peer.is_internal() && peer.ebgp_multi_hop {
            return Err(Fault::new(
                "spec.ebgpMultiHop",
                "invalid ebgp-multihop parameter set for an ibgp peer: remove it",
            ));
        }
        // What may come later is looked for last, so that it hides nothing that is wrong.
        peer.password = password(spec, context.secrets)?;
        peer.bfd = bfd(name, spec, context.profiles)?;
        Ok(Self {
            nodes: NodeSet::selected(&peer.node_selectors, context.nodes),
            remarks: annotations.remarks(),
            peer,
        })
    }
}

fn my_asn(spec: &BGPPeerSpec) -> Result<u32, Fault> {
    if spec.my_asn == 0 {
        return Err(Fault::new(
            "spec.myASN",
            "missing local ASN: set the number of the autonomous system on our side",
        ));
    }
    Ok(spec.my_asn)
}

fn peer_asn(spec: &BGPPeerSpec) -> Result<PeerAsn, Fault> {
    match (
        spec.peer_asn.filter(|number| *number != 0),
        spec.dynamic_asn,
    ) {
        (Some(number), None) => Ok(PeerAsn::Number(number)),
        (None, Some(dynamic)) => Ok(PeerAsn::Dynamic(dynamic)),
        (None, None) => Err(Fault::new(
            "spec.peerASN",
            "missing peer ASN and dynamicASN: set one of them",
        )),
        (Some(_), Some(_)) => Err(Fault::new(
            "spec.dynamicASN",
            "both peer ASN and dynamicASN specified: remove one of them",
        )),
    }
}

fn local_asn(spec: &BGPPeerSpec) -> Result<Option<u32>, Fault> {
    if spec.local_asn == Some(0) {
        return Err(Fault::new(
            "spec.localASN",
            "invalid localASN 0: use 1 to 4294967295, or remove it",
        ));
    }
    Ok(spec.local_asn)
}

fn source_address(spec: &BGPPeerSpec, family: IpFamily) -> Result<Option<IpAddr>, Fault> {
    const FIELD: &str = "spec.sourceAddress";
    let source = parsed(FIELD, "source IP", &spec.source_address)?;
    if let Some(source) = source.filter(|source| IpFamily::of(*source) != family) {
        let message = format!("invalid source IP \"{source}\": the session is {family}");
        return Err(Fault::new(FIELD, message));
    }
    Ok(source)
}

/// RFC 6286, 2.1: any number but 0.
fn router_id(spec: &BGPPeerSpec) -> Result<Option<Ipv4Addr>, Fault> {
    const FIELD: &str = "spec.routerID";
    let id: Option<Ipv4Addr> = parsed(FIELD, "router ID", &spec.router_id)?;
    if id.is_some_and(|id| id.is_unspecified()) {
        return Err(Fault::new(
            FIELD,
            "invalid router ID \"0.0.0.0\": use another, or leave it out",
        ));
    }
    Ok(id)
}

fn bfd(
    peer: &str,
    spec: &BGPPeerSpec,
    profiles: &BTreeMap<String, BfdProfile>,
) -> Result<Option<PeerBfd>, Fault> {
    let name = &spec.bfd_profile;
    if name.is_empty() {
        return Ok(None);
    }
    let Some(profile) = profiles.get(name) else {
        let message = format!(
            "peer {peer} referencing non existing bfd profile {name}: create the BFDProfile"
        );
        return Err(Fault::waiting("spec.bfdProfile", message));
    };
    Ok(Some(PeerBfd {
        name: name.clone(),
        profile: profile.clone(),
    }))
}

fn connection(annotations: &mut Annotations<'_>) -> Connection {
    let said = annotations.parsed(BGP_CONNECTION, |text| match text {
        "outbound" => Ok(Connection::Outbound),
        "inbound" => Ok(Connection::Inbound),
        "both" => Ok(Connection::Both),
        _ => Err(format!(
            "unknown direction {text:?}: use outbound, inbound or both"
        )),
    });
    said.unwrap_or_default()
}
