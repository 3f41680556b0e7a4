//! The answer to a frame, if it asks for an address that is announced.

use std::net::IpAddr;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket};

use crate::announced::AnnouncedSet;
use crate::frame::{ETHERNET_LEN, MAX_FRAME_LEN};
use crate::interface::{Interface, MacAddress};
use crate::multicast::multicast_mac;
use crate::verdict::{Ignored, Verdict};
use crate::{arp, ndp};

/// Answers ARP requests and neighbor solicitations on one interface.
#[derive(Debug, Clone)]
pub struct Responder {
    interface: Interface,
}

impl Responder {
    /// A responder of this interface. Make a new one if the interface gets another address.
    pub fn new(interface: Interface) -> Self {
        Self { interface }
    }

    /// The interface it answers on.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Looks at a frame as it came from the interface, Ethernet header first, and writes the
    /// answer to `out` if there is one. `announced` are the addresses that are announced on this
    /// interface. Allocates nothing; any bytes are fine.
    pub fn handle(
        &self,
        frame: &[u8],
        announced: &AnnouncedSet,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Verdict {
        match self.answer(frame, announced, out) {
            Ok((len, address)) => Verdict::Reply { len, address },
            Err(reason) => Verdict::Ignored(reason),
        }
    }

    fn answer(
        &self,
        frame: &[u8],
        announced: &AnnouncedSet,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<(usize, IpAddr), Ignored> {
        let ethernet = EthernetPacket::new(frame).ok_or(Ignored::Truncated)?;
        let payload = frame.get(ETHERNET_LEN..).ok_or(Ignored::Truncated)?;
        let link = Link {
            source: ethernet.get_source().into(),
            destination: ethernet.get_destination().into(),
        };
        if link.source == self.interface.mac {
            return Err(Ignored::Own);
        }
        match ethernet.get_ethertype() {
            EtherTypes::Arp => self.answer_arp(link, payload, announced, out),
            EtherTypes::Ipv6 => self.answer_ndp(link, payload, announced, out),
            EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ => Err(Ignored::VlanTagged),
            _ => Err(Ignored::EtherType),
        }
    }

    fn answer_arp(
        &self,
        link: Link,
        payload: &[u8],
        announced: &AnnouncedSet,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<(usize, IpAddr), Ignored> {
        let mac = self.interface.mac;
        if link.destination != mac && link.destination != MacAddress::BROADCAST {
            return Err(Ignored::NotToUs);
        }
        let request = arp::parse(payload)?;
        if !announced.contains_v4(request.target) {
            return Err(Ignored::NotAnnounced);
        }
        if request.sender == mac {
            return Err(Ignored::Own);
        }
        if request.sender_address == request.target {
            return Err(Ignored::Gratuitous);
        }
        let len = arp::write_reply(mac, &request, out);
        Ok((len, IpAddr::V4(request.target)))
    }

    fn answer_ndp(
        &self,
        link: Link,
        payload: &[u8],
        announced: &AnnouncedSet,
        out: &mut [u8; MAX_FRAME_LEN],
    ) -> Result<(usize, IpAddr), Ignored> {
        let mac = self.interface.mac;
        if link.destination != mac && !link.destination.is_multicast() {
            return Err(Ignored::NotToUs);
        }
        let solicitation = ndp::parse(payload)?;
        // A switch or an access point may have made one frame for one station out of a multicast
        // (RFC 6085), but a packet for one station is never in a frame for a group.
        if link.destination != mac
            && (!solicitation.destination.is_multicast()
                || link.destination != multicast_mac(solicitation.destination))
        {
            return Err(Ignored::NotToUs);
        }
        if !announced.contains_v6(solicitation.target) {
            return Err(Ignored::NotAnnounced);
        }
        if solicitation.link_layer == Some(mac) {
            return Err(Ignored::Own);
        }
        if solicitation.source == solicitation.target {
            return Err(Ignored::Gratuitous);
        }
        if solicitation.link_layer.is_none() && !link.source.is_station() {
            return Err(Ignored::SenderAddress);
        }
        // Last, because it costs more than all the rest.
        if !solicitation.checksum_is_right() {
            return Err(Ignored::Checksum);
        }
        let len = ndp::write_reply(mac, &solicitation, link.source, out);
        Ok((len, IpAddr::V6(solicitation.target)))
    }
}

/// The two addresses of the Ethernet header.
#[derive(Debug, Clone, Copy)]
struct Link {
    source: MacAddress,
    destination: MacAddress,
}

#[cfg(test)]
mod tests;
