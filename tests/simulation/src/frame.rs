//! What stations on the LAN send, ARP and neighbor discovery alike.

use std::net::IpAddr;

use herald_model::MacAddress;

/// A frame about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) from: MacAddress,
    pub(crate) address: IpAddr,
    pub(crate) what: What,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Says to all that the sender has the address.
    Announcement,
    /// Asks all, or one, who has it.
    Question,
    /// Says to one that the sender has it.
    Answer,
}
