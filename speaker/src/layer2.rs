//! The layer 2 driver: makes what the wire says equal to what is desired.
//!
//! ```text
//!   Desired (address → duty, where) ─┐
//!   Commands (probe, announce)  ─────┤
//!   Monitor (netlink)  ──────────────┼─▶ Driver ─▶ Port per interface ─▶ ARP task, NDP task
//!   Exclude (file)     ──────────────┘   │ │ │                             │      └─▶ Sightings
//!                                        │ │ └─▶ Announcer ─▶ frames       └── Lease
//!                                        │ └─▶ Groups: a thread that joins multicast groups
//!                                        └─▶ CarrierWatch: a thread that asks for carriers
//! ```
//!
//! The driver reads no API and decides nothing but which interfaces can be announced on. It is to
//! run on a thread of its own, so that nothing else in the process delays an answer; for the same
//! reason what takes the kernel long is done by other threads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_ownership::Task;

mod answering;
mod arbiters;
mod driver;
mod exclude;
mod groups;
mod lan;
mod lease;
mod metrics;
mod port;
mod rules;

pub use driver::{Driver, DriverIo};
pub use exclude::{Exclude, ExcludeError, watch_file};
pub use lan::names;
pub use lease::Lease;
pub use metrics::Metrics;
pub use rules::{Unusable, Usable, usable};

/// How many commands may wait for the driver.
pub const COMMANDS: usize = 16_384;

/// How many sightings may wait for whoever judges them.
pub const SIGHTINGS: usize = 4_096;

/// The addresses that this node has to do with, what it does about each, and where.
pub type Desired = BTreeMap<IpAddr, Task>;
