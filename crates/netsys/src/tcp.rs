//! TCP connections for BGP: MD5 signatures (RFC 2385), TTL security (RFC 5082), source address,
//! interface or VRF, and DSCP, all of it set before the first packet leaves.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::socket::{Builder, attempt, set_hop_limit, set_minimum_hop_limit, source};
use crate::{Dscp, Error, SocketStep, option};

mod listener;
mod password;

pub use listener::{ListenOptions, Listener, listen};
pub use password::{MAX_PASSWORD, Password};

/// The TTL (IPv4) or hop limit (IPv6) of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hops {
    /// Sends with this limit and takes any: the peer may be so many hops away. 1 is the rule for
    /// eBGP with a neighbour on the same link.
    Limit(NonZeroU8),
    /// TTL security (GTSM, RFC 5082): sends with 255, and the kernel drops what comes from further
    /// away than so many hops. 1 is a neighbour on the same link, whose packets arrive with 255.
    Within(NonZeroU8),
}

impl Hops {
    /// To and from a neighbour on the same link, without TTL security.
    pub const ONE: Self = Self::Limit(NonZeroU8::MIN);
    /// As far as packets go.
    pub const ANY: Self = Self::Limit(NonZeroU8::MAX);

    /// Sends what either asks for, and takes what either takes.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Limit(one), Self::Limit(two)) => Self::Limit(one.max(two)),
            (Self::Within(one), Self::Within(two)) => Self::Within(one.max(two)),
            _ => Self::ANY,
        }
    }

    const fn sent(self) -> u8 {
        match self {
            Self::Limit(hops) => hops.get(),
            Self::Within(_) => u8::MAX,
        }
    }

    /// 0 takes any.
    const fn least(self) -> u8 {
        match self {
            Self::Limit(_) => 0,
            Self::Within(hops) => u8::MAX - (hops.get() - 1),
        }
    }
}

/// A connection to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The peer. A link-local address needs `interface`, or its index as scope.
    pub remote: SocketAddr,
    /// The source address; the kernel's choice if `None`.
    pub local: Option<IpAddr>,
    /// The interface or VRF to bind to, by name.
    pub interface: Option<String>,
    /// How far away the peer may be.
    pub hops: Hops,
    /// The password for MD5 signatures; none are sent or taken if `None`.
    pub password: Option<Password>,
    /// The code point of all packets.
    pub dscp: Dscp,
}

impl Options {
    /// A neighbour on the same link, with nothing else asked for.
    pub const fn to(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
            interface: None,
            hops: Hops::ONE,
            password: None,
            dscp: Dscp::CS6,
        }
    }
}

/// Connects. Waits as long as the kernel tries, which without an answer is two minutes. Cancel-safe:
/// if dropped, the attempt is given up. Must be called within a tokio runtime.
pub async fn connect(options: &Options) -> Result<TcpStream, Error> {
    let (socket, name) = prepare(options)?.finish();
    let socket = TcpSocket::from_std_stream(socket.into());
    attempt(
        &name,
        SocketStep::Connect,
        socket.connect(options.remote).await,
    )
}

fn prepare(options: &Options) -> Result<Builder, Error> {
    let remote = options.remote;
    let name = format!("BGP connection to {remote}");
    let builder = Builder::open(
        name,
        Domain::for_address(remote),
        Type::STREAM,
        Protocol::TCP,
    )?;
    builder
        .interface(options.interface.as_deref())?
        .hop_limit(options.hops.sent())?
        .step(SocketStep::MinimumHopLimit, |socket| {
            set_minimum_hop_limit(socket, options.hops.least())
        })?
        .dscp(options.dscp)?
        .step(
            SocketStep::Other("switch off the delay of small writes"),
            |s| s.set_tcp_nodelay(true),
        )?;
    if options.local.is_some() {
        builder.address(source(options.local, remote, 0))?;
    }
    if let Some(password) = &options.password {
        let address = remote.ip();
        let length = password::full_length(address);
        builder.step(SocketStep::Password(address, length), |socket| {
            password::set(socket, address, length, Some(password))
        })?;
    }
    Ok(builder)
}

/// Changes how far away the peer of a connection may be, at once.
pub fn set_hops(connection: &impl AsFd, hops: Hops) -> Result<(), Error> {
    let socket = SockRef::from(connection);
    set_hops_named(&socket, &name_of(&socket), hops)
}

fn set_hops_named(socket: &SockRef<'_>, name: &str, hops: Hops) -> Result<(), Error> {
    let sent = set_hop_limit(socket, hops.sent());
    attempt(name, SocketStep::HopLimit, sent)?;
    let least = set_minimum_hop_limit(socket, hops.least());
    attempt(name, SocketStep::MinimumHopLimit, least)
}

/// Replaces the password of a connection, or removes it, without an interruption: what one side
/// signs with the new password is sent again until the other side has it too.
pub fn set_password(connection: &TcpStream, password: Option<&Password>) -> Result<(), Error> {
    let socket = SockRef::from(connection);
    let address = connection.peer_addr().map(|peer| peer.ip());
    let address = attempt(
        "BGP connection",
        SocketStep::Other("read the peer's address"),
        address,
    )?;
    let peer = (address, password::full_length(address));
    password::set_named(connection, &name_of(&socket), peer, password)
}

/// Makes the end of a connection be a reset, at once and with nothing left behind: what waits to be
/// sent is dropped with it.
pub fn reset_when_closed(connection: &impl AsFd) -> io::Result<()> {
    SockRef::from(connection).set_linger(Some(Duration::ZERO))
}

/// The interface or VRF that a connection is bound to is gone: nothing will ever arrive on it, even if
/// there is one of that name again.
pub fn is_stranded(connection: &impl AsFd) -> bool {
    let device = SockRef::from(connection).device();
    device.is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV))
}

/// How many bytes that were written to a connection its peer has not acknowledged yet, sent or not.
/// If this stays as it is, the peer takes nothing (RFC 9687).
pub fn queued(connection: &impl AsFd) -> io::Result<usize> {
    option::output_queue(connection)
}

fn name_of(socket: &SockRef<'_>) -> String {
    match socket.peer_addr().map(|peer| peer.as_socket()) {
        Ok(Some(peer)) => format!("BGP connection to {peer}"),
        _ => "BGP connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(n: u8) -> NonZeroU8 {
        NonZeroU8::new(n).expect("not zero")
    }

    #[test]
    fn ttl_security_takes_only_what_came_so_many_hops() {
        let sent_and_least = |hops: Hops| (hops.sent(), hops.least());
        assert_eq!(sent_and_least(Hops::Within(hops(1))), (255, 255));
        assert_eq!(sent_and_least(Hops::Within(hops(2))), (255, 254));
        assert_eq!(sent_and_least(Hops::Within(hops(255))), (255, 1));
        assert_eq!(sent_and_least(Hops::ONE), (1, 0));
        assert_eq!(sent_and_least(Hops::ANY), (255, 0));
        let either = |one: Hops, two| sent_and_least(one.or(two));
        assert_eq!(either(Hops::ONE, Hops::Within(hops(1))), (255, 0));
        assert_eq!(
            either(Hops::Within(hops(3)), Hops::Within(hops(1))),
            (255, 253)
        );
        assert_eq!(either(Hops::ONE, Hops::Limit(hops(3))), (3, 0));
    }
}
