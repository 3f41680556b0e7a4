//! What tests do on the lab's wires: requests, streams of requests, probes, captures.

pub(crate) mod http;
pub(crate) mod requests;
