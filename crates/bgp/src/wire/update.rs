//! UPDATE: routes that come and go (RFC 4271 4.3, RFC 4760, RFC 7606).

mod nlri;
mod path;
mod receive;
mod writer;

pub use receive::{AttributeProblem, Change, Consequence, Received, parse, visit};
pub use writer::{Unsendable, Writer};

/// Numbers of the attributes.
mod number {
    pub(super) const ORIGIN: u8 = 1;
    pub(super) const AS_PATH: u8 = 2;
    pub(super) const NEXT_HOP: u8 = 3;
    pub(super) const MULTI_EXIT_DISC: u8 = 4;
    pub(super) const LOCAL_PREF: u8 = 5;
    pub(super) const COMMUNITIES: u8 = 8;
    pub(super) const MP_REACH_NLRI: u8 = 14;
    pub(super) const MP_UNREACH_NLRI: u8 = 15;
    pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(super) const AS4_PATH: u8 = 17;
    pub(super) const LARGE_COMMUNITIES: u8 = 32;
}
