//! What became of a received frame.

use std::net::IpAddr;

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
    },
    /// There is nothing to send.
    Ignored(Ignored),
}

/// Why a frame is not answered. Meant to be counted: [`Ignored::name`] is a label's value and
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
    /// Neither an ARP request nor a neighbor solicitation.
    NotARequest,
    /// The hardware address to answer to is none of a single station.
    SenderAddress,
    /// A station announces the address as its own: that is no question, but a conflict if the
    /// address is announced here.
    Gratuitous,
    /// The address is not announced on this interface.
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
    /// The IPv6 source cannot ask: a multicast or the loopback address.
    Source,
    /// The IPv6 destination is neither the target nor its solicited-node group, or a duplicate
    /// address detection goes not to that group.
    Destination,
    /// A duplicate address detection with a source link-layer address (RFC 4861 7.1.1).
    DetectionWithAddress,
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
        Self::NotARequest,
        Self::SenderAddress,
        Self::Gratuitous,
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
            Self::NotARequest => "notARequest",
            Self::SenderAddress => "senderAddress",
            Self::Gratuitous => "gratuitous",
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
                | Self::NotARequest
                | Self::Gratuitous
                | Self::NotAnnounced
        )
    }
}
