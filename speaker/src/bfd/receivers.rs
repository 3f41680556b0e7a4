//! The sockets that packets arrive at: one for each port, family and VRF that a session needs.

use std::collections::{BTreeMap, BTreeSet};
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

    fn open(&self) -> Result<Receiver, herald_netsys::Error> {
        let any = if self.v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        Receiver::open(SocketAddr::new(any, self.hops.port()), self.vrf.as_deref())
    }
}

#[derive(Debug, Default)]
pub(super) struct Receivers {
    open: BTreeMap<Kind, Receiver>,
    failed: BTreeMap<Kind, Failure>,
}

impl Receivers {
    /// Has the sockets that are wanted open, and no others.
    pub(super) fn want(&mut self, now: Instant, kinds: &BTreeSet<Kind>) {
        self.open.retain(|kind, _| kinds.contains(kind));
        self.failed.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            if !self.open.contains_key(kind) && !self.failed.contains_key(kind) {
                self.try_open(now, kind.clone());
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

    fn try_open(&mut self, now: Instant, kind: Kind) {
        match kind.open() {
            Ok(receiver) => {
                self.failed.remove(&kind);
                self.open.insert(kind, receiver);
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
        for (kind, receiver) in &self.open {
            match receive(kind.hops, receiver, &mut handle) {
                Ok(Inbox::Empty) => {}
                Ok(Inbox::Waiting) => inbox = Inbox::Waiting,
                Err(error) => broken.push((kind.clone(), error.to_string())),
            }
        }
        for (kind, error) in broken {
            self.open.remove(&kind);
            self.fail(now, kind, error);
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
            .map(|receiver| Box::pin(receiver.readable()));
        // An error shows when it is read.
        let _ = futures::future::select_all(readable).await;
    }
}

fn receive(
    hops: Hops,
    receiver: &Receiver,
    handle: &mut impl FnMut(&Arrival, &[u8]),
) -> std::io::Result<Inbox> {
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
