//! The frames that probes send and understand: ARP (RFC 826) and NDP (RFC 4861). Written apart
//! from Herald's own code, so that one can check the other.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::socket::Mac;

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// What an ARP packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Destination of the frame.
    pub to: Mac,
    /// Source of the frame.
    pub from: Mac,
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender's Ethernet address.
    pub sender_mac: Mac,
    /// Sender's IPv4 address.
    pub sender: Ipv4Addr,
    /// Target's Ethernet address.
    pub target_mac: Mac,
    /// Target's IPv4 address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// A broadcast request of the kind every host sends.
    pub fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            to: Mac::BROADCAST,
            from: sender_mac,
            operation: 1,
            sender_mac,
            sender,
            target_mac: Mac([0; 6]),
            target,
        }
    }

    /// The frame, padded to 60 bytes.
    pub fn to_frame(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(60);
        frame.extend(self.to.0);
        frame.extend(self.from.0);
        frame.extend(ETHERTYPE_ARP);
        frame.extend([0, 1, 8, 0, 6, 4]);
        frame.extend(self.operation.to_be_bytes());
        frame.extend(self.sender_mac.0);
        frame.extend(self.sender.octets());
        frame.extend(self.target_mac.0);
        frame.extend(self.target.octets());
        frame.resize(60, 0);
        frame
    }

    /// Reads a frame; `None` if it is not ARP for IPv4 over Ethernet.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let header: &[u8; 42] = frame.first_chunk()?;
        if header[12..14] != ETHERTYPE_ARP || header[14..20] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Self {
            to: mac_at(frame, 0)?,
            from: mac_at(frame, 6)?,
            operation: u16::from_be_bytes([header[20], header[21]]),
            sender_mac: mac_at(frame, 22)?,
            sender: Ipv4Addr::new(header[28], header[29], header[30], header[31]),
            target_mac: mac_at(frame, 32)?,
            target: Ipv4Addr::new(header[38], header[39], header[40], header[41]),
        })
    }
}

fn mac_at(frame: &[u8], offset: usize) -> Option<Mac> {
    Some(Mac(*frame.get(offset..)?.first_chunk()?))
}

/// A neighbour solicitation to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicitation {
    /// Source of the frame, and of the source link-layer address option.
    pub mac: Mac,
    /// Source of the packet; `::` is duplicate address detection.
    pub source: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Whether the option is there.
    pub source_option: bool,
    /// To this host alone instead of the solicited-node multicast group.
    pub unicast: Option<Mac>,
    /// 255 is the only right one.
    pub hop_limit: u8,
}

impl Solicitation {
    /// The frame.
    pub fn to_frame(self) -> Vec<u8> {
        let [.., x, y, z] = self.target.octets();
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
        let (to, destination) = match self.unicast {
            Some(mac) => (mac, self.target),
            None => (Mac([0x33, 0x33, 0xff, x, y, z]), group),
        };
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend(self.target.octets());
        if self.source_option {
            message.extend([1, 1]);
            message.extend(self.mac.0);
        }
        let sum = checksum(self.source, destination, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        ipv6_frame(
            to,
            self.mac,
            self.source,
            destination,
            self.hop_limit,
            &message,
        )
    }
}

impl Solicitation {
    /// The solicitation in a frame, if it is one. Its checksum is not looked at.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let header: &[u8; 78] = frame.first_chunk()?;
        if header[12..14] != [0x86, 0xdd] || header[20] != 58 || header[54] != 135 {
            return None;
        }
        let to = Mac(header[..6].try_into().ok()?);
        Some(Self {
            mac: Mac(header[6..12].try_into().ok()?),
            source: ipv6_at(frame, 22)?,
            target: ipv6_at(frame, 62)?,
            source_option: frame.get(78) == Some(&1),
            unicast: (to.0[0] & 1 == 0).then_some(to),
            hop_limit: header[21],
        })
    }
}

/// An Ethernet frame with an `ICMPv6` message.
pub fn ipv6_frame(
    to: Mac,
    from: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    icmp: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(54 + icmp.len());
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    let length = u16::try_from(icmp.len()).unwrap_or(u16::MAX);
    frame.extend(length.to_be_bytes());
    frame.extend([58, hop_limit]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(icmp);
    frame
}

/// What a neighbour advertisement says.
#[allow(clippy::struct_excessive_bools, reason = "the protocol's flags")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// Destination of the frame.
    pub to: Mac,
    /// Source of the frame.
    pub from: Mac,
    /// Source of the packet.
    pub source: Ipv6Addr,
    /// Destination of the packet.
    pub destination: Ipv6Addr,
    /// 255 is the only right one.
    pub hop_limit: u8,
    /// The address advertised.
    pub target: Ipv6Addr,
    /// R flag.
    pub router: bool,
    /// S flag.
    pub solicited: bool,
    /// O flag.
    pub override_: bool,
    /// The target link-layer address option.
    pub target_mac: Option<Mac>,
    /// Whether the checksum is right.
    pub checksum_ok: bool,
}

impl Advertisement {
    /// Reads a frame; `None` if it is no neighbour advertisement.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let header: &[u8; 78] = frame.first_chunk()?;
        if header[12..14] != ETHERTYPE_IPV6 || header[20] != 58 || header[54] != 136 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[18], header[19]]));
        let icmp = frame.get(54..54 + length)?;
        let (source, destination) = (ipv6_at(frame, 22)?, ipv6_at(frame, 38)?);
        let mut options = icmp.get(24..)?;
        let mut target_mac = None;
        while let [kind, eights, ..] = options {
            let (option, rest) = options.split_at_checked(usize::from(*eights).max(1) * 8)?;
            if *kind == 2 {
                target_mac = mac_at(option, 2);
            }
            options = rest;
        }
        Some(Self {
            to: mac_at(frame, 0)?,
            from: mac_at(frame, 6)?,
            source,
            destination,
            hop_limit: header[21],
            target: ipv6_at(frame, 62)?,
            router: header[58] & 0x80 != 0,
            solicited: header[58] & 0x40 != 0,
            override_: header[58] & 0x20 != 0,
            target_mac,
            checksum_ok: checksum(source, destination, icmp) == 0,
        })
    }
}

fn ipv6_at(frame: &[u8], offset: usize) -> Option<Ipv6Addr> {
    let octets: &[u8; 16] = frame.get(offset..)?.first_chunk()?;
    Some(Ipv6Addr::from(*octets))
}

/// The `ICMPv6` checksum (RFC 4443, 2.3) of a message; 0 of one whose checksum is filled in right.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut sum: u32 = 58 + u32::try_from(message.len()).unwrap_or(0);
    for bytes in [&source.octets()[..], &destination.octets()[..], message] {
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn an_arp_packet_survives_the_wire() {
        let (one, two) = (Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::new(192, 168, 0, 2));
        let arp = Arp::request(MAC, one, two);
        let frame = arp.to_frame();
        assert_eq!(frame.len(), 60);
        assert_eq!(Arp::parse(&frame), Some(arp));
        assert_eq!(Arp::parse(&frame[..41]), None);
    }

    #[test]
    fn a_solicitation_has_a_right_checksum_and_group() {
        let source = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 1);
        let target = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0xaa12, 0x3456);
        let solicitation = Solicitation {
            mac: MAC,
            source,
            target,
            source_option: true,
            unicast: None,
            hop_limit: 255,
        };
        let frame = solicitation.to_frame();
        assert_eq!(Solicitation::parse(&frame), Some(solicitation));
        assert_eq!(Solicitation::parse(&frame[..77]), None);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let destination = ipv6_at(&frame, 38).unwrap();
        assert_eq!(checksum(source, destination, &frame[54..]), 0);
    }
}
