//! What tests do on the lab's wires: requests, streams of requests, probes, captures.

pub(crate) mod capture;
pub(crate) mod connections;
pub(crate) mod frame;
pub(crate) mod http;
pub(crate) mod probe;
pub(crate) mod requests;
pub(crate) mod socket;
pub(crate) mod traffic;
pub(crate) mod watch;
