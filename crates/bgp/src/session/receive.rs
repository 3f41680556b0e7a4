//! What the peer sends.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Phase;
use super::{ConnectionId, Event, Reason, Session, State, Told};
use crate::wire::update::{self, Received};
use crate::wire::{
    ErrorCode, Family, Message, MessageType, Negotiated, Notification, RawMessage, RefreshKind,
    RouteRefresh,
};

impl Session {
    pub(super) fn receive(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        match self.connection_mut(id) {
            // Bytes cannot come before the connection is there.
            Some(connection) if !matches!(connection.phase, Phase::Dialling) => {
                connection.framer.push(bytes);
            }
            _ => return,
        }
        // Each message may end the connection.
        while let Some(connection) = self.connection_mut(id) {
            match connection.framer.next() {
                Ok(Some(message)) => self.handle_message(now, id, message),
                Ok(None) => return,
                Err(refusal) => self.refuse(now, id, refusal),
            }
        }
    }

    fn handle_message(&mut self, now: Instant, id: ConnectionId, raw: RawMessage) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let (state, kind) = (connection.state(), raw.kind);
        self.counters.received.count(kind);
        if let Some(error) = unexpected(state, kind) {
            let notification = Notification::with_data(error, [kind.code()]);
            let reason = Reason::Unexpected {
                state,
                message: kind,
            };
            self.end(now, id, reason, Some(notification));
            return;
        }
        let message = match Message::decode(raw) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(now, id, refusal),
        };
        if let Some(connection) = self.connection_mut(id)
            && let Some(hold) = connection.hold()
        {
            connection.deadline = Some(now + hold);
        }
        match message {
            Message::Open(open) => self.handle_open(now, id, &open),
            Message::Keepalive if state == State::OpenConfirm => self.establish(now, id),
            Message::Keepalive => {}
            Message::Update(body) => {
                // A KEEPALIVE of a peer may come before the session is up at its end, this not. One with
                // graceful restart sends it, be it the end of no routes.
                self.told = self.told.max(Told::Open);
                self.handle_update(now, id, &body);
            }
            Message::RouteRefresh(refresh) => self.handle_refresh(id, refresh),
            Message::Notification(notification) => {
                self.last_received = Some(notification.clone());
                self.end(now, id, Reason::Notified(notification), None);
            }
        }
    }

    /// Routes are looked at, counted and dropped.
    fn handle_update(&mut self, now: Instant, id: ConnectionId, body: &[u8]) {
        let Some(negotiated) = self.negotiated_on(id) else {
            return;
        };
        match update::parse(body, &negotiated) {
            Ok(received) => self.count_routes(id, &received),
            Err(refusal) => self.refuse(now, id, refusal),
        }
    }

    fn count_routes(&mut self, id: ConnectionId, received: &Received) {
        for family in Family::ALL {
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            *self.counters.announced.get_mut(family) += count(*received.announced.get(family));
            *self.counters.withdrawn.get_mut(family) += count(*received.withdrawn.get(family));
        }
        if let Some(family) = received.end_of_rib {
            self.event(Event::EndOfRib(family));
        }
        self.counters.treated_as_withdrawal += u64::from(received.treat_as_withdraw);
        self.counters.malformed_attributes +=
            u64::try_from(received.problems.len()).unwrap_or(u64::MAX);
        let Some(problem) = received.problems.first() else {
            return;
        };
        if let Some(connection) = self.connection_mut(id)
            && !std::mem::replace(&mut connection.complained, true)
        {
            self.event(Event::Malformed(*problem));
        }
    }

    /// A family that is not negotiated is ignored (RFC 2918 section 4), and so are the marks of a
    /// peer that tells its routes again: they are not kept.
    fn handle_refresh(&mut self, id: ConnectionId, refresh: RouteRefresh) {
        let (Some(family), RefreshKind::Request) = (refresh.family(), refresh.kind) else {
            return;
        };
        if self
            .negotiated_on(id)
            .is_some_and(|negotiated| negotiated.families.contains(family))
        {
            self.event(Event::Refresh(family));
        }
    }

    /// The peer has sent what is wrong.
    fn refuse(&mut self, now: Instant, id: ConnectionId, refusal: Notification) {
        let reason = Reason::Malformed(refusal.clone());
        self.end(now, id, reason, Some(refusal));
    }

    fn negotiated_on(&self, id: ConnectionId) -> Option<Arc<Negotiated>> {
        self.connection(id)?.negotiated().cloned()
    }
}

/// The error if a message does not belong into a state (RFC 6608).
fn unexpected(state: State, kind: MessageType) -> Option<ErrorCode> {
    match (state, kind) {
        (_, MessageType::Notification)
        | (State::OpenSent, MessageType::Open)
        | (State::OpenConfirm | State::Established, MessageType::Keepalive)
        | (State::Established, MessageType::Update | MessageType::RouteRefresh) => None,
        (State::OpenConfirm, _) => Some(ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM),
        (State::Established, _) => Some(ErrorCode::UNEXPECTED_IN_ESTABLISHED),
        _ => Some(ErrorCode::UNEXPECTED_IN_OPEN_SENT),
    }
}
