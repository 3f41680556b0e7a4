//! BFD: the paths to the routers that this node has BGP sessions with, watched.
//!
//! ```text
//!   bgp: Peer ── Requests ────▶ Driver: Sessions, Lines ◀──▶ UDP 3784, 4784, 3785 ◀──▶ routers
//!             ◀── PathFailed ──────┘        └──▶ BfdStatuses
//! ```
//!
//! A BGP session asks for its path to be watched when it is established for the first time, and from
//! then on until nobody wants it any longer: BFD goes on while BGP is down, and comes up again by
//! itself. What the sessions do, and when, is decided by `herald-bfd`; here packets and time are moved.
//!
//! # To be in time
//!
//! [`Driver`] has a thread of its own, which does nothing else: neither routes nor the API hold it up.
//! A packet costs it some microseconds, a session of 50 ms a thousandth of a processor or less. It asks
//! the kernel to be run at once when it wakes up ([`herald_netsys::take_precedence`]):
//!
//! - Where the process has the capability `SYS_NICE`, or a limit that allows it (`RLIMIT_RTPRIO`), it
//!   is a real-time thread of the lowest priority, and waits for nothing but other such threads and
//!   the kernel. A flood of packets does not make it keep the processor: it rests when it falls behind.
//! - Otherwise Linux 6.12 and later heed a short time slice, which needs no capability: of the threads
//!   of its control group it is let in before all with the usual slice.
//! - Elsewhere it is a thread like all others. One that sleeps most of the time is let in soon anyway,
//!   as long as the node is not far too small for what runs on it.
//!
//! None of that helps a container whose CPU limit is used up: then the kernel stops all of its threads
//! for most of a tenth of a second. A speaker with BFD should have no CPU limit.
//!
//! # The end
//!
//! When the process ends, the BGP sessions end first, each as it has to; then the peers are told that
//! the BFD sessions are down on purpose, which says nothing about the path (RFC 5882 3.2).

mod driver;
mod echo;
mod line;
mod metrics;
mod receivers;
mod request;

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_bfd::{Discards, Hops, Status};

pub use driver::{Driver, DriverIo};
pub use metrics::register_metrics;
pub use request::{PathFailed, Request, Requested, Requests, requests};

/// How the sessions are. Their counters are at most a second old.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BfdStatuses {
    /// By the names of the `BGPPeer`s. Two of one address share a session.
    pub peers: BTreeMap<String, BfdStatus>,
    /// How many packets of all sessions, and of strangers, were dropped.
    pub discards: Discards,
    /// How many the kernel dropped before: from senders that are farther away than peers may be, or
    /// because more came than could be taken.
    pub kernel_drops: u64,
}

/// How the session beside a BGP session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdStatus {
    /// The peer's address.
    pub peer: IpAddr,
    /// Ours.
    pub local: IpAddr,
    /// One hop or several.
    pub hops: Hops,
    /// The VRF of both, by name.
    pub vrf: Option<String>,
    /// The session, if there could be one.
    pub session: Option<Status>,
    /// What is in its way, in words.
    pub problem: Option<String>,
}
