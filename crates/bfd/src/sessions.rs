//! All sessions of a node.

mod changes;
mod echo;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Instant;

pub use changes::{AddError, ReconfigureError, UnknownSession};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::demultiplexer::Demultiplexer;
use crate::schedule::Schedule;
use crate::session::{LATE, Session};
use crate::{
    Arrival, ControlPacket, Discard, Discards, Event, EventKind, PACKET_LEN, Path, Settings, Status,
};

/// More sessions than these are not kept: each needs a source port of its own (RFC 5881 4).
pub const MAX_SESSIONS: usize = 1 << 14;

/// A session, for as long as it exists. It is the discriminator that the peer names it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u32);

impl SessionId {
    pub(crate) const fn new(discriminator: u32) -> Self {
        Self(discriminator)
    }

    /// Our discriminator, not 0.
    pub const fn discriminator(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Whether packets were received that are not handed over yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbox {
    /// All sockets were found empty since the last sleep. Only then it is certain that a peer is
    /// silent.
    Empty,
    /// There may be more.
    Waiting,
}

/// A packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Whose. It decides over the socket: source port, addresses, interface.
    pub session: SessionId,
    /// The payload of the datagram.
    pub payload: [u8; PACKET_LEN],
}

/// All sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    all: HashMap<u32, Session>,
    demultiplexer: Demultiplexer,
    schedule: Schedule,
    /// Those that have something to send, each once.
    outbox: VecDeque<SessionId>,
    /// Those that have an echo packet to send, each once.
    echo_outbox: VecDeque<SessionId>,
    events: VecDeque<Event>,
    discards: Discards,
    rng: ChaCha8Rng,
    /// The latest time that was told.
    last: Option<Instant>,
    /// When this process ran again after it was late.
    stalled: Option<Instant>,
    /// Kept for its memory.
    due: Vec<SessionId>,
}

impl Sessions {
    /// None yet. The seed is fresh for each start, from a good source: discriminators that can't be
    /// guessed keep others from ending sessions.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            all: HashMap::new(),
            demultiplexer: Demultiplexer::default(),
            schedule: Schedule::default(),
            outbox: VecDeque::new(),
            echo_outbox: VecDeque::new(),
            events: VecDeque::new(),
            discards: Discards::default(),
            rng: ChaCha8Rng::from_seed(seed),
            last: None,
            stalled: None,
            due: Vec::new(),
        }
    }

    /// Takes a datagram that was received at one of the ports of [`Hops`](crate::Hops), and says
    /// whose it is, or why it was dropped. That is counted already.
    ///
    /// Each gives at most one event and one packet to send.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        payload: &[u8],
    ) -> Result<SessionId, Discard> {
        let now = self.enter(now);
        let taken = self.take(now, arrival, payload);
        if let Err(reason) = taken {
            self.discards.add(reason);
        }
        taken
    }

    fn take(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        payload: &[u8],
    ) -> Result<SessionId, Discard> {
        let packet = ControlPacket::parse(payload)?;
        let id = self.demultiplexer.find(arrival, &packet)?;
        let session = self.all.get_mut(&id.0);
        let session = session.ok_or(Discard::UnknownDiscriminator)?;
        match session.receive(now, arrival, &packet) {
            Ok(event) => {
                self.settle(now, id, event);
                Ok(id)
            }
            Err(reason) => {
                session.count_discarded();
                self.settle(now, id, None);
                Err(reason)
            }
        }
    }

    /// Does what is due: to be called at [`Sessions::next_timeout`], or later, or before; after the
    /// sockets were read as far as `inbox` says.
    ///
    /// With [`Inbox::Waiting`] the next timeout may still be past: read on and call again.
    pub fn handle_timeout(&mut self, now: Instant, inbox: Inbox) {
        let now = self.enter(now);
        let mut due = std::mem::take(&mut self.due);
        while let Some(id) = self.schedule.pop(now) {
            if let Some(session) = self.all.get_mut(&id.0) {
                session.armed = None;
                due.push(id);
            }
        }
        for id in due.drain(..) {
            let stalled = self.stalled;
            let session = self.all.get_mut(&id.0);
            let event = session.and_then(|session| {
                let silent = session.detect(now, inbox, stalled);
                silent.or_else(|| session.detect_echo(now, inbox, stalled))
            });
            self.settle(now, id, event);
        }
        self.due = due;
    }

    /// When [`Sessions::handle_timeout`] is to be called at the latest. May change after any call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.schedule.first()
    }

    /// The next packet to send. May give one after any other call; a session has one at most.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let now = self.last.map_or(now, |last| now.max(last));
        loop {
            let id = self.outbox.pop_front()?;
            let Some(session) = self.all.get_mut(&id.0) else {
                continue;
            };
            session.queued = false;
            let packet = session.send(now, &mut self.rng);
            self.settle(now, id, None);
            if let Some(packet) = packet {
                return Some(Transmit {
                    session: id,
                    payload: packet.encode(),
                });
            }
        }
    }

    /// What happened next. To be taken until there is none after each call that handles something.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What can be told of a session.
    pub fn status(&self, session: SessionId) -> Option<Status> {
        self.all.get(&session.0).map(Session::status)
    }

    /// Where a session's peer is.
    pub fn path(&self, session: SessionId) -> Option<&Path> {
        self.all.get(&session.0).map(Session::path)
    }

    /// What a session was asked to do.
    pub fn settings(&self, session: SessionId) -> Option<&Settings> {
        self.all.get(&session.0).map(Session::settings)
    }

    /// The session that has this path, if it is not retired.
    pub fn find(&self, path: Path) -> Option<SessionId> {
        let found = self.demultiplexer.at(&path.canonical())?;
        let session = self.all.get(&found.0)?;
        (!session.retiring()).then_some(found)
    }

    /// All, in no order, also those that are retired and still tell their peer.
    pub fn iter(&self) -> impl Iterator<Item = SessionId> {
        self.all.keys().copied().map(SessionId)
    }

    /// How many there are, also those that are retired and still tell their peer.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many packets were dropped, by reason.
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// Notes the time, and whether it is later than it was to be.
    fn enter(&mut self, now: Instant) -> Instant {
        let now = self.last.map_or(now, |last| now.max(last));
        self.last = Some(now);
        if let Some(due) = self.schedule.first()
            && now.saturating_duration_since(due) > LATE
        {
            self.stalled = Some(now);
        }
        now
    }

    /// Brings the session's place among the others in line with what happened to it.
    fn settle(&mut self, now: Instant, id: SessionId, event: Option<EventKind>) {
        if let Some(kind) = event {
            self.events.push_back(Event { session: id, kind });
        }
        let Some(session) = self.all.get_mut(&id.0) else {
            return;
        };
        session.settle(now, &mut self.rng);
        if session.is_over(now) {
            self.forget(id);
            return;
        }
        if session.wants_to_send(now) && !session.queued {
            session.queued = true;
            self.outbox.push_back(id);
        }
        if session.wants_to_echo(now) && !std::mem::replace(session.echo_queued(), true) {
            self.echo_outbox.push_back(id);
        }
        // What is later than it is armed for is found out then: most packets only put off the end
        // of the detection time, behind the next packet to send.
        let wake = session.wake();
        let mut armed = session.armed;
        if armed.is_none() || wake.is_none() || wake < armed {
            self.schedule.rearm(id, &mut armed, wake);
            session.armed = armed;
        }
    }

    /// Removes the session without a word to the peer.
    fn forget(&mut self, id: SessionId) {
        let Some(mut session) = self.all.remove(&id.0) else {
            return;
        };
        self.schedule.rearm(id, &mut session.armed, None);
        self.demultiplexer.remove(session.path());
        self.events.push_back(Event {
            session: id,
            kind: EventKind::Retired,
        });
    }

    /// How many entries all queues have together.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.schedule.len() + self.outbox.len() + self.echo_outbox.len() + self.events.len()
    }
}
