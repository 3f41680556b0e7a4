//! The echo function (RFC 5880 6.4, RFC 5881 4): packets that the peer's forwarding plane returns.
//!
//! An echo packet goes to the peer's link-layer address, and has the address of its sender as source
//! and as destination: whoever forwards packets sends it back. FRR 8.4 does the same.

use std::net::Ipv4Addr;

use crate::SessionId;

/// The UDP port of echo packets (RFC 5881 4).
pub const ECHO_PORT: u16 = 3785;

/// The TTL of an echo packet that was returned: it was forwarded once.
pub const RETURNED_TTL: u8 = 254;

/// The length of an echo packet of ours, in bytes.
pub const ECHO_LEN: usize = 16;

/// What an echo packet of ours says. Its contents are a local matter.
///
/// ```text
/// 0                               1
/// 0       4       8               6
/// +-------+-------+---------------+
/// |discrim|sequenc|     token     |
/// +-------+-------+---------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EchoPacket {
    /// Of the session.
    pub(crate) discriminator: u32,
    /// Counts the session's echo packets; begins anew after the last.
    pub(crate) sequence: u32,
    /// Drawn for this packet, so that nobody who has not seen it can return it.
    pub(crate) token: u64,
}

impl EchoPacket {
    /// Reads the payload of a datagram; none if that is not of this length.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (discriminator, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        Some(Self {
            discriminator: u32::from_be_bytes(*discriminator),
            sequence: u32::from_be_bytes(*sequence),
            token: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }

    pub(crate) fn encode(&self) -> [u8; ECHO_LEN] {
        let head = u64::from(self.discriminator) << 32 | u64::from(self.sequence);
        (u128::from(head) << 64 | u128::from(self.token)).to_be_bytes()
    }
}

/// An echo packet to send: from the local address of the session to the same address, to the
/// link-layer address of the peer, with a TTL of [`TTL`](crate::TTL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct EchoTransmit {
    /// Whose.
    pub session: SessionId,
    /// The payload of the datagram.
    pub payload: [u8; ECHO_LEN],
}

/// How an echo packet got here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoArrival {
    /// Its source address.
    pub from: Ipv4Addr,
    /// Its destination address.
    pub to: Ipv4Addr,
    /// The index of the interface that it came by.
    pub interface: u32,
    /// Its TTL.
    pub ttl: u8,
}

/// What an echo packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Echo {
    /// One of this session's, which came back.
    Ours(SessionId),
    /// One of this session's peer. It is to be sent back: from its destination to its source, with a
    /// TTL of [`RETURNED_TTL`].
    Peers(SessionId),
}
