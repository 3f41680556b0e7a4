//! What happens to one address in one node, told as histories.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

mod node;

mod histories {
    mod conflicts;
    mod failover;
    mod keeping;
    mod leaving;
    mod many;
    mod taking;
}
