//! Why the kernel did not do what was asked.

use std::io;
use std::net::Ipv6Addr;

use crate::SocketStep;

/// A failed call, with the object it was about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A packet socket could not be opened.
    #[error(
        "cannot open a packet socket on interface {interface} ({step}): {source}; \
         the capability NET_RAW is needed"
    )]
    OpenPacketSocket {
        /// The interface's index.
        interface: u32,
        /// The call that failed.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A filter was not accepted.
    #[error("cannot set the filter of a packet socket on interface {interface}: {source}")]
    SetFilter {
        /// The interface's index.
        interface: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A filter is longer than the kernel takes.
    #[error("a filter of {length} instructions is too long: the kernel takes {max}")]
    FilterTooLong {
        /// The instructions of the filter, with those that this crate puts in front.
        length: usize,
        /// What the kernel takes.
        max: usize,
    },
    /// A multicast group could not be joined.
    #[error("cannot join multicast group {group} on interface {interface}: {source}")]
    JoinGroup {
        /// The group.
        group: Ipv6Addr,
        /// The interface's index.
        interface: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket of a routing protocol could not be made or changed as asked.
    #[error("{socket}: cannot {step}: {source}{}", step.remedy(source))]
    Socket {
        /// What the socket is for, with the peer's address.
        socket: String,
        /// What was tried.
        step: SocketStep,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A password is empty or longer than the kernel takes.
    #[error("a BGP password of {length} bytes: it must have 1 to {max}; change it on both sides")]
    PasswordLength {
        /// How long it is, in bytes.
        length: usize,
        /// The most that the kernel takes.
        max: usize,
    },
    /// Netlink could not be opened, or a dump failed.
    #[error("cannot read interfaces or routes from netlink ({step}): {message}")]
    Netlink {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        message: String,
    },
}

impl Error {
    /// Why an attempt to connect came to nothing, for a reader who knows whose it was: the same words
    /// without the socket and that it was to connect.
    pub fn of_attempt(&self) -> String {
        match self {
            Self::Socket {
                step: step @ SocketStep::Connect,
                source,
                ..
            } => format!("{source}{}", step.remedy(source)),
            other => other.to_string(),
        }
    }
}
