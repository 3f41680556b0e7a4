//! Which routes a node announces with BGP, to which peers, and why not (compat.md 5.1).
//!
//! ```text
//!   Service, advertisements, peers, nodes ── decide() ──▶ Announcement, or a Reason
//!                                                             │ one for each Service
//!                                                         Table::set()
//!                                                             │ one route for each prefix
//!                                                         Table::take_changes(now)
//! ```
//!
//! [`decide`] looks at one Service on one node. [`Table`] puts the Services of a node together, for
//! two of them may have an address or an aggregate in common. What comes out is a function of what
//! is in it, whatever the order in which it came; only the weights of [`Table`] lag behind.
//!
//! # Aggregates
//!
//! An advertisement with an aggregation length that is shorter than an address announces the prefix
//! around the address in its place. Such an aggregate is a promise for all addresses in it:
//!
//! - A node announces it only while the node serves one of its members, by the same rules that
//!   decide about a host route. It goes with the last of them.
//! - Several members, and several advertisements of one length, make one route: see
//!   [`Attributes::merge`].
//! - Prefixes of different lengths never replace each other, though one lies in the other: routers
//!   follow the longest. Two advertisements of different lengths therefore announce both, each with
//!   its own attributes.
//! - An aggregate also attracts what is for members that the node does not serve. Such a member is
//!   one of external traffic policy `Local` whose endpoints are all elsewhere, and its traffic would
//!   be dropped here. With [`Advertisement::local_host_routes`] Services of that policy get their
//!   host route beside the aggregate, which leads to the nodes that have endpoints.

mod advertisement;
mod attributes;
mod community;
mod decision;
mod extended;
mod reason;
mod table;
mod weight;

pub use advertisement::{Advertisement, Peer, Peers};
pub use attributes::{Attributes, Path};
pub use community::{Community, CommunityError};
pub use decision::{Announcement, decide};
pub use extended::{Administrator, ExtendedCommunity};
pub use reason::Reason;
pub use table::{Announced, Change, Route, Table};
pub use weight::{Damped, Damper, quantise};
