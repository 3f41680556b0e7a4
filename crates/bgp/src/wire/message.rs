//! A message that has been decoded.

use super::framing::{self, MessageType, RawMessage};
use super::{Notification, Open, RouteRefresh};

/// A message of one of the five types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of either side.
    Open(Open),
    /// The body of an UPDATE. [`update::parse`](super::update::parse) reads it, by what the session
    /// has negotiated.
    Update(Vec<u8>),
    /// The peer ends the session.
    Notification(Notification),
    /// A sign of life.
    Keepalive,
    /// The peer wants to hear all routes again, or marks where it has begun or ended to tell its own.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// Decodes a message. The error is what to close the session with.
    pub fn decode(raw: RawMessage) -> Result<Self, Notification> {
        Ok(match raw.kind {
            MessageType::Open => Self::Open(Open::decode(&raw.body)?),
            MessageType::Update => Self::Update(raw.body),
            MessageType::Notification => Self::Notification(Notification::decode(&raw.body)?),
            MessageType::Keepalive => Self::Keepalive,
            MessageType::RouteRefresh => Self::RouteRefresh(RouteRefresh::decode(&raw.body)?),
        })
    }

    /// What it is.
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Open(_) => MessageType::Open,
            Self::Update(_) => MessageType::Update,
            Self::Notification(_) => MessageType::Notification,
            Self::Keepalive => MessageType::Keepalive,
            Self::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }

    /// Appends a KEEPALIVE.
    pub fn encode_keepalive(out: &mut Vec<u8>) {
        framing::message(out, MessageType::Keepalive, |_| {});
    }
}
