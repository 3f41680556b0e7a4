//! Two to five machines on a LAN that loses, delays and is deaf, in a group that falls apart and
//! heals: what may not last does not, and all ends well. A failure names its seed.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

#[path = "lan/cluster.rs"]
mod cluster;
#[path = "lan/dice.rs"]
mod dice;
#[path = "lan/invariants.rs"]
mod invariants;

#[path = "lan/chaos.rs"]
mod chaos;
#[path = "lan/planned.rs"]
mod planned;
