//! UDP sockets for BFD control packets (RFC 5881, RFC 5883).
//!
//! One [`Receiver`] for each port and family takes the packets of all sessions. Each session has a
//! [`Sender`], whose source port is its own and stays the same (RFC 5881 section 4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::datagram::{ask_for_envelopes, control_buffer, receive};
use crate::filter::least_hop_limit;
use crate::socket::{
    Builder, attempt, drain, is_stranded, readable, register, source, take_what_is_there,
};
use crate::{Dscp, Error, SocketStep, option};

/// The longest packet that the length field of BFD can describe.
const MAX_PACKET: usize = 255;

/// The receive buffer asked for; the kernel gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The first source port (RFC 5881 section 4); the last is 65535. All of them have its two bits.
const FIRST_SOURCE_PORT: u16 = 49152;

/// A packet that was received. Nothing about it has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it, with the port; a link-local address has the interface's index as scope.
    pub from: SocketAddr,
    /// The address of this node that it was sent to.
    pub local: IpAddr,
    /// The index of the interface it was received on.
    pub interface: u32,
    /// The TTL or hop limit it arrived with. Not below 255 on a single hop (RFC 5881 section 5).
    pub ttl: u8,
    /// The packet, or its first 255 bytes: none is longer.
    pub packet: &'a [u8],
}

/// Receives the packets of all sessions of one port and one family.
#[derive(Debug)]
pub struct Receiver {
    socket: AsyncFd<Socket>,
    v6: bool,
    interface: Option<String>,
}

impl Receiver {
    /// How many packets are taken at once.
    pub const BATCH: usize = crate::socket::BATCH;

    /// Listens at `local`, which is an address of this node or the unspecified one of a family (IPv6
    /// does not include IPv4), with the port of one kind of session; on one interface or VRF if it is
    /// given by name. The kernel drops what arrives with a TTL or hop limit below `least`, so that those
    /// who are farther away than peers may be cannot fill the buffer. Must be called within a tokio
    /// runtime.
    pub fn open(local: SocketAddr, interface: Option<&str>, least: u8) -> Result<Self, Error> {
        let builder = open(format!("BFD receiver at {local}"), local)?;
        if local.is_ipv6() {
            let step = SocketStep::Other("keep IPv4 out");
            builder.step(step, |socket| socket.set_only_v6(true))?;
        }
        builder
            .step(SocketStep::PacketDetails, ask_for_envelopes)?
            .step(SocketStep::MinimumHopLimit, |socket| {
                socket.attach_filter(&least_hop_limit(local.is_ipv6(), least))
            })?
            .interface(interface)?
            .address(local)?;
        let (socket, name) = builder.finish();
        // More room for bursts is a wish; the default works too.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let step = SocketStep::Other("register the socket");
        let socket = attempt(&name, step, register(socket))?;
        Ok(Self {
            socket,
            v6: local.is_ipv6(),
            interface: interface.map(str::to_owned),
        })
    }

    /// Replaces the least TTL or hop limit. What has arrived before is not looked at again.
    pub fn set_least(&self, least: u8) -> io::Result<()> {
        let filter = least_hop_limit(self.v6, least);
        self.socket.get_ref().attach_filter(&filter)
    }

    /// How many datagrams the kernel has dropped here: they came from too far away, or faster than they
    /// were taken. It begins anew after 4,294,967,295.
    pub fn drops(&self) -> io::Result<u32> {
        option::drops(self.socket.get_ref())
    }

    /// The interface or VRF that it was opened on is gone, or has another name: what has its name now
    /// needs a receiver of its own.
    pub fn is_stranded(&self) -> bool {
        is_stranded(self.socket.get_ref(), self.interface.as_deref())
    }

    /// Waits for packets and calls `handle` with each; returns how many there were, at most
    /// [`Self::BATCH`]. Cancel-safe: packets that were taken have been handled. Lets other tasks run
    /// after so many.
    pub async fn receive(&self, mut handle: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut buffer = [0; MAX_PACKET];
        let mut control = control_buffer();
        let take = |socket: &Socket| take(socket, &mut buffer, &mut control, &mut handle);
        drain(&self.socket, take).await
    }

    /// The same without waiting, and without regard for other tasks. Fewer than
    /// [`Self::BATCH`] mean that the socket was found empty, so that it is certain which peers are
    /// silent.
    pub fn try_receive(&self, mut handle: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut buffer = [0; MAX_PACKET];
        let mut control = control_buffer();
        let take = |socket: &Socket| take(socket, &mut buffer, &mut control, &mut handle);
        take_what_is_there(&self.socket, take)
    }

    /// Waits until there may be something for [`Receiver::try_receive`], which found the socket empty
    /// before. Cancel-safe.
    pub async fn readable(&self) -> io::Result<()> {
        readable(&self.socket).await
    }
}

fn take(
    socket: &Socket,
    buffer: &mut [u8],
    control: &mut [u8],
    handle: &mut impl FnMut(Datagram<'_>),
) -> io::Result<()> {
    let envelope = receive(socket, buffer, control)?;
    handle(Datagram {
        from: envelope.from,
        local: envelope.to,
        interface: envelope.interface,
        ttl: envelope.hop_limit,
        packet: buffer.get(..envelope.length).unwrap_or_default(),
    });
    Ok(())
}

/// Where a session's packets go and come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The other end, with the port of this kind of session. A link-local address needs `interface`,
    /// or its index as scope.
    pub remote: SocketAddr,
    /// The source address; the kernel's choice for each packet if `None`.
    pub local: Option<IpAddr>,
    /// The interface or VRF to bind to, by name.
    pub interface: Option<String>,
}

/// Sends the packets of one session, with TTL 255 and code point CS6.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    remote: SocketAddr,
    source_port: u16,
    interface: Option<String>,
}

impl Sender {
    /// Opens a socket with a source port that no other has.
    pub fn open(session: &Session) -> Result<Self, Error> {
        let remote = session.remote;
        let builder = open(format!("BFD session with {remote}"), remote)?;
        builder
            .interface(session.interface.as_deref())?
            .hop_limit(u8::MAX)?
            .dscp(Dscp::CS6)?;
        let source_port = bind(&builder, session)?;
        let (socket, _) = builder.finish();
        // It only sends: what others send to its port is not read, and need not be kept.
        let _ = socket.set_recv_buffer_size(0);
        Ok(Self {
            socket,
            remote,
            source_port,
            interface: session.interface.clone(),
        })
    }

    /// As [`Receiver::is_stranded`].
    pub fn is_stranded(&self) -> bool {
        is_stranded(&self.socket, self.interface.as_deref())
    }

    /// Sends a packet. Does not wait: if the queue of the interface is full the error is of kind
    /// `WouldBlock` and the packet is lost, as on any wire.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, &self.remote.into()).map(|_| ())
    }

    /// The source port, 49152 to 65535.
    pub const fn source_port(&self) -> u16 {
        self.source_port
    }
}

fn open(name: String, address: SocketAddr) -> Result<Builder, Error> {
    let domain = Domain::for_address(address);
    Builder::open(name, domain, Type::DGRAM, Protocol::UDP)
}

/// Binds to a free source port. The search begins behind the port found last, so that a session that
/// follows another does not get its port.
fn bind(builder: &Builder, session: &Session) -> Result<u16, Error> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut others = u16::MAX - FIRST_SOURCE_PORT;
    loop {
        let port = FIRST_SOURCE_PORT | NEXT.fetch_add(1, Ordering::Relaxed);
        match builder.address(source(session.local, session.remote, port)) {
            Ok(_) => return Ok(port),
            Err(Error::Socket { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && others > 0 =>
            {
                others -= 1;
            }
            Err(error) => return Err(error),
        }
    }
}
