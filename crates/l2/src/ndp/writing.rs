//! The messages that are sent.

use std::net::Ipv6Addr;

use herald_model::MacAddress;
use pnet_packet::ethernet::EtherTypes;
use pnet_packet::icmpv6::Icmpv6Types;
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, MutableNeighborSolicitPacket,
    NdpOptionType, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

use super::options::{NONCE, OPTION_LEN, UNITS};
use super::{HOP_LIMIT, IPV6_LEN, Incoming, MESSAGE_LEN, checksum};
use crate::frame::{self, ETHERNET_LEN, MAX_FRAME_LEN};
use crate::multicast::{ALL_NODES, multicast_mac, solicited_node};
use crate::probe::Nonce;

/// The fields of a neighbor advertisement that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advertisement {
    /// Destination of the frame.
    pub(crate) link_destination: MacAddress,
    /// Destination of the packet.
    pub(crate) destination: Ipv6Addr,
    /// Source of the frame, and what the target link-layer address option says.
    pub(crate) mac: MacAddress,
    /// The address that `mac` has; also the source of the packet.
    pub(crate) target: Ipv6Addr,
    /// It answers a solicitation of the destination.
    pub(crate) solicited: bool,
    /// It replaces what neighbors remember.
    pub(crate) overrides: bool,
}

/// Writes the frame; returns its length.
pub(crate) fn write(advertisement: &Advertisement, out: &mut [u8; MAX_FRAME_LEN]) -> usize {
    let Advertisement {
        link_destination,
        destination,
        mac,
        target,
        solicited,
        overrides,
    } = *advertisement;
    let route = Route {
        link_source: mac,
        link_destination,
        source: target,
        destination,
    };
    let option = (NdpOptionTypes::TargetLLAddr, mac.0);
    write_message(&route, option, out, |message| {
        let Some(mut advert) = MutableNeighborAdvertPacket::new(message) else {
            return;
        };
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        let mut flags = 0;
        if solicited {
            flags |= NeighborAdvertFlags::Solicited;
        }
        if overrides {
            flags |= NeighborAdvertFlags::Override;
        }
        advert.set_flags(flags);
        advert.set_target_addr(target);
    })
}

/// Writes the answer of `mac` to a solicitation whose sender has the hardware address
/// `link_destination`; returns its length.
///
/// The packet's source is the target itself: it is the address that speaks, it exists on
/// interfaces without a link-local address, and switches that watch neighbor discovery learn the
/// right pair. The answer to a question does not override, as MetalLB's (compat.md 4.3): the
/// asker has no entry or one that agrees, and a move is told by unsolicited advertisements. To a
/// duplicate address detection the answer goes to all nodes, is not solicited and overrides
/// (RFC 4861 7.2.4): the address is taken.
pub(crate) fn write_reply(
    mac: MacAddress,
    solicitation: &Incoming<'_>,
    link_destination: MacAddress,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    let target = solicitation.target;
    let advertisement = if solicitation.source.is_unspecified() {
        unsolicited(mac, target)
    } else {
        Advertisement {
            link_destination,
            destination: solicitation.source,
            mac,
            target,
            solicited: true,
            overrides: false,
        }
    };
    write(&advertisement, out)
}

/// The advertisement that tells all nodes unasked that `mac` has `target`.
pub(crate) fn unsolicited(mac: MacAddress, target: Ipv6Addr) -> Advertisement {
    Advertisement {
        link_destination: multicast_mac(ALL_NODES),
        destination: ALL_NODES,
        mac,
        target,
        solicited: false,
        overrides: true,
    }
}

/// Writes the solicitation by which `mac` asks whether anybody has `target`, as in duplicate address
/// detection; returns its length.
pub(crate) fn write_detection(
    mac: MacAddress,
    target: Ipv6Addr,
    nonce: Nonce,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    let group = solicited_node(target);
    let route = Route {
        link_source: mac,
        link_destination: multicast_mac(group),
        source: Ipv6Addr::UNSPECIFIED,
        destination: group,
    };
    write_solicitation(&route, target, (NONCE, nonce.0), out)
}

/// Writes the solicitation by which `mac`, which has the link-local address `source`, asks the
/// `station` for `target`, which it has, to make sure that it is still there (RFC 4861 7.3.3);
/// returns its length.
pub(crate) fn write_question(
    mac: MacAddress,
    source: Ipv6Addr,
    station: MacAddress,
    target: Ipv6Addr,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    let route = Route {
        link_source: mac,
        link_destination: station,
        source,
        destination: target,
    };
    let option = (NdpOptionTypes::SourceLLAddr, mac.0);
    write_solicitation(&route, target, option, out)
}

/// Writes the solicitation of `target`; returns its length.
fn write_solicitation(
    route: &Route,
    target: Ipv6Addr,
    option: (NdpOptionType, [u8; 6]),
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    write_message(route, option, out, |message| {
        if let Some(mut solicit) = MutableNeighborSolicitPacket::new(message) {
            solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            solicit.set_target_addr(target);
        }
    })
}

/// From where to where a message goes.
#[derive(Debug, Clone, Copy)]
struct Route {
    link_source: MacAddress,
    link_destination: MacAddress,
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

/// Writes a message with one option around what `fill` puts into its fixed part; returns the length
/// of the frame.
fn write_message(
    route: &Route,
    (option_type, content): (NdpOptionType, [u8; 6]),
    out: &mut [u8; MAX_FRAME_LEN],
    fill: impl FnOnce(&mut [u8]),
) -> usize {
    const PAYLOAD_LEN: u8 = 32;
    const { assert!(PAYLOAD_LEN as usize == MESSAGE_LEN + OPTION_LEN) };

    let (link_destination, link_source) = (route.link_destination, route.link_source);
    let payload = frame::start(out, link_destination, link_source, EtherTypes::Ipv6);
    let (header, message) = payload.split_at_mut(IPV6_LEN);
    if let Some(mut packet) = MutableIpv6Packet::new(header) {
        packet.set_version(6);
        packet.set_payload_length(u16::from(PAYLOAD_LEN));
        packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
        packet.set_hop_limit(HOP_LIMIT);
        packet.set_source(route.source);
        packet.set_destination(route.destination);
    }
    let (message, _) = message.split_at_mut(usize::from(PAYLOAD_LEN));
    let (fixed, option) = message.split_at_mut(MESSAGE_LEN);
    if let Some(mut option) = MutableNdpOptionPacket::new(option) {
        option.set_option_type(option_type);
        option.set_length(UNITS);
        option.set_data(&content);
    }
    fill(fixed);
    let sum = checksum(message, 1, route.source, route.destination);
    // Both messages have it in the same place.
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(message) {
        advert.set_checksum(sum);
    }
    ETHERNET_LEN + IPV6_LEN + usize::from(PAYLOAD_LEN)
}
