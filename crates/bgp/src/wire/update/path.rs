//! Attributes that are sent, as bytes: canonical flags, each type once, in ascending order.

use super::number::{
    AS_PATH, AS4_PATH, COMMUNITIES, EXTENDED_COMMUNITIES, LARGE_COMMUNITIES, LOCAL_PREF,
    MULTI_EXIT_DISC, NEXT_HOP, ORIGIN,
};
use crate::wire::{Asn, Attributes, NextHop};

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
/// The length has two octets.
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

/// The origin "learned within the AS".
const IGP: u8 = 0;
const AS_SEQUENCE: u8 = 2;
/// The most AS numbers of one segment.
const SEGMENT_LIMIT: usize = 255;
/// What peers in the own AS are told where nothing else is configured.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// How the session writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) four_octet_as: bool,
    pub(super) internal: bool,
    /// The next hop goes here, not into `MP_REACH_NLRI`.
    pub(super) classic_next_hop: bool,
}

/// More than the bytes that `attributes` take, so that no length overflows where this is small.
pub(super) fn size_bound(attributes: &Attributes) -> usize {
    64 + attributes.as_path().len() * 9
        + attributes.communities().len() * 4
        + attributes.large().len() * 12
        + attributes.extended().len() * 8
}

/// Appends all attributes but `MP_REACH_NLRI`.
pub(super) fn encode(attributes: &Attributes, style: Style, out: &mut Vec<u8>) {
    attribute(out, TRANSITIVE, ORIGIN, |out| out.push(IGP));
    let path = attributes.as_path();
    attribute(out, TRANSITIVE, AS_PATH, |out| {
        encode_path(path, style.four_octet_as, out);
    });
    if style.classic_next_hop
        && let NextHop::V4(address) = attributes.next_hop()
    {
        attribute(out, TRANSITIVE, NEXT_HOP, |out| {
            out.extend(address.octets());
        });
    }
    if let Some(med) = attributes.med() {
        attribute(out, OPTIONAL, MULTI_EXIT_DISC, |out| {
            out.extend(med.to_be_bytes());
        });
    }
    if style.internal {
        let preference = attributes.local_pref().unwrap_or(DEFAULT_LOCAL_PREF);
        attribute(out, TRANSITIVE, LOCAL_PREF, |out| {
            out.extend(preference.to_be_bytes());
        });
    }
    list(
        out,
        COMMUNITIES,
        attributes.communities(),
        |community, out| {
            out.extend(community.0.to_be_bytes());
        },
    );
    list(
        out,
        EXTENDED_COMMUNITIES,
        attributes.extended(),
        |community, out| {
            out.extend(community.0);
        },
    );
    // Only where the path of two octets does not say it all (RFC 6793 4.2.2).
    if !style.four_octet_as && path.iter().any(|asn| asn.0 > u16::MAX.into()) {
        attribute(out, OPTIONAL | TRANSITIVE, AS4_PATH, |out| {
            encode_path(path, true, out);
        });
    }
    list(
        out,
        LARGE_COMMUNITIES,
        attributes.large(),
        |community, out| {
            for part in [community.global, community.local1, community.local2] {
                out.extend(part.to_be_bytes());
            }
        },
    );
}

fn encode_path(path: &[Asn], four_octets: bool, out: &mut Vec<u8>) {
    for segment in path.chunks(SEGMENT_LIMIT) {
        let len = u8::try_from(segment.len()).expect("a chunk has at most 255");
        out.extend([AS_SEQUENCE, len]);
        for asn in segment {
            if four_octets {
                out.extend(asn.0.to_be_bytes());
            } else {
                out.extend(asn.two_octets().to_be_bytes());
            }
        }
    }
}

/// Appends an optional transitive attribute with a list, unless that is empty.
fn list<T>(out: &mut Vec<u8>, number: u8, values: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
    if !values.is_empty() {
        attribute(out, OPTIONAL | TRANSITIVE, number, |out| {
            for value in values {
                write(value, out);
            }
        });
    }
}

/// Appends an attribute whose value `write` appends. The length has two octets only where one has no
/// room (RFC 4271 4.3).
pub(super) fn attribute(
    out: &mut Vec<u8>,
    flags: u8,
    number: u8,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend([flags, number, 0]);
    let value = out.len();
    write(out);
    let len = u16::try_from(out.len() - value).expect("attributes are bounded by a message");
    let [high, low] = len.to_be_bytes();
    if high != 0 {
        out.insert(value, low);
        if let Some(head) = out.get_mut(start..value) {
            head.copy_from_slice(&[flags | EXTENDED_LENGTH, number, high]);
        }
    } else if let Some(len) = out.get_mut(value - 1) {
        *len = low;
    }
}
