//! UPDATEs that are sent: as many prefixes in each as the peer takes.
//!
//! Each message has one of withdrawn prefixes and announced ones, in one of the two ways to write
//! them, and `MP_REACH_NLRI` and `MP_UNREACH_NLRI` come first (RFC 7606 5.1). IPv4 prefixes are
//! written the classic way, except that an IPv6 next hop needs `MP_REACH_NLRI`.

use super::nlri;
use super::number::{MP_REACH_NLRI, MP_UNREACH_NLRI};
use super::path::{self, OPTIONAL, Style};
use crate::wire::framing::{self, EXTENDED_LIMIT, HEADER_LEN, MessageType, STANDARD_LIMIT};
use crate::wire::{Attributes, Families, Family, Negotiated, NextHop, Prefix};

/// Header and the two lengths.
const UPDATE_LEN: usize = HEADER_LEN + 4;
/// Flags, type and a length of two octets.
const ATTRIBUTE_HEAD_LEN: usize = 4;
/// AFI and SAFI.
const FAMILY_LEN: usize = 3;

/// Why an UPDATE cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// The peer did not offer the family.
    #[error("the peer does not exchange {0} routes: enable the family in its configuration")]
    Family(Family),
    /// The next hop is of the other family, and the peer does not take that.
    #[error(
        "{family} routes cannot be announced with the next hop {next_hop}: give the session an \
         address of that family, or for ipv4 unicast enable extended next hops (RFC 8950) at the peer"
    )]
    NextHop {
        /// Of the routes.
        family: Family,
        /// What was to be their next hop.
        next_hop: std::net::IpAddr,
    },
    /// The attributes leave no room for a prefix.
    #[error(
        "{prefix} has more attributes than a message of {limit} bytes has room for: announce it \
         with fewer communities"
    )]
    TooLong {
        /// What was to be announced.
        prefix: Prefix,
        /// The longest message of the session, in bytes.
        limit: usize,
    },
}

/// Writes one session's UPDATEs, a message at a time.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    limit: usize,
    families: Families,
    extended_next_hop: bool,
    four_octet_as: bool,
    internal: bool,
}

impl Writer {
    /// For a session that has negotiated this.
    pub fn new(negotiated: &Negotiated) -> Self {
        Self {
            limit: negotiated
                .message_limit
                .clamp(STANDARD_LIMIT, EXTENDED_LIMIT),
            families: negotiated.families,
            extended_next_hop: negotiated.extended_next_hop,
            four_octet_as: negotiated.four_octet_as,
            internal: negotiated.is_internal(),
        }
    }

    /// Appends one UPDATE that withdraws the first of `prefixes`: as many as are of one family and
    /// fit. Returns how many these are; 0, and nothing is written, only if there are none.
    pub fn withdraw(
        &self,
        prefixes: impl IntoIterator<Item = Prefix>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Unsendable> {
        let mut prefixes = prefixes.into_iter().peekable();
        let Some(family) = prefixes.peek().copied().map(Family::of) else {
            return Ok(0);
        };
        self.negotiated(family)?;
        let room = self.limit - UPDATE_LEN;
        let mut taken = 0;
        framing::message(out, MessageType::Update, |out| match family {
            Family::Ipv4Unicast => {
                with_len(out, |out| taken = fill(family, room, prefixes, out));
                out.extend([0, 0]);
            }
            Family::Ipv6Unicast => {
                let room = room - ATTRIBUTE_HEAD_LEN - FAMILY_LEN;
                out.extend([0, 0]);
                with_len(out, |out| {
                    path::attribute(out, OPTIONAL, MP_UNREACH_NLRI, |out| {
                        encode_family(family, out);
                        taken = fill(family, room, prefixes, out);
                    });
                });
            }
        });
        Ok(taken)
    }

    /// Appends one UPDATE that announces the first of `prefixes`: as many as are of one family and
    /// fit. Returns how many these are; 0, and nothing is written, only if there are none.
    pub fn announce(
        &self,
        attributes: &Attributes,
        prefixes: impl IntoIterator<Item = Prefix>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Unsendable> {
        let mut prefixes = prefixes.into_iter().peekable();
        let Some(first) = prefixes.peek().copied() else {
            return Ok(0);
        };
        let family = Family::of(first);
        self.negotiated(family)?;
        let next_hop = self.multiprotocol_next_hop(family, attributes.next_hop())?;
        let too_long = Unsendable::TooLong {
            prefix: first,
            limit: self.limit,
        };
        if path::size_bound(attributes) > EXTENDED_LIMIT {
            return Err(too_long);
        }
        let style = Style {
            four_octet_as: self.four_octet_as,
            internal: self.internal,
            classic_next_hop: next_hop.is_none(),
        };
        let mut encoded = Vec::with_capacity(path::size_bound(attributes));
        path::encode(attributes, style, &mut encoded);
        let head = next_hop.as_ref().map_or(0, |next_hop| {
            // After the next hop one octet is reserved.
            ATTRIBUTE_HEAD_LEN + FAMILY_LEN + next_hop.len() + 1
        });
        let Some(room) = self
            .limit
            .checked_sub(UPDATE_LEN + head + encoded.len())
            .filter(|room| *room >= nlri::encoded_len(first))
        else {
            return Err(too_long);
        };
        let mut taken = 0;
        framing::message(out, MessageType::Update, |out| {
            out.extend([0, 0]);
            match next_hop {
                None => {
                    with_len(out, |out| out.extend(&encoded));
                    taken = fill(family, room, prefixes, out);
                }
                Some(next_hop) => with_len(out, |out| {
                    path::attribute(out, OPTIONAL, MP_REACH_NLRI, |out| {
                        encode_family(family, out);
                        out.extend(&next_hop);
                        out.push(0);
                        taken = fill(family, room, prefixes, out);
                    });
                    out.extend(&encoded);
                }),
            }
        });
        Ok(taken)
    }

    /// Appends the mark that all routes of `family` have been told (RFC 4724 section 2).
    pub fn end_of_rib(&self, family: Family, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        self.negotiated(family)?;
        framing::message(out, MessageType::Update, |out| {
            out.extend([0, 0]);
            with_len(out, |out| {
                if family == Family::Ipv6Unicast {
                    path::attribute(out, OPTIONAL, MP_UNREACH_NLRI, |out| {
                        encode_family(family, out);
                    });
                }
            });
        });
        Ok(())
    }

    fn negotiated(&self, family: Family) -> Result<(), Unsendable> {
        if self.families.contains(family) {
            Ok(())
        } else {
            Err(Unsendable::Family(family))
        }
    }

    /// The next hop as `MP_REACH_NLRI` has it, with its length before it, or `None` if the classic
    /// attribute has it.
    fn multiprotocol_next_hop(
        &self,
        family: Family,
        next_hop: NextHop,
    ) -> Result<Option<Vec<u8>>, Unsendable> {
        match (family, next_hop) {
            (Family::Ipv4Unicast, NextHop::V4(_)) => Ok(None),
            (Family::Ipv4Unicast, NextHop::V6 { global, .. }) if !self.extended_next_hop => {
                Err(Unsendable::NextHop {
                    family,
                    next_hop: global.into(),
                })
            }
            (_, NextHop::V6 { global, link_local }) => {
                let mut encoded = vec![if link_local.is_some() { 32 } else { 16 }];
                encoded.extend(global.octets());
                encoded.extend(link_local.iter().flat_map(std::net::Ipv6Addr::octets));
                Ok(Some(encoded))
            }
            (Family::Ipv6Unicast, NextHop::V4(address)) => Err(Unsendable::NextHop {
                family,
                next_hop: address.into(),
            }),
        }
    }
}

/// Appends prefixes while they are of `family` and take no more than `room` bytes; returns how many.
fn fill(
    family: Family,
    room: usize,
    prefixes: impl Iterator<Item = Prefix>,
    out: &mut Vec<u8>,
) -> usize {
    let end = out.len() + room;
    let fits = |prefix: &Prefix, out: &Vec<u8>| {
        Family::of(*prefix) == family && out.len() + nlri::encoded_len(*prefix) <= end
    };
    let mut taken = 0;
    for prefix in prefixes {
        if !fits(&prefix, out) {
            break;
        }
        nlri::encode(prefix, out);
        taken += 1;
    }
    taken
}

fn encode_family(family: Family, out: &mut Vec<u8>) {
    out.extend(family.afi().to_be_bytes());
    out.push(family.safi());
}

/// Appends a length of two octets and what `write` appends.
fn with_len(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0, 0]);
    write(out);
    let len = u16::try_from(out.len() - start - 2).expect("every writer keeps to the limit");
    if let Some(field) = out.get_mut(start..start + 2) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}
