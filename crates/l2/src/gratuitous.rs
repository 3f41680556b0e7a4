//! Frames that tell the LAN unasked who has an address (compat.md 4.3, RFC 4861 7.2.6).

use std::net::IpAddr;

use herald_model::MacAddress;
use pnet_packet::arp::{ArpOperation, ArpOperations};

use crate::frame::MAX_FRAME_LEN;
use crate::{arp, ndp};

/// A form that the news takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A broadcast ARP request whose sender and target are both the address.
    ArpRequest,
    /// A broadcast ARP reply of the same content; some stations listen to one, some to the other.
    ArpReply,
    /// A neighbor advertisement to all nodes that overrides what they know.
    NeighborAdvertisement,
}

impl Form {
    /// The forms that an announcement of the address consists of; send them all, in this order.
    pub fn of(address: IpAddr) -> &'static [Self] {
        match address {
            IpAddr::V4(_) => &[Self::ArpRequest, Self::ArpReply],
            IpAddr::V6(_) => &[Self::NeighborAdvertisement],
        }
    }
}

/// Writes the frame by which the interface with this `mac` announces `address`; returns its
/// length, or `None` if the form is not one of the address's family.
pub fn write(
    form: Form,
    mac: MacAddress,
    address: IpAddr,
    out: &mut [u8; MAX_FRAME_LEN],
) -> Option<usize> {
    let arp = |operation: ArpOperation, address, out| {
        let announcement = arp::Outgoing {
            destination: MacAddress::BROADCAST,
            operation,
            sender: mac,
            sender_address: address,
            target: MacAddress::BROADCAST,
            target_address: address,
        };
        arp::write(&announcement, out)
    };
    match (form, address) {
        (Form::ArpRequest, IpAddr::V4(address)) => Some(arp(ArpOperations::Request, address, out)),
        (Form::ArpReply, IpAddr::V4(address)) => Some(arp(ArpOperations::Reply, address, out)),
        (Form::NeighborAdvertisement, IpAddr::V6(address)) => {
            Some(ndp::write(&ndp::unsolicited(mac, address), out))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
