//! What can be told of a session.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{ControlPacket, Diagnostic, State};

/// What can be told of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why it went down last, as it is told to the peer.
    pub diagnostic: Diagnostic,
    /// What the peer said last, if it was heard within the detection time.
    pub peer: Option<PeerStatus>,
    /// The interval at which packets are sent, before jitter; none while none are.
    pub transmit_interval: Option<Duration>,
    /// How long the peer may be silent, if it was heard.
    pub detection_time: Option<Duration>,
    /// Whether a Poll sequence is under way.
    pub polling: bool,
    /// What becomes of echo packets, if the settings ask for them.
    pub echo: Option<EchoStatus>,
    /// What was counted.
    pub counters: Counters,
}

/// What becomes of the echo packets that the settings ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoStatus {
    /// They are sent.
    On {
        /// The interval at which they are, before jitter.
        interval: Duration,
        /// How long none may come back.
        detection_time: Duration,
    },
    /// They do not watch the path.
    Off(EchoOff),
}

/// Why echo packets do not watch a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoOff {
    /// It is one of several hops, or of IPv6.
    Path,
    /// The session is not up.
    NotUp,
    /// The caller can't send and receive them.
    NotOpen,
    /// The peer says that it returns none.
    PeerTakesNone,
    /// The peer never returned one. They are sent all the same, and watch the path from the first on
    /// that comes back.
    Unanswered,
}

impl fmt::Display for EchoOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "echo packets are possible only over one hop and with IPv4",
            Self::NotUp => "the session is not up",
            Self::NotOpen => "this node has no socket for echo packets",
            Self::PeerTakesNone => "the peer says that it returns no echo packets",
            Self::Unanswered => {
                "the peer takes echo packets, but none came back: it has to forward packets, \
                 also those whose source and destination are this node"
            }
        })
    }
}

/// What a peer said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its discriminator.
    pub discriminator: u32,
    /// Its state.
    pub state: State,
    /// Why it is in that state.
    pub diagnostic: Diagnostic,
    /// The interval that it would like to send at.
    pub desired_min_tx: Duration,
    /// The shortest interval that it receives at.
    pub required_min_rx: Duration,
    /// The shortest interval that it returns echo packets at.
    pub required_min_echo_rx: Duration,
    /// How many of its packets may be missing.
    pub detect_multiplier: u8,
    /// Whether it asks for demand mode.
    pub demand: bool,
    /// Whether its BFD outlasts a restart of its BGP (RFC 5882 4.3).
    pub control_plane_independent: bool,
}

impl From<&ControlPacket> for PeerStatus {
    fn from(packet: &ControlPacket) -> Self {
        let microseconds = |value| Duration::from_micros(u64::from(value));
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_min_tx: microseconds(packet.desired_min_tx),
            required_min_rx: microseconds(packet.required_min_rx),
            required_min_echo_rx: microseconds(packet.required_min_echo_rx),
            detect_multiplier: packet.detect_multiplier,
            demand: packet.demand,
            control_plane_independent: packet.independent,
        }
    }
}

/// What was counted for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets that were received and not dropped.
    pub received: u64,
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that were dropped though they were the session's.
    pub discarded: u64,
    /// Our echo packets that came back.
    pub echo_received: u64,
    /// Our echo packets that were sent.
    pub echo_sent: u64,
    /// How often it came up.
    pub ups: u64,
    /// How often it left the state Up.
    pub downs: u64,
}
