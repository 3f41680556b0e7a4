//! Pools, ranges, sharing and the allocator: pure functions of their input.
//!
//! The rules are MetalLB's (compat.md section 3) with its defects left out. Nothing here knows
//! Kubernetes' wire types, a clock, a task or a socket.

mod decision;
mod pool;
mod request;

pub use decision::{Assignment, Decision, Incompatibility, Notice, Outcome, Reason};
pub use pool::{Pool, ServiceAllocation};
pub use request::{Backend, FamilyPolicy, Port, Protocol, Request};
