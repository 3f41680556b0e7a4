//! OPEN: who a speaker is, and what it can do (RFC 4271 4.2 and 6.2, RFC 9072).
//!
//! ```text
//! | version: 1 | AS: 2 | hold time: 2 | identifier: 4 | length: 1 | parameters |
//! | .. | 255 | 255 | length: 2 | parameters with lengths of 2 octets |           (RFC 9072)
//! ```

use super::bytes::Reader;
use super::framing::{self, HEADER_LEN, MessageType, STANDARD_LIMIT};
use super::{Asn, BgpId, Capabilities, Capability, ErrorCode, Notification};

const VERSION: u8 = 4;
const CAPABILITIES: u8 = 2;
/// Length and type of what is no parameter, but says that the lengths have two octets.
const EXTENDED: u8 = 255;
/// Header and fixed fields, the length and the marks of RFC 9072 and the head of one parameter.
const FIXED_LEN: usize = HEADER_LEN + 10 + 3 + 3;

/// The first message of either side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// The sender's AS number; where it does not fit into two octets, the capability has it.
    pub my_as: Asn,
    /// How long the sender bears silence, in seconds: 0 (for ever) or at least 3.
    pub hold_time: u16,
    /// The sender's identifier.
    pub id: BgpId,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

/// Which AS a peer may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedAs {
    /// This one.
    Exactly(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

impl ExpectedAs {
    /// True if a peer in `peer` is what is expected by a speaker in `local`.
    pub fn allows(self, peer: Asn, local: Asn) -> bool {
        match self {
            Self::Exactly(asn) => peer == asn,
            Self::Internal => peer == local,
            Self::External => peer != local,
        }
    }
}

impl Open {
    /// Reads the body of a message and checks all of RFC 4271 6.2 that needs no configuration.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader::new(body);
        let (version, field, hold_time, id, len) =
            fixed_fields(&mut reader).ok_or_else(malformed)?;
        if version != VERSION {
            return Err(Notification::with_data(
                ErrorCode::UNSUPPORTED_VERSION,
                u16::from(VERSION).to_be_bytes(),
            ));
        }
        let (mut capabilities, asn) = (Capabilities::default(), Asn::from(field));
        if asn == Asn(0) {
            return Err(Notification::new(ErrorCode::BAD_PEER_AS));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::new(ErrorCode::UNACCEPTABLE_HOLD_TIME));
        }
        if id == 0 {
            return Err(Notification::new(ErrorCode::BAD_BGP_IDENTIFIER));
        }
        let my_as = match decode_parameters(len, reader, &mut capabilities)? {
            None => asn,
            // The field says the same, or that it cannot (RFC 6793 section 4.1); AS 0 is none.
            Some(long) if long != Asn(0) && (asn == long || asn == Asn::TRANS) => long,
            Some(_) => return Err(Notification::new(ErrorCode::BAD_PEER_AS)),
        };
        Ok(Self {
            my_as,
            hold_time,
            id: BgpId(id.into()),
            capabilities,
        })
    }

    /// Checks a peer's OPEN against ours: its AS, its identifier, which within our AS is another one
    /// (RFC 6286), and its role (RFC 9234).
    pub fn check(&self, ours: &Self, expected: ExpectedAs) -> Result<(), Notification> {
        if !expected.allows(self.my_as, ours.my_as) {
            return Err(Notification::new(ErrorCode::BAD_PEER_AS));
        }
        if self.my_as == ours.my_as && self.id == ours.id {
            return Err(Notification::new(ErrorCode::BAD_BGP_IDENTIFIER));
        }
        match (ours.capabilities.role, self.capabilities.role) {
            // Roles are for the borders of an AS (RFC 9234 4.2).
            (Some(our), Some(their)) if self.my_as != ours.my_as && !our.fits(their) => {
                Err(Notification::new(ErrorCode::ROLE_MISMATCH))
            }
            _ => Ok(()),
        }
    }

    /// Appends the whole message. The extended form is used only where the standard one has no room;
    /// unknown capabilities that do not fit into a message are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut encoded = Vec::new();
        for capability in self.capabilities.to_list(self.my_as) {
            if FIXED_LEN + encoded.len() + 2 + capability.value.len() <= STANDARD_LIMIT {
                Capability::encode(&capability, &mut encoded);
            }
        }
        framing::message(out, MessageType::Open, |out| {
            out.push(VERSION);
            out.extend(self.my_as.two_octets().to_be_bytes());
            out.extend(self.hold_time.to_be_bytes());
            out.extend(self.id.0.octets());
            encode_parameter(&encoded, out);
        });
    }
}

/// Appends the parameters' length and the one parameter with all capabilities.
fn encode_parameter(capabilities: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(capabilities.len()) {
        Ok(0) => out.push(0),
        // 255 as the length of all would be taken for the extended form by some.
        Ok(len @ ..253) => out.extend([len + 2, CAPABILITIES, len]),
        _ => {
            let len = u16::try_from(capabilities.len()).expect("it fits into a message");
            out.extend([EXTENDED, EXTENDED]);
            out.extend((len + 3).to_be_bytes());
            out.push(CAPABILITIES);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(capabilities);
}

/// Version, AS, hold time, identifier and the parameters' length.
fn fixed_fields(reader: &mut Reader<'_>) -> Option<(u8, u16, u16, u32, u8)> {
    Some((
        reader.u8()?,
        reader.u16()?,
        reader.u16()?,
        reader.u32()?,
        reader.u8()?,
    ))
}

/// Reads the optional parameters into `capabilities`; returns the AS number if one is among them.
fn decode_parameters(
    len: u8,
    mut reader: Reader<'_>,
    capabilities: &mut Capabilities,
) -> Result<Option<Asn>, Notification> {
    // With the mark, the length of one octet says nothing, except that it is not 0 (RFC 9072).
    let extended = len != 0 && reader.rest().first() == Some(&EXTENDED);
    let len = if extended {
        reader.u8();
        reader.u16().ok_or_else(malformed)?.into()
    } else {
        usize::from(len)
    };
    if reader.rest().len() != len {
        return Err(malformed());
    }
    let mut asn = None;
    while !reader.is_empty() {
        let (kind, value) = parameter(&mut reader, extended).ok_or_else(malformed)?;
        if kind != CAPABILITIES {
            return Err(Notification::new(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER));
        }
        asn = capabilities.decode(value)?.or(asn);
    }
    Ok(asn)
}

fn parameter<'a>(reader: &mut Reader<'a>, extended: bool) -> Option<(u8, &'a [u8])> {
    let kind = reader.u8()?;
    let len = if extended {
        reader.u16()?.into()
    } else {
        usize::from(reader.u8()?)
    };
    Some((kind, reader.take(len)?))
}

fn malformed() -> Notification {
    Notification::new(ErrorCode::OPEN_UNSPECIFIC)
}
