//! Prefixes on the wire: the length in bits, and as many octets as that needs (RFC 4271 4.3).

use std::net::IpAddr;

use crate::wire::bytes::Reader;
use crate::wire::{Family, Prefix};

/// The number of bytes that `prefix` takes.
pub(super) fn encoded_len(prefix: Prefix) -> usize {
    1 + octets(prefix.prefix_len())
}

/// Appends a prefix.
pub(super) fn encode(prefix: Prefix, out: &mut Vec<u8>) {
    let len = octets(prefix.prefix_len());
    out.push(prefix.prefix_len());
    match prefix.first() {
        IpAddr::V4(address) => out.extend(address.octets().iter().take(len)),
        IpAddr::V6(address) => out.extend(address.octets().iter().take(len)),
    }
}

/// Reads prefixes until the end; calls `each` with every one. `None` if one is longer than its
/// family's addresses or than what is left (RFC 7606 5.3).
pub(super) fn decode(field: &[u8], family: Family, mut each: impl FnMut(Prefix)) -> Option<()> {
    let mut reader = Reader::new(field);
    while !reader.is_empty() {
        let len = reader.u8()?;
        if len > family.addresses().bits() {
            return None;
        }
        let octets = reader.take(octets(len))?;
        each(prefix(octets, len, family)?);
    }
    Some(())
}

fn prefix(octets: &[u8], len: u8, family: Family) -> Option<Prefix> {
    let address = match family {
        Family::Ipv4Unicast => IpAddr::from(padded::<4>(octets)?),
        Family::Ipv6Unicast => IpAddr::from(padded::<16>(octets)?),
    };
    Prefix::new(address, len)
}

fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(address)
}

fn octets(bits: u8) -> usize {
    usize::from(bits.div_ceil(8))
}
