//! How connections begin and end, and when the next one begins.

use std::time::{Duration, Instant};

use super::backoff::jitter;
use super::connection::{Connection, Endpoints, Origin, Phase};
use super::{Action, ConnectionId, Down, Event, Reason, Session, Side, State, Stop};
use crate::wire::{ErrorCode, MessageType, Notification};

/// The wait for the next attempt when nobody is at fault.
const SOON: Duration = Duration::from_millis(500);
/// The send hold time is at least this (RFC 9687 section 3.2).
const SEND_HOLD: Duration = Duration::from_mins(8);

impl Session {
    /// Asks for a connection to the peer.
    pub(super) fn dial(&mut self, now: Instant) {
        let id = self.new_id();
        self.dial_at = None;
        self.counters.dials += 1;
        let deadline = now + self.config.timers.dial;
        let connection = Connection::new(id, Phase::Dialling, deadline);
        self.connections.push((Origin::Dialled, connection));
        self.actions.push_back(Action::Connect(id));
    }

    /// Takes a connection of the peer. One that it opened before and that is not established is out
    /// of date.
    pub(super) fn accept(&mut self, now: Instant, id: ConnectionId, endpoints: Endpoints) {
        let old: Vec<_> = self
            .connections
            .iter()
            .filter(|(origin, connection)| {
                *origin == Origin::Accepted && !matches!(connection.phase, Phase::Established(_))
            })
            .map(|(_, connection)| connection.id)
            .collect();
        self.counters.accepts += 1;
        let mut connection = Connection::new(id, Phase::Dialling, now);
        connection.endpoints = Some(endpoints);
        self.connections.push((Origin::Accepted, connection));
        for old in old {
            let notification = Notification::new(ErrorCode::CONNECTION_COLLISION);
            self.end(now, old, Reason::Collision, Some(notification));
        }
        self.begin(now, id);
    }

    /// A connection is open. The own OPEN is held back while another one has the peer's (`DelayOpen`
    /// of RFC 4271 8.1.1): with that out, the peer might decide for this connection at the moment at
    /// which the other one comes up here, and both would be lost.
    pub(super) fn begin(&mut self, now: Instant, id: ConnectionId) {
        let deadline = now + self.config.timers.open;
        let held_back = self.has_progress();
        if let Some(connection) = self.connection_mut(id) {
            connection.phase = Phase::OpenSent;
            connection.deadline = Some(deadline);
        }
        if !held_back {
            self.greet(now, id);
        }
    }

    /// Sends the own OPEN, once.
    pub(super) fn greet(&mut self, now: Instant, id: ConnectionId) {
        let mut bytes = Vec::new();
        self.our_open(now).encode(&mut bytes);
        match self.connection_mut(id) {
            Some(connection) if !connection.greeted => connection.greeted = true,
            _ => return,
        }
        self.counters.sent.count(MessageType::Open);
        self.write(now, id, bytes);
    }

    /// What is due on one connection.
    pub(super) fn connection_timeout(&mut self, now: Instant, id: ConnectionId) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let Some(connection) = self.connection(id) else {
            return;
        };
        let hold = connection.negotiated().map_or(0, |it| it.hold_time);
        if due(connection.deadline) {
            let (reason, error) = match connection.phase {
                Phase::Dialling => (Reason::DialTimeout, None),
                Phase::OpenSent => (Reason::NoOpen, Some(ErrorCode::HOLD_TIMER_EXPIRED)),
                Phase::OpenConfirm(_) if hold == 0 => {
                    (Reason::NoKeepalive, Some(ErrorCode::HOLD_TIMER_EXPIRED))
                }
                Phase::OpenConfirm(_) | Phase::Established(_) => {
                    let error = Some(ErrorCode::HOLD_TIMER_EXPIRED);
                    (Reason::HoldExpired(hold), error)
                }
            };
            self.end(now, id, reason, error.map(Notification::new));
        } else if due(connection.send_deadline) {
            let notification = Notification::new(ErrorCode::SEND_HOLD_TIMER_EXPIRED);
            self.end(now, id, Reason::SendHoldExpired, Some(notification));
        } else if due(connection.keepalive) {
            self.write_keepalive(now, id);
        }
    }

    /// How long the peer may take nothing on a connection (RFC 9687).
    pub(super) fn send_hold(&self, id: ConnectionId) -> Duration {
        let hold = self.connection(id).and_then(Connection::hold);
        self.config
            .timers
            .send_hold
            .unwrap_or_else(|| SEND_HOLD.max(hold.unwrap_or_default() * 2))
    }

    /// What the peer is told when the caller stops the session. With graceful restart by
    /// NOTIFICATION it takes a hard reset for the peer to drop the routes (RFC 8538).
    pub(super) fn farewell(&self, id: ConnectionId, stop: &Stop) -> Option<Notification> {
        let cease = match stop {
            Stop::Silently => return None,
            Stop::Shutdown(text) => {
                Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, text)
            }
            Stop::Deconfigured => Notification::new(ErrorCode::PEER_DE_CONFIGURED),
            Stop::Reset(text) => {
                return Some(Notification::with_text(
                    ErrorCode::ADMINISTRATIVE_RESET,
                    text,
                ));
            }
        };
        let keeps = self
            .connection(id)
            .and_then(Connection::negotiated)
            .is_some_and(|negotiated| negotiated.notification_restart);
        Some(if keeps {
            Notification::hard_reset(&cease)
        } else {
            cease
        })
    }

    /// Ends a connection from this side. The notification is sent only on one that is open.
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: Reason,
        notification: Option<Notification>,
    ) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let notification = notification.filter(|_| connection.state() > State::Connect);
        if let Some(notification) = &notification {
            self.write_notification(id, notification);
        }
        self.actions.push_back(Action::Close(id));
        self.remove(now, id, reason, notification);
    }

    /// A connection is there no longer.
    pub(super) fn forget(&mut self, now: Instant, id: ConnectionId, reason: Reason) {
        self.remove(now, id, reason, None);
    }

    fn remove(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: Reason,
        notification: Option<Notification>,
    ) {
        let place = self
            .connections
            .iter()
            .position(|(_, connection)| connection.id == id);
        let Some(place) = place else {
            return;
        };
        let (_, connection) = self.connections.swap_remove(place);
        let down = Down {
            reason,
            state: connection.state(),
            notification,
        };
        if connection.greeted {
            // Only the next one goes without: a peer that was replaced may know them.
            self.capabilities_refused = matches!(
                &down.reason,
                Reason::Notified(n) if n.error == ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER
            );
        }
        if let Some(up) = connection.up {
            self.counters.downs += 1;
            if now.saturating_duration_since(up) >= self.config.timers.calm {
                self.backoff.reset();
            }
        }
        if self.started && !self.has_progress() {
            let open: Vec<_> = self
                .connections
                .iter()
                .filter(|(_, connection)| matches!(connection.phase, Phase::OpenSent))
                .map(|(_, connection)| connection.id)
                .collect();
            for id in open {
                self.greet(now, id);
            }
        }
        self.plan(now, &down.reason);
        // A second connection that had to go is nothing to tell while the first one goes on.
        let silent =
            connection.up.is_none() && (self.has_progress() || down.reason == Reason::Collision);
        if !silent {
            self.last_down = Some((now, down.clone()));
            self.event(match connection.up {
                Some(_) => Event::Down(down),
                None => Event::Failed(down),
            });
        }
    }

    /// True if a connection has an OPEN of the peer's.
    fn has_progress(&self) -> bool {
        self.connections
            .iter()
            .any(|(_, connection)| connection.negotiated().is_some())
    }

    /// Plans the next attempt after one that ended.
    fn plan(&mut self, now: Instant, reason: &Reason) {
        if !self.started || self.has_progress() || self.hold_off.is_some() {
            return;
        }
        if reason.is_harmless() {
            if self.config.direction.dials() && self.is_unoccupied() && self.dial_at.is_none() {
                self.dial_at = Some(now + jitter(SOON, &mut self.rng));
            }
            return;
        }
        if reason.holds_off() && self.connections.is_empty() {
            let wait = self.backoff.fail(self.config.timers.idle, &mut self.rng);
            self.dial_at = None;
            self.hold_off = Some(now + wait);
            self.ended_by = match reason {
                Reason::Notified(_) => Side::Peer,
                _ => Side::Us,
            };
        } else if self.config.direction.dials() && self.is_unoccupied() && self.dial_at.is_none() {
            let wait = self.backoff.fail(self.config.timers.connect, &mut self.rng);
            self.dial_at = Some(now + wait);
        }
    }
}
