//! What a route says beside its prefix.

use std::collections::BTreeSet;

use super::{Community, ExtendedCommunity, Peers};

/// What decides about a route at its receivers. Next hop and own AS are the session's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attributes {
    /// `LOCAL_PREF` for peers in our autonomous system; `None` leaves it at the default.
    pub local_pref: Option<u32>,
    /// `MULTI_EXIT_DISC`; `None` sends none.
    pub med: Option<u32>,
    /// How many more times our number stands in the path.
    pub prepend: u8,
    /// All kinds of communities.
    pub communities: BTreeSet<Community>,
}

/// What one advertisement makes of one prefix of one Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// To whom it goes.
    pub peers: Peers,
    /// What it says.
    pub attributes: Attributes,
    /// The node is about to go, or what serves the Service there: unless another path of the same
    /// prefix is to stay, the route is [to be passed over](Attributes::shut_gracefully).
    pub ending: bool,
    /// Whether the number of endpoints on the node that are to stay is to be its weight.
    pub weighted: bool,
}

impl Attributes {
    /// The attributes of one route that both ask for. It does not matter which comes first.
    ///
    /// The communities are those of both. What only one of the two says, holds; where they differ the
    /// one that makes the route more wanted wins: the higher `LOCAL_PREF`, the lower MED, the shorter
    /// path. (For one Service [`decide`](super::decide) refuses differing `LOCAL_PREF`s; two Services
    /// may have an address in common and differ.)
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let meds = [self.med, other.med];
        let prepends = [self.prepend, other.prepend];
        Self {
            local_pref: self.local_pref.max(other.local_pref),
            med: meds.into_iter().flatten().min(),
            prepend: prepends.into_iter().filter(|n| *n > 0).min().unwrap_or(0),
            communities: &self.communities | &other.communities,
        }
    }

    /// The attributes of a node that is about to go: the route is there until another is found
    /// (RFC 8326). The community asks other systems for the lowest preference, `LOCAL_PREF` gives it
    /// in our own.
    #[must_use]
    pub fn shut_gracefully(mut self) -> Self {
        self.local_pref = Some(0);
        self.communities.insert(Community::GRACEFUL_SHUTDOWN);
        self
    }

    /// True if the link bandwidth is among the communities: then it is the weight.
    pub fn has_link_bandwidth(&self) -> bool {
        self.communities.iter().any(|community| {
            matches!(
                community,
                Community::Extended(ExtendedCommunity::LinkBandwidth { .. })
            )
        })
    }
}
