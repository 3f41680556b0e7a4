//! Pools, ranges, sharing and the allocator: pure functions of their input.
//!
//! The rules are MetalLB's (compat.md section 3) with its defects left out. Nothing here knows
//! Kubernetes' wire types, a clock, a task or a socket.
//!
//! Where Herald decides otherwise, on purpose:
//! - Pools are tried in a fixed order: those with a `serviceAllocation` by priority (0 last), then
//!   those without one; pools that tie, by name.
//! - A pool whose namespace selectors select nothing lets nobody in, however it is asked for.
//! - A Service with traffic policy `Local` and no selector shares its address with nobody.
//! - One of two addresses that is lost, to an edit of the pools or to a change of the Service's
//!   families, does not cost the other one if that may stay.
//! - Two addresses of one Service are in the order of its request, else IPv4 first, always.
//! - Counters stop at the highest number that the status can hold and never turn negative.
//! - An address that becomes free is offered to one waiting Service at a time, not to all.

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
