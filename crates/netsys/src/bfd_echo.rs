//! Sockets for BFD echo packets over IPv4 (RFC 5881 section 4).
//!
//! An echo packet has the address of its sender as source and as destination, and goes to the peer's
//! link-layer address. When it is back, the kernel drops it: nobody else may send from an address of
//! this node. So a [`Receiver`] takes it from the interface before that, and a [`Sender`] writes the
//! IPv4 header itself and has the kernel find the way to another address than the one in the header.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::filter::{UDP, datagrams_to, guarded};
use crate::option::{self, ON};
use crate::packet::{PACKET_IGNORE_OUTGOING, link_address};
use crate::socket::{Builder, is_stranded, readable, register, take_what_is_there};
use crate::{Dscp, Error, EtherType};

/// The UDP port of echo packets.
const PORT: u16 = 3785;

/// The TTL of what is sent, and of what was forwarded once since.
const SENT_TTL: u8 = 255;
const RETURNED_TTL: u8 = 254;

/// The longest payload that is taken. What is in it is a local matter of whoever sends it; that of
/// known routers is shorter.
const MAX_PAYLOAD: usize = 255;

/// An IPv4 header without options, and the longest that there is.
const IP_HEADER: usize = 20;
const MAX_IP_HEADER: usize = 60;
const UDP_HEADER: usize = 8;

/// An echo packet, ours or a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its source.
    pub from: SocketAddrV4,
    /// Its destination.
    pub to: SocketAddrV4,
    /// Its TTL.
    pub ttl: u8,
    /// What it says.
    pub payload: &'a [u8],
    checksum: u16,
}

impl<'a> Datagram<'a> {
    /// An echo packet from the address `local` of this node, at most 255 bytes long.
    pub fn new(local: Ipv4Addr, payload: &'a [u8]) -> Self {
        let end = SocketAddrV4::new(local, PORT);
        let packet = Self {
            from: end,
            to: end,
            ttl: SENT_TTL,
            payload,
            checksum: 0,
        };
        Self {
            checksum: packet.sum(),
            ..packet
        }
    }

    /// The packet as whoever forwards it sends it back to where it is from. One that was addressed to
    /// this node goes to its sender. Its checksum is that of its sender in either case.
    pub fn returned(&self) -> Self {
        let aimed = self.from.ip() != self.to.ip();
        let (from, to) = if aimed {
            (self.to, self.from)
        } else {
            (self.from, self.to)
        };
        Self {
            from,
            to,
            ttl: RETURNED_TTL,
            ..*self
        }
    }

    /// Reads what begins with an IPv4 header; none if it is no UDP datagram, or not whole.
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let head = *packet.first_chunk::<IP_HEADER>()?;
        let [first, _, high, low, .., s0, s1, s2, s3, d0, d1, d2, d3] = head;
        let [_, _, _, _, _, _, _, _, ttl, protocol, ..] = head;
        let header = usize::from(first & 0xf) * 4;
        if first >> 4 != 4 || header < IP_HEADER || protocol != UDP {
            return None;
        }
        // What follows the packet fills up the frame.
        let end = usize::from(u16::from_be_bytes([high, low]));
        let (udp, rest) = packet.get(header..end)?.split_first_chunk::<UDP_HEADER>()?;
        let ([source, destination, length, checksum], []) = udp.as_chunks::<2>() else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let payload = rest.get(..length.checked_sub(UDP_HEADER)?)?;
        let end = |address: [u8; 4], port| {
            SocketAddrV4::new(Ipv4Addr::from(address), u16::from_be_bytes(port))
        };
        Some(Self {
            from: end([s0, s1, s2, s3], *source),
            to: end([d0, d1, d2, d3], *destination),
            ttl,
            payload,
            checksum: u16::from_be_bytes(*checksum),
        })
    }

    /// The packet from its IPv4 header on. The kernel puts in total length, identification and the
    /// header's checksum.
    fn encode(&self) -> Vec<u8> {
        let [first, class] = [0x45, Dscp::CS6.traffic_class()];
        let mut packet = vec![first, class, 0, 0, 0, 0, 0, 0, self.ttl, UDP, 0, 0];
        packet.extend(self.from.ip().octets());
        packet.extend(self.to.ip().octets());
        let words = [
            self.from.port(),
            self.to.port(),
            self.length(),
            self.checksum,
        ];
        packet.extend(words.into_iter().flat_map(u16::to_be_bytes));
        packet.extend(self.payload);
        packet
    }

    /// The length in the UDP header.
    fn length(&self) -> u16 {
        u16::try_from(UDP_HEADER + self.payload.len()).unwrap_or(u16::MAX)
    }

    /// The UDP checksum (RFC 768), with 0 in its own place.
    fn sum(&self) -> u16 {
        let ends = [self.from, self.to];
        let words = |bytes: &[u8]| -> u32 {
            let pairs = bytes.chunks(2).map(|pair| match *pair {
                [high, low] => u16::from_be_bytes([high, low]),
                [high] => u16::from_be_bytes([high, 0]),
                _ => 0,
            });
            pairs.map(u32::from).sum()
        };
        let addresses: u32 = ends.iter().map(|end| words(&end.ip().octets())).sum();
        let ports: u32 = ends.iter().map(|end| u32::from(end.port())).sum();
        let length = u32::from(self.length());
        let mut sum = addresses + ports + u32::from(UDP) + 2 * length + words(self.payload);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        match !u16::try_from(sum).unwrap_or_default() {
            // 0 says that there is none.
            0 => u16::MAX,
            sum => sum,
        }
    }
}

/// Receives the echo packets of all sessions of one interface: those that come back, and those of
/// peers. What was forwarded more than once is not taken.
#[derive(Debug)]
pub struct Receiver {
    socket: AsyncFd<Socket>,
}

impl Receiver {
    /// How many packets are taken at once.
    pub const BATCH: usize = crate::socket::BATCH;

    /// Listens on the interface with this index. Must be called within a tokio runtime; needs the
    /// capability `NET_RAW`.
    pub fn open(interface: u32) -> Result<Self, Error> {
        let failed = |step| {
            move |source| Error::OpenPacketSocket {
                interface,
                step,
                source,
            }
        };
        let filter = guarded(interface, &datagrams_to(PORT, RETURNED_TTL))?;
        // Without the link-layer header, which not every interface has.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(failed("socket"))?;
        socket.set_nonblocking(true).map_err(failed("nonblock"))?;
        // Nothing is received before it is bound, so that nothing passes unfiltered.
        socket
            .attach_filter(&filter)
            .map_err(|source| Error::SetFilter { interface, source })?;
        option::set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &ON)
            .map_err(failed("PACKET_IGNORE_OUTGOING"))?;
        let address = link_address(interface, EtherType::Ipv4).map_err(failed("address"))?;
        socket.bind(&address).map_err(failed("bind"))?;
        let socket = register(socket).map_err(failed("register"))?;
        Ok(Self { socket })
    }

    /// Calls `handle` with each packet that is there; returns how many there were. Fewer than
    /// [`Self::BATCH`] mean that there are no more. An error means that the interface went down or is
    /// gone: the receiver has to be opened anew.
    pub fn try_receive(&self, mut handle: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut buffer = [0; MAX_IP_HEADER + UDP_HEADER + MAX_PAYLOAD];
        take_what_is_there(&self.socket, |mut socket| {
            let length = socket.read(&mut buffer)?;
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(datagram) = Datagram::parse(packet) {
                handle(datagram);
            }
            Ok(())
        })
    }

    /// Waits until there may be something for [`Receiver::try_receive`], which found none before.
    /// Cancel-safe.
    pub async fn readable(&self) -> io::Result<()> {
        readable(&self.socket).await
    }
}

/// Sends echo packets to one peer: those of ours, and its own back. It receives nothing.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    peer: SocketAddr,
    interface: Option<String>,
}

impl Sender {
    /// Opens a socket, in this VRF if one is given by name. Needs the capability `NET_RAW`.
    pub fn open(peer: Ipv4Addr, vrf: Option<&str>) -> Result<Self, Error> {
        let name = format!("BFD echo to {peer}");
        let protocol = Protocol::from(libc::IPPROTO_RAW);
        let builder = Builder::open(name, Domain::IPV4, Type::RAW, protocol)?;
        // For the place in the queues of this host; the header has a class of its own.
        builder.interface(vrf)?.dscp(Dscp::CS6)?;
        let (socket, _) = builder.finish();
        Ok(Self {
            socket,
            peer: SocketAddr::new(peer.into(), 0),
            interface: vrf.map(str::to_owned),
        })
    }

    /// The VRF that it was opened in is gone, or has another name.
    pub fn is_stranded(&self) -> bool {
        is_stranded(&self.socket, self.interface.as_deref())
    }

    /// Sends a packet to the link-layer address of the peer, whatever its destination is. Does not
    /// wait: what the queue of the interface has no room for is lost, as on any wire.
    pub fn send(&self, datagram: &Datagram<'_>) -> io::Result<()> {
        let peer = self.peer.into();
        self.socket.send_to(&datagram.encode(), &peer).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FRR's, as it was seen on a wire.
    const FRR: [u8; 52] = [
        0x45, 0xc0, 0x00, 0x34, 0x50, 0xb9, 0x00, 0x00, 0xff, 0x11, 0x53, 0xa4, 0x0a, 0x4d, 0x01,
        0x01, 0x0a, 0x4d, 0x01, 0x01, 0x0e, 0xc9, 0x0e, 0xc9, 0x00, 0x20, 0x91, 0xe9, 0x01, 0x18,
        0x00, 0x00, 0x43, 0x7d, 0xc9, 0x60, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x72, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x04, 0x28, 0x2b,
    ];

    #[test]
    fn a_packet_is_read_and_goes_back_as_it_is_but_for_the_ttl() {
        let packet = Datagram::parse(&FRR).expect("a datagram");
        let end = SocketAddrV4::new([10, 77, 1, 1].into(), PORT);
        assert_eq!((packet.from, packet.to, packet.ttl), (end, end, 255));
        assert_eq!(packet.payload, &FRR[28..]);
        let back = packet.returned();
        assert_eq!(back.ttl, 254);
        assert_eq!(Datagram { ttl: 255, ..back }, packet);
        // All behind the IPv4 header, whose rest the kernel writes.
        assert_eq!(back.encode()[12..], FRR[12..]);
    }

    #[test]
    fn the_checksum_is_the_one_that_others_compute() {
        let packet = Datagram::parse(&FRR).expect("a datagram");
        let same = Datagram::new([10, 77, 1, 1].into(), packet.payload);
        assert_eq!(same, packet);
        // Of an odd length, as if a zero followed.
        let odd = Datagram::new([10, 77, 1, 1].into(), &[1, 2, 3]);
        let even = Datagram::new([10, 77, 1, 1].into(), &[1, 2, 3, 0]);
        assert_eq!(odd.checksum, even.checksum + 2, "the length counts twice");
    }

    #[test]
    fn what_was_addressed_to_this_node_goes_to_its_sender() {
        let aimed = Datagram {
            from: "10.77.1.2:50000".parse().expect("an address"),
            ..Datagram::new([10, 77, 1, 1].into(), b"x")
        };
        let back = aimed.returned();
        assert_eq!((back.from, back.to), (aimed.to, aimed.from));
    }

    #[test]
    fn what_is_cut_or_no_datagram_is_not_read() {
        for length in 0..FRR.len() {
            assert_eq!(Datagram::parse(&FRR[..length]), None, "{length}");
        }
        let changed = |place: usize, byte| {
            let mut packet = FRR;
            packet[place] = byte;
            Datagram::parse(&packet).is_some()
        };
        assert!(changed(8, 1), "another TTL");
        for (place, byte) in [(0, 0x65), (0, 0x44), (9, 6), (25, 7), (25, 0x21), (3, 20)] {
            assert!(!changed(place, byte), "{place}: {byte}");
        }
        // A frame is filled up to its least length.
        let filled = [&FRR[..], &[0; 8]].concat();
        assert_eq!(Datagram::parse(&filled), Datagram::parse(&FRR));
    }
}
