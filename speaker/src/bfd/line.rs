//! A session with its socket and with those that want it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use herald_bfd::{EchoOff, EchoStatus, Path};
use herald_netsys::bfd::{Sender, Session};
use herald_netsys::bfd_echo::{self, Datagram};

use super::receivers::Kind;
use super::request::{PathFailed, Request};

/// How long after a failure a socket is opened again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Line {
    path: Path,
    local: IpAddr,
    vrf: Option<String>,
    sender: Result<Sender, Failure>,
    /// The BGP sessions that want it, by name; none of one that only tells its peer of its end.
    pub(super) users: BTreeMap<String, PathFailed>,
    /// Why packets could not be sent, the last time.
    unsent: Option<String>,
    /// The socket for echo packets, if they are sent and returned.
    echo: Option<bfd_echo::Sender>,
    /// Why it could not be opened, the last time.
    echo_unopened: Option<String>,
    /// Why echo packets were last said not to watch the path.
    echo_said: Option<EchoOff>,
}

/// What could not be opened.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) retry_at: Instant,
}

impl Line {
    pub(super) fn open(now: Instant, request: &Request) -> Self {
        let mut line = Self {
            path: request.path,
            local: request.local,
            vrf: request.vrf.clone(),
            sender: Err(Failure {
                error: String::new(),
                retry_at: now,
            }),
            users: BTreeMap::new(),
            unsent: None,
            echo: None,
            echo_unopened: None,
            echo_said: None,
        };
        line.retry(now);
        line
    }

    /// Whether its socket can serve the request, which is of the same path.
    pub(super) fn serves(&self, request: &Request) -> bool {
        (self.path, self.local) == (request.path, request.local) && self.vrf == request.vrf
    }

    pub(super) const fn path(&self) -> Path {
        self.path
    }

    pub(super) const fn local(&self) -> IpAddr {
        self.local
    }

    pub(super) fn vrf(&self) -> Option<&str> {
        self.vrf.as_deref()
    }

    /// The names of those that want it.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.users.keys().map(String::as_str).collect();
        names.join(", ")
    }

    /// The socket that has what the peer sends.
    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.path, self.vrf.as_ref())
    }

    /// When to try again to open the socket, if it is not.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.sender.as_ref().err().map(|failure| failure.retry_at)
    }

    /// Looks after the sockets: a VRF that is made anew needs others.
    pub(super) fn review(&mut self, now: Instant) {
        self.echo.take_if(|sender| sender.is_stranded());
        if self.sender.as_ref().is_ok_and(Sender::is_stranded) {
            self.sender = Err(Failure {
                error: String::new(),
                retry_at: now,
            });
            self.retry(now);
        }
    }

    /// Opens the socket, if that is due.
    pub(super) fn retry(&mut self, now: Instant) {
        let Err(failure) = &self.sender else { return };
        if failure.retry_at > now {
            return;
        }
        let session = Session {
            remote: self.remote(),
            local: Some(self.local),
            interface: self.vrf.clone(),
        };
        let said = &failure.error;
        self.sender = Sender::open(&session).map_err(|error| {
            let error = error.to_string();
            if *said != error {
                tracing::error!(peer = %self.path.peer(), error, "no BFD packets can be sent");
            }
            Failure {
                error,
                retry_at: now + RETRY,
            }
        });
    }

    fn remote(&self) -> SocketAddr {
        let port = self.path.hops().port();
        match (self.path.peer(), self.path) {
            (IpAddr::V6(peer), Path::SingleHop { interface, .. }) => {
                SocketAddrV6::new(peer, port, 0, interface.unwrap_or_default()).into()
            }
            (peer, _) => SocketAddr::new(peer, port),
        }
    }

    /// Sends a packet, or loses it.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let Ok(sender) = &self.sender else { return };
        let error = sender.send(packet).err().map(|error| error.to_string());
        if error == self.unsent {
            return;
        }
        if let Some(error) = &error {
            tracing::warn!(
                peer = %self.path.peer(),
                error,
                "a BFD packet was not sent; if none is, the peer takes the path as down"
            );
        }
        self.unsent = error;
    }

    /// Has the socket for echo packets open if it is wanted, and says whether it is.
    pub(super) fn want_echo(&mut self, wanted: bool) -> bool {
        let IpAddr::V4(peer) = self.path.peer() else {
            return false;
        };
        if !wanted {
            self.echo = None;
            self.echo_unopened = None;
        } else if self.echo.is_none() {
            let opened = bfd_echo::Sender::open(peer, self.vrf.as_deref());
            let error = opened.as_ref().err().map(ToString::to_string);
            if let Some(error) = error.as_ref().filter(|_| error != self.echo_unopened) {
                tracing::warn!(%peer, error, "no BFD echo packets can be sent");
            }
            self.echo = opened.ok();
            self.echo_unopened = error;
        }
        self.echo.is_some()
    }

    /// Sends an echo packet of ours, or loses it.
    pub(super) fn send_echo(&self, payload: &[u8]) {
        if let IpAddr::V4(local) = self.local {
            self.pass_echo(&Datagram::new(local, payload));
        }
    }

    /// Sends an echo packet to the peer, or loses it.
    pub(super) fn pass_echo(&self, packet: &Datagram<'_>) {
        if let Some(sender) = &self.echo {
            // Echo packets may be lost; if all are, the session says so.
            let _ = sender.send(packet);
        }
    }

    /// Says, once, why echo packets do not watch the path though the profile asks for it.
    pub(super) fn tell_echo(&mut self, status: Option<EchoStatus>) {
        let off = match status {
            Some(EchoStatus::Off(EchoOff::NotUp)) => return,
            Some(EchoStatus::Off(off)) => Some(off),
            Some(EchoStatus::On { .. }) | None => None,
        };
        if off == self.echo_said {
            return;
        }
        self.echo_said = off;
        if let Some(off) = off {
            tracing::warn!(
                event = "bfdEchoOff",
                peer = self.names(),
                address = %self.path.peer(),
                reason = %off,
                "the BFDProfile has echoMode, but the path is watched by control packets alone"
            );
        }
    }

    /// Why packets are not sent, in words.
    pub(super) fn problem(&self) -> Option<String> {
        match &self.sender {
            Err(failure) => Some(failure.error.clone()),
            Ok(_) => self.unsent.clone(),
        }
    }
}
