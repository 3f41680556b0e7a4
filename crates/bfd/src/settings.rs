//! What a session is asked to do (compat.md 1.5).

use std::time::Duration;

/// The intervals that may be asked for.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_mins(1);

/// What a session is asked to do. All may change while the session is up and never end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The interval at which to send, if the peer can receive as often (Desired Min TX).
    pub transmit_interval: Duration,
    /// The shortest interval at which packets are received (Required Min RX).
    pub receive_interval: Duration,
    /// How many of our packets in a row may be missing before the peer takes the path as down.
    pub detect_multiplier: u8,
    /// Whether to send nothing until the peer was heard (RFC 5880 6.1, the passive role).
    pub passive: bool,
    /// The least TTL of a packet over several hops; 254 if there is none. Over a single hop it is
    /// always 255 (RFC 5881 5).
    pub minimum_ttl: Option<u8>,
    /// How often echo packets are sent and, at most, returned (Required Min Echo RX), over one hop of
    /// IPv4; none: neither.
    pub echo: Option<Duration>,
    /// Whether BFD here goes on while BGP here restarts. Told to the peer as the C bit, by which it
    /// decides whether routes outlast a session that goes down during a graceful restart
    /// (RFC 5882 4.3). True only if both do not end together.
    pub control_plane_independent: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transmit_interval: Duration::from_millis(300),
            receive_interval: Duration::from_millis(300),
            detect_multiplier: 3,
            passive: false,
            minimum_ttl: None,
            echo: None,
            control_plane_independent: false,
        }
    }
}

impl Settings {
    /// Says what is wrong, if anything.
    pub fn check(&self) -> Result<(), SettingsError> {
        let intervals = [
            ("the transmit interval", Some(self.transmit_interval)),
            ("the receive interval", Some(self.receive_interval)),
            ("the echo interval", self.echo),
        ];
        for (name, value) in intervals {
            let Some(value) = value else { continue };
            if !(SHORTEST..=LONGEST).contains(&value) {
                return Err(SettingsError::Interval { name, value });
            }
        }
        if self.detect_multiplier == 0 {
            return Err(SettingsError::DetectMultiplier);
        }
        Ok(())
    }
}

/// What is wrong with [`Settings`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// An interval is too short or too long.
    #[error("{name} of the BFD session is {value:?}: set it between 10ms and 1min")]
    Interval {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Duration,
    },
    /// No packet may be missing, not even the next.
    #[error("the detection multiplier of the BFD session is 0: set it between 1 and 255")]
    DetectMultiplier,
}
