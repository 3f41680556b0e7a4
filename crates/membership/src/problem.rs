//! What can be wrong with a datagram, and with what a member says.

use std::fmt;
use std::net::SocketAddr;

use herald_model::NodeName;

/// What was wrong. The names of `as_str` are for a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// It does not begin as a datagram of this protocol does.
    Garbage,
    /// It ends too early.
    Truncated,
    /// It is longer than any that is sent.
    Oversized,
    /// It is of another version of the protocol.
    Version,
    /// It is sealed with a key that is not in the keyring.
    UnknownKey,
    /// Its seal is broken.
    Forged,
    /// It was received before, or is so old that this cannot be told.
    Replayed,
    /// It was sealed for an earlier run of this speaker: a peer has not noticed the restart yet, or
    /// old traffic is replayed.
    Stale,
    /// Its seal is good, but what is inside cannot be understood.
    Malformed,
    /// Its sender, or a member that it speaks of, has an address that is not its node's.
    WrongAddress,
    /// A member that is in the group was claimed to be at another address.
    NameTaken,
    /// Another speaker uses this node's name.
    OwnName,
    /// The own state, or one that is passed on, does not fit into a datagram; others are told less
    /// of it.
    StateTooLarge,
    /// There are more members or peers than are kept.
    Crowded,
}

impl ProblemKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Garbage,
        Self::Truncated,
        Self::Oversized,
        Self::Version,
        Self::UnknownKey,
        Self::Forged,
        Self::Replayed,
        Self::Stale,
        Self::Malformed,
        Self::WrongAddress,
        Self::NameTaken,
        Self::OwnName,
        Self::StateTooLarge,
        Self::Crowded,
    ];

    /// A short name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::Oversized => "oversized",
            Self::Version => "version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Stale => "stale",
            Self::Malformed => "malformed",
            Self::WrongAddress => "wrong_address",
            Self::NameTaken => "name_taken",
            Self::OwnName => "own_name",
            Self::StateTooLarge => "state_too_large",
            Self::Crowded => "crowded",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that was dropped, and why. Nothing else follows from it. `Display` says it with a
/// remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was wrong.
    pub kind: ProblemKind,
    /// Where the datagram came from; for [`ProblemKind::StateTooLarge`] that of the node
    /// that tells it.
    pub from: SocketAddr,
    /// The member that it is about, if its seal was good; none if it is the own state.
    pub node: Option<NodeName>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from;
        let node = self.node.as_ref().map_or("?", NodeName::as_str);
        match self.kind {
            ProblemKind::Garbage => write!(
                f,
                "a datagram from {from} is not of this protocol: keep others (MetalLB's speakers \
                 too) off this port"
            ),
            ProblemKind::Truncated => write!(f, "a datagram from {from} is cut short"),
            ProblemKind::Oversized => write!(f, "a datagram from {from} is too long"),
            ProblemKind::Version => write!(
                f,
                "a datagram from {from} is of another protocol version: run the same version of \
                 the speaker on all nodes"
            ),
            ProblemKind::UnknownKey => write!(
                f,
                "a datagram from {from} is sealed with an unknown key: mount the same membership \
                 Secret in all speakers"
            ),
            ProblemKind::Forged => {
                write!(
                    f,
                    "a datagram from {from} has a broken seal: see what sends it"
                )
            }
            ProblemKind::Replayed => write!(
                f,
                "a datagram from {from} was received twice: look for a loop or a replay in the network"
            ),
            ProblemKind::Stale => write!(
                f,
                "a datagram from {from} is for an earlier run of this speaker: to be expected \
                 after a restart, otherwise a replay"
            ),
            ProblemKind::Malformed => write!(
                f,
                "a sealed datagram of {node} from {from} is not understood: run the same version \
                 of the speaker on all nodes"
            ),
            ProblemKind::WrongAddress => write!(
                f,
                "node {node} is claimed to be at an address that is not its own, in a datagram \
                 from {from}: give each speaker the name of its own node and an address of it"
            ),
            ProblemKind::NameTaken => write!(
                f,
                "node {node} is claimed to be at another address than where it is now, in a \
                 datagram from {from}: give each speaker the name of its own node"
            ),
            ProblemKind::OwnName => write!(
                f,
                "the speaker at {from} uses the name of this node: give each speaker the name of \
                 its own node"
            ),
            ProblemKind::StateTooLarge if self.node.is_some() => write!(
                f,
                "node {node} has too many interfaces or prefixes to pass all of them on to one that \
                 does not hear it: leave out interfaces that nothing is announced on"
            ),
            ProblemKind::StateTooLarge => write!(
                f,
                "this node has too many interfaces or prefixes to tell the other speakers all of \
                 them: leave out interfaces that nothing is announced on"
            ),
            ProblemKind::Crowded => write!(
                f,
                "there are more speakers than can be kept, one is at {from}: use fewer than {}",
                crate::MAX_MEMBERS
            ),
        }
    }
}
