//! Neighbor discovery for IPv6 over Ethernet (RFC 4861).

use std::net::Ipv6Addr;

use pnet_packet::ethernet::EtherTypes;
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags,
    NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet_packet::util::ipv6_checksum;

use crate::frame::{self, ETHERNET_LEN, MAX_FRAME_LEN};
use crate::interface::MacAddress;
use crate::multicast::{ALL_NODES, multicast_mac, solicited_node};
use crate::verdict::Ignored;

const IPV6_LEN: usize = 40;
/// Neighbor solicitation and advertisement without options.
const MESSAGE_LEN: usize = 24;
/// A link-layer address option for Ethernet.
const LINK_LAYER_OPTION_LEN: usize = 8;
/// The same in the unit of the option's length field.
const LINK_LAYER_OPTION_UNITS: u8 = 1;
const HOP_LIMIT: u8 = 255;

/// A solicitation that asks who has `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Solicitation<'a> {
    /// Who asks; unspecified in a duplicate address detection.
    pub(crate) source: Ipv6Addr,
    /// The target or its solicited-node group.
    pub(crate) destination: Ipv6Addr,
    /// The address that is asked for.
    pub(crate) target: Ipv6Addr,
    /// The asker's hardware address, if it tells.
    pub(crate) link_layer: Option<MacAddress>,
    /// The `ICMPv6` message, for the checksum.
    message: &'a [u8],
}

/// The IPv6 payload of a frame, if it is a neighbor solicitation that passes all of RFC 4861 7.1.1
/// except the checksum, for which see [`Solicitation::checksum_is_right`].
pub(crate) fn parse(payload: &[u8]) -> Result<Solicitation<'_>, Ignored> {
    let packet = Ipv6Packet::new(payload).ok_or(Ignored::Truncated)?;
    if packet.get_version() != 6 {
        return Err(Ignored::IpVersion);
    }
    // Behind an extension header it may be one, but no neighbor sends that (RFC 6980).
    if packet.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return Err(Ignored::NotARequest);
    }
    let end = IPV6_LEN + usize::from(packet.get_payload_length());
    let message = payload.get(IPV6_LEN..end).ok_or(Ignored::Truncated)?;
    let icmp_type = *message.first().ok_or(Ignored::Truncated)?;
    if icmp_type != Icmpv6Types::NeighborSolicit.0 {
        return Err(Ignored::NotARequest);
    }
    if packet.get_hop_limit() != HOP_LIMIT {
        return Err(Ignored::HopLimit);
    }
    let solicit = NeighborSolicitPacket::new(message).ok_or(Ignored::Truncated)?;
    if solicit.get_icmpv6_code() != Icmpv6Code(0) {
        return Err(Ignored::Code);
    }
    let target = solicit.get_target_addr();
    if target.is_multicast() {
        return Err(Ignored::MulticastTarget);
    }
    let options = message.get(MESSAGE_LEN..).ok_or(Ignored::Truncated)?;
    let solicitation = Solicitation {
        source: packet.get_source(),
        destination: packet.get_destination(),
        target,
        link_layer: source_link_layer(options)?,
        message,
    };
    solicitation.check_addresses()?;
    Ok(solicitation)
}

impl Solicitation<'_> {
    fn check_addresses(&self) -> Result<(), Ignored> {
        let to_group = self.destination == solicited_node(self.target);
        if self.source.is_unspecified() {
            if !to_group {
                return Err(Ignored::Destination);
            }
            if self.link_layer.is_some() {
                return Err(Ignored::DetectionWithAddress);
            }
        } else if self.source.is_multicast() || self.source.is_loopback() {
            return Err(Ignored::Source);
        } else if !to_group && self.destination != self.target {
            return Err(Ignored::Destination);
        }
        match self.link_layer {
            Some(address) if !address.is_station() => Err(Ignored::SenderAddress),
            _ => Ok(()),
        }
    }

    /// True if the sum over message and pseudo-header comes out right.
    pub(crate) fn checksum_is_right(&self) -> bool {
        // No word is left out: with the message's checksum in it the sum complements to zero.
        checksum(self.message, usize::MAX, self.source, self.destination) == 0
    }
}

/// The first source link-layer address among the options; an error if any option is malformed,
/// because then the whole message must be dropped.
///
/// By hand and not with the packet crate's option iterator, which takes a length of 0.
fn source_link_layer(mut options: &[u8]) -> Result<Option<MacAddress>, Ignored> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 {
            return Err(Ignored::Options);
        }
        let (option, rest) = options.split_at_checked(len).ok_or(Ignored::Options)?;
        if kind == NdpOptionTypes::SourceLLAddr.0 {
            let [_, _, address @ ..] = option else {
                return Err(Ignored::Options);
            };
            let address: [u8; 6] = address.try_into().map_err(|_| Ignored::Options)?;
            found = found.or(Some(MacAddress(address)));
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(Ignored::Options)
    }
}

/// The `ICMPv6` checksum of `message`, without its word `skip`.
fn checksum(message: &[u8], skip: usize, source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    let protocol = IpNextHeaderProtocols::Icmpv6;
    ipv6_checksum(message, skip, &[], &source, &destination, protocol)
}

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
    const PAYLOAD_LEN: u8 = 32;
    const { assert!(PAYLOAD_LEN as usize == MESSAGE_LEN + LINK_LAYER_OPTION_LEN) };

    let Advertisement {
        link_destination,
        destination,
        mac,
        target,
        solicited,
        overrides,
    } = *advertisement;
    let payload = frame::start(out, link_destination, mac, EtherTypes::Ipv6);
    let (header, message) = payload.split_at_mut(IPV6_LEN);
    if let Some(mut packet) = MutableIpv6Packet::new(header) {
        packet.set_version(6);
        packet.set_payload_length(u16::from(PAYLOAD_LEN));
        packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
        packet.set_hop_limit(HOP_LIMIT);
        packet.set_source(target);
        packet.set_destination(destination);
    }
    let (message, _) = message.split_at_mut(usize::from(PAYLOAD_LEN));
    let (fixed, option) = message.split_at_mut(MESSAGE_LEN);
    if let Some(mut option) = MutableNdpOptionPacket::new(option) {
        option.set_option_type(NdpOptionTypes::TargetLLAddr);
        option.set_length(LINK_LAYER_OPTION_UNITS);
        option.set_data(&mac.0);
    }
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(fixed) {
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
    }
    let sum = checksum(message, 1, target, destination);
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(message) {
        advert.set_checksum(sum);
    }
    ETHERNET_LEN + IPV6_LEN + usize::from(PAYLOAD_LEN)
}

/// Writes the answer of `mac` to a solicitation that came from the station `link_source`; returns
/// its length.
///
/// The packet's source is the target itself: it is the address that speaks, it exists on
/// interfaces without a link-local address, and switches that watch neighbor discovery learn the
/// right pair. The answer to a question does not override, as MetalLB's (compat.md 4.3): the
/// asker has no entry or one that agrees, and a move is told by unsolicited advertisements. To a
/// duplicate address detection the answer goes to all nodes, is not solicited and overrides
/// (RFC 4861 7.2.4): the address is taken.
pub(crate) fn write_reply(
    mac: MacAddress,
    solicitation: &Solicitation<'_>,
    link_source: MacAddress,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    let target = solicitation.target;
    let advertisement = if solicitation.source.is_unspecified() {
        unsolicited(mac, target)
    } else {
        Advertisement {
            link_destination: solicitation.link_layer.unwrap_or(link_source),
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
