//! Sessions in virtual time: against a scripted peer, and against each other.

mod collision;
mod hostile;
mod net;
mod opening;
mod pair;
mod restart;
mod routes;
mod script;
mod states;
mod stopping;
mod timers;
