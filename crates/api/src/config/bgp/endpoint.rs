//! Where a peer is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use herald_model::IpFamily;
use serde::{Deserialize, Serialize};

use crate::annotations::BGP_PEER_GATEWAY;
use crate::config::annotated::Annotations;
use crate::config::problem::Fault;
use crate::kinds::BGPPeerSpec;

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PeerEndpoint {
    /// At an address.
    Address(IpAddr),
    /// At a link-local address behind an interface: `fe80::1%eth0`.
    LinkLocal {
        /// The address.
        address: Ipv6Addr,
        /// The interface.
        interface: String,
    },
    /// On the other side of an interface; its address is learned from router advertisements.
    Interface(String),
    /// Where the node's default route of this family goes.
    DefaultGateway(IpFamily),
}

impl PeerEndpoint {
    /// The family of the session, if it is known before there is one.
    pub fn family(&self) -> IpFamily {
        match self {
            Self::Address(address) => IpFamily::of(*address),
            Self::LinkLocal { .. } | Self::Interface(_) => IpFamily::V6,
            Self::DefaultGateway(family) => *family,
        }
    }

    /// The field that says it.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::LinkLocal { .. } => "spec.peerAddress",
            Self::Interface(_) => "spec.interface",
            Self::DefaultGateway(_) => "metadata.annotations",
        }
    }

    pub(super) fn parse(
        spec: &BGPPeerSpec,
        annotations: &mut Annotations<'_>,
    ) -> Result<Self, Fault> {
        const ADDRESS: &str = "spec.peerAddress";
        let gateway = annotations.parsed(BGP_PEER_GATEWAY, |text| match text {
            "ipv4" => Ok(IpFamily::V4),
            "ipv6" => Ok(IpFamily::V6),
            _ => Err(format!("unknown family {text:?}: use ipv4 or ipv6")),
        });
        match (spec.peer_address.is_empty(), spec.interface.is_empty()) {
            (true, true) => gateway.map(Self::DefaultGateway).ok_or_else(|| {
                Fault::new(
                    ADDRESS,
                    "peer has no Address or Interface specified: set one of them",
                )
            }),
            (false, false) => Err(Fault::new(
                ADDRESS,
                "peer has both Address and Interface specified: remove one of them",
            )),
            _ if gateway.is_some() => {
                let message = format!(
                    "peer has an Address or Interface and the annotation {BGP_PEER_GATEWAY}: remove \
                     one of them"
                );
                Err(Fault::new(ADDRESS, message))
            }
            (true, false) => interface_name("spec.interface", &spec.interface).map(Self::Interface),
            (false, true) => address(ADDRESS, &spec.peer_address),
        }
    }
}

impl fmt::Display for PeerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal { address, interface } => write!(f, "{address}%{interface}"),
            Self::Interface(interface) => f.write_str(interface),
            Self::DefaultGateway(family) => write!(f, "the default gateway for {family}"),
        }
    }
}

fn address(field: &str, text: &str) -> Result<PeerEndpoint, Fault> {
    let invalid = |remedy: &str| {
        let message = format!("invalid BGPPeer address {text:?}: {remedy}");
        Fault::new(field, message)
    };
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address = IpAddr::from_str(address).map_err(|_| invalid("write an IP address"))?;
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::from([255; 4]) {
        return Err(invalid("write the address of one router"));
    }
    match (address, zone) {
        (IpAddr::V6(address), Some(zone)) if address.is_unicast_link_local() => {
            let interface = interface_name(field, zone)?;
            Ok(PeerEndpoint::LinkLocal { address, interface })
        }
        (IpAddr::V6(address), None) if address.is_unicast_link_local() => Err(invalid(
            "a link-local address needs its interface, as in fe80::1%eth0",
        )),
        (_, Some(_)) => Err(invalid("only a link-local address has an interface")),
        (address, None) => Ok(PeerEndpoint::Address(address)),
    }
}

/// The name of an interface or VRF, as Linux allows it.
pub(super) fn interface_name(field: &str, name: &str) -> Result<String, Fault> {
    const LONGEST: usize = 15;
    let valid = (1..=LONGEST).contains(&name.len())
        && ![".", ".."].contains(&name)
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if valid {
        return Ok(name.to_owned());
    }
    let message =
        format!("invalid interface name {name:?}: at most {LONGEST} bytes without spaces, / and :");
    Err(Fault::new(field, message))
}

/// The value of a field, or `None` if it is empty.
pub(super) fn parsed<T: FromStr>(field: &str, what: &str, text: &str) -> Result<Option<T>, Fault> {
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
