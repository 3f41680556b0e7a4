//! `IPAddressPool`s: compat.md 1.8, rules 1 to 4.

use std::collections::{BTreeMap, BTreeSet};

use herald_ipam::{Pool, ServiceAllocation};
use herald_model::{Cidr, IpFamily, LabelSelector, Labels, parse_addresses};

use super::keep::Parsed;
use super::problem::Fault;
use super::selectors::{distinct, distinct_selectors};
use crate::kinds;

/// A pool that is valid by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ParsedPool {
    /// The labels of the object, for advertisements that select pools by them.
    pub(super) labels: Labels,
    /// The entries of `spec.addresses`, as written and as prefixes.
    pub(super) entries: Vec<(String, Vec<Cidr>)>,
    name: String,
    auto_assign: bool,
    avoid_buggy_ips: bool,
    allocation: Option<Allocation>,
}

/// `spec.serviceAllocation` with its namespaces still to be resolved.
#[derive(Debug, Clone, PartialEq)]
struct Allocation {
    priority: i32,
    namespaces: BTreeSet<String>,
    namespace_selectors: Vec<LabelSelector>,
    service_selectors: Vec<LabelSelector>,
}

impl ParsedPool {
    pub(super) fn parse(name: &str, pool: &kinds::IPAddressPool) -> Result<Self, Fault> {
        const ADDRESSES: &str = "spec.addresses";
        if name.is_empty() {
            return Err(Fault::new("metadata.name", "missing pool name"));
        }
        if pool.spec.addresses.is_empty() {
            return Err(Fault::new(
                ADDRESSES,
                "pool has no prefixes defined: add a CIDR or a range",
            ));
        }
        let mut entries = Vec::new();
        let mut own = Claims::default();
        for entry in &pool.spec.addresses {
            let cidrs = parse_addresses(entry).map_err(|error| {
                let message = format!("invalid CIDR {entry:?} in pool {name:?}: {error}");
                Fault::new(ADDRESSES, message)
            })?;
            for cidr in &cidrs {
                own.free(*cidr, name)?;
            }
            own.take(&cidrs, name);
            entries.push((entry.clone(), cidrs));
        }
        let allocation = pool.spec.service_allocation.as_ref();
        Ok(Self {
            labels: pool.metadata.labels.clone().unwrap_or_default(),
            entries,
            name: name.to_owned(),
            auto_assign: pool.spec.auto_assign,
            avoid_buggy_ips: pool.spec.avoid_buggy_ips,
            allocation: allocation.map(Allocation::parse).transpose()?,
        })
    }

    /// The pool for the allocator, given the namespaces of the cluster.
    pub(super) fn resolve(&self, namespaces: &BTreeMap<String, Labels>) -> Pool {
        Pool {
            name: self.name.clone(),
            cidrs: self.cidrs().collect(),
            auto_assign: self.auto_assign,
            avoid_buggy_ips: self.avoid_buggy_ips,
            allocation: self
                .allocation
                .as_ref()
                .map(|allocation| allocation.resolve(namespaces)),
        }
    }

    fn cidrs(&self) -> impl Iterator<Item = Cidr> {
        self.entries.iter().flat_map(|(_, cidrs)| cidrs).copied()
    }
}

impl Allocation {
    fn parse(allocation: &kinds::ServiceAllocation) -> Result<Self, Fault> {
        const FIELD: &str = "spec.serviceAllocation";
        let namespaces = distinct(
            &format!("{FIELD}.namespaces"),
            allocation.namespaces.iter().cloned(),
            |name| format!("duplicate definition in namespaces field: remove one {name:?}"),
        )?;
        Ok(Self {
            priority: allocation.priority.unwrap_or_default(),
            namespaces,
            namespace_selectors: distinct_selectors(
                &format!("{FIELD}.namespaceSelectors"),
                &allocation.namespace_selectors,
            )?,
            service_selectors: distinct_selectors(
                &format!("{FIELD}.serviceSelectors"),
                &allocation.service_selectors,
            )?,
        })
    }

    fn resolve(&self, namespaces: &BTreeMap<String, Labels>) -> ServiceAllocation {
        let open = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let selected = namespaces.iter().filter(|(_, labels)| {
            let mut selectors = self.namespace_selectors.iter();
            selectors.any(|selector| selector.matches(labels))
        });
        let names = selected.map(|(name, _)| name).chain(&self.namespaces);
        ServiceAllocation {
            priority: self.priority,
            namespaces: (!open).then(|| names.cloned().collect()),
            service_selectors: self.service_selectors.clone(),
        }
    }
}

/// The prefixes that pools have, by their last address.
#[derive(Default)]
pub(super) struct Claims {
    taken: BTreeMap<(IpFamily, u128), (Cidr, String)>,
}

impl Claims {
    /// An error if one of the prefixes already taken overlaps `cidr` of `pool`.
    fn free(&self, cidr: Cidr, pool: &str) -> Result<(), Fault> {
        let from = (cidr.family(), cidr.first_number());
        let Some((_, (other, owner))) = self.taken.range(from..).next() else {
            return Ok(());
        };
        if !other.overlaps(cidr) {
            return Ok(());
        }
        let message = format!(
            "CIDR \"{cidr}\" in pool {pool:?} overlaps with already defined CIDR \"{other}\" of \
             pool {owner:?}: remove the addresses from one of the two"
        );
        Err(Fault::new("spec.addresses", message))
    }

    fn take(&mut self, cidrs: &[Cidr], pool: &str) {
        for cidr in cidrs {
            let key = (cidr.family(), cidr.last_number());
            self.taken.insert(key, (*cidr, pool.to_owned()));
        }
    }
}

impl Parsed for ParsedPool {
    type Claims = Claims;

    fn claim(&self, claims: &mut Claims) -> Result<(), Fault> {
        self.cidrs()
            .try_for_each(|cidr| claims.free(cidr, &self.name))?;
        for (_, cidrs) in &self.entries {
            claims.take(cidrs, &self.name);
        }
        Ok(())
    }
}
