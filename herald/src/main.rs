//! Herald announces the addresses of LoadBalancer Services on bare metal
fn main() {}
