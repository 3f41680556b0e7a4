//! The pools, found by address, with the advertisements that cover them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_announce::{L2Advertisement, bgp};
use herald_model::{Cidr, IpFamily};
use serde::{Deserialize, Serialize};

/// A pool as announcing sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// `metadata.name`.
    pub name: String,
    /// Its addresses; those of two pools do not overlap.
    pub cidrs: Vec<Cidr>,
    /// The advertisements on layer 2 that cover it.
    pub advertisements: Vec<L2Advertisement>,
    /// The advertisements with BGP that cover it.
    pub bgp_advertisements: Vec<bgp::Advertisement>,
}

/// What a new set of pools changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Pools whose advertisements on layer 2 are others than before.
    pub(super) advertisements: Vec<String>,
    /// Pools whose advertisements with BGP are others than before.
    pub(super) bgp_advertisements: Vec<String>,
    /// Some pool's addresses are others than before.
    pub(super) addresses: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: BTreeMap<String, PoolFacts>,
    /// The prefixes of all pools by family and first address, to be searched.
    ranges: BTreeMap<(IpFamily, u128), (Cidr, String)>,
}

impl Pools {
    pub(super) fn set(&mut self, pools: Vec<PoolFacts>) -> Changed {
        let pools: BTreeMap<_, _> = pools.into_iter().map(|p| (p.name.clone(), p)).collect();
        let old = std::mem::replace(&mut self.pools, pools);
        let others = |differ: fn(&PoolFacts, &PoolFacts) -> bool| -> Vec<String> {
            let pools = self.pools.values();
            let others =
                pools.filter(|pool| old.get(&pool.name).is_none_or(|old| differ(old, pool)));
            others.map(|pool| pool.name.clone()).collect()
        };
        let advertisements = others(|old, new| old.advertisements != new.advertisements);
        let bgp_advertisements =
            others(|old, new| old.bgp_advertisements != new.bgp_advertisements);
        let addresses = !self
            .pools
            .values()
            .map(|p| (&p.name, &p.cidrs))
            .eq(old.values().map(|p| (&p.name, &p.cidrs)));
        if addresses {
            self.ranges = self
                .pools
                .values()
                .flat_map(|pool| pool.cidrs.iter().map(|cidr| (*cidr, pool.name.clone())))
                .map(|(cidr, pool)| ((cidr.family(), cidr.first_number()), (cidr, pool)))
                .collect();
        }
        Changed {
            advertisements,
            bgp_advertisements,
            addresses,
        }
    }

    pub(super) fn facts(&self) -> impl Iterator<Item = &PoolFacts> {
        self.pools.values()
    }

    pub(super) fn advertisements(&self, pool: &str) -> &[L2Advertisement] {
        self.pools
            .get(pool)
            .map_or(&[], |pool| &pool.advertisements)
    }

    pub(super) fn bgp_advertisements(&self, pool: &str) -> &[bgp::Advertisement] {
        self.pools
            .get(pool)
            .map_or(&[], |pool| &pool.bgp_advertisements)
    }

    /// The pool that has all of `addresses`.
    pub(super) fn of(&self, addresses: &[IpAddr]) -> Option<&str> {
        let (first, rest) = addresses.split_first()?;
        let pool = self.of_one(*first)?;
        rest.iter()
            .all(|address| self.of_one(*address) == Some(pool))
            .then_some(pool)
    }

    fn of_one(&self, address: IpAddr) -> Option<&str> {
        let number = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let family = IpFamily::of(address);
        let (_, (cidr, pool)) = self
            .ranges
            .range((family, 0)..=(family, number))
            .next_back()?;
        cidr.contains(address).then_some(pool.as_str())
    }
}
