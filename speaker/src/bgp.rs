//! Routes: the sessions of this node with its routers.
//!
//! ```text
//!   engine ── Plans ──▶ Driver ──▶ Peer: Session, Feed ◀──▶ connections ◀──▶ routers
//!          ── RouteQueue ─▶ Table ─────────┘
//!          ◀── Statuses ──────────────────────┘
//! ```
//!
//! [`Driver`] and all sessions have one thread: they share the table of routes without a lock, and
//! nothing else that the process does holds them up. What is told to routers, and when, is decided by
//! `herald-bgp`; here bytes and time are moved.

mod connection;
mod driver;
mod peer;
mod plan;
mod queue;
mod routes;

pub use driver::{Driver, DriverIo, Plans, Statuses};
pub use peer::PeerStatus;
pub use plan::{PeerPlan, Unsupported};
pub use queue::RouteQueue;
