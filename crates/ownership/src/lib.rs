//! When this node answers for an address: a state machine without I/O over all addresses.
//!
//! The election (`herald-announce`) says who should own an address; this says what the node does
//! about it on the LAN, so that the address is answered by exactly one node while views of the
//! cluster differ, nodes come and go, and the network falls apart and heals.
//!
//! | what | how long with the default [`Limits`] |
//! |---|---|
//! | an address of a node that is down, with a majority | at once |
//! | the same with half of the group, or if another may keep a sticky one | 120 ms without an answer |
//! | the same of one not met again since this node joined anew | 120 ms without an answer, 360 ms if it is sticky |
//! | an address that nobody had | 198 ms without an answer |
//! | what another node keeps and does not answer for any longer | at most 900 ms |
//! | two that both announce an address and hear each other | until one frame arrives; 0.5 s if each holds that it comes first |
//! | two that hear each other on the LAN but not in the group | as before, at most 1 s after they can hear each other, or an eighth of the time since the address was taken, up to 10 s |
//! | an old owner that answers although its successor does not announce | at most 10 s |
//! | a probe of each of many addresses | 64 in 5 ms for all together |
//!
//! A member that settles takes nothing that another has, and keeps what it has until it is ready:
//! where all come back together, nothing moves only because one is ready before the others.
//!
//! Nothing here reads a clock, sends or waits: whoever drives it calls it with the time.

mod conflicts;
mod contract;
mod entry;
mod lan_watch;
mod limits;
mod ownership;
mod peers;
mod ring;
mod standpoint;
mod timers;
mod way;

pub use conflicts::Conflict;
pub use contract::{Claim, Command, Duty, Failback, Kind, Sighting, Status, Task};
pub use lan_watch::{LanWatch, not_heard};
pub use limits::Limits;
pub use ownership::Ownership;
pub use standpoint::Standpoint;
