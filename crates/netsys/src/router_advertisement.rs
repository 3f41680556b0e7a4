//! Router advertisements (RFC 4861) on one link, by which BGP peers without configured addresses find
//! each other's link-local address.
//!
//! The kernel ignores advertisements on a host that forwards, as every Kubernetes node does; this
//! reads them beside the kernel, and changes nothing about its routes and neighbours.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn6, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::datagram::{ask_for_envelopes, control_buffer, receive};
use crate::socket::{Builder, attempt, drain, register};
use crate::{Dscp, Error, SocketStep, option};

mod wire;

pub use wire::Message;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// `ICMPV6_FILTER`.
const ICMPV6_FILTER: libc::c_int = 1;

/// The longest packet that is looked at: an Ethernet frame's.
const MAX_PACKET: usize = 1500;

/// A raw ICMP socket that sees only router solicitations and advertisements of one interface.
#[derive(Debug)]
pub struct RouterSocket {
    socket: AsyncFd<Socket>,
    interface: u32,
}

impl RouterSocket {
    /// Opens a socket on the interface with index `interface`. Must be called within a tokio
    /// runtime; needs the capability `NET_RAW`.
    pub fn open(interface: u32) -> Result<Self, Error> {
        let name = name_on(interface);
        let builder = Builder::open(name, Domain::IPV6, Type::RAW, Protocol::ICMPV6)?;
        builder
            // First, so that nothing else is received.
            .step(SocketStep::Other("set the filter"), |socket| {
                option::set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter())
            })?
            .step(SocketStep::Interface(interface.to_string()), |socket| {
                socket.bind_device_by_index_v6(NonZeroU32::new(interface))
            })?
            .step(SocketStep::PacketDetails, ask_for_envelopes)?
            .hop_limit(u8::MAX)?
            .step(SocketStep::HopLimit, |socket| {
                socket.set_multicast_hops_v6(u8::MAX.into())
            })?
            .dscp(Dscp::CS6)?
            .step(SocketStep::Other("keep out what it sends"), |socket| {
                socket.set_multicast_loop_v6(false)
            })?
            // Every node is in the group of all nodes.
            .step(SocketStep::Group(ALL_ROUTERS.into()), |socket| {
                socket.join_multicast_v6(&ALL_ROUTERS, interface)
            })?;
        let (socket, name) = builder.finish();
        let step = SocketStep::Other("register the socket");
        let socket = attempt(&name, step, register(socket))?;
        Ok(Self { socket, interface })
    }

    /// Tells all nodes of the link, or one of them, that there is a router with the link-local
    /// address `source` and this MAC address, which is no default router. The interface must have the
    /// address, ready for use: an advertisement from another is not valid.
    pub fn advertise(
        &self,
        source: Ipv6Addr,
        mac: [u8; 6],
        to: Option<Ipv6Addr>,
    ) -> Result<(), Error> {
        let to = to.unwrap_or(ALL_NODES);
        self.send(source, to, &wire::advertisement(mac))
    }

    /// Asks all routers of the link to advertise now, not only when it is time. `source` and the MAC
    /// address are those of this interface, as above.
    pub fn solicit(&self, source: Ipv6Addr, mac: [u8; 6]) -> Result<(), Error> {
        self.send(source, ALL_ROUTERS, &wire::solicitation(mac))
    }

    fn send(&self, source: Ipv6Addr, to: Ipv6Addr, packet: &[u8]) -> Result<(), Error> {
        let sent = self.send_message(source, to, packet);
        sent.map_err(|error| Error::Socket {
            socket: name_on(self.interface),
            step: SocketStep::SendFrom(source),
            source: error,
        })
    }

    fn send_message(&self, source: Ipv6Addr, to: Ipv6Addr, packet: &[u8]) -> io::Result<()> {
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: source.octets(),
            },
            ipi6_ifindex: self.interface,
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.interface));
        sendmsg(
            self.socket.get_ref().as_raw_fd(),
            &[IoSlice::new(packet)],
            &[ControlMessage::Ipv6PacketInfo(&info)],
            MsgFlags::empty(),
            Some(&to),
        )?;
        Ok(())
    }

    /// Waits for packets and calls `handle` with each valid message; returns how many packets there
    /// were, at most 64. Cancel-safe: what was taken has been handled. Lets other tasks run after 64
    /// packets.
    ///
    /// If the interface goes away nothing more comes, and there is no error: a
    /// [`Monitor`](crate::Monitor) tells.
    pub async fn receive(&self, mut handle: impl FnMut(Message)) -> io::Result<usize> {
        let mut buffer = [0; MAX_PACKET];
        let mut control = control_buffer();
        drain(&self.socket, |socket| {
            let envelope = receive(socket, &mut buffer, &mut control)?;
            let packet = buffer.get(..envelope.length).unwrap_or_default();
            if let IpAddr::V6(from) = envelope.from.ip()
                && let Some(message) = Message::parse(from, envelope.hop_limit, packet)
            {
                handle(message);
            }
            Ok(())
        })
        .await
    }
}

fn name_on(interface: u32) -> String {
    format!("router advertisements on interface {interface}")
}

/// A bit for each of the 256 types of ICMP; one that is set blocks.
fn filter() -> [u32; 8] {
    let mut blocked = [u32::MAX; 8];
    for passed in [wire::SOLICITATION, wire::ADVERTISEMENT] {
        if let Some(word) = blocked.get_mut(usize::from(passed >> 5)) {
            *word &= !(1 << (passed & 31));
        }
    }
    blocked
}
