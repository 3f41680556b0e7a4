//! Neighbor discovery for IPv6 over Ethernet (RFC 4861).

use std::net::Ipv6Addr;

use herald_model::MacAddress;
use pnet_packet::icmpv6::ndp::{NeighborAdvertFlags, NeighborAdvertPacket, NeighborSolicitPacket};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Type, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::util::ipv6_checksum;

use crate::multicast::solicited_node;
use crate::probe::Nonce;
use crate::verdict::Ignored;

mod options;
mod writing;

use options::Options;

pub(crate) use writing::{unsolicited, write, write_detection, write_question, write_reply};

const IPV6_LEN: usize = 40;
/// Neighbor solicitation and advertisement without options.
const MESSAGE_LEN: usize = 24;
const HOP_LIMIT: u8 = 255;

/// A neighbor solicitation or advertisement that passes all of RFC 4861 7.1.1 and 7.1.2 except the
/// checksum, for which see [`Incoming::checksum_is_right`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incoming<'a> {
    /// Who sent it; unspecified in a duplicate address detection.
    pub(crate) source: Ipv6Addr,
    /// Whom it goes to.
    pub(crate) destination: Ipv6Addr,
    /// The address that it is about.
    pub(crate) target: Ipv6Addr,
    /// What it says.
    pub(crate) content: Content,
    /// The `ICMPv6` message, for the checksum.
    message: &'a [u8],
}

/// What a message says about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// It asks who has it.
    Solicitation {
        /// The asker's hardware address, if it tells.
        link_layer: Option<MacAddress>,
        /// What tells it from all others, if it has that.
        nonce: Option<Nonce>,
    },
    /// It tells that the sender has it.
    Advertisement {
        /// The sender's hardware address, if it tells.
        link_layer: Option<MacAddress>,
        /// It answers a solicitation of the destination.
        solicited: bool,
    },
}

/// The IPv6 payload of a frame, if it is one of the two messages.
pub(crate) fn parse(payload: &[u8]) -> Result<Incoming<'_>, Ignored> {
    let packet = Ipv6Packet::new(payload).ok_or(Ignored::Truncated)?;
    if packet.get_version() != 6 {
        return Err(Ignored::IpVersion);
    }
    // Behind an extension header it may be one, but no neighbor sends that (RFC 6980).
    if packet.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return Err(Ignored::OtherMessage);
    }
    let end = IPV6_LEN + usize::from(packet.get_payload_length());
    let message = payload.get(IPV6_LEN..end).ok_or(Ignored::Truncated)?;
    let icmp_type = Icmpv6Type(*message.first().ok_or(Ignored::Truncated)?);
    let solicits = icmp_type == Icmpv6Types::NeighborSolicit;
    if !solicits && icmp_type != Icmpv6Types::NeighborAdvert {
        return Err(Ignored::OtherMessage);
    }
    if packet.get_hop_limit() != HOP_LIMIT {
        return Err(Ignored::HopLimit);
    }
    // Both messages have the same fields up to the options, but for the flags.
    let fixed = NeighborSolicitPacket::new(message).ok_or(Ignored::Truncated)?;
    if fixed.get_icmpv6_code() != Icmpv6Code(0) {
        return Err(Ignored::Code);
    }
    let target = fixed.get_target_addr();
    if target.is_multicast() {
        return Err(Ignored::MulticastTarget);
    }
    let options = Options::parse(message.get(MESSAGE_LEN..).ok_or(Ignored::Truncated)?)?;
    let content = if solicits {
        Content::Solicitation {
            link_layer: options.source_link_layer,
            nonce: options.nonce,
        }
    } else {
        let advert = NeighborAdvertPacket::new(message).ok_or(Ignored::Truncated)?;
        Content::Advertisement {
            link_layer: options.target_link_layer,
            solicited: advert.get_flags() & NeighborAdvertFlags::Solicited != 0,
        }
    };
    let incoming = Incoming {
        source: packet.get_source(),
        destination: packet.get_destination(),
        target,
        content,
        message,
    };
    incoming.check_addresses()?;
    Ok(incoming)
}

impl Incoming<'_> {
    /// True if the sum over message and pseudo-header comes out right.
    pub(crate) fn checksum_is_right(&self) -> bool {
        // No word is left out: with the message's checksum in it the sum complements to zero.
        checksum(self.message, usize::MAX, self.source, self.destination) == 0
    }

    fn check_addresses(&self) -> Result<(), Ignored> {
        if self.source.is_multicast() || self.source.is_loopback() {
            return Err(Ignored::Source);
        }
        let link_layer = match self.content {
            Content::Solicitation { link_layer, .. } => {
                self.check_solicitation(link_layer)?;
                link_layer
            }
            Content::Advertisement {
                link_layer,
                solicited,
            } => {
                if self.source.is_unspecified() {
                    return Err(Ignored::Source);
                }
                if solicited && self.destination.is_multicast() {
                    return Err(Ignored::SolicitedToGroup);
                }
                link_layer
            }
        };
        match link_layer {
            Some(address) if !address.is_station() => Err(Ignored::SenderAddress),
            _ => Ok(()),
        }
    }

    fn check_solicitation(&self, link_layer: Option<MacAddress>) -> Result<(), Ignored> {
        let to_group = self.destination == solicited_node(self.target);
        if self.source.is_unspecified() {
            if !to_group {
                return Err(Ignored::Destination);
            }
            if link_layer.is_some() {
                return Err(Ignored::DetectionWithAddress);
            }
        } else if !to_group && self.destination != self.target {
            return Err(Ignored::Destination);
        }
        Ok(())
    }
}

/// The `ICMPv6` checksum of `message`, without its word `skip`.
fn checksum(message: &[u8], skip: usize, source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    let protocol = IpNextHeaderProtocols::Icmpv6;
    ipv6_checksum(message, skip, &[], &source, &destination, protocol)
}
