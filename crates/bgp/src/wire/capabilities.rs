//! What a speaker can do, as its OPEN tells (RFC 5492).

use super::bytes::Reader;
use super::{Asn, ErrorCode, Families, Family, Notification, PerFamily};

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const ROLE: u8 = 9;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;

/// A capability that is not known here, as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Capability {
    /// Its number.
    pub code: u8,
    /// Its value, at most 255 bytes.
    pub value: Vec<u8>,
}

impl Capability {
    /// Routes of `family` can be exchanged (RFC 4760).
    pub(super) fn multiprotocol(family: Family) -> Self {
        let [high, low] = family.afi().to_be_bytes();
        Self {
            code: MULTIPROTOCOL,
            value: vec![high, low, 0, family.safi()],
        }
    }

    /// Appends code, length and value.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let len = u8::try_from(self.value.len()).unwrap_or(u8::MAX);
        out.extend([self.code, len]);
        out.extend(self.value.iter().take(usize::from(len)));
    }
}

/// What a speaker is to its peer (RFC 9234).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sells transit to the peer.
    Provider,
    /// It is a route server.
    RouteServer,
    /// It is a route server's client.
    RouteServerClient,
    /// It buys transit from the peer.
    Customer,
    /// Both exchange their own and their customers' routes.
    Peer,
    /// A number that RFC 9234 does not define; it fits no role.
    Unknown(u8),
}

impl Role {
    fn code(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
            Self::Unknown(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Provider,
            1 => Self::RouteServer,
            2 => Self::RouteServerClient,
            3 => Self::Customer,
            4 => Self::Peer,
            other => Self::Unknown(other),
        }
    }

    /// True if the peer of this role may have the role `other`.
    pub fn fits(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Provider, Self::Customer)
                | (Self::Customer, Self::Provider)
                | (Self::RouteServer, Self::RouteServerClient)
                | (Self::RouteServerClient, Self::RouteServer)
                | (Self::Peer, Self::Peer)
        )
    }
}

/// What a speaker says about its restarts (RFC 4724, RFC 8538).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GracefulRestart {
    /// R: it has just restarted, and does not wait for the peer's End-of-RIB first.
    pub restarting: bool,
    /// N: the end of a session by NOTIFICATION or hold timer is a restart, too (RFC 8538).
    pub notification: bool,
    /// How long its routes are kept without a session, in seconds; at most 4095.
    pub restart_time: u16,
    /// The families whose routes are kept.
    pub families: Families,
    /// F: those of them that it forwarded all the time.
    pub forwarding: Families,
}

/// How long the routes of a family are kept after the restart time (RFC 9494).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LongLived {
    /// F: the family was forwarded all the time.
    pub forwarding: bool,
    /// In seconds; 24 bits.
    pub stale_time: u32,
}

/// All that an OPEN says about what its sender can do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a capability of its own"
)]
pub struct Capabilities {
    /// The families whose routes it exchanges (RFC 4760). See [`Capabilities::usable_families`].
    pub families: Families,
    /// It takes IPv6 next hops for IPv4 unicast routes (RFC 8950).
    pub extended_next_hop: bool,
    /// It tells its routes again when asked (RFC 2918).
    pub route_refresh: bool,
    /// It marks begin and end of telling again (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// It takes messages of up to 65,535 bytes (RFC 8654).
    pub extended_message: bool,
    /// It speaks AS numbers of four octets (RFC 6793); its own one is [`Open::my_as`].
    ///
    /// [`Open::my_as`]: super::Open::my_as
    pub four_octet_as: bool,
    /// Its restarts are graceful (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Its routes are kept for long (RFC 9494), by family.
    pub long_lived_graceful_restart: Option<PerFamily<Option<LongLived>>>,
    /// What it is to its peer (RFC 9234).
    pub role: Option<Role>,
    /// All else, also families other than the two, in the order of the OPEN.
    pub other: Vec<Capability>,
}

impl Capabilities {
    /// The families that routes can be exchanged of. A speaker that names none, not even one that is
    /// unknown here, has IPv4 unicast (RFC 4760 section 8).
    pub fn usable_families(&self) -> Families {
        let names_any =
            !self.families.is_empty() || self.other.iter().any(|one| one.code == MULTIPROTOCOL);
        if names_any {
            self.families
        } else {
            Families::only(Family::Ipv4Unicast)
        }
    }

    /// Adds the capabilities of one optional parameter; returns the AS number if one is among them.
    pub(super) fn decode(&mut self, parameter: &[u8]) -> Result<Option<Asn>, Notification> {
        let mut reader = Reader::new(parameter);
        let mut asn = None;
        while !reader.is_empty() {
            let (code, value) = code_and_value(&mut reader).ok_or_else(malformed)?;
            match code {
                FOUR_OCTET_AS => {
                    self.four_octet_as = true;
                    asn = Some(Asn(u32::from_be_bytes(exactly(value)?)));
                }
                ROLE => self.add_role(Role::from_code(u8::from_be_bytes(exactly(value)?)))?,
                _ => self.add(code, value)?,
            }
        }
        Ok(asn)
    }

    /// Two roles have to be the same (RFC 9234 4.2).
    fn add_role(&mut self, role: Role) -> Result<(), Notification> {
        if self.role.is_some_and(|other| other != role) {
            return Err(Notification::new(ErrorCode::ROLE_MISMATCH));
        }
        self.role = Some(role);
        Ok(())
    }

    fn add(&mut self, code: u8, value: &[u8]) -> Result<(), Notification> {
        match code {
            MULTIPROTOCOL => {
                let [high, low, _, safi] = exactly(value)?;
                match Family::from_codes(u16::from_be_bytes([high, low]), safi) {
                    Some(family) => self.families.insert(family),
                    None => self.keep(code, value),
                }
            }
            ROUTE_REFRESH => self.route_refresh = true,
            EXTENDED_NEXT_HOP => {
                for [a, b, c, d, e, f] in entries(value)? {
                    // IPv4 unicast with the next hop of AFI 2; its SAFI has two octets here.
                    self.extended_next_hop |= [a, b, c, d, e, f] == [0, 1, 0, 1, 0, 2];
                }
            }
            EXTENDED_MESSAGE => self.extended_message = true,
            // The last one counts (RFC 4724 section 3).
            GRACEFUL_RESTART => self.graceful_restart = Some(decode_graceful_restart(value)?),
            ENHANCED_ROUTE_REFRESH => self.enhanced_route_refresh = true,
            LONG_LIVED_GRACEFUL_RESTART => {
                let mut families = PerFamily::default();
                for [high, low, safi, flags, stale @ ..] in entries::<7>(value)? {
                    if let Some(family) = Family::from_codes(u16::from_be_bytes([high, low]), safi)
                    {
                        let [a, b, c] = stale;
                        *families.get_mut(family) = Some(LongLived {
                            forwarding: flags & 0x80 != 0,
                            stale_time: u32::from_be_bytes([0, a, b, c]),
                        });
                    }
                }
                self.long_lived_graceful_restart = Some(families);
            }
            _ => self.keep(code, value),
        }
        Ok(())
    }

    fn keep(&mut self, code: u8, value: &[u8]) {
        self.other.push(Capability {
            code,
            value: value.to_vec(),
        });
    }

    /// All as they are written, `asn` being the sender's.
    pub(super) fn to_list(&self, asn: Asn) -> Vec<Capability> {
        let mut list: Vec<_> = self
            .families
            .iter()
            .map(Capability::multiprotocol)
            .collect();
        let mut add = |code, value| list.push(Capability { code, value });
        if self.route_refresh {
            add(ROUTE_REFRESH, Vec::new());
        }
        if self.extended_next_hop {
            add(EXTENDED_NEXT_HOP, vec![0, 1, 0, 1, 0, 2]);
        }
        if self.extended_message {
            add(EXTENDED_MESSAGE, Vec::new());
        }
        if let Some(role) = self.role {
            add(ROLE, vec![role.code()]);
        }
        if let Some(graceful_restart) = self.graceful_restart {
            add(GRACEFUL_RESTART, encode_graceful_restart(graceful_restart));
        }
        if self.four_octet_as {
            add(FOUR_OCTET_AS, asn.0.to_be_bytes().to_vec());
        }
        if self.enhanced_route_refresh {
            add(ENHANCED_ROUTE_REFRESH, Vec::new());
        }
        if let Some(families) = &self.long_lived_graceful_restart {
            add(LONG_LIVED_GRACEFUL_RESTART, encode_long_lived(families));
        }
        list.extend(self.other.iter().cloned());
        list
    }
}

fn malformed() -> Notification {
    Notification::new(ErrorCode::OPEN_UNSPECIFIC)
}

fn code_and_value<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let code = reader.u8()?;
    let len = reader.u8()?;
    Some((code, reader.take(len.into())?))
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], Notification> {
    value.try_into().map_err(|_| malformed())
}

/// The value as a list of entries of the same length.
fn entries<const N: usize>(
    value: &[u8],
) -> Result<impl Iterator<Item = [u8; N]> + '_, Notification> {
    let (entries, []) = value.as_chunks::<N>() else {
        return Err(malformed());
    };
    Ok(entries.iter().copied())
}

fn decode_graceful_restart(value: &[u8]) -> Result<GracefulRestart, Notification> {
    let (head, rest) = value.split_first_chunk().ok_or_else(malformed)?;
    let head = u16::from_be_bytes(*head);
    let mut families = Families::NONE;
    let mut forwarding = Families::NONE;
    for [high, low, safi, flags] in entries(rest)? {
        if let Some(family) = Family::from_codes(u16::from_be_bytes([high, low]), safi) {
            families.insert(family);
            *forwarding.get_mut(family) = flags & 0x80 != 0;
        }
    }
    Ok(GracefulRestart {
        restarting: head & 0x8000 != 0,
        notification: head & 0x4000 != 0,
        restart_time: head & 0x0fff,
        families,
        forwarding,
    })
}

fn encode_graceful_restart(capability: GracefulRestart) -> Vec<u8> {
    let head = u16::from(capability.restarting) << 15
        | u16::from(capability.notification) << 14
        | capability.restart_time.min(0x0fff);
    let mut value = head.to_be_bytes().to_vec();
    for family in capability.families.iter() {
        value.extend(family.afi().to_be_bytes());
        let forwarding = capability.forwarding.contains(family);
        value.extend([family.safi(), u8::from(forwarding) << 7]);
    }
    value
}

fn encode_long_lived(families: &PerFamily<Option<LongLived>>) -> Vec<u8> {
    let mut value = Vec::new();
    for family in Family::ALL {
        if let Some(long_lived) = families.get(family) {
            value.extend(family.afi().to_be_bytes());
            value.extend([family.safi(), u8::from(long_lived.forwarding) << 7]);
            let [_, stale @ ..] = long_lived.stale_time.min(0x00ff_ffff).to_be_bytes();
            value.extend(stale);
        }
    }
    value
}
