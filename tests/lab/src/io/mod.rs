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

/// Runs the calling thread before the programs of the lab, if the kernel allows it: it is a machine of
/// its own, which is not slow because they are busy. What it measures is theirs then.
pub(crate) fn be_another_machine() {
    if let Err(error) = herald_netsys::take_precedence() {
        eprintln!("a client or backend shares its cores with the lab: {error}");
    }
}
