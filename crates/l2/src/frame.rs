//! Writing Ethernet frames into a buffer of fixed size.

use herald_model::MacAddress;
use pnet_packet::ethernet::{EtherType, MutableEthernetPacket};

use crate::interface::to_wire;

/// The longest frame that this crate makes, in bytes: a neighbor solicitation or
/// advertisement takes 86.
pub const MAX_FRAME_LEN: usize = 96;

/// The length of an Ethernet header without tags, in bytes.
pub(crate) const ETHERNET_LEN: usize = 14;

/// The shortest frame that a wire carries, in bytes, without the frame check sequence.
pub(crate) const MIN_FRAME_LEN: usize = 60;

/// Clears the buffer, so that padding never gives away what it held before, writes the Ethernet
/// header, and returns the rest of the buffer for the payload.
pub(crate) fn start(
    out: &mut [u8; MAX_FRAME_LEN],
    destination: MacAddress,
    source: MacAddress,
    ethertype: EtherType,
) -> &mut [u8] {
    out.fill(0);
    let (header, payload) = out.split_at_mut(ETHERNET_LEN);
    if let Some(mut ethernet) = MutableEthernetPacket::new(header) {
        ethernet.set_destination(to_wire(destination));
        ethernet.set_source(to_wire(source));
        ethernet.set_ethertype(ethertype);
    }
    payload
}
