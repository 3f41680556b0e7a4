//! A route before it is put into the words of one session.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::wire::{Community, ExtendedCommunity, LargeCommunity};

/// Which sessions a path is for. They are known by the names that their views have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All.
    #[default]
    Everyone,
    /// Only these.
    Only(Arc<BTreeSet<String>>),
}

impl Audience {
    /// The sessions with these names.
    pub fn only(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Only(Arc::new(names.into_iter().map(Into::into).collect()))
    }

    /// True if the session with this name is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What is said of a route apart from what is of the session: the next hop and the own AS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RouteAttributes {
    /// `LOCAL_PREF`; told to internal peers only, 100 if there is none (RFC 4271 5.1.5).
    pub local_pref: Option<u32>,
    /// `MULTI_EXIT_DISC` (RFC 4271 5.1.4).
    pub med: Option<u32>,
    /// How often the own AS is put in front once more, for external peers.
    pub prepend: u8,
    /// Communities (RFC 1997).
    pub communities: Vec<Community>,
    /// Large communities (RFC 8092).
    pub large: Vec<LargeCommunity>,
    /// Extended communities (RFC 4360).
    pub extended: Vec<ExtendedCommunity>,
    /// The weight among several next hops, in bytes per second: told as link bandwidth of the own
    /// AS (draft-ietf-idr-link-bandwidth).
    pub link_bandwidth: Option<u64>,
}

/// A route as some sessions tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path {
    /// The sessions that tell it.
    pub audience: Audience,
    /// What they say.
    pub attributes: RouteAttributes,
}
