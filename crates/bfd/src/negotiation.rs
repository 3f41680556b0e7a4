//! The own intervals, and when a new one takes effect (RFC 5880 6.5 and 6.8.3).

use std::time::{Duration, Instant};

/// The intervals that this side asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// Desired Min TX.
    pub(crate) transmit: Duration,
    /// Required Min RX.
    pub(crate) receive: Duration,
    /// Required Min Echo RX: how often the peer's echo packets are returned, if they are.
    pub(crate) echo: Option<Duration>,
}

/// A Poll sequence and its answer.
#[derive(Debug, Clone, Copy)]
struct Poll {
    /// How many packets with the P bit were sent.
    sent: u32,
    /// Whether the answer came.
    answered: bool,
    /// When the last was sent.
    last: Option<Instant>,
}

/// What the peer is told of our intervals, and which of them count already.
///
/// While the session is up, the peer must know of a change before it can harm: it would take us as
/// silent if we sent more slowly, and we it if we awaited its packets sooner. So an interval that
/// gets longer is sent at only after the peer confirmed it with Final, and one that it is to send
/// at sooner is awaited only after that. Echo packets are returned until the peer knows that it must
/// not send any, or fewer: the RFC has no Poll for that, but a packet that says so may be lost.
#[derive(Debug)]
pub(crate) struct Negotiation {
    advertised: Intervals,
    in_force: Intervals,
    poll: Option<Poll>,
}

impl Negotiation {
    pub(crate) fn new(intervals: Intervals) -> Self {
        Self {
            advertised: intervals,
            in_force: intervals,
            poll: None,
        }
    }

    /// What packets say.
    pub(crate) fn advertised(&self) -> Intervals {
        self.advertised
    }

    /// What timers use.
    pub(crate) fn in_force(&self) -> Intervals {
        self.in_force
    }

    /// Whether packets carry the P bit.
    pub(crate) fn polling(&self) -> bool {
        self.poll.is_some_and(|poll| !poll.answered)
    }

    /// Takes new intervals at once. For a session that is not up: its peer does not depend on them.
    pub(crate) fn set(&mut self, wanted: Intervals) {
        self.advertised = wanted;
        self.in_force = wanted;
        self.poll = None;
    }

    /// The session came up: whatever was told before, the peer is to confirm what counts now.
    pub(crate) fn begin(&mut self, wanted: Intervals) {
        self.poll = None;
        self.start(wanted);
    }

    /// Begins a Poll sequence if other intervals are wanted than the peer was told. One that is
    /// under way ends first, with the intervals that it began with: there is nothing in a Final that
    /// says which Poll it answers.
    pub(crate) fn request(&mut self, now: Instant, wanted: Intervals, patience: Duration) {
        if let Some(poll) = self.poll {
            let late = poll.last.is_some_and(|last| now >= last + patience);
            if poll.answered && (poll.sent == 0 || late) {
                self.poll = None;
            }
        }
        if self.poll.is_none() && wanted != self.advertised {
            self.start(wanted);
        }
    }

    fn start(&mut self, wanted: Intervals) {
        self.advertised = wanted;
        self.in_force = Intervals {
            transmit: self.in_force.transmit.min(wanted.transmit),
            receive: self.in_force.receive.max(wanted.receive),
            echo: self.in_force.echo.into_iter().chain(wanted.echo).min(),
        };
        self.poll = Some(Poll {
            sent: 0,
            answered: false,
            last: None,
        });
    }

    /// A packet with the P bit was sent.
    pub(crate) fn sent_poll(&mut self, now: Instant) {
        if let Some(poll) = &mut self.poll {
            poll.sent = poll.sent.saturating_add(1);
            poll.last = Some(now);
        }
    }

    /// A Final was received. It ends the sequence; further ones, as answers to further packets of
    /// it, only use themselves up.
    pub(crate) fn received_final(&mut self) {
        if let Some(poll) = &mut self.poll
            && poll.sent > 0
        {
            poll.sent -= 1;
            poll.answered = true;
            self.in_force = self.advertised;
        }
    }
}
