//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use herald_model::MacAddress;
use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::EtherTypes;

use crate::frame::{self, MAX_FRAME_LEN, MIN_FRAME_LEN};
use crate::interface::{from_wire, to_wire};
use crate::verdict::Ignored;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It asks who has the target.
    Request,
    /// It tells that the sender has its address.
    Reply,
}

/// A packet that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// What it is for.
    pub(crate) operation: Operation,
    /// Who sent it, and where an answer goes.
    pub(crate) sender: MacAddress,
    /// The sender's address; `0.0.0.0` in a probe (RFC 5227 2.1.1).
    pub(crate) sender_address: Ipv4Addr,
    /// The address that is asked for, or that is answered to.
    pub(crate) target: Ipv4Addr,
}

/// The ARP payload of a frame, if it is a request or a reply for IPv4 over Ethernet.
pub(crate) fn parse(payload: &[u8]) -> Result<Incoming, Ignored> {
    let packet = ArpPacket::new(payload).ok_or(Ignored::Truncated)?;
    // The view takes the addresses from where these lengths put them, so they come first.
    if packet.get_hardware_type() != ArpHardwareTypes::Ethernet
        || packet.get_protocol_type() != EtherTypes::Ipv4
        || packet.get_hw_addr_len() != 6
        || packet.get_proto_addr_len() != 4
    {
        return Err(Ignored::ArpFormat);
    }
    let incoming = Incoming {
        operation: match packet.get_operation() {
            ArpOperations::Request => Operation::Request,
            ArpOperations::Reply => Operation::Reply,
            _ => return Err(Ignored::OtherMessage),
        },
        sender: from_wire(packet.get_sender_hw_addr()),
        sender_address: packet.get_sender_proto_addr(),
        target: packet.get_target_proto_addr(),
    };
    if incoming.sender.is_station() {
        Ok(incoming)
    } else {
        Err(Ignored::SenderAddress)
    }
}

/// The fields of an ARP packet that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    /// Destination of the frame.
    pub(crate) destination: MacAddress,
    /// Request or reply.
    pub(crate) operation: ArpOperation,
    /// Source of the frame and sender in the packet.
    pub(crate) sender: MacAddress,
    /// The address that `sender` has.
    pub(crate) sender_address: Ipv4Addr,
    /// Target in the packet.
    pub(crate) target: MacAddress,
    /// The target's address.
    pub(crate) target_address: Ipv4Addr,
}

/// Writes the frame, padded to the shortest that Ethernet allows; returns its length.
pub(crate) fn write(outgoing: &Outgoing, out: &mut [u8; MAX_FRAME_LEN]) -> usize {
    let payload = frame::start(out, outgoing.destination, outgoing.sender, EtherTypes::Arp);
    if let Some(mut packet) = MutableArpPacket::new(payload) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(outgoing.operation);
        packet.set_sender_hw_addr(to_wire(outgoing.sender));
        packet.set_sender_proto_addr(outgoing.sender_address);
        packet.set_target_hw_addr(to_wire(outgoing.target));
        packet.set_target_proto_addr(outgoing.target_address);
    }
    MIN_FRAME_LEN
}

/// Writes the answer of `mac` to a request; returns its length.
pub(crate) fn write_reply(
    mac: MacAddress,
    request: &Incoming,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    let reply = Outgoing {
        destination: request.sender,
        operation: ArpOperations::Reply,
        sender: mac,
        sender_address: request.target,
        target: request.sender,
        target_address: request.sender_address,
    };
    write(&reply, out)
}
