//! Sessions with scripted peers, and with each other.

mod admin;
mod codec;
mod conformance;
mod dropped;
mod lateness;
mod negotiation;
mod network;
mod paths;
mod properties;
mod rig;
mod scale;
