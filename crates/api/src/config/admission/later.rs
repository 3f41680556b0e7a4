//! What an object may name before it is there.

use std::collections::BTreeSet;

use super::Object;
use crate::config::Resources;
use crate::config::bgp::PasswordSecret;
use crate::kinds;
use crate::slim::Secret;

/// Provides what `new` names and what may come later, so that all else that is wrong with it is
/// found, and only that.
pub(super) fn complete(resources: &mut Resources, new: &Object) {
    match new {
        Object::BgpPeer(peer) if !peer.spec.bfd_profile.is_empty() => {
            let profile = kinds::BFDProfileSpec::default();
            let profile = kinds::BFDProfile::new(&peer.spec.bfd_profile, profile);
            resources.bfd_profiles.apply(profile);
        }
        Object::BgpAdvertisement(advertisement) => {
            // With a colon it is a value, which nobody has to define.
            let texts = advertisement.spec.communities.iter();
            let names: BTreeSet<_> = texts.filter(|text| !text.contains(':')).collect();
            let communities = names.into_iter().enumerate();
            let communities = communities.map(|(number, name)| kinds::CommunityAlias {
                name: name.clone(),
                // Different ones: how many they are matters.
                value: format!("large:0:0:{number}"),
            });
            let spec = kinds::CommunitySpec {
                communities: communities.collect(),
            };
            resources.communities.clear();
            let community = kinds::Community::new("later", spec);
            resources.communities.apply(community);
        }
        _ => {}
    }
}

/// Takes every Secret that a peer names for one with a password: they are not read for this.
pub fn trust_secrets(resources: &mut Resources) {
    let peers = resources.bgp_peers.iter().filter_map(|(_, peer)| peer.ok());
    let named = peers.filter_map(|peer| Some(peer.spec.password_secret.as_ref()?.name.clone()));
    let good = PasswordSecret::new(Secret::BASIC_AUTH, Some(b"not read"));
    resources.password_secrets = named.map(|name| (name, good.clone())).collect();
}
