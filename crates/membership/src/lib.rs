//! Which speakers there are, and what each tells of itself: a SWIM group over sealed datagrams.
//!
//! No I/O, no clock, no randomness but that of a seed. [`Group`] takes datagrams and times, and gives
//! datagrams to send, events and a view:
//!
//! - The seal: each datagram is sealed for one run of one receiver, with a key that all share.
//! - SWIM (by foca) finds out who is there. Before a message is believed it is looked through: a
//!   member has an address of its node, and one that is cut off declares nobody down for the others.
//! - The fence: one that was declared down, or did not run for so long that it may have been, must
//!   stop to answer until another member takes it as alive.
//! - The standing: how many of the speakers that there should be are here.
//! - The exchange: each member's state, told until it is acknowledged.
//!
//! [`Damping`] says how long a member that came back is to wait before it takes on addresses, and
//! [`Myself`] what it tells the others meanwhile.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod damping;
mod directory;
mod envelope;
mod group;
mod identity;
mod keyring;
mod memberlist;
mod myself;
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
pub use myself::{Comings, Myself};
pub use problem::{Problem, ProblemKind};
pub use timers::{Timers, TimersError};

/// No datagram is longer: it fits into one packet on Ethernet, also of IPv6.
pub const MAX_DATAGRAM: usize = 1400;

/// More members than these are not kept.
pub const MAX_MEMBERS: usize = 4096;
