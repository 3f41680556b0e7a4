//! ARP and NDP without I/O: what is answered, what others are seen to say, what is sent unasked, and
//! when.
//!
//! - [`Responder`] turns a received frame into an answer, a [`Sighting`], or a reason why there is
//!   neither.
//! - [`gratuitous`] makes the frames that tell the LAN about an address, [`Announcer`] says when.
//! - [`probe`] makes the frames that ask whether anybody has an address.
//! - [`filter`] makes the classic BPF programs that keep other frames in the kernel.
//!
//! All work on whole Ethernet frames, as an `AF_PACKET` socket of type `SOCK_RAW` carries them.
//! That goes for NDP too: the addresses are not configured on the node, so the kernel would not
//! deliver a solicitation that is sent to one of them.
//!
//! The rules are those of compat.md 4.3, RFC 826, RFC 4861 and RFC 5227. Nothing here opens a
//! socket, reads a clock, starts a task or allocates for a packet.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod addresses;
mod announcer;
mod arp;
pub mod filter;
mod frame;
pub mod gratuitous;
mod interface;
mod multicast;
mod ndp;
pub mod probe;
mod responder;
#[cfg(test)]
mod testing;
mod verdict;

pub use addresses::{AddressSet, Attention};
pub use announcer::{Announcement, Announcer};
pub use frame::MAX_FRAME_LEN;
pub use interface::Interface;
pub use multicast::{multicast_mac, solicited_node};
pub use probe::Nonce;
pub use responder::Responder;
pub use verdict::{Ignored, Sighting, SightingKind, Verdict};
