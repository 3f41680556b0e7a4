//! Resources turned into a validated configuration, or problems.
//!
//! Unlike MetalLB, where the configuration is valid or invalid as a whole, every object stands for
//! itself: a bad one keeps its last good version and harms no other. The rules and the texts of the
//! problems are MetalLB's (compat.md 1.8).

pub mod admission;
mod advertised;
mod annotated;
pub mod bgp;
mod keep;
mod l2;
mod nodes;
mod objects;
mod pool;
mod problem;
mod selectors;

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_announce::L2Advertisement;
use herald_announce::bgp::Advertisement;
use herald_ipam::Pool;
use herald_model::{Cidr, Labels};

use self::bgp::{BgpKeepers, BgpPeer, PasswordSecret};
use self::keep::Keeper;
use self::l2::ParsedL2Advertisement;
use self::pool::ParsedPool;
use crate::kinds;

pub use objects::Objects;
pub use problem::{Consequence, Problem};
pub use selectors::{InvalidSelector, label_selector};

/// The objects that make up the configuration. A daemon fills in what it watches and leaves the
/// rest empty: the controller needs pools and namespaces, the speaker pools and advertisements.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// The pools.
    pub pools: Objects<kinds::IPAddressPool>,
    /// What is announced on the local network.
    pub l2_advertisements: Objects<kinds::L2Advertisement>,
    /// What is announced with BGP.
    pub bgp_advertisements: Objects<kinds::BGPAdvertisement>,
    /// The BGP sessions.
    pub bgp_peers: Objects<kinds::BGPPeer>,
    /// The BFD profiles that the sessions name.
    pub bfd_profiles: Objects<kinds::BFDProfile>,
    /// The names of communities that BGP advertisements use.
    pub communities: Objects<kinds::Community>,
    /// The Secrets of the objects' namespace by name: those that hold passwords of BGP sessions.
    pub password_secrets: BTreeMap<String, PasswordSecret>,
    /// The labels of all namespaces, by name.
    pub namespaces: BTreeMap<String, Labels>,
    /// The labels of the nodes that matter, by name: a speaker's own, or all. Two objects about BGP
    /// that would exclude each other do so only if both select one of these; as long as none is
    /// known, every two may.
    pub nodes: BTreeMap<String, Labels>,
}

/// A configuration that is valid throughout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The pools in the order of their names; no two have an address in common.
    pub pools: Vec<Pool>,
    /// The layer 2 advertisements that cover each pool, in the order of their names. Pools that
    /// none covers are not in the map.
    pub l2_advertisements: BTreeMap<String, Vec<L2Advertisement>>,
    /// The BGP advertisements that cover each pool, in the order of their names.
    pub bgp_advertisements: BTreeMap<String, Vec<Advertisement>>,
    /// The BGP sessions in the order of their names.
    pub bgp_peers: Vec<BgpPeer>,
    /// The prefixes in ascending order, each with the index of its pool.
    prefixes: Vec<(Cidr, usize)>,
}

impl Config {
    /// The pool that has `address`, in O(log prefixes).
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        // Host prefixes order like addresses, and a wider prefix sorts before those inside it.
        let host = Cidr::new(address, herald_model::IpFamily::of(address).bits())?;
        let after = self.prefixes.partition_point(|(cidr, _)| *cidr <= host);
        let (cidr, pool) = self.prefixes.get(after.checked_sub(1)?)?;
        cidr.contains(address)
            .then(|| self.pools.get(*pool))
            .flatten()
    }

    /// The pool of the name, in O(log pools).
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        let index = self
            .pools
            .binary_search_by(|pool| pool.name.as_str().cmp(name))
            .ok()?;
        self.pools.get(index)
    }

    /// The advertisements that cover the pool `name`, in the order of their names.
    pub fn l2_advertisements_of(&self, name: &str) -> &[L2Advertisement] {
        self.l2_advertisements.get(name).map_or(&[], Vec::as_slice)
    }

    /// The BGP advertisements that cover the pool `name`, in the order of their names.
    pub fn bgp_advertisements_of(&self, name: &str) -> &[Advertisement] {
        self.bgp_advertisements.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Makes configurations and remembers the last good version of every object.
#[derive(Debug, Clone, Default)]
pub struct Configurator {
    pools: Keeper<ParsedPool>,
    l2_advertisements: Keeper<ParsedL2Advertisement>,
    bgp: BgpKeepers,
}

impl Configurator {
    /// The configuration of the objects as they are now. An object with a problem takes part with
    /// its last good version, if it ever had one; one that is not in `resources` any more is
    /// forgotten.
    pub fn update(&mut self, resources: &Resources) -> (Config, Vec<Problem>) {
        let mut problems = Vec::new();
        self.pools.update(
            "IPAddressPool",
            &resources.pools,
            &mut problems,
            ParsedPool::parse,
        );
        self.l2_advertisements.update(
            "L2Advertisement",
            &resources.l2_advertisements,
            &mut problems,
            ParsedL2Advertisement::parse,
        );
        self.bgp.update(resources, self.pools.good(), &mut problems);
        (self.config(&resources.namespaces), problems)
    }

    fn config(&self, namespaces: &BTreeMap<String, Labels>) -> Config {
        let good = self.pools.good();
        let pools: Vec<_> = good.values().map(|pool| pool.resolve(namespaces)).collect();
        let mut prefixes: Vec<_> = pools
            .iter()
            .enumerate()
            .flat_map(|(index, pool)| pool.cidrs.iter().map(move |cidr| (*cidr, index)))
            .collect();
        prefixes.sort_unstable();

        let mut l2_advertisements: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for parsed in self.l2_advertisements.good().values() {
            for (pool, _) in parsed.pools.of(good) {
                let of_pool = l2_advertisements.entry(pool.clone()).or_default();
                of_pool.push(parsed.advertisement.clone());
            }
        }
        Config {
            pools,
            l2_advertisements,
            bgp_advertisements: self.bgp.advertisements(good),
            bgp_peers: self.bgp.peers(good),
            prefixes,
        }
    }
}

#[cfg(test)]
mod tests;
