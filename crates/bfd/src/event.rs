//! What happened to a session.

use std::fmt;

use crate::{Diagnostic, SessionId, State};

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub session: SessionId,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The session is in another state.
    Changed {
        /// The one before.
        from: State,
        /// The one now.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// The session was retired and is gone; its socket is needed no longer.
    Retired,
}

/// Why a session changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The peer's state allows it.
    Handshake,
    /// Nothing was heard from the peer for the detection time.
    DetectionTimeExpired,
    /// Our echo packets did not come back for their detection time.
    EchoFailed,
    /// The peer said that its session is down, with its reason.
    NeighborSignaledDown(Diagnostic),
    /// The peer holds its session down on purpose.
    PeerAdminDown,
    /// This side holds the session down on purpose.
    Disabled,
    /// This side does so no longer.
    Enabled,
}

impl Event {
    /// Whether the session is up from here on.
    pub const fn came_up(&self) -> bool {
        matches!(self.kind, EventKind::Changed { to: State::Up, .. })
    }

    /// Whether the path worked and does no longer: what runs over it, as BGP, should stop.
    ///
    /// It is false when one of both sides holds its session down on purpose: that says nothing
    /// about the path, and BGP goes on without BFD (RFC 5882 3.2 and 4.2). It is false, too, for a
    /// session that was not up: a peer without BFD is no reason to have no BGP.
    pub const fn path_failed(&self) -> bool {
        let EventKind::Changed { from, cause, .. } = self.kind else {
            return false;
        };
        matches!(from, State::Up)
            && matches!(
                cause,
                Cause::DetectionTimeExpired | Cause::EchoFailed | Cause::NeighborSignaledDown(_)
            )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake => f.write_str("both sides hear each other"),
            Self::DetectionTimeExpired => f.write_str("the peer was not heard in time"),
            Self::EchoFailed => f.write_str("the peer did not return our echo packets in time"),
            Self::NeighborSignaledDown(Diagnostic::None) => {
                f.write_str("the peer's session is down")
            }
            Self::NeighborSignaledDown(reason) => {
                write!(f, "the peer's session is down: {reason}")
            }
            Self::PeerAdminDown => f.write_str("the peer's session is administratively down"),
            Self::Disabled => f.write_str("the session is administratively down"),
            Self::Enabled => f.write_str("the session is no longer administratively down"),
        }
    }
}
