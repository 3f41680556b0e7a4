//! How one session is to be.

use std::time::Duration;

use crate::wire::{Asn, BgpId, ExpectedAs, Families, Role};

/// Which side opens the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Only this one. Connections of the peer are refused.
    #[default]
    Dial,
    /// Either.
    Both,
    /// Only the peer (`PassiveTcpEstablishment` of RFC 4271 8.1.1).
    Accept,
}

impl Direction {
    pub(super) fn dials(self) -> bool {
        self != Self::Accept
    }

    pub(super) fn accepts(self) -> bool {
        self != Self::Dial
    }
}

/// Graceful restart as the side that restarts (RFC 4724, 8538, 9494).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Restart {
    /// How long the peer is to keep the routes without a session, in seconds, at most 4095.
    pub time: u16,
    /// How long it is to keep them after that as a last resort, in seconds, at most 16,777,215
    /// (RFC 9494).
    pub long_lived: Option<u32>,
    /// The speaker has started anew and may have left routes with the peer.
    pub restarted: bool,
    /// Traffic was served all the time: the node itself did not restart.
    pub forwarding_kept: bool,
}

/// What a session is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The AS that this session shows.
    pub local_as: Asn,
    /// The AS that the peer may have.
    pub peer_as: ExpectedAs,
    /// The own identifier. Not 0.
    pub id: BgpId,
    /// Who opens the connection.
    pub direction: Direction,
    /// The families to announce.
    pub families: Families,
    /// Offer to announce IPv4 routes with an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Offer messages of up to 65,535 bytes (RFC 8654).
    pub extended_messages: bool,
    /// The own role, and whether the peer must have one too (RFC 9234).
    pub role: Option<RoleConfig>,
    /// Graceful restart, if it is on.
    pub restart: Option<Restart>,
    /// The timers.
    pub timers: Timers,
}

/// The role of a session (RFC 9234).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleConfig {
    /// What this side is to the peer.
    pub role: Role,
    /// A peer that says no role is refused.
    pub strict: bool,
}

/// The timers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// The hold time that is offered, in seconds: 0 (never) or at least 3. The lower one of both
    /// sides counts (RFC 4271 4.2).
    pub hold: u16,
    /// The longest time between two signs of life, if it is to be shorter than a third of the hold
    /// time.
    pub keepalive: Option<Duration>,
    /// The longest wait between two attempts to connect. The first waits are shorter.
    pub connect: Duration,
    /// After so long an attempt to connect is given up.
    pub dial: Duration,
    /// The longest wait after a session that ended with an error.
    pub idle: Duration,
    /// How long a peer may take to send its OPEN (RFC 4271 8.2.2 proposes 4 minutes).
    pub open: Duration,
    /// How long a peer may take nothing of what is sent; 8 minutes or twice the hold time if it is
    /// not set (RFC 9687).
    pub send_hold: Option<Duration>,
    /// A session that was up for so long begins anew with short waits.
    pub calm: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            hold: 90,
            keepalive: None,
            connect: Duration::from_secs(30),
            dial: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            open: Duration::from_mins(4),
            send_hold: None,
            calm: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// A session of the default kind.
    pub fn new(local_as: Asn, peer_as: ExpectedAs, id: BgpId) -> Self {
        Self {
            local_as,
            peer_as,
            id,
            direction: Direction::default(),
            families: Families::BOTH,
            extended_next_hop: true,
            extended_messages: true,
            role: None,
            restart: None,
            timers: Timers::default(),
        }
    }

    /// True if a session that was made with this can go on with `other`: what was said in the OPEN
    /// is the same.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let said = |config: &Self| Self {
            direction: Direction::default(),
            restart: config.restart.map(|restart| Restart {
                restarted: false,
                ..restart
            }),
            timers: Timers {
                hold: config.timers.hold,
                ..Timers::default()
            },
            ..config.clone()
        };
        said(self) == said(other)
    }
}
