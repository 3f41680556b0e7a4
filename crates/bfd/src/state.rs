//! Session states and diagnostics, as packets carry them (RFC 5880 4.1).

use std::fmt;

/// The state of a session, ours or the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down on purpose. It says nothing about the path (RFC 5880 6.2).
    AdminDown,
    /// The peer is not heard, or says that it does not hear us.
    Down,
    /// The peer is heard; it is not known yet whether it hears us.
    Init,
    /// Each hears the other.
    Up,
}

impl State {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The state's two bits.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// The state of the two lowest bits.
    pub const fn from_wire(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        })
    }
}

/// Why a session is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Diagnostic {
    /// 0: nothing to say.
    #[default]
    None,
    /// 1: nothing was heard for the detection time.
    DetectionTimeExpired,
    /// 2: echo packets did not come back.
    EchoFailed,
    /// 3: the peer said that its session is down.
    NeighborSignaledDown,
    /// 4: the forwarding plane was reset.
    ForwardingPlaneReset,
    /// 5: the path is known to be down from elsewhere.
    PathDown,
    /// 6: a path that ours is a part of is down.
    ConcatenatedPathDown,
    /// 7: the session is held down on purpose.
    AdministrativelyDown,
    /// 8: a path that ours is a part of is down, in the other direction.
    ReverseConcatenatedPathDown,
    /// 9 to 31: not assigned.
    Reserved(u8),
}

impl Diagnostic {
    /// The code, of five bits.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Reserved(code) => code & 0b1_1111,
        }
    }

    /// The diagnostic of the five lowest bits.
    pub const fn from_wire(bits: u8) -> Self {
        match bits & 0b1_1111 {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            code => Self::Reserved(code),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no diagnostic",
            Self::DetectionTimeExpired => "control detection time expired",
            Self::EchoFailed => "echo function failed",
            Self::NeighborSignaledDown => "neighbor signaled session down",
            Self::ForwardingPlaneReset => "forwarding plane reset",
            Self::PathDown => "path down",
            Self::ConcatenatedPathDown => "concatenated path down",
            Self::AdministrativelyDown => "administratively down",
            Self::ReverseConcatenatedPathDown => "reverse concatenated path down",
            Self::Reserved(code) => return write!(f, "diagnostic {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_same_after_both_ways() {
        for code in 0..32 {
            assert_eq!(Diagnostic::from_wire(code).to_wire(), code);
        }
        for state in State::ALL {
            assert_eq!(State::from_wire(state.to_wire()), state);
        }
    }
}
