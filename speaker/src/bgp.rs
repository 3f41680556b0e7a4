//! Routes: the sessions of this node with its routers.
//!
//! ```text
//!   engine ── Plans ──▶ Driver ──▶ Peer: Session, Feed ◀──▶ connections ◀──▶ routers
//!          ── RouteQueue ─▶ Table ─────────┘
//!          ◀── Statuses ──────────────────────┘
//!   kernel ◀─▶ Listeners, Surroundings ──▶ Peer: what has connected, where the router is
//!   others ── Question ─▶ Table ── Advertised ─▶
//! ```
//!
//! [`Driver`] and all sessions have one thread: they share the table of routes without a lock, and
//! nothing else that the process does holds them up. What is told to routers, and when, is decided by
//! `herald-bgp`; here bytes and time are moved.

mod connection;
mod driver;
mod link;
mod listener;
mod metrics;
mod next_hops;
mod path;
mod peer;
mod plan;
mod question;
mod queue;
mod routes;
mod status;
mod surroundings;
mod transition;

pub use driver::{Driver, DriverIo, Plans, Statuses};
pub use metrics::{register_metrics, register_strangers};
pub use path::{BfdPlan, Reach};
pub use plan::{EarlierLife, PeerPlan, Unsupported};
pub use question::{Advertised, Question};
pub use queue::RouteQueue;
#[cfg(test)]
pub(crate) use status::testing;
pub use status::{PeerCounters, PeerStatus, Up};
