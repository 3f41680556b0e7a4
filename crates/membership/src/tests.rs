//! Groups in virtual time over a network that can lose, delay and cut.

mod cluster;
mod failure;
mod hostile;
mod joining;
mod net;
