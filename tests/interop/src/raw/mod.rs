//! Scripted peers that speak BGP byte by byte, and the scripts of the conformance cases.

pub mod cases;
mod connection;
mod peer;
mod read;
pub mod wire;

pub use connection::{Connection, Event, Message, Record};
pub use peer::{RawPeer, Speaker};
pub use read::{OpenSeen, UpdateSeen};
