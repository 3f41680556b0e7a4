//! `herald bgp`: what a running speaker says of its sessions and routes.
//!
//! The speaker answers at a socket in its state directory that only its own user can open. A request
//! is one line of JSON, the answer one line for each part, and the last of them says that it is the
//! last. Whoever asks gets a copy of what the sessions publish anyway, and of routes one small part
//! after the other, each asked of the sessions' thread when the one before it was taken: a client that
//! is slow, or never reads, holds up nobody but itself.

mod answers;
mod args;
mod client;
mod print;
mod server;

pub use args::BgpArgs;
pub use client::{AskError, ask};
pub(crate) use server::{Server, Source};

/// The name of the socket in the state directory.
const SOCKET: &str = "herald.sock";
