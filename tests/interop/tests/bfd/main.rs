//! BFD: FRR, BIRD and Herald in the scripted peer's checks, and Herald's sessions beside those of BGP.
#![cfg(test)]

mod checks;
mod echo;
mod ends;
mod gobgp;
mod lan;
mod paths;
mod sessions;
mod speaker;
#[path = "../support/mod.rs"]
mod support;
