//! A scripted BFD peer and the checks that it makes of a speaker (RFC 5880, 5881).

pub mod checks;
pub mod packet;
mod peer;

pub use packet::Packet;
pub use peer::{RawBfd, Received};
