//! The kinds about BGP, validated (compat.md 1.3 to 1.6 and 1.8).
//!
//! Rules 14 and 15 are about what one or the other of MetalLB's BGP implementations cannot do; one
//! engine does all of it here. What is left of them: two peers must not make the same session.

mod advertisement;
mod bfd;
mod community;
mod endpoint;
mod password;
mod peer;
mod timers;

use std::collections::BTreeMap;

use herald_announce::bgp::Advertisement;
use herald_model::{Cidr, IpFamily};
use kube::ResourceExt as _;

use self::advertisement::ParsedAdvertisement;
use self::community::Aliases;
use self::peer::ParsedPeer;
use super::keep::Keeper;
use super::pool::ParsedPool;
use super::problem::{Consequence, Problem};
use super::{Objects, Resources};
use crate::kinds;

pub use bfd::BfdProfile;
pub use endpoint::PeerEndpoint;
pub use password::{Password, PasswordSecret};
pub use peer::{BgpPeer, Connection, PeerAsn, PeerBfd};
pub use timers::Timers;

/// The last good versions of the kinds about BGP.
#[derive(Debug, Clone, Default)]
pub(super) struct BgpKeepers {
    advertisements: Keeper<ParsedAdvertisement>,
    peers: Keeper<ParsedPeer>,
    profiles: Keeper<BfdProfile>,
    communities: Keeper<Aliases>,
}

impl BgpKeepers {
    pub(super) fn update(
        &mut self,
        resources: &Resources,
        pools: &BTreeMap<String, ParsedPool>,
        problems: &mut Vec<Problem>,
    ) {
        let communities = &resources.communities;
        self.communities
            .update("Community", communities, problems, Aliases::parse);
        let aliases = self.communities.good().values();
        let aliases = aliases.flat_map(|object| object.values.clone()).collect();
        let context = advertisement::Context {
            pools,
            aliases: &aliases,
            nodes: &resources.nodes,
        };
        self.advertisements.update(
            "BGPAdvertisement",
            &resources.bgp_advertisements,
            problems,
            |name, object| ParsedAdvertisement::parse(name, object, &context),
        );
        for twin in twins(&resources.bgp_advertisements) {
            // That the object is wrong says enough of it.
            let is_wrong = |known: &Problem| (known.kind, &known.name) == (twin.kind, &twin.name);
            if !problems.iter().any(is_wrong) {
                problems.push(twin);
            }
        }
        let profiles = &resources.bfd_profiles;
        self.profiles
            .update("BFDProfile", profiles, problems, BfdProfile::parse);
        let context = peer::Context {
            profiles: self.profiles.good(),
            secrets: &resources.password_secrets,
            nodes: &resources.nodes,
        };
        self.peers
            .update("BGPPeer", &resources.bgp_peers, problems, |name, object| {
                ParsedPeer::parse(name, object, &context)
            });
        for (peer, pool, cidr) in self.impossible_echo(pools) {
            problems.push(echo_problem(peer, pool, cidr));
        }
    }

    /// The advertisements of each pool.
    pub(super) fn advertisements(
        &self,
        pools: &BTreeMap<String, ParsedPool>,
    ) -> BTreeMap<String, Vec<Advertisement>> {
        let mut by_pool: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for parsed in self.advertisements.good().values() {
            for (pool, _) in parsed.pools.of(pools) {
                let of_pool = by_pool.entry(pool.clone()).or_default();
                of_pool.push(parsed.advertisement.clone());
            }
        }
        by_pool
    }

    /// The peers, without echo where it is not possible.
    pub(super) fn peers(&self, pools: &BTreeMap<String, ParsedPool>) -> Vec<BgpPeer> {
        let good = self.peers.good();
        let mut peers: BTreeMap<_, _> = good
            .iter()
            .map(|(name, parsed)| (name.as_str(), parsed.peer.clone()))
            .collect();
        for (peer, _, _) in self.impossible_echo(pools) {
            let peer = peers.get_mut(peer.name.as_str());
            if let Some(bfd) = peer.and_then(|peer| peer.bfd.as_mut()) {
                bfd.profile.echo_mode = false;
            }
        }
        peers.into_values().collect()
    }

    /// Rule 11: the peers with echo that get IPv6 routes, each with a pool of them.
    fn impossible_echo<'a>(
        &'a self,
        pools: &'a BTreeMap<String, ParsedPool>,
    ) -> impl Iterator<Item = (&'a BgpPeer, &'a str, Cidr)> {
        let with_echo = self.peers.good().values().filter(|parsed| {
            let bfd = parsed.peer.bfd.as_ref();
            bfd.is_some_and(|bfd| bfd.profile.echo_mode)
        });
        with_echo.filter_map(move |parsed| {
            let advertisements = self.advertisements.good().values();
            let to_it = advertisements.filter(|advertisement| {
                advertisement.advertisement.peers.contain(&parsed.peer.name)
                    && advertisement.nodes.meets(&parsed.nodes)
            });
            let mut pools = to_it.flat_map(|advertisement| advertisement.pools.of(pools));
            let (pool, cidr) = pools.find_map(|(name, pool)| {
                let mut cidrs = pool.entries.iter().flat_map(|(_, cidrs)| cidrs);
                let v6 = cidrs.find(|cidr| cidr.family() == IpFamily::V6)?;
                Some((name.as_str(), *v6))
            })?;
            Some((&parsed.peer, pool, cidr))
        })
    }
}

fn echo_problem(peer: &BgpPeer, pool: &str, cidr: Cidr) -> Problem {
    let profile = peer.bfd.as_ref().map_or("", |bfd| bfd.name.as_str());
    let peer = &peer.name;
    Problem {
        kind: "BFDProfile",
        name: profile.to_owned(),
        field: "spec.echoMode".to_owned(),
        message: format!(
            "peer {peer} has bfd echo enabled, which is not possible with the IPv6 CIDR \"{cidr}\" \
             of pool {pool:?} that it gets: use a profile without echoMode, or announce the pool to \
             other peers"
        ),
        consequence: Consequence::FieldIgnored,
        waits: false,
    }
}

/// Rule 8: advertisements that say what another one says. MetalLB refuses them; the second is only
/// without effect.
fn twins(advertisements: &Objects<kinds::BGPAdvertisement>) -> Vec<Problem> {
    let mut known = BTreeMap::new();
    let twin = |(name, object): (&str, Result<&kinds::BGPAdvertisement, &str>)| {
        let object = object.ok()?;
        // Equal objects, equal texts.
        let text = serde_json::to_string(&(&object.spec, object.annotations())).ok()?;
        let other = known.entry(text).or_insert_with(|| name.to_owned());
        (other != name).then(|| Problem {
            kind: "BGPAdvertisement",
            name: name.to_owned(),
            field: "spec".to_owned(),
            message: format!(
                "duplicate definition of bgpadvertisements: it says what BGPAdvertisement {other:?} \
                 says, so one of the two can go"
            ),
            consequence: Consequence::Harmless,
            waits: false,
        })
    };
    advertisements.iter().filter_map(twin).collect()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
