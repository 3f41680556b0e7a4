//! Groups in virtual time over a network that can lose, delay and cut.

mod cluster;
mod failure;
mod healing;
mod hostile;
mod joining;
mod limits;
mod net;
mod passing;
