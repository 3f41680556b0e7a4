//! When this node answers for an address: a state machine without I/O over all addresses.
//!
//! The election (`herald-announce`) says who should own an address; this says what the node does
//! about it on the LAN, so that the address is answered by exactly one node while views of the
//! cluster differ, nodes come and go, and the network falls apart and heals.

mod conflicts;
mod contract;
mod entry;
mod lan_watch;
mod limits;
mod ownership;
mod peers;
mod ring;
mod timers;
mod way;

pub use conflicts::Conflict;
pub use contract::{Claim, Command, Duty, Failback, Kind, Sighting, Status, Task};
pub use lan_watch::{LanWatch, not_heard};
pub use limits::Limits;
pub use ownership::Ownership;
