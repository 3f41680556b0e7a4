//! `BGPAdvertisement`s (compat.md 1.3 and 1.8, rules 5, 6 and 9).

use std::collections::{BTreeMap, BTreeSet};

use herald_model::{Cidr, IpFamily, LabelSelector};

use super::BgpCommunity;
use super::community::resolve;
use crate::config::advertised::PoolSelection;
use crate::config::keep::Parsed;
use crate::config::pool::ParsedPool;
use crate::config::problem::Fault;
use crate::config::selectors::{distinct_names, strictly_distinct_selectors};
use crate::kinds;

/// How the addresses of some pools are announced.
#[derive(Debug, Clone, PartialEq)]
pub struct BgpAdvertisement {
    /// `metadata.name`.
    pub name: String,
    /// The prefix length of IPv4 routes.
    pub aggregation_length_v4: u8,
    /// The prefix length of IPv6 routes.
    pub aggregation_length_v6: u8,
    /// `LOCAL_PREF`; 0 means not set.
    pub local_pref: u32,
    /// The communities, names looked up.
    pub communities: BTreeSet<BgpCommunity>,
    /// The nodes that announce; empty means all.
    pub node_selectors: Vec<LabelSelector>,
    /// The Services that are announced; empty means all.
    pub service_selectors: Vec<LabelSelector>,
    /// The names of the peers; empty means all.
    pub peers: BTreeSet<String>,
    pub(in crate::config) pools: PoolSelection,
}

impl Parsed for BgpAdvertisement {
    type Claims = ();
}

impl BgpAdvertisement {
    pub(in crate::config) fn parse(
        name: &str,
        object: &kinds::BGPAdvertisement,
        pools: &BTreeMap<String, ParsedPool>,
        aliases: &BTreeMap<String, BgpCommunity>,
    ) -> Result<Self, Fault> {
        let spec = &object.spec;
        let peers = distinct_names("spec.peers", &spec.peers)?;
        let communities = distinct_names("spec.communities", &spec.communities)?;
        let advertisement = Self {
            name: name.to_owned(),
            aggregation_length_v4: length(
                "spec.aggregationLength",
                spec.aggregation_length,
                IpFamily::V4,
            )?,
            aggregation_length_v6: length(
                "spec.aggregationLengthV6",
                spec.aggregation_length_v6,
                IpFamily::V6,
            )?,
            local_pref: spec.local_pref,
            communities: resolve(&communities, aliases)?,
            node_selectors: strictly_distinct_selectors(
                "spec.nodeSelectors",
                &spec.node_selectors,
            )?,
            service_selectors: strictly_distinct_selectors(
                "spec.serviceSelectors",
                &spec.service_selectors,
            )?,
            peers: peers.into_iter().map(str::to_owned).collect(),
            pools: PoolSelection::parse(&spec.ip_address_pools, &spec.ip_address_pool_selectors)?,
        };
        for (_, pool) in advertisement.pools.of(pools) {
            for (entry, cidrs) in &pool.entries {
                advertisement.covers(entry, cidrs)?;
            }
        }
        Ok(advertisement)
    }

    /// An error if every prefix of a pool's entry is longer than the routes would be. A range is
    /// all right if its widest prefix is not.
    fn covers(&self, entry: &str, cidrs: &[Cidr]) -> Result<(), Fault> {
        let Some(widest) = cidrs.iter().min_by_key(|cidr| cidr.prefix_len()) else {
            return Ok(());
        };
        let (field, length) = match widest.family() {
            IpFamily::V4 => ("spec.aggregationLength", self.aggregation_length_v4),
            IpFamily::V6 => ("spec.aggregationLengthV6", self.aggregation_length_v6),
        };
        if widest.prefix_len() <= length {
            return Ok(());
        }
        let message = format!(
            "invalid aggregation length {length}: prefix {} in this pool is more specific than \
             the aggregation length for addresses {entry}",
            widest.prefix_len()
        );
        Err(Fault::new(field, message))
    }
}

fn length(field: &str, length: i32, family: IpFamily) -> Result<u8, Fault> {
    u8::try_from(length)
        .ok()
        .filter(|length| *length <= family.bits())
        .ok_or_else(|| {
            let message = format!(
                "invalid aggregation length {length}: use at most {} for {family}",
                family.bits()
            );
            Fault::new(field, message)
        })
}
