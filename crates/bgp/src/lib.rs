//! BGP-4 (RFC 4271) as a speaker that only announces: routes that peers send are checked, counted
//! and dropped.
//!
//! This crate contains no async code, opens no sockets and reads no clock. [`wire`] is everything
//! that is bytes, [`session`] the state machine of one peer, and [`routes`] what is announced and what
//! of it each session has still to tell.

pub mod routes;
pub mod session;
pub mod wire;
