//! Sockets, socket options and netlink: the thin layer between Herald and the kernel, and the only
//! crate with unsafe code.
//!
//! - [`PacketSocket`]: link-layer frames of one Ethernet type on one interface, filtered in the
//!   kernel.
//! - [`GroupMemberships`]: IPv6 multicast groups joined on one interface, as many as needed.
//! - [`Monitor`]: the interfaces with their addresses, and every change of them; by a
//!   [`CarrierWatch`] also the loss of a carrier before the kernel tells of it.
//! - [`GatewayWatch`]: where the default routes go, whatever other routes there are.
//! - [`tcp`]: connections for BGP, with passwords and TTL security.
//! - [`bfd`]: datagrams for BFD, with the TTL and interface of what is received.
//! - [`bfd_echo`]: the echo packets of BFD, which the kernel itself takes for mistakes.
//! - [`take_precedence`]: for a thread that must not wait long for a processor.
//! - [`router_advertisement`]: what makes two routers of one link known to each other.
//!
//! Nothing here knows what an address is announced for.

mod addresses;
pub mod bfd;
pub mod bfd_echo;
mod datagram;
mod error;
mod filter;
mod gateway;
mod groups;
mod monitor;
mod option;
mod packet;
pub mod router_advertisement;
mod socket;
pub mod tcp;
mod thread;

pub use addresses::{interface_name, is_on_link};
pub use error::Error;
pub use filter::{Instruction, MAX_INSTRUCTIONS};
pub use gateway::{Gateway, GatewayWatch};
pub use groups::GroupMemberships;
pub use monitor::{CarrierWatch, Change, Interface, InterfaceAddress, Monitor};
pub use packet::{EtherType, PacketSocket};
pub use socket::{Dscp, SocketStep};
pub use thread::{Precedence, take_precedence};
