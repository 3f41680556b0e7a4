//! What a session counts.

use crate::wire::{MessageType, PerFamily};

/// Messages of each type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// OPEN.
    pub opens: u64,
    /// UPDATE.
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub refreshes: u64,
}

impl MessageCounters {
    /// All messages.
    pub fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.refreshes
    }

    pub(super) fn count(&mut self, kind: MessageType) {
        let counter = match kind {
            MessageType::Open => &mut self.opens,
            MessageType::Update => &mut self.updates,
            MessageType::Notification => &mut self.notifications,
            MessageType::Keepalive => &mut self.keepalives,
            MessageType::RouteRefresh => &mut self.refreshes,
        };
        *counter += 1;
    }
}

/// What a session counts since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that were sent.
    pub sent: MessageCounters,
    /// Messages that were received.
    pub received: MessageCounters,
    /// Attempts to connect.
    pub dials: u64,
    /// Connections of the peer that were taken.
    pub accepts: u64,
    /// How often the session came up.
    pub ups: u64,
    /// How often it went down.
    pub downs: u64,
    /// Prefixes that the peer announced; they are not kept.
    pub announced: PerFamily<u64>,
    /// Prefixes that the peer withdrew.
    pub withdrawn: PerFamily<u64>,
    /// UPDATEs that were taken as withdrawals because of an error (RFC 7606).
    pub treated_as_withdrawal: u64,
    /// Attributes that were wrong and did not end the session (RFC 7606).
    pub malformed_attributes: u64,
}
