//! One session with one peer as a machine: what happened and the time go in, what is to be done and
//! what is to be told come out.
//!
//! ```text
//!            start                 connected              OPEN            KEEPALIVE
//! Idle ───────────> Connect ──────────────────> OpenSent ─────> OpenConfirm ────────> Established
//!   ^                 │ ^                          ^
//!   │          failed │ │ retry                    │ accepted
//!   │                 v │                          │
//!   │                Active ───────────────────────┘
//!   └── after an error, until its wait is over
//! ```
//!
//! RFC 4271 section 8 with RFC 4486, 5492, 6286, 6608, 6793, 7606, 7607, 8538, 8654, 9003, 9072,
//! 9234, 9384 and 9687. No I/O, no clock, no randomness but that of a seed. Routes are not in it: the
//! [`Table`](crate::routes::Table) has them, and [`Session::submit`] takes its messages.

mod backoff;
mod config;
mod connection;
mod counters;
mod lifecycle;
mod open;
mod output;
mod reason;
mod receive;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::routes::Written;
use crate::wire::{ErrorCode, Message, MessageType, Negotiated, Notification};
use backoff::{Backoff, jitter};
use connection::{Connection, Origin, Phase};

pub use config::{Config, ConfigError, Direction, Restart, RoleConfig, Timers};
pub use connection::Endpoints;
pub use counters::{Counters, MessageCounters};
pub use output::{Action, ConnectionId, Event, State};
pub use reason::{Down, Reason, Stop};

/// More bytes than these are not queued for a peer by routes.
const MOST_QUEUED: usize = 128 * 1024;

/// KEEPALIVEs do not follow each other faster (RFC 4271 4.4), also with a hold time of three seconds.
const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

/// One session with one peer.
///
/// After each call of a method that takes the time, [`Session::poll_action`] is to be called until
/// it has no more, and [`Session::handle_timeout`] when [`Session::next_timeout`] has come. What the
/// peer has sent is to be handed in before a timeout of the same moment: else a caller that was held
/// up takes itself for a silent peer.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: ChaCha8Rng,
    started: bool,
    told: Told,
    /// The peer took offence at the capabilities: the next OPEN has none (RFC 5492 section 3).
    capabilities_refused: bool,
    /// At most one that was dialled, one that was accepted, and one that is established.
    connections: Vec<(Origin, Connection)>,
    next_connection: u64,
    /// Idle until then, after an error.
    hold_off: Option<Instant>,
    /// Whose error it was. If the peer's word ended the session, so does its next connection the wait.
    ended_by: Side,
    /// When to connect next.
    dial_at: Option<Instant>,
    backoff: Backoff,
    state: State,
    actions: VecDeque<Action>,
    counters: Counters,
    last_down: Option<(Instant, Down)>,
    last_sent: Option<Notification>,
    last_received: Option<Notification>,
}

/// What the peer was told since this speaker started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// What it has may be of an earlier life.
    Nothing,
    /// Our OPEN. What it has is of this life, or was forwarded meanwhile: the rest it dropped (RFC 4724
    /// section 4.2).
    Open,
    /// All routes, which makes up for what it had of an earlier life.
    All,
}

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Us,
    Peer,
}

impl Session {
    /// A session that is not started. Two sessions must not have the same seed: they would do all at
    /// the same time.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            told: Told::Nothing,
            config,
            rng: ChaCha8Rng::seed_from_u64(seed),
            capabilities_refused: false,
            started: false,
            connections: Vec::new(),
            next_connection: 0,
            hold_off: None,
            ended_by: Side::Us,
            dial_at: None,
            backoff: Backoff::default(),
            state: State::Idle,
            actions: VecDeque::new(),
            counters: Counters::default(),
            last_down: None,
            last_sent: None,
            last_received: None,
        }
    }

    /// Starts, or starts again at once if it waits after a failure.
    pub fn start(&mut self, now: Instant) {
        self.started = true;
        self.hold_off = None;
        self.backoff.reset();
        if self.is_unoccupied() && self.config.direction.dials() {
            self.dial(now);
        }
        self.finish();
    }

    /// Ends the session as `stop` says. Except for [`Stop::Reset`] it stays down until it is started.
    pub fn stop(&mut self, now: Instant, stop: &Stop) {
        self.started = matches!(stop, Stop::Reset(_)) && self.started;
        self.hold_off = None;
        self.dial_at = None;
        for id in self.ids() {
            let notification = self.farewell(id, stop);
            self.end(now, id, Reason::Stopped(stop.clone()), notification);
        }
        // Where there was no connection, nothing else plans the next one.
        if self.started && self.config.direction.dials() && self.is_unoccupied() {
            self.dial_at.get_or_insert(now);
        }
        self.finish();
    }

    /// Sets how the session is to be. It is reset only if the two sides would have to agree on
    /// something anew. True if it is.
    pub fn reconfigure(&mut self, now: Instant, config: Config) -> bool {
        let reset = !self.config.agrees_with(&config);
        let dials = config.direction.dials();
        self.config = config;
        if reset {
            for id in self.ids() {
                let notification = Notification::new(ErrorCode::OTHER_CONFIGURATION_CHANGE);
                self.end(now, id, Reason::Reconfigured, Some(notification));
            }
            // What was wrong before may be right now.
            self.hold_off = None;
            self.backoff.reset();
            if self.started && dials && self.dial_at.is_none() {
                self.dial_at = Some(now);
            }
        }
        if !dials {
            self.dial_at = None;
        } else if self.started && self.is_unoccupied() && self.dial_at.is_none() {
            self.dial_at = Some(now);
        }
        self.finish();
        reset
    }

    /// BFD says that the peer cannot be reached (RFC 9384). Nothing happens unless the session is
    /// up.
    pub fn handle_bfd_down(&mut self, now: Instant) {
        if let Some(id) = self.established().map(|connection| connection.id) {
            let notification = Notification::new(ErrorCode::BFD_DOWN);
            self.end(now, id, Reason::BfdDown, Some(notification));
        }
        self.finish();
    }

    /// A connection that [`Action::Connect`] asked for is open.
    pub fn handle_connected(&mut self, now: Instant, id: ConnectionId, endpoints: Endpoints) {
        if let Some(connection) = self.connection_mut(id)
            && matches!(connection.phase, Phase::Dialling)
        {
            connection.endpoints = Some(endpoints);
            self.begin(now, id);
        }
        self.finish();
    }

    /// A connection that [`Action::Connect`] asked for cannot be opened.
    pub fn handle_connect_failed(&mut self, now: Instant, id: ConnectionId, why: &str) {
        // It is closed already, so nothing is to be closed.
        if self.connection(id).is_some() {
            self.forget(now, id, Reason::ConnectFailed(why.into()));
        }
        self.finish();
    }

    /// The peer has opened a connection. If it is not wanted it is closed by the next actions.
    pub fn handle_accepted(&mut self, now: Instant, endpoints: Endpoints) -> ConnectionId {
        let id = self.new_id();
        if !self.config.direction.accepts() {
            self.write_notification(id, &Notification::new(ErrorCode::CONNECTION_REJECTED));
            self.actions.push_back(Action::Close(id));
        } else if self.started && (self.hold_off.is_none() || self.ended_by == Side::Peer) {
            self.accept(now, id, endpoints);
        } else {
            // In Idle without a word (RFC 4271 8.2.2): it is no error of the peer's.
            self.actions.push_back(Action::Close(id));
        }
        self.finish();
        id
    }

    /// The peer has opened a connection, and has as many as the caller keeps for one peer. The next
    /// actions tell it so (RFC 4486 section 4) and close that connection; the others go on.
    pub fn handle_accepted_without_room(&mut self) -> ConnectionId {
        let id = self.new_id();
        self.write_notification(id, &Notification::new(ErrorCode::OUT_OF_RESOURCES));
        self.actions.push_back(Action::Close(id));
        id
    }

    /// The peer has sent bytes.
    pub fn handle_received(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        self.receive(now, id, bytes);
        self.finish();
    }

    /// The peer has closed a connection, or it broke; then with the system's words.
    pub fn handle_closed(&mut self, now: Instant, id: ConnectionId, error: Option<&str>) {
        if self.connection(id).is_some() {
            let reason = match error {
                None => Reason::ClosedByPeer,
                Some(error) => Reason::ConnectionLost(error.into()),
            };
            self.forget(now, id, reason);
        }
        self.finish();
    }

    /// Of what was to be written on a connection `left` bytes wait still, and the peer has not
    /// acknowledged `unacknowledged`, those included: what the system has taken on the way to a peer
    /// that reads nothing is not sent (RFC 9687).
    pub fn handle_sent(
        &mut self,
        now: Instant,
        id: ConnectionId,
        left: usize,
        unacknowledged: usize,
    ) {
        let send_hold = self.send_hold(id);
        if let Some(connection) = self.connection_mut(id) {
            let count = u64::try_from(unacknowledged).unwrap_or(u64::MAX);
            let acknowledged = connection.written.saturating_sub(count);
            if unacknowledged == 0 {
                connection.send_deadline = None;
            } else if acknowledged > connection.acknowledged || connection.send_deadline.is_none() {
                connection.send_deadline = Some(now + send_hold);
            }
            connection.acknowledged = connection.acknowledged.max(acknowledged);
            connection.queued = left;
        }
    }

    /// How many bytes of routes may be submitted now: 0 unless the session is up.
    pub fn room(&self) -> usize {
        self.established().map_or(0, |connection| {
            MOST_QUEUED.saturating_sub(connection.queued)
        })
    }

    /// Sends what a table has written for this session. False if the session is not up: then nothing
    /// is sent.
    pub fn submit(&mut self, now: Instant, messages: Vec<u8>, written: Written) -> bool {
        let Some(id) = self.established().map(|connection| connection.id) else {
            return false;
        };
        if messages.is_empty() {
            return true;
        }
        self.counters.sent.updates += written.updates;
        self.counters.sent.refreshes += written.marks;
        self.write(now, id, messages);
        // Routes are a sign of life, too (RFC 4271 8.2.2).
        self.schedule_keepalive(now, id);
        true
    }

    /// The peer has been told all routes that there were at the start: this speaker has restarted no
    /// longer (RFC 4724 section 3).
    pub fn handle_synchronized(&mut self) {
        self.told = Told::All;
    }

    /// Does what is due. Earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for id in self.ids() {
            self.connection_timeout(now, id);
        }
        if due(self.hold_off) {
            self.hold_off = None;
            if self.config.direction.dials() {
                self.dial_at = Some(now);
            }
        }
        if due(self.dial_at) {
            self.dial_at = None;
            if self.is_unoccupied() {
                self.dial(now);
            }
        }
        self.finish();
    }

    /// When [`Session::handle_timeout`] is to be called next. May change with each call of any other
    /// method.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.connections
            .iter()
            .filter_map(|(_, connection)| connection.next_timeout())
            .chain(self.hold_off)
            .chain(self.dial_at)
            .min()
    }

    /// What is to be done next.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// How it is configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was negotiated, if the session is up.
    pub fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        self.established()?.negotiated()
    }

    /// The addresses of the session, if it is up.
    pub fn endpoints(&self) -> Option<Endpoints> {
        self.established()?.endpoints
    }

    /// Since when the session is up.
    pub fn up_since(&self) -> Option<Instant> {
        self.established()?.up
    }

    /// When the next attempt to connect is made, if one is planned.
    pub fn next_attempt(&self) -> Option<Instant> {
        self.hold_off.or(self.dial_at)
    }

    /// What the session has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The last end of a session or an attempt, and when it was.
    pub fn last_down(&self) -> Option<&(Instant, Down)> {
        self.last_down.as_ref()
    }

    /// The last NOTIFICATION that the peer was sent.
    pub fn last_sent(&self) -> Option<&Notification> {
        self.last_sent.as_ref()
    }

    /// The last NOTIFICATION that the peer has sent.
    pub fn last_received(&self) -> Option<&Notification> {
        self.last_received.as_ref()
    }

    fn established(&self) -> Option<&Connection> {
        self.connections
            .iter()
            .map(|(_, connection)| connection)
            .find(|connection| matches!(connection.phase, Phase::Established(_)))
    }

    /// No connection is so far that another one would only collide with it.
    fn is_unoccupied(&self) -> bool {
        self.connections
            .iter()
            .all(|(origin, connection)| match connection.phase {
                Phase::OpenSent => *origin == Origin::Accepted,
                Phase::Dialling | Phase::OpenConfirm(_) | Phase::Established(_) => false,
            })
    }

    /// All connections, the one that is furthest last.
    fn ids(&self) -> Vec<ConnectionId> {
        let mut all: Vec<_> = self
            .connections
            .iter()
            .map(|(_, connection)| (connection.state(), connection.id))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections
            .iter()
            .map(|(_, connection)| connection)
            .find(|connection| connection.id == id)
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .map(|(_, connection)| connection)
            .find(|connection| connection.id == id)
    }

    fn new_id(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        id
    }

    fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    /// Queues bytes on a connection that is there.
    fn write(&mut self, now: Instant, id: ConnectionId, bytes: Vec<u8>) {
        let send_hold = self.send_hold(id);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.queued += bytes.len();
        connection.written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        connection.send_deadline.get_or_insert(now + send_hold);
        self.actions.push_back(Action::Write(id, bytes));
    }

    fn write_keepalive(&mut self, now: Instant, id: ConnectionId) {
        let mut bytes = Vec::new();
        Message::encode_keepalive(&mut bytes);
        self.counters.sent.count(MessageType::Keepalive);
        self.write(now, id, bytes);
        self.schedule_keepalive(now, id);
    }

    /// The last words on a connection; it need not be one of the session's.
    fn write_notification(&mut self, id: ConnectionId, notification: &Notification) {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        self.counters.sent.count(MessageType::Notification);
        self.last_sent = Some(notification.clone());
        self.actions.push_back(Action::Write(id, bytes));
    }

    fn schedule_keepalive(&mut self, now: Instant, id: ConnectionId) {
        let longest = self.config.timers.keepalive;
        let Some(hold) = self.connection(id).and_then(Connection::hold) else {
            return;
        };
        let interval = longest.map_or(hold / 3, |longest| longest.min(hold / 3));
        let at = now + jitter(interval, &mut self.rng).max(KEEPALIVE_LEAST);
        if let Some(connection) = self.connection_mut(id) {
            connection.keepalive = Some(at);
        }
    }

    /// Tells if the state is another one.
    fn finish(&mut self) {
        let furthest = self
            .connections
            .iter()
            .map(|(_, connection)| connection.state())
            .max();
        let state = match furthest {
            Some(state) => state,
            None if self.started && self.hold_off.is_none() => State::Active,
            None => State::Idle,
        };
        if state != self.state {
            self.state = state;
            self.actions.push_back(Action::Changed(state));
        }
    }
}
