//! `BGPPeer`s (compat.md 1.4 and 1.8, rule 12).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use herald_model::LabelSelector;

use super::BfdProfile;
use crate::config::keep::Parsed;
use crate::config::problem::Fault;
use crate::config::selectors::distinct_selectors;
use crate::kinds::{self, BGPPeerSpec, DynamicAsn, SecretReference};

/// A router and the session with it.
#[derive(Debug, Clone, PartialEq)]
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
    /// Hold and keepalive time, if the object says anything about them.
    pub timers: Option<Timers>,
    /// How long to wait before a connection is tried again.
    pub connect_time: Option<Duration>,
    /// Our BGP identifier.
    pub router_id: Option<Ipv4Addr>,
    /// The nodes that have the session; empty means all.
    pub node_selectors: Vec<LabelSelector>,
    /// The password as written in the object; empty if there is none.
    pub password: String,
    /// The Secret with the password.
    pub password_secret: Option<SecretReference>,
    /// The name of the profile that watches the path.
    pub bfd_profile: Option<String>,
    /// Keeps the routes at the peer while our side restarts.
    pub graceful_restart: bool,
    /// The peer is more than one hop away.
    pub ebgp_multi_hop: bool,
    /// The VRF that the session is in; empty for none.
    pub vrf: String,
    /// Both families go over the one session.
    pub dual_stack: bool,
}

/// The autonomous system of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// What the session says, within limits.
    Dynamic(DynamicAsn),
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEndpoint {
    /// At an address.
    Address(IpAddr),
    /// On the other side of an interface.
    Interface(String),
}

/// The timers of a session in whole seconds; both zero if the session never times out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// How long the session lives without a message.
    pub hold: Duration,
    /// How often a message is sent.
    pub keepalive: Duration,
}

impl Parsed for BgpPeer {
    type Claims = ();
}

impl BgpPeer {
    pub(in crate::config) fn parse(
        name: &str,
        object: &kinds::BGPPeer,
        profiles: &BTreeMap<String, BfdProfile>,
    ) -> Result<Self, Fault> {
        let spec = &object.spec;
        if spec.my_asn == 0 {
            return Err(Fault::new("spec.myASN", "missing local ASN"));
        }
        let peer_asn = peer_asn(spec)?;
        let internal = match peer_asn {
            PeerAsn::Number(number) => number == spec.my_asn,
            PeerAsn::Dynamic(dynamic) => dynamic == DynamicAsn::Internal,
        };
        if internal && spec.ebgp_multi_hop {
            return Err(Fault::new(
                "spec.ebgpMultiHop",
                "invalid ebgp-multihop parameter set for an ibgp peer: remove it",
            ));
        }
        if !spec.password.is_empty() && spec.password_secret.is_some() {
            return Err(Fault::new(
                "spec.passwordSecret",
                "can not have both password and secret ref set",
            ));
        }
        let bfd_profile = Some(spec.bfd_profile.clone()).filter(|profile| !profile.is_empty());
        if let Some(profile) = &bfd_profile
            && !profiles.contains_key(profile)
        {
            let message = format!("peer {name} referencing non existing bfd profile {profile}");
            return Err(Fault::new("spec.bfdProfile", message));
        }
        Ok(Self {
            name: name.to_owned(),
            my_asn: spec.my_asn,
            peer_asn,
            local_asn: spec.local_asn,
            endpoint: endpoint(spec)?,
            port: spec.peer_port,
            source_address: parsed("spec.sourceAddress", "source IP", &spec.source_address)?,
            timers: timers(spec)?,
            connect_time: connect_time(spec)?,
            router_id: parsed("spec.routerID", "router ID", &spec.router_id)?,
            node_selectors: distinct_selectors("spec.nodeSelectors", &spec.node_selectors)?,
            password: spec.password.clone(),
            password_secret: spec.password_secret.clone(),
            bfd_profile,
            graceful_restart: spec.enable_graceful_restart,
            ebgp_multi_hop: spec.ebgp_multi_hop,
            vrf: spec.vrf.clone(),
            dual_stack: spec.dual_stack_address_family,
        })
    }
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

fn endpoint(spec: &BGPPeerSpec) -> Result<PeerEndpoint, Fault> {
    const FIELD: &str = "spec.peerAddress";
    match (spec.peer_address.is_empty(), spec.interface.is_empty()) {
        (true, true) => Err(Fault::new(
            FIELD,
            "peer has no Address or Interface specified: set one of them",
        )),
        (false, false) => Err(Fault::new(
            FIELD,
            "peer has both Address and Interface specified: remove one of them",
        )),
        (true, false) => Ok(PeerEndpoint::Interface(spec.interface.clone())),
        (false, true) => {
            let address = parsed(FIELD, "BGPPeer address", &spec.peer_address)?;
            address
                .map(PeerEndpoint::Address)
                .ok_or_else(|| Fault::new(FIELD, "invalid BGPPeer address \"\""))
        }
    }
}

/// The value of a field, or `None` if it is empty.
fn parsed<T: std::str::FromStr>(field: &str, what: &str, text: &str) -> Result<Option<T>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Fault::new(
            field,
            format!("invalid {what} {text:?}: write an IP address"),
        )
    })
}

fn timers(spec: &BGPPeerSpec) -> Result<Option<Timers>, Fault> {
    const SHORTEST: i64 = 3;
    const LONGEST: i64 = 65_535;
    let (hold, keepalive) = match (spec.hold_time, spec.keepalive_time) {
        (None, None) => return Ok(None),
        (Some(hold), None) => (hold.seconds(), hold.seconds() / 3),
        (None, Some(keepalive)) => (keepalive.seconds().saturating_mul(3), keepalive.seconds()),
        (Some(hold), Some(keepalive)) => (hold.seconds(), keepalive.seconds()),
    };
    if hold != 0 && !(SHORTEST..=LONGEST).contains(&hold) {
        let message =
            format!("invalid hold time \"{hold}s\": must be 0 or >=3s and at most 65535s");
        return Err(Fault::new("spec.holdTime", message));
    }
    if !(0..=hold).contains(&keepalive) {
        let message = format!(
            "invalid keepaliveTime \"{keepalive}s\": must not be above holdTime \"{hold}s\""
        );
        return Err(Fault::new("spec.keepaliveTime", message));
    }
    // Both have been found to be neither negative nor large.
    let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    Ok(Some(Timers {
        hold: seconds(hold),
        keepalive: seconds(keepalive),
    }))
}

fn connect_time(spec: &BGPPeerSpec) -> Result<Option<Duration>, Fault> {
    let Some(time) = spec.connect_time else {
        return Ok(None);
    };
    let whole = time.nanoseconds() % 1_000_000_000 == 0 && (1..=65_535).contains(&time.seconds());
    match time.to_std() {
        Some(time) if whole => Ok(Some(time)),
        _ => {
            let message = format!("invalid connect time \"{time}\": use whole seconds, 1 to 65535");
            Err(Fault::new("spec.connectTime", message))
        }
    }
}
