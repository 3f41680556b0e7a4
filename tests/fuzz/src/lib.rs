//! Everything that reads bytes from the network, each as a function of bytes that panics if they are
//! not taken as they should be.
//!
//! The functions are called by the fuzzer's programs in `fuzz/`, and by `tests/bounded.rs` with the
//! same corpus, changed at random from seeds that are always the same.

mod bfd;
mod bgp;
mod link;
mod membership;
mod mutation;
mod session;

pub use mutation::Mutator;

/// A function for a fuzzer.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its program in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes bytes, and panics if something is wrong with what comes of them.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    target("bgp_framing", bgp::framing),
    target("bgp_open", bgp::open),
    target("bgp_update", bgp::update),
    target("bgp_notification", bgp::notification),
    target("bgp_refresh", bgp::refresh),
    target("bgp_session", session::peer),
    target("bfd_packet", bfd::packet),
    target("router_advertisement", link::router_advertisement),
    target("neighbor_frame", link::neighbor_frame),
    target("membership_datagram", membership::datagram),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Runs the target with this name.
///
/// # Panics
///
/// If there is none, or if something is wrong.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(bytes);
}
