//! Link-layer frames of one Ethernet type on one interface.

use std::io::{self, ErrorKind, Read};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::filter::guarded;
use crate::option::{self, ON};
use crate::socket::{drain, register};
use crate::{Error, Instruction};

/// The frames a socket receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum EtherType {
    /// ARP (0x0806).
    Arp = 0x0806,
    /// IPv4 (0x0800).
    Ipv4 = 0x0800,
    /// IPv6 (0x86dd).
    Ipv6 = 0x86dd,
}

/// The receive buffer asked for; the kernel gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// `PACKET_IGNORE_OUTGOING` (Linux 4.20).
pub(crate) const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// A raw packet socket. It sees only frames that arrived on its interface and pass its filter, from
/// the first one on; never what this host sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
    interface: u32,
}

impl PacketSocket {
    /// Opens a socket for frames of `ether_type` on the interface with index `interface` that pass
    /// `filter`. Must be called within a tokio runtime; needs the capability `NET_RAW`.
    ///
    /// The socket is made with protocol 0, gets its filter, and is bound only then, so that no frame
    /// is received unfiltered.
    pub fn open(
        interface: u32,
        ether_type: EtherType,
        filter: &[Instruction],
    ) -> Result<Self, Error> {
        let program = guarded(interface, filter)?;
        let failed = |step| {
            move |source| Error::OpenPacketSocket {
                interface,
                step,
                source,
            }
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(failed("socket"))?;
        socket.set_nonblocking(true).map_err(failed("nonblock"))?;
        socket
            .attach_filter(&program)
            .map_err(|source| Error::SetFilter { interface, source })?;
        option::set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &ON)
            .map_err(failed("PACKET_IGNORE_OUTGOING"))?;
        // More room for bursts is a wish; the default works too.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let address = link_address(interface, ether_type).map_err(failed("address"))?;
        socket.bind(&address).map_err(failed("bind"))?;
        let socket = register(socket).map_err(failed("register"))?;
        Ok(Self { socket, interface })
    }

    /// Puts `filter` in the place of the present one, at once: no frame passes unfiltered.
    pub fn set_filter(&self, filter: &[Instruction]) -> Result<(), Error> {
        let program = guarded(self.interface, filter)?;
        self.socket
            .get_ref()
            .attach_filter(&program)
            .map_err(|source| Error::SetFilter {
                interface: self.interface,
                source,
            })
    }

    /// The most frames that one [`receive`](Self::receive) takes in: after as many there may be more.
    pub const BATCH: usize = crate::socket::BATCH;

    /// Waits for frames and calls `handle` with each, cut to the length of `buffer`; returns how
    /// many there were, at most [`Self::BATCH`]. Cancel-safe: frames that were taken have been handled.
    /// Lets other tasks run after a full batch, and ends there if its task was aborted.
    ///
    /// An error means that the interface went down or is gone: the socket has to be opened anew.
    pub async fn receive(
        &self,
        buffer: &mut [u8],
        mut handle: impl FnMut(&mut [u8]),
    ) -> io::Result<usize> {
        drain(&self.socket, |mut socket| {
            let length = socket.read(buffer)?;
            if let Some(frame) = buffer.get_mut(..length) {
                handle(frame);
            }
            Ok(())
        })
        .await
    }

    /// Sends a frame, complete with its Ethernet header. Does not wait: if the queue of the
    /// interface is full the error is of kind `WouldBlock` and the frame is lost, as on any wire.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.get_ref().send(frame).map(|_| ())
    }
}

#[allow(unsafe_code, reason = "socket2 cannot make link-layer addresses")]
pub(crate) fn link_address(interface: u32, ether_type: EtherType) -> io::Result<SockAddr> {
    let index = i32::try_from(interface).map_err(|_| ErrorKind::InvalidInput)?;
    let family =
        libc::sa_family_t::try_from(libc::AF_PACKET).map_err(|_| ErrorKind::InvalidInput)?;
    let length = socklen(size_of::<libc::sockaddr_ll>())?;
    let link = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: (ether_type as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    const { assert!(size_of::<libc::sockaddr_ll>() <= size_of::<libc::sockaddr_storage>()) };
    const { assert!(align_of::<libc::sockaddr_ll>() <= align_of::<libc::sockaddr_storage>()) };
    // SAFETY: the storage is valid for writes of a `sockaddr_storage`, which is at least as large
    // and as aligned as `sockaddr_ll`; the family and length stored are those of `sockaddr_ll`.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, stored_length| {
            storage.cast::<libc::sockaddr_ll>().write(link);
            *stored_length = length;
            Ok(())
        })?
    };
    Ok(address)
}

fn socklen(length: usize) -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(length).map_err(|_| ErrorKind::InvalidInput.into())
}
