//! One of the TCP connections that a session may have with its peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ConnectionId, State};
use crate::wire::{Framer, Negotiated};

/// The addresses of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// This side's.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Dialled,
    Accepted,
}

/// How far a connection is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// TCP is not up yet.
    Dialling,
    /// TCP is up; the own OPEN is sent, or held back.
    OpenSent,
    /// The peer's OPEN is good and was answered.
    OpenConfirm(Arc<Negotiated>),
    /// The session.
    Established(Arc<Negotiated>),
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) endpoints: Option<Endpoints>,
    /// The own OPEN was sent. It is held back while another connection is further.
    pub(super) greeted: bool,
    pub(super) phase: Phase,
    pub(super) framer: Framer,
    /// When it ends unless the peer says something: the dial, the wait for OPEN and the hold timer.
    pub(super) deadline: Option<Instant>,
    /// When the next KEEPALIVE is due.
    pub(super) keepalive: Option<Instant>,
    /// When it ends unless the peer acknowledges something of what it was sent.
    pub(super) send_deadline: Option<Instant>,
    /// Bytes that wait to be sent.
    pub(super) queued: usize,
    /// All bytes that were to be sent so far.
    pub(super) written: u64,
    /// How many of them the peer has acknowledged.
    pub(super) acknowledged: u64,
    /// A wrong attribute was told of already.
    pub(super) complained: bool,
    /// When it became established.
    pub(super) up: Option<Instant>,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, phase: Phase, deadline: Instant) -> Self {
        Self {
            id,
            endpoints: None,
            greeted: false,
            phase,
            framer: Framer::new(),
            deadline: Some(deadline),
            keepalive: None,
            send_deadline: None,
            queued: 0,
            written: 0,
            acknowledged: 0,
            complained: false,
            up: None,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Dialling => State::Connect,
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// What was negotiated on it, once that is known.
    pub(super) fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::Dialling | Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established(negotiated) => Some(negotiated),
        }
    }

    /// The negotiated hold time; `None` before it is known or if it is "never".
    pub(super) fn hold(&self) -> Option<Duration> {
        let seconds = self.negotiated()?.hold_time;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// When something is due first.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.deadline, self.keepalive, self.send_deadline]
            .into_iter()
            .flatten()
            .min()
    }
}
