//! What became of a received frame.

use std::net::IpAddr;

use herald_model::MacAddress;

/// What [`Responder::handle`](crate::Responder::handle) says about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The first `len` bytes of the output buffer are an answer to be sent on the same interface.
    Reply {
        /// The length of the answer in bytes, at most [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN).
        len: usize,
        /// The address that was asked for.
        address: IpAddr,
        /// What the asker did besides: it wants the address itself, or it asks from another address
        /// that is watched.
        seen: Option<Sighting>,
    },
    /// There is nothing to send, but a station said something about a watched address.
    Seen(Sighting),
    /// There is nothing to send and nothing to tell.
    Ignored(Ignored),
}

/// A station said something about a watched address. The frame was well-formed, and the station is
/// not this interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sighting {
    /// The address.
    pub address: IpAddr,
    /// The station, as its neighbors remember it because of the frame.
    pub mac: MacAddress,
    /// What it did.
    pub kind: SightingKind,
}

/// What a station did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SightingKind {
    /// It told everybody that it has the address: by a gratuitous ARP request or reply, a neighbor
    /// advertisement that was not solicited, or a question from the address. The answer to a
    /// duplicate address detection is one, too: it goes to all nodes (RFC 4861 7.2.4).
    Announced,
    /// It told one station that it has the address: an ARP reply, or a solicited advertisement.
    Answered,
    /// It asked whether anybody has the address, to have it itself: an ARP probe (RFC 5227 2.1.1) or
    /// a duplicate address detection (RFC 4862 5.4.2).
    Probed,
}

/// Why a frame has no consequence. Meant to be counted: [`Ignored::name`] is a label's value and
/// [`Ignored::ALL`] has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// Shorter than its headers, or than the lengths in them say.
    Truncated,
    /// Neither ARP nor IPv6.
    EtherType,
    /// Tagged for a VLAN, so that it belongs to another interface.
    VlanTagged,
    /// Sent by this interface.
    Own,
    /// The Ethernet destination is neither this interface nor a group that the question may go to.
    NotToUs,
    /// Not about Ethernet and IPv4, or with other address lengths than theirs.
    ArpFormat,
    /// Neither a request nor a reply of ARP, neither a neighbor solicitation nor an advertisement.
    OtherMessage,
    /// The hardware address to answer to is none of a single station.
    SenderAddress,
    /// It asks for no address that is answered for here, and tells of none that is watched.
    NotAnnounced,
    /// IP version other than 6 in an IPv6 frame.
    IpVersion,
    /// The hop limit is not 255: it came through a router (RFC 4861 7.1.1).
    HopLimit,
    /// The `ICMPv6` code is not 0.
    Code,
    /// The `ICMPv6` checksum is wrong.
    Checksum,
    /// The target is a multicast address.
    MulticastTarget,
    /// An option has length 0, another length than its kind, or does not end within the message.
    Options,
    /// The IPv6 source can neither ask nor answer: a multicast or the loopback address, or the
    /// unspecified one in an advertisement.
    Source,
    /// The IPv6 destination is neither the target nor its solicited-node group, or a duplicate
    /// address detection goes not to that group.
    Destination,
    /// A duplicate address detection with a source link-layer address (RFC 4861 7.1.1).
    DetectionWithAddress,
    /// An advertisement to a group that says it was solicited (RFC 4861 7.1.2).
    SolicitedToGroup,
}

impl Ignored {
    /// All reasons, in the order of their definition, so that `reason as usize` is an index.
    pub const ALL: [Self; 19] = [
        Self::Truncated,
        Self::EtherType,
        Self::VlanTagged,
        Self::Own,
        Self::NotToUs,
        Self::ArpFormat,
        Self::OtherMessage,
        Self::SenderAddress,
        Self::NotAnnounced,
        Self::IpVersion,
        Self::HopLimit,
        Self::Code,
        Self::Checksum,
        Self::MulticastTarget,
        Self::Options,
        Self::Source,
        Self::Destination,
        Self::DetectionWithAddress,
        Self::SolicitedToGroup,
    ];

    /// The reason as one word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::EtherType => "etherType",
            Self::VlanTagged => "vlanTagged",
            Self::Own => "own",
            Self::NotToUs => "notToUs",
            Self::ArpFormat => "arpFormat",
            Self::OtherMessage => "otherMessage",
            Self::SenderAddress => "senderAddress",
            Self::NotAnnounced => "notAnnounced",
            Self::IpVersion => "ipVersion",
            Self::HopLimit => "hopLimit",
            Self::Code => "code",
            Self::Checksum => "checksum",
            Self::MulticastTarget => "multicastTarget",
            Self::Options => "options",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::DetectionWithAddress => "detectionWithAddress",
            Self::SolicitedToGroup => "solicitedToGroup",
        }
    }

    /// True for frames that no correct station sends; the others are ordinary traffic.
    pub fn is_malformed(self) -> bool {
        !matches!(
            self,
            Self::EtherType
                | Self::VlanTagged
                | Self::Own
                | Self::NotToUs
                | Self::OtherMessage
                | Self::NotAnnounced
        )
    }
}
