//! ROUTE-REFRESH (RFC 2918), also the enhanced one (RFC 7313).

use super::framing::{self, MessageType};
use super::{ErrorCode, Family, Notification};

/// What a ROUTE-REFRESH says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshKind {
    /// "Tell me all routes again."
    Request,
    /// "I begin to tell all routes again" (`BoRR`).
    Begin,
    /// "I have told all routes again" (`EoRR`).
    End,
    /// Unknown, and to be ignored.
    Other(u8),
}

/// A ROUTE-REFRESH for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The address family identifier.
    pub afi: u16,
    /// The subsequent address family identifier.
    pub safi: u8,
    /// What it says.
    pub kind: RefreshKind,
}

impl RouteRefresh {
    /// A message for `family`.
    pub fn new(family: Family, kind: RefreshKind) -> Self {
        Self {
            afi: family.afi(),
            safi: family.safi(),
            kind,
        }
    }

    /// The family that it is for; `None` if it is none of ours, so that it is to be ignored.
    pub fn family(&self) -> Option<Family> {
        Family::from_codes(self.afi, self.safi)
    }

    /// Reads the body of a message. The length is wrong if it is not 4, except for a kind that is not
    /// known; the data then is the whole message (RFC 7313 section 5).
    pub(super) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let (afi, kind, safi) = match body {
            [a, b, kind, safi] | [a, b, kind @ 3..=u8::MAX, safi, ..] => ([*a, *b], *kind, *safi),
            _ => {
                let mut whole = Vec::new();
                framing::message(&mut whole, MessageType::RouteRefresh, |out| {
                    out.extend(body);
                });
                return Err(Notification::with_data(
                    ErrorCode::INVALID_REFRESH_LENGTH,
                    whole,
                ));
            }
        };
        Ok(Self {
            afi: u16::from_be_bytes(afi),
            safi,
            kind: match kind {
                0 => RefreshKind::Request,
                1 => RefreshKind::Begin,
                2 => RefreshKind::End,
                other => RefreshKind::Other(other),
            },
        })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Other(other) => other,
        };
        framing::message(out, MessageType::RouteRefresh, |out| {
            out.extend(self.afi.to_be_bytes());
            out.extend([kind, self.safi]);
        });
    }
}
