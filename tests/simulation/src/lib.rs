//! Clusters of speakers in virtual time.
//!
//! Each speaker is the real [`Group`](herald_membership::Group), the real election, the real
//! [`Ownership`](herald_ownership::Ownership) and [`LanWatch`](herald_ownership::LanWatch) and the
//! real schedule of announcements, put together as `herald-speaker` does it. What is not real is
//! around them: two networks, clocks, disks, and what goes wrong with them.
//!
//! ```text
//!  scenario ──▶ faults ──▶ machines ◀──▶ networks        checks, every 5 ms:
//!   (seed)                 clock, disk    group           someone answers
//!                          process        LAN             not two
//!                                                         nothing moves without a cause
//! ```
//!
//! All that is random comes from the seed, so a run can be had again.

mod bounds;
mod checks;
mod clock;
mod cluster;
mod electorate;
mod fault;
mod frame;
mod history;
mod machine;
mod plan;
mod process;
mod promise;
mod queue;
mod scenario;
mod trouble;
mod wires;

pub use bounds::*;
pub use checks::{Checks, Violation};
pub use cluster::{Cluster, Setup};
pub use fault::{Fault, Network};
pub use herald_announce::Failback;
pub use history::History;
pub use scenario::{Run, Scenario};
pub use wires::Quality;
