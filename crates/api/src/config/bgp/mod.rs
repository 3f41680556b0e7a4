//! The kinds about BGP, validated (compat.md 1.3 to 1.6 and 1.8).
//!
//! What depends on how sessions are run (two peers on one node, local preferences that contradict
//! each other, BFD echo with IPv6) is not looked at here.

mod advertisement;
mod bfd;
mod community;
mod peer;

pub use advertisement::BgpAdvertisement;
pub use bfd::BfdProfile;
pub use community::{BgpCommunity, CommunityError};
pub use peer::{BgpPeer, PeerAsn, PeerEndpoint, Timers};

pub(super) use community::Aliases;
