//! The pools that an advertisement is about: names and selectors, the same in both protocols.

use std::collections::{BTreeMap, BTreeSet};

use herald_model::LabelSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;

use super::pool::ParsedPool;
use super::problem::Fault;
use super::selectors::{distinct_names, strictly_distinct_selectors};

/// `ipAddressPools` and `ipAddressPoolSelectors`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PoolSelection {
    names: BTreeSet<String>,
    selectors: Vec<LabelSelector>,
}

impl PoolSelection {
    pub(super) fn parse(
        names: &[String],
        selectors: &[metav1::LabelSelector],
    ) -> Result<Self, Fault> {
        let names = distinct_names("spec.ipAddressPools", names)?;
        Ok(Self {
            names: names.into_iter().map(str::to_owned).collect(),
            selectors: strictly_distinct_selectors("spec.ipAddressPoolSelectors", selectors)?,
        })
    }

    /// Those of `pools` that are named or selected, or all if the advertisement says nothing.
    /// Names of pools that do not exist are passed over, as a pool may come later.
    pub(super) fn of<'a>(
        &'a self,
        pools: &'a BTreeMap<String, ParsedPool>,
    ) -> impl Iterator<Item = (&'a String, &'a ParsedPool)> {
        let all = self.names.is_empty() && self.selectors.is_empty();
        pools.iter().filter(move |(name, pool)| {
            all || self.names.contains(*name)
                || self.selectors.iter().any(|s| s.matches(&pool.labels))
        })
    }
}
