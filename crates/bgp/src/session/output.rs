//! What a session wants from its caller, and what it says.

use std::fmt;
use std::sync::Arc;

use super::Down;
use crate::wire::update::AttributeProblem;
use crate::wire::{Family, Negotiated};

/// One TCP connection of a session. Never used twice in the life of a [`Session`](super::Session).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// Where a session is (RFC 4271 8.2.2). Of two connections the one that is further counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is tried: it is stopped, or waits after an error.
    Idle,
    /// A connection is being opened.
    Connect,
    /// Waits for the time to connect, or for the peer to.
    Active,
    /// The own OPEN is sent.
    OpenSent,
    /// The peer's OPEN is good; its KEEPALIVE is to come.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        })
    }
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to the peer, and say how that went.
    Connect(ConnectionId),
    /// Send these bytes after all that were to be sent before.
    Write(ConnectionId, Vec<u8>),
    /// Close the connection. What was to be written before goes out first if it takes no longer than
    /// a moment. Nothing more is to be said of this connection.
    Close(ConnectionId),
    /// The session is in another state.
    Changed(State),
    /// Something to tell.
    Event(Event),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is up; routes may be told.
    Up(Arc<Negotiated>),
    /// The session was up, and is no longer.
    Down(Down),
    /// An attempt ended before the session was up.
    Failed(Down),
    /// The peer asks for all routes of a family again (RFC 2918).
    Refresh(Family),
    /// The peer has told all of its routes of a family (RFC 4724).
    EndOfRib(Family),
    /// Attributes of the peer's were wrong; said once in the life of each connection (RFC 7606).
    Malformed(AttributeProblem),
}
