//! A scripted peer: an address in a namespace, on which it listens and from which it dials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use herald_lab::Netns;
use socket2::{Domain, Socket, Type};

use super::connection::{Connection, Event, Message};
use super::read::OpenSeen;
use super::wire::{self, Open, kind};
use crate::router::Prefix;

/// How long a speaker may take for what it does at once, on a machine that is busy.
pub(super) const SOON: Duration = Duration::from_secs(6);

type Look = dyn Fn(Prefix) -> Result<bool> + Send + Sync;

/// What the scripts need to know of the speaker that they are pointed at.
#[derive(Clone)]
pub struct Speaker {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub id: Ipv4Addr,
    /// How long it may take until it dials again after a session has ended.
    pub redial: Duration,
    /// Whether it has accepted a prefix that the peer announced; `None` for a speaker that keeps no
    /// routes.
    pub has_route: Option<Arc<Look>>,
    /// Asks it to end (SIGTERM), for the last case.
    pub terminate: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker")
            .field("asn", &self.asn)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A scripted peer. It listens from the start, so that the speaker's first dial meets it.
#[derive(Debug)]
pub struct RawPeer {
    netns: Netns,
    /// Its own address, and its identifier.
    pub local: Ipv4Addr,
    /// Its own address and the speaker's, which may be of IPv6.
    ends: (IpAddr, IpAddr),
    /// Its own AS.
    pub asn: u32,
    /// The speaker.
    pub speaker: Speaker,
    listener: TcpListener,
}

impl RawPeer {
    /// Binds port 179 of an address that the namespace has.
    pub fn listen(
        netns: &Netns,
        local: Ipv4Addr,
        remote: Ipv4Addr,
        asn: u32,
        speaker: Speaker,
    ) -> Result<Self> {
        Self::listen_at(netns, (local.into(), remote.into()), local, asn, speaker)
    }

    /// The same with its own address and the speaker's of any family, and this identifier.
    pub fn listen_at(
        netns: &Netns,
        ends: (IpAddr, IpAddr),
        id: Ipv4Addr,
        asn: u32,
        speaker: Speaker,
    ) -> Result<Self> {
        let own = ends.0;
        let listener = netns.run(|| -> Result<TcpListener> {
            let listener =
                TcpListener::bind((own, 179)).with_context(|| format!("cannot listen on {own}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })??;
        Ok(Self {
            netns: netns.clone(),
            local: id,
            ends,
            asn,
            speaker,
            listener,
        })
    }

    /// Lets connections take no more than a few kilobytes that are not read: to be called before the
    /// speaker dials.
    pub fn take_little(&self) -> Result<()> {
        let listener = socket2::SockRef::from(&self.listener);
        Ok(listener.set_recv_buffer_size(2048)?)
    }

    /// The next connection that the speaker makes.
    pub fn accept(&self, timeout: Duration) -> Result<Connection> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.listener.accept() {
                Ok((stream, remote)) => {
                    stream.set_nonblocking(false)?;
                    return Connection::new(stream, remote);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                bail!(
                    "the speaker has not dialled {} for {timeout:?}",
                    self.ends.0
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// A connection to the speaker's port 179, from the peer's address.
    pub fn dial(&self) -> Result<Connection> {
        let stream = self.netns.run(|| -> Result<std::net::TcpStream> {
            let (own, remote) = self.ends;
            let remote = SocketAddr::new(remote, 179);
            let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(own, 0).into())?;
            socket
                .connect_timeout(&remote.into(), SOON)
                .context("the speaker does not listen")?;
            Ok(socket.into())
        })??;
        let remote = stream.peer_addr()?;
        Connection::new(stream, remote)
    }

    /// The OPEN of an ordinary peer, with the peer's address as identifier.
    pub fn open(&self) -> Open {
        Open::new(self.asn, self.local)
    }

    /// The same without enhanced route refresh, with which FRR 8.4.4 answers no request at all.
    pub fn plain(&self) -> Open {
        self.open().capabilities(&[
            wire::multiprotocol(1, 1),
            wire::multiprotocol(2, 1),
            wire::capability(2, &[]),
            wire::four_octet_as(self.asn),
        ])
    }

    /// The next connection on which the speaker's OPEN comes, and that OPEN. A speaker that dials
    /// twice in a row closes the first.
    pub fn opened(&self) -> Result<(Connection, OpenSeen)> {
        let deadline = Instant::now() + self.speaker.redial + SOON;
        loop {
            let mut connection = self.accept(deadline.saturating_duration_since(Instant::now()))?;
            let found = connection.receive_until(deadline, Message::open)?;
            if let Ok(open) = found {
                return Ok((connection, open?));
            }
        }
    }

    /// A session, with this OPEN as the peer's. The speaker's first KEEPALIVE has been received.
    pub fn establish_with(&self, open: &Open) -> Result<(Connection, OpenSeen)> {
        self.establish_with_bytes(&open.message())
    }

    /// A session with an OPEN of these bytes.
    pub fn establish_with_bytes(&self, open: &[u8]) -> Result<(Connection, OpenSeen)> {
        let (mut connection, seen) = self.opened()?;
        connection.send(open)?;
        let deadline = Instant::now() + SOON;
        let alive = connection.receive_until(deadline, |message| {
            let end = message.kind == kind::KEEPALIVE || message.kind == kind::NOTIFICATION;
            end.then(|| message.clone())
        })?;
        match alive {
            Ok(message) if message.kind == kind::KEEPALIVE => {}
            Ok(message) => bail!("no session: {message}"),
            Err(event) => bail!("no session: {event}"),
        }
        connection.send(&wire::keepalive())?;
        Ok((connection, seen))
    }

    /// A session.
    pub fn establish(&self) -> Result<Connection> {
        Ok(self.establish_with(&self.open())?.0)
    }

    /// A session after which the speaker has sent all it has: an End-of-RIB of each family offered,
    /// or nothing more for a while. And what it sent.
    pub fn settle(&self, connection: &mut Connection) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut ends = 0;
        loop {
            // Some wait for seconds before their first UPDATE: FRR does 5.2 s for an internal peer.
            let quiet = match ends {
                0 => Duration::from_secs(7),
                1 => Duration::from_secs(2),
                _ => Duration::from_millis(300),
            };
            let quiet = Instant::now() + quiet;
            match connection.receive(quiet)? {
                Event::Message(message) => {
                    let update = message.update().transpose()?;
                    ends += usize::from(update.is_some_and(|update| update.end_of_rib.is_some()));
                    messages.push(message);
                }
                Event::Silence => return Ok(messages),
                other => bail!("the session ended: {other}"),
            }
        }
    }
}
