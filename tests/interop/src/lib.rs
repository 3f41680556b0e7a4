//! Real routers and scripted peers in network namespaces, for tests of BGP and BFD.
//!
//! - [`Router`] starts FRR, BIRD, `GoBGP`, `OpenBGPD` or `ExaBGP` from a configuration in a namespace
//!   of a lab and asks it for sessions, routes, BFD and its kernel's table.
//! - [`bfd`] has a scripted BFD peer and the checks that it makes.
//! - [`raw`] has a scripted BGP peer and the conformance cases that it plays against any speaker.

pub mod bfd;
pub mod document;
mod ground;
pub mod raw;
mod router;
pub mod topology;
mod wait;

pub use ground::{Ground, lan};
pub use router::{
    Attributes, BfdSession, Config, Family, KernelRoute, Neighbor, Prefix, Route, Router, State,
    kernel_routes,
};
pub use wait::eventually;
