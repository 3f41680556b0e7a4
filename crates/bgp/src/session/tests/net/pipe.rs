//! One direction of a TCP connection: what waits to be sent, what is under way, and what was said.

use std::collections::VecDeque;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::routes::tests::rib::Rib;
use crate::wire::{EXTENDED_LIMIT, Framer, MessageType};

/// The longest segment.
const SEGMENT: usize = 1460;

/// More than these a session may never have waiting: what it queues of routes, the message that goes
/// beyond, and signs of life.
const MOST_WAITING: usize = 128 * 1024 + EXTENDED_LIMIT + 4096;

#[derive(Debug)]
pub(super) struct Pipe {
    /// Written, and not yet sent.
    queue: VecDeque<u8>,
    /// Sent, and not yet known to be read.
    under_way: usize,
    /// How much may be under way.
    window: usize,
    /// The writer has closed it: the end follows what is in the queue.
    closing: bool,
    /// Nothing arrives any more, and nobody notices.
    pub(super) dead: bool,
    /// When the last thing that was sent arrives: nothing overtakes.
    pub(super) last: Instant,
    /// The writer's messages, and the last of them.
    said: Framer,
    last_said: Option<MessageType>,
    /// The routes that the reader has from it.
    pub(super) rib: Rib,
}

impl Pipe {
    pub(super) fn new(now: Instant, rng: &mut ChaCha8Rng) -> Self {
        let mut said = Framer::new();
        said.set_limit(EXTENDED_LIMIT);
        Self {
            queue: VecDeque::new(),
            under_way: 0,
            window: rng.random_range(64..65_536),
            closing: false,
            dead: false,
            last: now,
            said,
            last_said: None,
            rib: Rib::new(),
        }
    }

    /// Takes what a session writes, and checks that it may.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.said.push(bytes);
        while let Some(raw) = self.said.next().unwrap() {
            let last = self.last_said.replace(raw.kind);
            let right = match raw.kind {
                MessageType::Open => last.is_none(),
                // On a connection that is not wanted it may be the only word.
                MessageType::Notification => last != Some(MessageType::Notification),
                _ => last.is_some_and(|last| last != MessageType::Notification),
            };
            assert!(right, "{:?} after {last:?}", raw.kind);
        }
        assert_eq!(self.said.buffered(), 0, "half a message");
        self.queue.extend(bytes);
        assert!(self.queue.len() <= MOST_WAITING, "{}", self.queue.len());
    }

    /// The next segment: of any length, whatever the messages are.
    pub(super) fn segment(&mut self, rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
        let room = self.window.saturating_sub(self.under_way);
        let most = room.min(self.queue.len()).min(SEGMENT);
        if most == 0 {
            return None;
        }
        let whole = rng.random_bool(0.7);
        let len = if whole {
            most
        } else {
            rng.random_range(1..=most)
        };
        self.under_way += len;
        Some(self.queue.drain(..len).collect())
    }

    pub(super) fn read(&mut self, len: usize) {
        self.under_way -= len;
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// True once if all was sent on a connection that is to be closed.
    pub(super) fn take_end(&mut self) -> bool {
        self.queue.is_empty() && std::mem::take(&mut self.closing)
    }

    /// What waits is not sent any more. True if there was something.
    pub(super) fn give_up(&mut self) -> bool {
        self.queue.clear();
        std::mem::take(&mut self.closing)
    }
}
