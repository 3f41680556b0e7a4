//! What packets and timers cost.
fn main() {}
