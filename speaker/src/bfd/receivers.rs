//! The sockets that packets arrive at: one for each port, family and VRF that a session needs.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use herald_bfd::{Arrival, Hops, Inbox, Path};
use herald_netsys::bfd::Receiver;

use super::line::{Failure, RETRY};

/// How many times a socket is read before what is due has its turn; 64 packets each time. It takes
/// about a millisecond.
const BATCHES: usize = 8;

/// What a socket receives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    hops: Hops,
    v6: bool,
    vrf: Option<String>,
}

impl Kind {
    pub(super) fn of(path: &Path, vrf: Option<&String>) -> Self {
        Self {
            hops: path.hops(),
            v6: path.peer().is_ipv6(),
            vrf: vrf.cloned(),
        }
    }

    fn open(&self, least: u8) -> Result<Receiver, herald_netsys::Error> {
        let any = if self.v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let local = SocketAddr::new(any, self.hops.port());
        Receiver::open(local, self.vrf.as_deref(), least)
    }
}

/// The least TTL or hop limit of what each socket takes.
pub(super) type Wanted = BTreeMap<Kind, u8>;

#[derive(Debug, Default)]
pub(super) struct Receivers {
    wanted: Wanted,
    open: BTreeMap<Kind, Socket>,
    failed: BTreeMap<Kind, Failure>,
    /// What the kernel has dropped on the way to all sockets, those included that are closed.
    dropped: u64,
}

#[derive(Debug)]
struct Socket {
    receiver: Receiver,
    least: u8,
    opened: Instant,
    /// What the kernel had dropped when it was asked last.
    dropped: u32,
}

impl Receivers {
    /// Has the sockets that are wanted open, and no others.
    pub(super) fn want(&mut self, now: Instant, wanted: Wanted) {
        self.count();
        self.wanted = wanted;
        self.open.retain(|kind, _| self.wanted.contains_key(kind));
        self.failed.retain(|kind, _| self.wanted.contains_key(kind));
        for (kind, least) in self.wanted.clone() {
            match self.open.get_mut(&kind) {
                Some(socket) if socket.least == least => {}
                Some(socket) => match socket.receiver.set_least(least) {
                    Ok(()) => socket.least = least,
                    Err(error) => self.replace(now, kind, &error.to_string()),
                },
                None if self.failed.contains_key(&kind) => {}
                None => self.try_open(now, kind),
            }
        }
    }

    /// Opens what could not be opened before and is due.
    pub(super) fn retry(&mut self, now: Instant) {
        let due = self.failed.iter().filter(|(_, f)| f.retry_at <= now);
        let due: Vec<Kind> = due.map(|(kind, _)| kind.clone()).collect();
        for kind in due {
            self.try_open(now, kind);
        }
    }

    /// Looks after the sockets: a VRF that is made anew needs another one.
    pub(super) fn review(&mut self, now: Instant) {
        self.count();
        let stranded = self.open.iter().filter(|(_, it)| it.receiver.is_stranded());
        let stranded: Vec<Kind> = stranded.map(|(kind, _)| kind.clone()).collect();
        for kind in stranded {
            self.open.remove(&kind);
            self.try_open(now, kind);
        }
    }

    /// What the kernel has dropped, when that was [looked at](Self::review) last.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn count(&mut self) {
        for socket in self.open.values_mut() {
            // A socket that cannot be asked has broken, which shows when it is read.
            let Ok(dropped) = socket.receiver.drops() else {
                continue;
            };
            let more = dropped.wrapping_sub(socket.dropped);
            socket.dropped = dropped;
            self.dropped += u64::from(more);
        }
    }

    fn try_open(&mut self, now: Instant, kind: Kind) {
        let Some(least) = self.wanted.get(&kind).copied() else {
            return;
        };
        match kind.open(least) {
            Ok(receiver) => {
                self.failed.remove(&kind);
                let socket = Socket {
                    receiver,
                    least,
                    opened: now,
                    dropped: 0,
                };
                self.open.insert(kind, socket);
            }
            Err(error) => self.fail(now, kind, error.to_string()),
        }
    }

    fn fail(&mut self, now: Instant, kind: Kind, error: String) {
        if self.failed.get(&kind).is_none_or(|old| old.error != error) {
            tracing::error!(error, "no BFD packets can be received");
        }
        let retry_at = now + RETRY;
        self.failed.insert(kind, Failure { error, retry_at });
    }

    /// Puts another socket in the place of one that has failed: at once, since to be deaf is to take
    /// peers as dead, but not again and again.
    fn replace(&mut self, now: Instant, kind: Kind, error: &str) {
        let old = self.open.remove(&kind);
        if old.is_some_and(|old| now < old.opened + RETRY) {
            self.fail(now, kind, error.to_owned());
        } else {
            tracing::warn!(error, "a BFD socket failed and is opened anew");
            self.try_open(now, kind);
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failed.values().map(|failure| failure.retry_at).min()
    }

    /// Why nothing of this kind is received, in words.
    pub(super) fn problem(&self, kind: &Kind) -> Option<String> {
        self.failed.get(kind).map(|failure| failure.error.clone())
    }

    /// Hands over what is there, and says whether that was all.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        mut handle: impl FnMut(&Arrival, &[u8]),
    ) -> Inbox {
        let mut inbox = Inbox::Empty;
        let mut broken = Vec::new();
        for (kind, socket) in &self.open {
            match receive(kind.hops, &socket.receiver, &mut handle) {
                Ok(Inbox::Empty) => {}
                Ok(Inbox::Waiting) => inbox = Inbox::Waiting,
                Err(error) => broken.push((kind.clone(), error)),
            }
        }
        for (kind, error) in broken {
            self.replace(now, kind, &error.to_string());
        }
        inbox
    }

    /// Waits until there may be something to receive.
    pub(super) async fn readable(&self) {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        let readable = self
            .open
            .values()
            .map(|socket| Box::pin(socket.receiver.readable()));
        // An error shows when it is read.
        let _ = futures::future::select_all(readable).await;
    }
}

fn receive(
    hops: Hops,
    receiver: &Receiver,
    handle: &mut impl FnMut(&Arrival, &[u8]),
) -> io::Result<Inbox> {
    for _ in 0..BATCHES {
        let count = receiver.try_receive(|datagram| {
            let arrival = Arrival {
                hops,
                from: datagram.from.ip(),
                to: datagram.local,
                interface: datagram.interface,
                ttl: datagram.ttl,
            };
            handle(&arrival, datagram.packet);
        })?;
        if count < Receiver::BATCH {
            return Ok(Inbox::Empty);
        }
    }
    Ok(Inbox::Waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_failed_is_replaced_at_once_but_not_again_and_again() {
        // No other test has sockets of this kind.
        let kind = Kind {
            hops: Hops::Multi,
            v6: true,
            vrf: None,
        };
        let start = Instant::now();
        let mut receivers = Receivers::default();
        receivers.want(start, Wanted::from([(kind.clone(), 250)]));
        assert_eq!(receivers.problem(&kind), None);
        let later = start + RETRY;
        receivers.replace(later, kind.clone(), "Out of memory");
        assert_eq!(receivers.problem(&kind), None, "it hears");
        assert!(receivers.open.contains_key(&kind));
        receivers.replace(later, kind.clone(), "Out of memory");
        assert_eq!(receivers.problem(&kind).as_deref(), Some("Out of memory"));
        assert_eq!(receivers.retry_at(), Some(later + RETRY));
        receivers.retry(later + RETRY);
        assert_eq!(receivers.problem(&kind), None);
        assert_eq!(receivers.open[&kind].least, 250);
    }
}
