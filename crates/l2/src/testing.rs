//! Frames for the tests, put together byte by byte, and a second reading of what is sent. Neither
//! uses the packet crate that the code under test uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_model::MacAddress;

use crate::{AddressSet, Interface, Nonce, Responder, multicast_mac, solicited_node};

pub(crate) const OUR_MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x01]);
pub(crate) const CLIENT_MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x99]);
pub(crate) const OTHER_MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x77]);
pub(crate) const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
pub(crate) const VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
pub(crate) const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);

pub(crate) fn interface() -> Interface {
    Interface {
        index: 2,
        name: "eth0".to_owned(),
        mac: OUR_MAC,
    }
}

/// The nonce of our detections.
pub(crate) const NONCE: Nonce = Nonce([7; 6]);

/// A responder of [`interface`].
pub(crate) fn responder() -> Responder {
    Responder::new(interface(), NONCE)
}

pub(crate) fn announced() -> AddressSet {
    [IpAddr::V4(VIP_V4), IpAddr::V6(VIP_V6)]
        .into_iter()
        .collect()
}

/// An ARP packet in its frame.
#[derive(Debug, Clone)]
pub(crate) struct Arp {
    pub(crate) destination: MacAddress,
    pub(crate) source: MacAddress,
    pub(crate) ethertype: u16,
    pub(crate) hardware_type: u16,
    pub(crate) protocol_type: u16,
    pub(crate) lengths: [u8; 2],
    pub(crate) operation: u16,
    pub(crate) sender: MacAddress,
    pub(crate) sender_address: Ipv4Addr,
    pub(crate) target: MacAddress,
    pub(crate) target_address: Ipv4Addr,
}

impl Arp {
    /// The request of the client for `target`, as every host sends it.
    pub(crate) fn request(target: Ipv4Addr) -> Self {
        Self {
            destination: MacAddress::BROADCAST,
            source: CLIENT_MAC,
            ethertype: 0x0806,
            hardware_type: 1,
            protocol_type: 0x0800,
            lengths: [6, 4],
            operation: 1,
            sender: CLIENT_MAC,
            sender_address: CLIENT_V4,
            target: MacAddress([0; 6]),
            target_address: target,
        }
    }

    /// The gratuitous request of the other station for `address`.
    pub(crate) fn announcement(address: Ipv4Addr) -> Self {
        Self {
            source: OTHER_MAC,
            sender: OTHER_MAC,
            sender_address: address,
            ..Self::request(address)
        }
    }

    /// The reply by which the other station answers a probe of ours.
    pub(crate) fn answer(address: Ipv4Addr) -> Self {
        Self {
            destination: OUR_MAC,
            operation: 2,
            target: OUR_MAC,
            target_address: Ipv4Addr::UNSPECIFIED,
            ..Self::announcement(address)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.destination.0);
        bytes.extend(self.source.0);
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(self.hardware_type.to_be_bytes());
        bytes.extend(self.protocol_type.to_be_bytes());
        bytes.extend(self.lengths);
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(self.sender.0);
        bytes.extend(self.sender_address.octets());
        bytes.extend(self.target.0);
        bytes.extend(self.target_address.octets());
        bytes
    }

    /// Reads a frame that was sent; panics if it is not 60 bytes with padding of zeros.
    pub(crate) fn read(frame: &[u8]) -> Self {
        assert_eq!(frame.len(), 60, "length of an ARP frame");
        assert!(frame[42..].iter().all(|b| *b == 0), "padding {frame:x?}");
        Self {
            destination: mac(&frame[0..6]),
            source: mac(&frame[6..12]),
            ethertype: half(&frame[12..14]),
            hardware_type: half(&frame[14..16]),
            protocol_type: half(&frame[16..18]),
            lengths: frame[18..20].try_into().expect("two"),
            operation: half(&frame[20..22]),
            sender: mac(&frame[22..28]),
            sender_address: v4(&frame[28..32]),
            target: mac(&frame[32..38]),
            target_address: v4(&frame[38..42]),
        }
    }
}

/// A neighbor solicitation or advertisement in its frame.
#[derive(Debug, Clone)]
pub(crate) struct Ndp {
    pub(crate) link_destination: MacAddress,
    pub(crate) link_source: MacAddress,
    pub(crate) ethertype: u16,
    pub(crate) version: u8,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) icmp_type: u8,
    pub(crate) code: u8,
    pub(crate) flags: u8,
    pub(crate) target: Ipv6Addr,
    pub(crate) options: Vec<u8>,
}

impl Ndp {
    /// The solicitation of the client for `target`, as every host sends it.
    pub(crate) fn solicitation(target: Ipv6Addr) -> Self {
        Self {
            link_destination: multicast_mac(solicited_node(target)),
            link_source: CLIENT_MAC,
            ethertype: 0x86dd,
            version: 6,
            next_header: 58,
            hop_limit: 255,
            source: CLIENT_V6,
            destination: solicited_node(target),
            icmp_type: 135,
            code: 0,
            flags: 0,
            target,
            options: link_layer_option(1, CLIENT_MAC),
        }
    }

    /// The same as a duplicate address detection.
    pub(crate) fn detection(target: Ipv6Addr) -> Self {
        Self {
            source: Ipv6Addr::UNSPECIFIED,
            options: Vec::new(),
            ..Self::solicitation(target)
        }
    }

    /// The advertisement by which the other station tells all nodes that it has `target`.
    pub(crate) fn announcement(target: Ipv6Addr) -> Self {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Self {
            link_destination: multicast_mac(all_nodes),
            link_source: OTHER_MAC,
            source: target,
            destination: all_nodes,
            icmp_type: 136,
            flags: 0x20,
            options: link_layer_option(2, OTHER_MAC),
            ..Self::solicitation(target)
        }
    }

    /// The advertisement by which the other station answers a solicitation of ours.
    pub(crate) fn answer(target: Ipv6Addr) -> Self {
        Self {
            link_destination: OUR_MAC,
            destination: OUR_V6,
            flags: 0x60,
            ..Self::announcement(target)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut message = vec![self.icmp_type, self.code, 0, 0, self.flags, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        let sum = sum(&message, self.source, self.destination);
        message[2..4].copy_from_slice(&(!sum).to_be_bytes());

        let mut bytes = Vec::new();
        bytes.extend(self.link_destination.0);
        bytes.extend(self.link_source.0);
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend([self.version << 4, 0, 0, 0]);
        let len = u16::try_from(message.len()).expect("short");
        bytes.extend(len.to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(message);
        bytes
    }

    /// Reads a frame that was sent; panics if a length or the checksum is wrong.
    pub(crate) fn read(frame: &[u8]) -> Self {
        let message = &frame[54..];
        assert_eq!(frame[15..18], [0; 3], "traffic class and flow label");
        assert_eq!(usize::from(half(&frame[18..20])), message.len());
        assert_eq!(message[5..8], [0; 3], "reserved");
        let (source, destination) = (v6(&frame[22..38]), v6(&frame[38..54]));
        assert_eq!(sum(message, source, destination), 0xffff, "checksum");
        Self {
            link_destination: mac(&frame[0..6]),
            link_source: mac(&frame[6..12]),
            ethertype: half(&frame[12..14]),
            version: frame[14] >> 4,
            next_header: frame[20],
            hop_limit: frame[21],
            source,
            destination,
            icmp_type: message[0],
            code: message[1],
            flags: message[4],
            target: v6(&message[8..24]),
            options: message[24..].to_vec(),
        }
    }
}

/// A source (1) or target (2) link-layer address option.
pub(crate) fn link_layer_option(kind: u8, address: MacAddress) -> Vec<u8> {
    let mut option = vec![kind, 1];
    option.extend(address.0);
    option
}

/// The ones' complement sum of the pseudo-header and the message (RFC 8200 8.1).
fn sum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    let len = u32::try_from(message.len()).expect("short");
    let mut all = Vec::new();
    all.extend(source.octets());
    all.extend(destination.octets());
    all.extend(len.to_be_bytes());
    all.extend([0, 0, 0, 58]);
    all.extend(message);
    if all.len() % 2 == 1 {
        all.push(0);
    }
    all.chunks(2).fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(half(word));
        sum + u16::from(carry)
    })
}

fn mac(bytes: &[u8]) -> MacAddress {
    MacAddress(bytes.try_into().expect("six bytes"))
}

fn half(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes.try_into().expect("two bytes"))
}

fn v4(bytes: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(bytes).expect("four bytes").into()
}

fn v6(bytes: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(bytes).expect("sixteen bytes").into()
}
