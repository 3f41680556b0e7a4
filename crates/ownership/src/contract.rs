//! What goes into the machine and what comes out of it.

use std::net::IpAddr;

pub use herald_announce::Failback;
use herald_announce::Interfaces;
use herald_model::{MacAddress, NodeName};

/// What the election says about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is this node's.
    Mine {
        /// Where.
        interfaces: Interfaces,
        /// All that could own the address, best first, this node included; also nodes that are
        /// down now, in the place that they had if they were up.
        order: Vec<NodeName>,
        /// Whether another node that has it keeps it.
        failback: Failback,
    },
    /// It is another's.
    Theirs {
        /// Whose.
        owner: NodeName,
        /// Where this node could announce it; `None` if it is no candidate.
        interfaces: Option<Interfaces>,
        /// Whether this node keeps it if it has it.
        failback: Failback,
    },
    /// No node can have it.
    Nobody,
}

/// What the driver does about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// Answer for it and announce it.
    Announce,
    /// Go on to answer for it, but announce it no longer: another node is about to.
    Answer,
    /// Only look who else answers for it or announces it.
    Watch,
}

/// A duty and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What to do.
    pub duty: Duty,
    /// Where.
    pub interfaces: Interfaces,
}

/// What the driver is asked to send once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Ask the LAN who has the address: an ARP probe (RFC 5227 2.1.1), or a neighbor solicitation
    /// as for duplicate address detection (RFC 4862 5.4.2).
    Probe(IpAddr),
    /// Ask one station for an address that it surely has, as one that wants to talk to it.
    Ask {
        /// The address.
        address: IpAddr,
        /// The station; the others need not hear of it.
        station: MacAddress,
    },
    /// Announce it again, at once.
    Announce(IpAddr),
}

/// Another station had something to do with an address that has a [`Duty`] here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sighting {
    /// The address.
    pub address: IpAddr,
    /// The station.
    pub mac: MacAddress,
    /// What it did.
    pub kind: Kind,
}

/// What another station did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It announced the address as its own to all: gratuitous ARP, unsolicited advertisement.
    Announced,
    /// It answered for the address.
    Answered,
    /// It asked whether anybody has it, to have it itself: an ARP probe, duplicate address
    /// detection.
    Probed,
}

/// What this node does about an address at present and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It answers for it and announces it.
    Held,
    /// It looks whether anybody has the address before it takes it.
    Probing,
    /// It still answers for it, until this node announces it.
    HandingOver(NodeName),
    /// The election gives it to this node, but this other one has it and keeps it.
    HeldBy(NodeName),
    /// The election gives it to this node, but a station that is none of ours has it.
    InUse(MacAddress),
    /// The election gives it to this node because the owner is gone, but this node sees too few of
    /// the speakers to take on something new.
    NoMajority,
    /// This node answers for nothing at present: the others declared it down.
    Fenced,
    /// It is not this node's.
    NotOurs,
}
