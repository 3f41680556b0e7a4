//! Who announces what, where, and why not: pure functions of a snapshot.
//!
//! The rules are MetalLB's (compat.md section 4.1) with the interfaces, what they can announce, and
//! what the speakers tell of themselves taking part in the election.
//! [`bgp`] has what is announced to routers instead (compat.md section 5.1).
//! Nothing here knows Kubernetes' wire types, a clock, a task or a socket.

pub mod bgp;
mod decision;
mod election;
mod failback;
mod locator;
mod sharing;
mod snapshot;
mod speaker;

pub use decision::{Candidate, Decision, Interfaces, Reason};
pub use election::decide;
pub use failback::{Failback, UnknownFailback};
pub use locator::NodeLocator;
pub use sharing::agree;
pub use snapshot::{Endpoint, L2Advertisement, Node, PreferredNodes, Service, TrafficPolicy};
pub use speaker::Speaker;
