//! Messages as they are on the wire: taken from a stream of bytes, decoded, checked and written.
//!
//! ```text
//! bytes -> Framer -> RawMessage -> Message -> update::parse -> Received
//!             \___________\____________\____________\_________-> Notification (what to close with)
//! ```
//!
//! Every error that a peer can make comes out as the [`Notification`] that the RFCs ask for, with its
//! data. Nothing here allocates in proportion to what a peer claims, only to what it has sent.

mod attributes;
mod bytes;
mod capabilities;
mod communities;
mod family;
mod framing;
mod message;
mod negotiated;
mod notification;
mod numbers;
mod open;
mod refresh;
pub mod update;

pub use attributes::{Attributes, NextHop};
pub use capabilities::{Capabilities, Capability, GracefulRestart, LongLived, Role};
pub use communities::{Community, ExtendedCommunity, LargeCommunity};
pub use family::{Families, Family, PerFamily, Prefix};
pub use framing::{EXTENDED_LIMIT, Framer, HEADER_LEN, MessageType, RawMessage, STANDARD_LIMIT};
pub use message::Message;
pub use negotiated::Negotiated;
pub use notification::{ErrorCode, Notification, SHUTDOWN_TEXT_LIMIT};
pub use numbers::{Asn, BgpId};
pub use open::{ExpectedAs, Open};
pub use refresh::{RefreshKind, RouteRefresh};
