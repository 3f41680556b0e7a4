//! What a frame leads to: an answer, a sighting, or nothing.

use std::net::IpAddr;

use herald_model::MacAddress;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};

use crate::addresses::Attention;
use crate::arp::Operation;
use crate::frame::{ETHERNET_LEN, MAX_FRAME_LEN};
use crate::interface::{Interface, from_wire};
use crate::multicast::multicast_mac;
use crate::ndp::Content;
use crate::probe::Nonce;
use crate::verdict::{Ignored, Sighting, SightingKind, Verdict};
use crate::{arp, ndp};

/// Answers ARP requests and neighbor solicitations on one interface, and sees what other stations
/// say about the addresses that are watched there.
#[derive(Debug, Clone)]
pub struct Responder {
    interface: Interface,
    nonce: Nonce,
}

impl Responder {
    /// A responder of this interface, whose own detections have this `nonce`. Make a new one if the
    /// interface gets another address.
    pub fn new(interface: Interface, nonce: Nonce) -> Self {
        Self { interface, nonce }
    }

    /// The interface it answers on.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Looks at a frame as it came from the interface, Ethernet header first, and writes the
    /// answer to `out` if there is one. `attention` is that of this interface. Allocates nothing;
    /// any bytes are fine.
    pub fn handle(
        &self,
        frame: &[u8],
        attention: &Attention,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Verdict {
        self.judge(frame, attention, out)
            .unwrap_or_else(Verdict::Ignored)
    }

    fn judge(
        &self,
        frame: &[u8],
        attention: &Attention,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<Verdict, Ignored> {
        let ethernet = EthernetPacket::new(frame).ok_or(Ignored::Truncated)?;
        let payload = frame.get(ETHERNET_LEN..).ok_or(Ignored::Truncated)?;
        let link = Link {
            source: from_wire(ethernet.get_source()),
            destination: from_wire(ethernet.get_destination()),
        };
        if link.source == self.interface.mac {
            return Err(Ignored::Own);
        }
        match ethernet.get_ethertype() {
            EtherTypes::Arp => self.judge_arp(link, payload, attention, out),
            EtherTypes::Ipv6 => self.judge_ndp(link, payload, attention, out),
            EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ => Err(Ignored::VlanTagged),
            _ => Err(Ignored::EtherType),
        }
    }

    fn judge_arp(
        &self,
        link: Link,
        payload: &[u8],
        attention: &Attention,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<Verdict, Ignored> {
        let mac = self.interface.mac;
        if link.destination != mac && link.destination != MacAddress::BROADCAST {
            return Err(Ignored::NotToUs);
        }
        let packet = arp::parse(payload)?;
        let is_request = packet.operation == Operation::Request;
        let tells_all = link.destination == MacAddress::BROADCAST;
        let (address, kind) = if packet.sender_address.is_unspecified() && is_request {
            (packet.target, SightingKind::Probed)
        } else if is_request || tells_all || packet.sender_address == packet.target {
            (packet.sender_address, SightingKind::Announced)
        } else {
            (packet.sender_address, SightingKind::Answered)
        };
        let seen = attention
            .watched()
            .contains_v4(address)
            .then_some(Sighting {
                address: IpAddr::V4(address),
                mac: packet.sender,
                kind,
            });
        // Who asks for its own address asks nobody, but announces.
        let asks = is_request
            && packet.sender_address != packet.target
            && attention.answered().contains_v4(packet.target);
        if !asks && seen.is_none() {
            return Err(Ignored::NotAnnounced);
        }
        if packet.sender == mac {
            return Err(Ignored::Own);
        }
        let reply = asks.then(|| arp::write_reply(mac, &packet, out));
        verdict(reply, IpAddr::V4(packet.target), seen)
    }

    fn judge_ndp(
        &self,
        link: Link,
        payload: &[u8],
        attention: &Attention,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<Verdict, Ignored> {
        let mac = self.interface.mac;
        if link.destination != mac && !link.destination.is_multicast() {
            return Err(Ignored::NotToUs);
        }
        let packet = ndp::parse(payload)?;
        // A switch or an access point may have made one frame for one station out of a multicast
        // (RFC 6085), but a packet for one station is never in a frame for a group.
        if link.destination != mac
            && (!packet.destination.is_multicast()
                || link.destination != multicast_mac(packet.destination))
        {
            return Err(Ignored::NotToUs);
        }
        let (address, link_layer, kind) = match packet.content {
            Content::Solicitation { nonce, .. } if nonce == Some(self.nonce) => {
                return Err(Ignored::Own);
            }
            Content::Solicitation { link_layer, .. } if packet.source.is_unspecified() => {
                (packet.target, link_layer, SightingKind::Probed)
            }
            Content::Solicitation { link_layer, .. } => {
                (packet.source, link_layer, SightingKind::Announced)
            }
            Content::Advertisement {
                link_layer,
                solicited: true,
            } => (packet.target, link_layer, SightingKind::Answered),
            Content::Advertisement { link_layer, .. } => {
                (packet.target, link_layer, SightingKind::Announced)
            }
        };
        let station = link_layer.unwrap_or(link.source);
        let seen = attention
            .watched()
            .contains_v6(address)
            .then_some(Sighting {
                address: IpAddr::V6(address),
                mac: station,
                kind,
            });
        let asks = matches!(packet.content, Content::Solicitation { .. })
            && packet.source != packet.target
            && attention.answered().contains_v6(packet.target);
        if !asks && seen.is_none() {
            return Err(Ignored::NotAnnounced);
        }
        if station == mac {
            return Err(Ignored::Own);
        }
        if !station.is_station() {
            return Err(Ignored::SenderAddress);
        }
        // Last, because it costs more than all the rest.
        if !packet.checksum_is_right() {
            return Err(Ignored::Checksum);
        }
        let reply = asks.then(|| ndp::write_reply(mac, &packet, station, out));
        verdict(reply, IpAddr::V6(packet.target), seen)
    }
}

/// What comes of an answer of that length about `address`, and of what was seen.
fn verdict(
    reply: Option<usize>,
    address: IpAddr,
    seen: Option<Sighting>,
) -> Result<Verdict, Ignored> {
    match (reply, seen) {
        (Some(len), seen) => Ok(Verdict::Reply { len, address, seen }),
        (None, Some(sighting)) => Ok(Verdict::Seen(sighting)),
        (None, None) => Err(Ignored::NotAnnounced),
    }
}

/// The two addresses of the Ethernet header.
#[derive(Debug, Clone, Copy)]
struct Link {
    source: MacAddress,
    destination: MacAddress,
}

#[cfg(test)]
mod sightings;
#[cfg(test)]
mod tests;
