//! BGP messages byte by byte: written apart from Herald's own code, so that one can check the other,
//! and able to write what is wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Message types (RFC 4271, 4.1; RFC 2918).
pub mod kind {
    /// OPEN.
    pub const OPEN: u8 = 1;
    /// UPDATE.
    pub const UPDATE: u8 = 2;
    /// NOTIFICATION.
    pub const NOTIFICATION: u8 = 3;
    /// KEEPALIVE.
    pub const KEEPALIVE: u8 = 4;
    /// ROUTE-REFRESH.
    pub const ROUTE_REFRESH: u8 = 5;
}

/// A length in one octet; scripts write no longer values.
fn octet(length: usize) -> u8 {
    u8::try_from(length).expect("a script's value fits one octet of length")
}

/// A length in two octets.
fn two_octets(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("a script's value fits two octets of length")
        .to_be_bytes()
}

/// A message with a right header.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    message_of_length(kind, body, body.len() + 19)
}

/// A message whose header claims another length.
pub fn message_of_length(kind: u8, body: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(two_octets(length));
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// A KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    message(kind::KEEPALIVE, &[])
}

/// A NOTIFICATION.
pub fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message(kind::NOTIFICATION, &[&[code, subcode], data].concat())
}

/// A ROUTE-REFRESH for a family; subtype 0 asks.
pub fn route_refresh(afi: u16, subtype: u8, safi: u8) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    message(kind::ROUTE_REFRESH, &[high, low, subtype, safi])
}

/// A capability (RFC 5492).
pub fn capability(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, octet(value.len())], value].concat()
}

/// The capability of a family (RFC 4760).
pub fn multiprotocol(afi: u16, safi: u8) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    capability(1, &[high, low, 0, safi])
}

/// The capability of four-octet AS numbers (RFC 6793).
pub fn four_octet_as(asn: u32) -> Vec<u8> {
    capability(65, &asn.to_be_bytes())
}

/// An OPEN to be.
#[derive(Debug, Clone)]
pub struct Open {
    /// The version; 4 is right.
    pub version: u8,
    /// The AS in two octets.
    pub asn: u16,
    /// The hold time in seconds.
    pub hold: u16,
    /// The BGP identifier.
    pub id: Ipv4Addr,
    /// The optional parameters, one after the other, without their length.
    pub parameters: Vec<u8>,
}

impl Open {
    /// What an ordinary peer sends: both families, route refresh and its enhanced form, four-octet
    /// AS numbers.
    pub fn new(asn: u32, id: Ipv4Addr) -> Self {
        let capabilities = [
            multiprotocol(1, 1),
            multiprotocol(2, 1),
            capability(2, &[]),
            capability(70, &[]),
            four_octet_as(asn),
        ];
        Self {
            version: 4,
            // AS_TRANS (RFC 6793, 4.2.2) where it does not fit.
            asn: u16::try_from(asn).unwrap_or(23456),
            hold: 90,
            id,
            parameters: Vec::new(),
        }
        .capabilities(&capabilities)
    }

    /// Other capabilities, all in one parameter.
    pub fn capabilities(mut self, capabilities: &[Vec<u8>]) -> Self {
        let value = capabilities.concat();
        self.parameters = [&[2, octet(value.len())], value.as_slice()].concat();
        self
    }

    /// The message's body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.fixed();
        body.push(octet(self.parameters.len()));
        body.extend(&self.parameters);
        body
    }

    /// The body in the form of RFC 9072: parameters with lengths of two octets.
    pub fn extended_body(&self, parameters: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, value) in parameters {
            list.push(*kind);
            list.extend(two_octets(value.len()));
            list.extend(value);
        }
        let mut body = self.fixed();
        body.extend([255, 255]);
        body.extend(two_octets(list.len()));
        body.extend(list);
        body
    }

    /// The body up to the length of the parameters.
    pub fn fixed(&self) -> Vec<u8> {
        let mut body = vec![self.version];
        body.extend(self.asn.to_be_bytes());
        body.extend(self.hold.to_be_bytes());
        body.extend(self.id.octets());
        body
    }

    /// The whole message.
    pub fn message(&self) -> Vec<u8> {
        message(kind::OPEN, &self.body())
    }
}

/// Attribute flags: well-known ones are transitive.
pub mod flag {
    /// Optional.
    pub const OPTIONAL: u8 = 0x80;
    /// Transitive.
    pub const TRANSITIVE: u8 = 0x40;
    /// The length has two octets.
    pub const EXTENDED: u8 = 0x10;
}

/// A path attribute.
pub fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags, code];
    if flags & flag::EXTENDED == 0 {
        bytes.push(octet(value.len()));
    } else {
        bytes.extend(two_octets(value.len()));
    }
    bytes.extend(value);
    bytes
}

/// ORIGIN IGP.
pub fn origin() -> Vec<u8> {
    attribute(flag::TRANSITIVE, 1, &[0])
}

/// An `AS_PATH` of one `AS_SEQUENCE`, in four octets each unless the peer is an old one.
pub fn as_path(ases: &[u32], four_octets: bool) -> Vec<u8> {
    let mut value = vec![2, octet(ases.len())];
    for asn in ases {
        if four_octets {
            value.extend(asn.to_be_bytes());
        } else {
            value.extend(u16::try_from(*asn).unwrap_or(23456).to_be_bytes());
        }
    }
    attribute(flag::TRANSITIVE, 2, &value)
}

/// `NEXT_HOP`.
pub fn next_hop(hop: Ipv4Addr) -> Vec<u8> {
    attribute(flag::TRANSITIVE, 3, &hop.octets())
}

/// `MULTI_EXIT_DISC`.
pub fn med(value: u32) -> Vec<u8> {
    attribute(flag::OPTIONAL, 4, &value.to_be_bytes())
}

/// The bytes of a prefix in NLRI.
pub fn nlri(address: IpAddr, length: u8) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut bytes = vec![length];
    bytes.extend(octets.iter().take(usize::from(length).div_ceil(8)));
    bytes
}

/// `MP_REACH_NLRI` for IPv6 with a global next hop.
pub fn mp_reach(hop: Ipv6Addr, prefixes: &[u8]) -> Vec<u8> {
    let mut value = vec![0, 2, 1, 16];
    value.extend(hop.octets());
    value.push(0);
    value.extend(prefixes);
    attribute(flag::OPTIONAL, 14, &value)
}

/// An UPDATE of withdrawn prefixes, attributes and announced prefixes.
pub fn update(withdrawn: &[u8], attributes: &[Vec<u8>], announced: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut body = two_octets(withdrawn.len()).to_vec();
    body.extend(withdrawn);
    body.extend(two_octets(attributes.len()));
    body.extend(attributes);
    body.extend(announced);
    message(kind::UPDATE, &body)
}
