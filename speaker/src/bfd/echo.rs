//! The sockets that echo packets arrive at: one for each interface that a session needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use herald_bfd::Inbox;
use herald_netsys::bfd_echo::{Datagram, Receiver};

use super::line::{Failure, RETRY};

/// How many times a socket is read before what is due has its turn.
const BATCHES: usize = 4;

/// What an echo packet socket of each interface, by its index, is like.
#[derive(Debug, Default)]
pub(super) struct EchoReceivers {
    open: BTreeMap<u32, Socket>,
    failed: BTreeMap<u32, Failure>,
}

#[derive(Debug)]
struct Socket {
    receiver: Receiver,
    opened: Instant,
}

impl EchoReceivers {
    /// Has the sockets of these interfaces open, and no others.
    pub(super) fn want(&mut self, now: Instant, wanted: &BTreeSet<u32>) {
        self.open.retain(|interface, _| wanted.contains(interface));
        self.failed
            .retain(|interface, _| wanted.contains(interface));
        for interface in wanted {
            let failed = self.failed.get(interface);
            let due = failed.is_none_or(|failure| failure.retry_at <= now);
            if due && !self.open.contains_key(interface) {
                self.try_open(now, *interface);
            }
        }
    }

    /// Whether what arrives there is heard.
    pub(super) fn hears(&self, interface: u32) -> bool {
        self.open.contains_key(&interface)
    }

    /// When to try again to open what could not be opened.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failed.values().map(|failure| failure.retry_at).min()
    }

    fn try_open(&mut self, now: Instant, interface: u32) {
        match Receiver::open(interface) {
            Ok(receiver) => {
                self.failed.remove(&interface);
                let opened = now;
                self.open.insert(interface, Socket { receiver, opened });
            }
            Err(error) => self.fail(now, interface, error.to_string()),
        }
    }

    fn fail(&mut self, now: Instant, interface: u32, error: String) {
        let said = self.failed.get(&interface);
        if said.is_none_or(|said| said.error != error) {
            tracing::warn!(
                interface,
                error,
                "no BFD echo packets can be received: control packets alone watch the paths there"
            );
        }
        let retry_at = now + RETRY;
        self.failed.insert(interface, Failure { error, retry_at });
    }

    /// Hands over what is there, with the interface, and says whether that was all.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        mut handle: impl FnMut(u32, &Datagram<'_>),
    ) -> Inbox {
        let mut inbox = Inbox::Empty;
        let mut broken = Vec::new();
        for (interface, socket) in &self.open {
            let taken = receive(&socket.receiver, |packet| handle(*interface, packet));
            match taken {
                Ok(Inbox::Empty) => {}
                Ok(Inbox::Waiting) => inbox = Inbox::Waiting,
                Err(error) => broken.push((*interface, socket.opened, error)),
            }
        }
        for (interface, opened, error) in broken {
            self.open.remove(&interface);
            // At once, since without it peers miss their packets, but not again and again.
            if now < opened + RETRY {
                self.fail(now, interface, error.to_string());
            } else {
                self.try_open(now, interface);
            }
        }
        inbox
    }

    /// Waits until there may be something to receive.
    pub(super) async fn readable(&self) {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        let sockets = self.open.values();
        let readable = sockets.map(|socket| Box::pin(socket.receiver.readable()));
        // An error shows when it is read.
        let _ = futures::future::select_all(readable).await;
    }
}

fn receive(receiver: &Receiver, mut handle: impl FnMut(&Datagram<'_>)) -> io::Result<Inbox> {
    for _ in 0..BATCHES {
        if receiver.try_receive(|packet| handle(&packet))? < Receiver::BATCH {
            return Ok(Inbox::Empty);
        }
    }
    Ok(Inbox::Waiting)
}
