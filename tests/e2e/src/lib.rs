//! Tests of Herald on the lab, against the real thing

pub mod bgp;
pub mod failover;
pub mod faulty_api;
pub mod layer2;
pub mod metallb;
pub mod objects;
pub mod rules;
pub mod webhooks;
pub mod wire;
