//! A change of one object.

use kube::core::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use crate::config::Resources;
use crate::kinds;

/// An object of a kind that makes up the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// An `IPAddressPool`.
    Pool(kinds::IPAddressPool),
    /// An `L2Advertisement`.
    L2Advertisement(kinds::L2Advertisement),
    /// A `BGPAdvertisement`.
    BgpAdvertisement(kinds::BGPAdvertisement),
    /// A `BGPPeer`; large beside the others.
    BgpPeer(Box<kinds::BGPPeer>),
    /// A `BFDProfile`.
    BfdProfile(kinds::BFDProfile),
    /// A `Community`.
    Community(kinds::Community),
}

/// What is to be done with an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is new.
    Create(Object),
    /// It becomes another.
    Update {
        /// As it is.
        old: Box<Object>,
        /// As it is to be, of the same kind and name.
        new: Box<Object>,
    },
    /// It goes.
    Delete(Object),
}

impl Change {
    /// The object as it is to be, or as it is if it goes.
    pub fn object(&self) -> &Object {
        match self {
            Self::Create(object) | Self::Delete(object) => object,
            Self::Update { new, .. } => new,
        }
    }

    /// The stored objects as they are after the change.
    pub fn applied_to(&self, stored: &Resources) -> Resources {
        let mut after = stored.clone();
        match self {
            Self::Create(new) => new.clone().apply_to(&mut after),
            Self::Update { new, .. } => new.as_ref().clone().apply_to(&mut after),
            Self::Delete(old) => old.remove_from(&mut after),
        }
        after
    }
}

/// The same expression for the object of each kind.
macro_rules! each {
    ($object:expr, $inner:ident => $expression:expr) => {
        match $object {
            Object::Pool($inner) => $expression,
            Object::L2Advertisement($inner) => $expression,
            Object::BgpAdvertisement($inner) => $expression,
            Object::BgpPeer($inner) => $expression,
            Object::BfdProfile($inner) => $expression,
            Object::Community($inner) => $expression,
        }
    };
}

impl Object {
    /// The kind, as in `IPAddressPool`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pool(_) => "IPAddressPool",
            Self::L2Advertisement(_) => "L2Advertisement",
            Self::BgpAdvertisement(_) => "BGPAdvertisement",
            Self::BgpPeer(_) => "BGPPeer",
            Self::BfdProfile(_) => "BFDProfile",
            Self::Community(_) => "Community",
        }
    }

    /// `metadata`.
    pub fn meta(&self) -> &ObjectMeta {
        each!(self, object => object.meta())
    }

    /// `metadata.name`.
    pub fn name(&self) -> String {
        each!(self, object => object.name_any())
    }

    /// Adds or replaces it.
    pub(super) fn apply_to(self, resources: &mut Resources) {
        match self {
            Self::Pool(pool) => resources.pools.apply(pool),
            Self::L2Advertisement(object) => resources.l2_advertisements.apply(object),
            Self::BgpAdvertisement(object) => resources.bgp_advertisements.apply(object),
            Self::BgpPeer(peer) => resources.bgp_peers.apply(*peer),
            Self::BfdProfile(profile) => resources.bfd_profiles.apply(profile),
            Self::Community(community) => resources.communities.apply(community),
        }
    }

    /// Takes it away.
    pub(super) fn remove_from(&self, resources: &mut Resources) {
        let name = self.name();
        match self {
            Self::Pool(_) => resources.pools.remove(&name),
            Self::L2Advertisement(_) => resources.l2_advertisements.remove(&name),
            Self::BgpAdvertisement(_) => resources.bgp_advertisements.remove(&name),
            Self::BgpPeer(_) => resources.bgp_peers.remove(&name),
            Self::BfdProfile(_) => resources.bfd_profiles.remove(&name),
            Self::Community(_) => resources.communities.remove(&name),
        }
    }

    /// True if the configuration made of either is the same: neither the spec nor a label or an
    /// annotation differs.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let same_meta = self.meta().labels == other.meta().labels
            && self.meta().annotations == other.meta().annotations;
        let same_spec = match (self, other) {
            (Self::Pool(a), Self::Pool(b)) => a.spec == b.spec,
            (Self::L2Advertisement(a), Self::L2Advertisement(b)) => a.spec == b.spec,
            (Self::BgpAdvertisement(a), Self::BgpAdvertisement(b)) => a.spec == b.spec,
            (Self::BgpPeer(a), Self::BgpPeer(b)) => a.spec == b.spec,
            (Self::BfdProfile(a), Self::BfdProfile(b)) => a.spec == b.spec,
            (Self::Community(a), Self::Community(b)) => a.spec == b.spec,
            _ => false,
        };
        same_meta && same_spec
    }
}
