//! Who announces what, where, and why not: pure functions of a snapshot.
//!
//! The rules are MetalLB's (compat.md section 4.1) with the interfaces taking part in the election.
//! Nothing here knows Kubernetes' wire types, a clock, a task or a socket.

mod decision;
mod election;
mod locator;
mod sharing;
mod snapshot;

pub use decision::{Candidate, Decision, Interfaces, Reason};
pub use election::decide;
pub use locator::NodeLocator;
pub use sharing::agree;
pub use snapshot::{Endpoint, L2Advertisement, Node, PreferredNodes, Service, TrafficPolicy};
