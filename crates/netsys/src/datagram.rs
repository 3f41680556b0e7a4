//! Datagrams with what their headers said.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Domain, Socket};

use crate::option::{self, ON};

/// What is known about a received datagram besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
    /// The index of the interface it was received on.
    pub(crate) interface: u32,
    pub(crate) hop_limit: u8,
    /// How much of the buffer it fills; what did not fit is lost.
    pub(crate) length: usize,
}

/// Asks for all that [`Envelope`] has.
pub(crate) fn ask_for_envelopes(socket: &Socket) -> io::Result<()> {
    if socket.domain()? == Domain::IPV6 {
        socket.set_recv_hoplimit_v6(true)?;
        option::set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &ON)
    } else {
        option::set(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, &ON)?;
        option::set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &ON)
    }
}

/// Room for the control messages of one datagram of either family.
pub(crate) fn control_buffer() -> Vec<u8> {
    cmsg_space!(libc::c_int, libc::in6_pktinfo)
}

/// Takes one datagram, without waiting.
pub(crate) fn receive(
    socket: &Socket,
    buffer: &mut [u8],
    control: &mut [u8],
) -> io::Result<Envelope> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        MsgFlags::empty(),
    )?;
    let mut arrival = None;
    let mut hop_limit = None;
    for detail in message.cmsgs()? {
        match detail {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                arrival = u32::try_from(info.ipi_ifindex).ok().map(|i| (to.into(), i));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                arrival = Some((IpAddr::from(to), info.ipi6_ifindex));
            }
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => {
                hop_limit = u8::try_from(limit).ok();
            }
            _ => {}
        }
    }
    let from = message.address.as_ref().and_then(|address| {
        let v4 = || {
            address
                .as_sockaddr_in()
                .map(|a| SocketAddr::V4((*a).into()))
        };
        let v6 = || {
            address
                .as_sockaddr_in6()
                .map(|a| SocketAddr::V6((*a).into()))
        };
        v4().or_else(v6)
    });
    match (from, arrival, hop_limit) {
        (Some(from), Some((to, interface)), Some(hop_limit)) => Ok(Envelope {
            from,
            to,
            interface,
            hop_limit,
            length: message.bytes,
        }),
        // They were asked for before the socket was bound.
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "the kernel does not tell the details of a datagram",
        )),
    }
}
