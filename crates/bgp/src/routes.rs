//! Routes on their way out: what is to be announced, and what of it each session has still to tell.
//!
//! [`Table`] has the routes, shared by all sessions; a [`View`] says how one session puts them into
//! words; [`Feed`] ties a [`Session`](crate::session::Session) to the table. No messages are kept:
//! they are written at the moment a peer takes them.

mod catalogue;
mod feed;
mod outbound;
mod path;
mod sets;
mod slots;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use feed::Feed;
pub use path::{Audience, Path, RouteAttributes};
pub use table::{OutboundId, Table, Written};
pub use view::{Addresses, View};
