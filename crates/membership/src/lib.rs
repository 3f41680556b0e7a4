//! Which speakers there are, and what each tells of itself: a SWIM group over sealed datagrams.
//!
//! No I/O, no clock, no randomness but that of a seed.

mod damping;
mod directory;
mod envelope;
mod group;
mod identity;
mod keyring;
mod memberlist;
mod problem;
mod quorum;
mod replay;
mod seal;
#[cfg(test)]
mod tests;
mod timers;

pub use damping::Damping;
pub use group::{Event, Group, Settings};
pub use keyring::{KeyError, Keyring};
pub use memberlist::MemberlistError;
pub use problem::{Problem, ProblemKind};
pub use timers::{Timers, TimersError};

/// No datagram is longer: it fits into one packet on Ethernet, also of IPv6.
pub const MAX_DATAGRAM: usize = 1400;

/// More members than these are not kept.
pub const MAX_MEMBERS: usize = 4096;
