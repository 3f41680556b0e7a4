//! Sessions with scripted peers, and with each other.

mod admin;
mod codec;
mod conformance;
mod dropped;
mod echo;
mod lateness;
mod negotiation;
mod network;
mod paths;
mod properties;
mod rig;
mod scale;
