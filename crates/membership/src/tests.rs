//! Groups in virtual time over a network that can lose, delay and cut.

mod cluster;
mod failure;
mod joining;
mod net;
