//! Herald's own sessions: with every router, by every case of the scripted peers, and by the rules that
//! need a speaker that is set up for them.
#![cfg(test)]

mod agreements;
mod capture;
mod cases;
mod changes;
mod edges;
mod features;
mod further;
mod links;
mod own_side;
mod restart;
mod routers;
mod rules;
mod speaker;
mod spread;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
