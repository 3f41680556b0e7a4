//! What the sockets of routing protocols have in common: options in the order that the kernel wants,
//! and errors that name the option.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::FutureExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Error, option};

/// The loss of the interface is signalled as an error alone, without the socket being readable.
const READABLE_OR_FAILED: Interest = Interest::READABLE.add(Interest::ERROR);

/// How many packets are handled before other tasks get their turn. Readiness of a descriptor takes
/// no part in the runtime's budget, so a flood would otherwise never let go of the thread.
pub(crate) const BATCH: usize = 64;

/// The highest priority in the queues of this host that needs no capability (`TC_PRIO_INTERACTIVE`).
const PRIORITY: u32 = 6;

/// A differentiated services code point (RFC 2474).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dscp(u8);

impl Dscp {
    /// Nothing special.
    pub const DEFAULT: Self = Self(0);
    /// CS6, for routing protocols (RFC 4594 section 3.1); the traffic class is 0xc0.
    pub const CS6: Self = Self(48);

    /// The code point `value`, if it is one of six bits.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The byte in the header: the code point above two bits for congestion.
    pub const fn traffic_class(self) -> u8 {
        self.0 << 2
    }
}

/// What was tried with a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketStep {
    /// To open it.
    Open,
    /// To bind it to this interface or VRF.
    Interface(String),
    /// To bind it to this address.
    Address(SocketAddr),
    /// To set the TTL or hop limit of what is sent.
    HopLimit,
    /// To set the least TTL or hop limit of what is received (RFC 5082).
    MinimumHopLimit,
    /// To set the code point.
    Dscp,
    /// To set, replace or remove a TCP MD5 key (RFC 2385) for this prefix.
    Password(IpAddr, u8),
    /// To have details of received packets told.
    PacketDetails,
    /// To join a multicast group.
    Group(IpAddr),
    /// To connect.
    Connect,
    /// To listen.
    Listen,
    /// To send from this address.
    SendFrom(Ipv6Addr),
    /// Something else, which no configuration can be the reason for.
    Other(&'static str),
}

impl fmt::Display for SocketStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open the socket"),
            Self::Interface(name) => write!(f, "bind to the interface {name}"),
            Self::Address(address) => write!(f, "bind to the address {address}"),
            Self::HopLimit => f.write_str("set the hop limit"),
            Self::MinimumHopLimit => f.write_str("set the least hop limit to accept"),
            Self::Dscp => f.write_str("set the DSCP"),
            Self::Password(address, length) => {
                write!(f, "change the TCP MD5 password for {address}/{length}")
            }
            Self::PacketDetails => f.write_str("ask for the details of packets"),
            Self::Group(group) => write!(f, "join the group {group}"),
            Self::Connect => f.write_str("connect"),
            Self::Listen => f.write_str("listen"),
            Self::SendFrom(source) => write!(f, "send from {source}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl SocketStep {
    /// What to do about an error, to be put behind it.
    pub(crate) fn remedy(&self, error: &io::Error) -> &'static str {
        match (self, error.raw_os_error()) {
            (Self::Open, Some(libc::EPERM | libc::EACCES)) => "; the capability NET_RAW is needed",
            (Self::Open, Some(libc::EAFNOSUPPORT)) => {
                "; the kernel has this address family switched off"
            }
            (Self::Open, Some(libc::EMFILE)) => "; raise the limit of open files",
            (Self::Interface(_) | Self::Group(_), Some(libc::ENODEV)) => {
                "; this node has no interface and no VRF of that name: correct the name, or create it"
            }
            (Self::Interface(_), Some(libc::EPERM)) => {
                "; the capability NET_RAW is needed before Linux 5.7"
            }
            (Self::Address(_), Some(libc::EADDRNOTAVAIL)) => {
                "; no interface of this node has that address, or it is not ready for use yet"
            }
            (Self::Address(_), Some(libc::EADDRINUSE)) => {
                "; another program on this node uses that port: stop it, or configure another port"
            }
            (Self::Address(_), Some(libc::EACCES)) => {
                "; the capability NET_BIND_SERVICE is needed for ports below 1024"
            }
            (Self::Address(_) | Self::Connect, Some(libc::EINVAL)) => {
                "; a link-local address needs its interface"
            }
            (Self::SendFrom(_), Some(libc::EINVAL | libc::EADDRNOTAVAIL)) => {
                "; the interface does not have that address, or it is not ready for use yet"
            }
            (Self::Password(..), Some(libc::ENOPROTOOPT)) => {
                "; the kernel has no TCP MD5 signatures (CONFIG_TCP_MD5SIG), \
                 or before Linux 4.13 none for prefixes"
            }
            (Self::Password(..), Some(libc::ENOMEM)) => {
                "; there are more passwords on one socket than net.core.optmem_max allows: raise it"
            }
            (Self::Connect, Some(libc::ETIMEDOUT)) => {
                "; the peer does not answer: check that packets pass in both directions, \
                 and that both sides have the same password and hop limits"
            }
            (Self::Connect, Some(libc::ECONNREFUSED)) => {
                "; the peer has no BGP there: check its address and port, \
                 and that this node is a neighbor in its configuration"
            }
            (Self::Connect, Some(libc::ENETUNREACH)) => "; there is no route to the peer",
            (Self::Connect, Some(libc::EHOSTUNREACH)) => {
                "; the peer's address does not resolve, or a router or firewall rejects it"
            }
            (Self::Connect, Some(libc::EADDRNOTAVAIL)) => {
                "; this node has no address to use towards the peer, or no free port"
            }
            _ => "",
        }
    }
}

/// A socket under construction, with the words for its errors.
pub(crate) struct Builder {
    socket: Socket,
    /// What it is for: `BGP connection to 192.0.2.1:179`.
    name: String,
}

impl Builder {
    pub(crate) fn open(
        name: String,
        domain: Domain,
        kind: Type,
        protocol: Protocol,
    ) -> Result<Self, Error> {
        match Socket::new(domain, kind.nonblocking(), Some(protocol)) {
            Ok(socket) => Ok(Self { socket, name }),
            Err(source) => Err(Error::Socket {
                socket: name,
                step: SocketStep::Open,
                source,
            }),
        }
    }

    /// One more step on the way.
    pub(crate) fn step(
        &self,
        step: SocketStep,
        call: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<&Self, Error> {
        attempt(&self.name, step, call(&self.socket)).map(|()| self)
    }

    /// Binds to an interface or VRF, if one is given.
    pub(crate) fn interface(&self, name: Option<&str>) -> Result<&Self, Error> {
        let Some(name) = name else { return Ok(self) };
        self.step(SocketStep::Interface(name.to_owned()), |socket| {
            socket.bind_device(Some(name.as_bytes()))
        })
    }

    /// Binds to an address.
    pub(crate) fn address(&self, address: SocketAddr) -> Result<&Self, Error> {
        self.step(SocketStep::Address(address), |socket| {
            socket.bind(&address.into())
        })
    }

    /// The code point, and a place ahead of other traffic in the queues of this host.
    pub(crate) fn dscp(&self, dscp: Dscp) -> Result<&Self, Error> {
        self.step(SocketStep::Dscp, |socket| {
            let class = u32::from(dscp.traffic_class());
            if socket.domain()? == Domain::IPV6 {
                socket.set_tclass_v6(class)?;
            } else {
                socket.set_tos_v4(class)?;
            }
            // After the class, of which IPv4 makes a priority too.
            socket.set_priority(PRIORITY)
        })
    }

    pub(crate) fn hop_limit(&self, limit: u8) -> Result<&Self, Error> {
        self.step(SocketStep::HopLimit, |socket| set_hop_limit(socket, limit))
    }

    pub(crate) fn finish(self) -> (Socket, String) {
        (self.socket, self.name)
    }
}

/// `result` with the words that [`Error::Socket`] needs.
pub(crate) fn attempt<T>(
    socket: &str,
    step: SocketStep,
    result: io::Result<T>,
) -> Result<T, Error> {
    result.map_err(|source| Error::Socket {
        socket: socket.to_owned(),
        step,
        source,
    })
}

/// The address to bind to for packets to `remote`: in its scope if it is of one link only, and the
/// unspecified one of its family if none is given.
pub(crate) fn source(local: Option<IpAddr>, remote: SocketAddr, port: u16) -> SocketAddr {
    let local = local.unwrap_or_else(|| match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let mut address = SocketAddr::new(local, port);
    if let (SocketAddr::V6(address), SocketAddr::V6(remote)) = (&mut address, remote)
        && address.ip().is_unicast_link_local()
    {
        address.set_scope_id(remote.scope_id());
    }
    address
}

/// The TTL or hop limit of unicast packets that `socket` sends.
pub(crate) fn set_hop_limit(socket: &Socket, limit: u8) -> io::Result<()> {
    if socket.domain()? == Domain::IPV6 {
        socket.set_unicast_hops_v6(limit.into())
    } else {
        socket.set_ttl_v4(limit.into())
    }
}

/// What a TCP connection drops: packets of a lower TTL or hop limit; 0 drops nothing.
pub(crate) fn set_minimum_hop_limit(socket: &Socket, limit: u8) -> io::Result<()> {
    let (level, name) = if socket.domain()? == Domain::IPV6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)
    } else {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    };
    option::set(socket, level, name, &libc::c_int::from(limit))
}

/// The interface or VRF that the socket was bound to is gone, or has another name: what has its name now
/// sends and receives nothing for this socket.
pub(crate) fn is_stranded(socket: &Socket, interface: Option<&str>) -> bool {
    interface.is_some_and(|interface| match socket.device() {
        Ok(device) => device.is_none_or(|name| name != interface.as_bytes()),
        Err(error) => error.raw_os_error() == Some(libc::ENODEV),
    })
}

/// Makes a socket known to the runtime.
#[allow(
    unsafe_code,
    reason = "the only constructor of AsyncFd that is not deprecated"
)]
pub(crate) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, which stays open and the same until it is dropped,
    // and nothing takes it out of the `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(socket, READABLE_OR_FAILED) }.map_err(Into::into)
}

/// Waits until `socket` has something and calls `take` until it says `WouldBlock`, at most
/// [`BATCH`] times; returns how often it succeeded. Cancel-safe, and lets other tasks run after a
/// full batch.
pub(crate) async fn drain(
    socket: &AsyncFd<Socket>,
    mut take: impl FnMut(&Socket) -> io::Result<()>,
) -> io::Result<usize> {
    loop {
        tokio::task::consume_budget().await;
        let mut ready = socket.ready(READABLE_OR_FAILED).await?;
        let mut taken = 0;
        while taken < BATCH {
            match ready.try_io(|socket| take(socket.get_ref())) {
                Ok(Ok(())) => taken += 1,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                // Nothing left.
                Err(_) => break,
            }
        }
        drop(ready);
        if taken == BATCH {
            tokio::task::yield_now().await;
        }
        if taken > 0 {
            return Ok(taken);
        }
    }
}

/// The same without waiting: fewer than [`BATCH`] mean that there is nothing left. Then [`readable`]
/// waits again.
pub(crate) fn take_what_is_there(
    socket: &AsyncFd<Socket>,
    mut take: impl FnMut(&Socket) -> io::Result<()>,
) -> io::Result<usize> {
    // What arrives from here on makes it ready anew, so that clearing this one loses nothing.
    let ready = socket.ready(READABLE_OR_FAILED).now_or_never();
    let mut taken = 0;
    while taken < BATCH {
        match take(socket.get_ref()) {
            Ok(()) => taken += 1,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(Ok(mut ready)) = ready {
                    ready.clear_ready();
                }
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Waits until there may be something to take.
pub(crate) async fn readable(socket: &AsyncFd<Socket>) -> io::Result<()> {
    let mut ready = socket.ready(READABLE_OR_FAILED).await?;
    ready.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_of_the_family_and_the_scope_of_the_peer() {
        let source = |local: Option<&str>, remote: &str| {
            let local = local.map(|local| local.parse().expect("an address"));
            source(local, remote.parse().expect("an address"), 5).to_string()
        };
        let peer = "[fe80::1%7]:179";
        assert_eq!(source(Some("fe80::2"), peer), "[fe80::2%7]:5");
        assert_eq!(source(Some("2001:db8::2"), peer), "[2001:db8::2]:5");
        assert_eq!(source(None, peer), "[::]:5");
        assert_eq!(source(None, "192.0.2.1:179"), "0.0.0.0:5");
    }

    #[test]
    fn an_error_says_what_is_missing_and_what_to_do() {
        let text = |step, code| {
            let error = Error::Socket {
                socket: "BGP connection to 192.0.2.1:179".to_owned(),
                step,
                source: io::Error::from_raw_os_error(code),
            };
            error.to_string()
        };
        let peer = [192, 0, 2, 1].into();
        let password = text(SocketStep::Password(peer, 32), libc::ENOPROTOOPT);
        assert!(
            password.starts_with(
                "BGP connection to 192.0.2.1:179: \
                 cannot change the TCP MD5 password for 192.0.2.1/32: "
            ),
            "{password}"
        );
        assert!(password.contains("CONFIG_TCP_MD5SIG"), "{password}");
        let raw = text(SocketStep::Open, libc::EPERM);
        assert!(raw.contains("the capability NET_RAW"), "{raw}");
        let port = text(
            SocketStep::Address(SocketAddr::new(peer, 179)),
            libc::EACCES,
        );
        assert!(port.contains("the capability NET_BIND_SERVICE"), "{port}");
        let refused = text(SocketStep::Connect, libc::ECONNREFUSED);
        assert!(
            refused.contains("a neighbor in its configuration"),
            "{refused}"
        );
    }

    #[test]
    fn whose_attempt_it_was_need_not_be_said_twice() {
        let failed = |step| Error::Socket {
            socket: "BGP connection to 192.0.2.1:179".to_owned(),
            step,
            source: io::Error::from_raw_os_error(libc::EHOSTUNREACH),
        };
        let attempt = failed(SocketStep::Connect).of_attempt();
        assert!(attempt.starts_with("No route to host"), "{attempt}");
        let open = failed(SocketStep::Open);
        assert_eq!(open.of_attempt(), open.to_string());
    }

    #[test]
    fn a_code_point_has_six_bits() {
        assert_eq!(Dscp::new(48), Some(Dscp::CS6));
        assert_eq!(Dscp::CS6.traffic_class(), 0xc0);
        assert_eq!(Dscp::new(64), None);
    }
}
