//! Why a session went down, in words.

use std::fmt;

use super::State;
use crate::wire::{Asn, BgpId, ErrorCode, ExpectedAs, MessageType, Notification, Role};

/// The end of a connection or of an attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Down {
    /// Why.
    pub reason: Reason,
    /// The state that it ended in.
    pub state: State,
    /// What the peer was told, if it was told anything.
    pub notification: Option<Notification>,
}

/// Why a session went down or did not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No connection could be opened; with the system's words.
    ConnectFailed(String),
    /// Nothing came back to the attempt to connect.
    DialTimeout,
    /// The peer closed the connection without a word.
    ClosedByPeer,
    /// The connection broke; with the system's words.
    ConnectionLost(String),
    /// The peer ended it.
    Notified(Notification),
    /// The caller stopped it.
    Stopped(Stop),
    /// The configuration has changed.
    Reconfigured,
    /// BFD says that the peer is gone.
    BfdDown,
    /// No message for the hold time, in seconds.
    HoldExpired(u16),
    /// The peer took nothing of what was to be sent.
    SendHoldExpired,
    /// The connection is up, but no OPEN came.
    NoOpen,
    /// The peer's OPEN came with the hold time 0, but no KEEPALIVE after it.
    NoKeepalive,
    /// The peer is in another AS.
    WrongAs {
        /// What it was to be.
        expected: ExpectedAs,
        /// The AS of this side.
        local: Asn,
        /// What it is.
        found: Asn,
    },
    /// The peer has the identifier of this side.
    DuplicateId(BgpId),
    /// The two have no family in common.
    NoCommonFamily,
    /// The roles do not fit.
    WrongRole {
        /// This side's.
        ours: Role,
        /// The peer's, if it says one.
        theirs: Option<Role>,
    },
    /// A message that does not belong into the state.
    Unexpected {
        /// The state.
        state: State,
        /// The message.
        message: MessageType,
    },
    /// The peer sent what is wrong; with what it was told about it.
    Malformed(Notification),
    /// Of two connections with the peer the other one is kept.
    Collision,
    /// The peer opened a new connection: it has restarted (RFC 4724 4.2).
    PeerRestarted,
}

/// Why and how the caller stops a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Close without a word: a peer with graceful restart keeps the routes, any other drops them.
    Silently,
    /// Administrative shutdown, with a text for the peer's operator (RFC 9003). A peer drops the
    /// routes at once, also with graceful restart (RFC 8538).
    Shutdown(String),
    /// The peer is no longer configured. A peer drops the routes at once.
    Deconfigured,
    /// Administrative reset, with a text for the peer's operator. The session comes up again by
    /// itself.
    Reset(String),
}

impl Reason {
    /// True for an end that is nobody's error, so that the next attempt need not wait for long.
    pub(super) fn is_harmless(&self) -> bool {
        match self {
            Self::Notified(notification) => notification.error == ErrorCode::CONNECTION_COLLISION,
            Self::Collision | Self::PeerRestarted | Self::Stopped(_) | Self::Reconfigured => true,
            _ => false,
        }
    }

    /// True if the session is Idle for a while after it: one of the two said that there was an error
    /// (RFC 4271 8.2.2).
    pub(super) fn holds_off(&self) -> bool {
        match self {
            // Two that refuse each other's connections while they wait would never meet.
            Self::Notified(notification) => notification.error != ErrorCode::CONNECTION_REJECTED,
            Self::ConnectFailed(_)
            | Self::DialTimeout
            | Self::ClosedByPeer
            | Self::ConnectionLost(_) => false,
            _ => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailed(why) => write!(f, "cannot connect: {why}"),
            Self::DialTimeout => f.write_str("cannot connect: no answer"),
            Self::ClosedByPeer => f.write_str("the peer closed the connection"),
            Self::ConnectionLost(why) => write!(f, "the connection was lost: {why}"),
            Self::Notified(notification) => {
                write!(f, "the peer ended the session: {notification}")
            }
            Self::Stopped(stop) => stop.fmt(f),
            Self::Reconfigured => f.write_str("the configuration of the peer has changed"),
            Self::BfdDown => f.write_str("BFD says that the peer cannot be reached"),
            Self::HoldExpired(seconds) => {
                write!(
                    f,
                    "nothing heard from the peer for the hold time of {seconds} s"
                )
            }
            Self::SendHoldExpired => {
                f.write_str("the peer keeps the connection open, but takes nothing from it")
            }
            Self::NoOpen => f.write_str("the peer took the connection, but sent no OPEN"),
            Self::NoKeepalive => f.write_str("the peer sent an OPEN, but no KEEPALIVE after it"),
            Self::WrongAs {
                expected,
                local,
                found,
            } => {
                write!(f, "the peer is in AS {found}, ")?;
                match expected {
                    ExpectedAs::Exactly(asn) => write!(f, "not in AS {asn} as configured"),
                    ExpectedAs::Internal => write!(f, "not in the own AS {local}"),
                    ExpectedAs::External => f.write_str("which is the own one"),
                }
            }
            Self::DuplicateId(id) => {
                write!(
                    f,
                    "the peer has the router ID of this speaker, {id}: give one of them another"
                )
            }
            Self::NoCommonFamily => {
                f.write_str("the peer takes no address family that is configured for it")
            }
            Self::WrongRole { ours, theirs } => match theirs {
                Some(theirs) => write!(
                    f,
                    "the roles do not fit (RFC 9234): {ours:?} here, {theirs:?} at the peer"
                ),
                None => write!(
                    f,
                    "the peer says no role (RFC 9234), which is required; {ours:?} here"
                ),
            },
            Self::Unexpected { state, message } => {
                write!(
                    f,
                    "the peer sent {} in state {state}",
                    message_name(*message)
                )
            }
            Self::Malformed(notification) => {
                write!(f, "the peer sent a wrong message: {notification}")
            }
            Self::Collision => f.write_str("another connection with the peer is kept"),
            Self::PeerRestarted => f.write_str("the peer has restarted"),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silently => f.write_str("stopped; the peer may keep the routes"),
            Self::Shutdown(text) if text.is_empty() => f.write_str("shut down"),
            Self::Shutdown(text) => write!(f, "shut down: {text}"),
            Self::Deconfigured => f.write_str("the peer is no longer configured"),
            Self::Reset(text) if text.is_empty() => f.write_str("reset"),
            Self::Reset(text) => write!(f, "reset: {text}"),
        }
    }
}

fn message_name(message: MessageType) -> &'static str {
    match message {
        MessageType::Open => "OPEN",
        MessageType::Update => "UPDATE",
        MessageType::Notification => "NOTIFICATION",
        MessageType::Keepalive => "KEEPALIVE",
        MessageType::RouteRefresh => "ROUTE-REFRESH",
    }
}
