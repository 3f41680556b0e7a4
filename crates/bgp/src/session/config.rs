//! How one session is to be.

use std::time::{Duration, Instant};

use crate::wire::{Asn, BgpId, ExpectedAs, Families, Role};

/// No timer but the hold time may be shorter: it would keep the node busy.
const LEAST: Duration = Duration::from_millis(100);
/// Or longer: as the longest connect time of a `BGPPeer`.
const MOST: Duration = Duration::from_secs(65_535);

/// Why a session cannot be made so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// AS 0 is nobody's (RFC 7607).
    #[error("the session's own AS is 0: give it the number of the node's AS")]
    NoAs,
    /// The identifier 0 is nobody's (RFC 6286).
    #[error("the session's router ID is 0.0.0.0: give it another one, such as an address")]
    NoId,
    /// There is nothing to announce.
    #[error("the session has no address family: enable IPv4 or IPv6")]
    NoFamily,
    /// RFC 4271 4.2.
    #[error("the session's hold time is {0} s: make it 0 (never) or at least 3 s")]
    ShortHold(u16),
    /// A timer is too short or too long.
    #[error("the session's {name} is {value:?}: set it between 100ms and 65535s")]
    Timer {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Duration,
    },
    /// RFC 4724 section 3: it has 12 bits.
    #[error("the session's restart time is above 4095 s: make it shorter")]
    LongRestart,
    /// RFC 9494 section 3: it has 24 bits.
    #[error("the session's long-lived stale time is above 16777215 s: make it shorter")]
    LongStale,
}

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
    /// The speaker has started anew, and until then the peer may keep routes of its earlier life. The
    /// first session in that time says so (RFC 4724 4.1).
    pub restarted: Option<Instant>,
    /// Traffic was served all the time since that earlier life: the node itself did not restart.
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

    /// Checks what a session cannot work with.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.local_as == Asn(0) {
            return Err(ConfigError::NoAs);
        }
        if self.id.0.is_unspecified() {
            return Err(ConfigError::NoId);
        }
        if self.families.is_empty() {
            return Err(ConfigError::NoFamily);
        }
        if matches!(self.timers.hold, 1 | 2) {
            return Err(ConfigError::ShortHold(self.timers.hold));
        }
        for (name, value) in [
            ("connect time", self.timers.connect),
            ("time to connect", self.timers.dial),
            ("idle hold time", self.timers.idle),
            ("time for OPEN", self.timers.open),
        ]
        .into_iter()
        .chain(self.timers.keepalive.map(|it| ("keepalive time", it)))
        .chain(self.timers.send_hold.map(|it| ("send hold time", it)))
        {
            if !(LEAST..=MOST).contains(&value) {
                return Err(ConfigError::Timer { name, value });
            }
        }
        match self.restart {
            Some(Restart { time: 4096.., .. }) => Err(ConfigError::LongRestart),
            Some(Restart {
                long_lived: Some(0x0100_0000..),
                ..
            }) => Err(ConfigError::LongStale),
            _ => Ok(()),
        }
    }

    /// True if a session that was made with this can go on with `other`: what was said in the OPEN
    /// is the same.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let said = |config: &Self| Self {
            direction: Direction::default(),
            restart: config.restart.map(|restart| Restart {
                restarted: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let peer = ExpectedAs::External;
        Config::new(Asn(65_001), peer, BgpId([10, 0, 0, 1].into()))
    }

    #[test]
    fn the_default_can_be_used() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn what_no_peer_could_accept_is_refused() {
        type Change = fn(&mut Config);
        let cases: [(Change, ConfigError); 8] = [
            (|it| it.local_as = Asn(0), ConfigError::NoAs),
            (|it| it.id = BgpId([0; 4].into()), ConfigError::NoId),
            (|it| it.families = Families::NONE, ConfigError::NoFamily),
            (|it| it.timers.hold = 1, ConfigError::ShortHold(1)),
            (|it| it.timers.hold = 2, ConfigError::ShortHold(2)),
            (
                |it| it.timers.send_hold = Some(Duration::ZERO),
                ConfigError::Timer {
                    name: "send hold time",
                    value: Duration::ZERO,
                },
            ),
            (
                |it| {
                    it.restart = Some(Restart {
                        time: 4096,
                        long_lived: None,
                        restarted: None,
                        forwarding_kept: false,
                    });
                },
                ConfigError::LongRestart,
            ),
            (
                |it| {
                    it.restart = Some(Restart {
                        time: 4095,
                        long_lived: Some(1 << 24),
                        restarted: None,
                        forwarding_kept: false,
                    });
                },
                ConfigError::LongStale,
            ),
        ];
        for (change, error) in cases {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.check(), Err(error));
        }
        for hold in [0, 3, u16::MAX] {
            let mut config = config();
            config.timers.hold = hold;
            assert_eq!(config.check(), Ok(()));
        }
    }
}
