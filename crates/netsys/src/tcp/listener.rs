//! Connections that peers make.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{Hops, Password, password, set_hops_named};
use crate::socket::{Builder, attempt, is_stranded, set_minimum_hop_limit};
use crate::{Dscp, Error, SocketStep};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// The address, or the unspecified one of a family; IPv6 does not include IPv4.
    pub local: SocketAddr,
    /// The interface or VRF to bind to, by name.
    pub interface: Option<String>,
    /// What holds for every connection until [`set_hops`](super::set_hops) says otherwise for one.
    /// A peer with TTL security takes part in a handshake only if 255 is sent, and the handshake of
    /// a peer without it fails if this asks for it.
    pub hops: Hops,
    /// The code point of all packets.
    pub dscp: Dscp,
    /// How many connections may wait to be accepted.
    pub backlog: u16,
}

impl ListenOptions {
    /// Listens at `local` for peers at any distance.
    pub const fn at(local: SocketAddr) -> Self {
        Self {
            local,
            interface: None,
            hops: Hops::ANY,
            dscp: Dscp::CS6,
            backlog: 64,
        }
    }
}

/// A socket that listens, with a password for each peer or prefix of peers.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    name: String,
    interface: Option<String>,
}

/// Listens. Must be called within a tokio runtime.
pub fn listen(options: &ListenOptions) -> Result<Listener, Error> {
    let local = options.local;
    let builder = Builder::open(
        format!("BGP listener at {local}"),
        Domain::for_address(local),
        Type::STREAM,
        Protocol::TCP,
    )?;
    if local.is_ipv6() {
        let step = SocketStep::Other("keep IPv4 out");
        builder.step(step, |socket| socket.set_only_v6(true))?;
    }
    builder
        // Connections of an earlier run that linger do not hold the port.
        .step(SocketStep::Other("share the port with the past"), |s| {
            s.set_reuse_address(true)
        })?
        .interface(options.interface.as_deref())?
        .hop_limit(options.hops.sent())?
        .step(SocketStep::MinimumHopLimit, |socket| {
            set_minimum_hop_limit(socket, options.hops.least())
        })?
        .dscp(options.dscp)?
        .step(
            SocketStep::Other("switch off the delay of small writes"),
            |s| s.set_tcp_nodelay(true),
        )?
        .address(local)?
        .step(SocketStep::Listen, |s| s.listen(options.backlog.into()))?;
    let (socket, name) = builder.finish();
    let listener = TcpListener::from_std(socket.into());
    let listener = attempt(&name, SocketStep::Other("register the socket"), listener)?;
    Ok(Listener {
        socket: listener,
        name,
        interface: options.interface.clone(),
    })
}

impl Listener {
    /// The next connection and its peer. Cancel-safe. It has the listener's options and the password
    /// that its handshake was signed with. An error may pass, as when the limit of open files is
    /// reached: wait a little before the next call.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept().await
    }

    /// The next connection and its peer, if one has been made already: before a change of what holds
    /// for it, say. `None` if there is none, or if it cannot be accepted.
    pub fn accept_made(&self) -> Option<(TcpStream, SocketAddr)> {
        // The socket itself never blocks.
        let (stream, from) = SockRef::from(&self.socket).accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let stream = TcpStream::from_std(stream.into()).ok()?;
        Some((stream, from.as_socket()?))
    }

    /// Sets, replaces or removes the password of the peers in the prefix `address/length`; the
    /// longest prefix with a password wins. Peers without one must not sign, and those with one must.
    /// Connections that were accepted keep theirs: see [`set_password`](super::set_password).
    ///
    /// The kernel knows a link-local address without its interface: peers of one such address on two
    /// interfaces, with different passwords, need a listener for each interface.
    pub fn set_password(
        &self,
        address: IpAddr,
        length: u8,
        password: Option<&Password>,
    ) -> Result<(), Error> {
        password::set_named(&self.socket, &self.name, (address, length), password)
    }

    /// Changes what holds for the connections that are made from now on.
    pub fn set_hops(&self, hops: Hops) -> Result<(), Error> {
        set_hops_named(&SockRef::from(&self.socket), &self.name, hops)
    }

    /// The interface or VRF that it listens on is gone, or has another name: what has its name now needs
    /// a listener of its own.
    pub fn is_stranded(&self) -> bool {
        is_stranded(&SockRef::from(&self.socket), self.interface.as_deref())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
