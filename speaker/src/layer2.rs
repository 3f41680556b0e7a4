//! The layer 2 driver: makes what the wire says equal to what is desired.
//!
//! ```text
//!   Desired (address → interfaces) ─┐
//!   Monitor (netlink)  ─────────────┼─▶ Driver ─▶ Port per interface ─▶ ARP task, NDP task, groups
//!   Exclude (file)     ─────────────┘     └─────▶ Announcer ─▶ gratuitous frames
//! ```
//!
//! The driver reads no API and decides nothing but which interfaces can be announced on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_announce::Interfaces;

mod driver;
mod exclude;
mod metrics;
mod port;
mod rules;

pub use driver::{Driver, DriverIo};
pub use exclude::{Exclude, ExcludeError, watch_file};
pub use metrics::Metrics;
pub use rules::{Unusable, Usable, usable};

/// The addresses that this node is to announce, and where.
pub type Desired = BTreeMap<IpAddr, Interfaces>;
