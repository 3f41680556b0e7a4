//! Pools, ranges, sharing and the allocator: pure functions of their input.
//!
//! The rules are MetalLB's (compat.md section 3) with its defects left out. Nothing here knows
//! Kubernetes' wire types, a clock, a task or a socket.

mod allocator;
mod converge;
mod decision;
mod free;
mod held;
mod ledger;
mod pool;
mod queue;
mod request;
mod space;
mod stock;
mod wake;

pub use allocator::Allocator;
pub use decision::{Assignment, Decision, Incompatibility, Notice, Outcome, Reason};
pub use pool::{Pool, ServiceAllocation};
pub use request::{Backend, FamilyPolicy, Port, Protocol, Request};
pub use space::Usage;
