//! ARP and NDP without I/O: what is answered, what is sent unasked, and when.
//!
//! - [`Responder`] turns a received frame into an answer or a reason why there is none.
//! - [`gratuitous`] makes the frames that tell the LAN about an address, [`Announcer`] says when.
//! - [`filter`] makes the classic BPF programs that keep other frames in the kernel.
//!
//! All work on whole Ethernet frames, as an `AF_PACKET` socket of type `SOCK_RAW` carries them.
//! That goes for NDP too: the addresses are not configured on the node, so the kernel would not
//! deliver a solicitation that is sent to one of them.
//!
//! The rules are those of compat.md 4.3, RFC 826, RFC 4861 and RFC 5227. Nothing here opens a
//! socket, reads a clock, starts a task or allocates for a packet.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod announced;
mod announcer;
mod arp;
pub mod filter;
mod frame;
pub mod gratuitous;
mod interface;
mod multicast;
mod ndp;
mod responder;
#[cfg(test)]
mod testing;
mod verdict;

pub use announced::AnnouncedSet;
pub use announcer::{Announcement, Announcer};
pub use frame::MAX_FRAME_LEN;
pub use interface::{Interface, MacAddress};
pub use multicast::{multicast_mac, solicited_node};
pub use responder::Responder;
pub use verdict::{Ignored, Verdict};
