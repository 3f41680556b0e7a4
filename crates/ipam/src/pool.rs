//! A pool as the allocator sees it: parsed, its namespaces resolved.

use std::collections::BTreeSet;

use herald_model::{Cidr, LabelSelector};

/// An `IPAddressPool` whose text has been parsed (compat.md 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// `metadata.name`.
    pub name: String,
    /// The prefixes of `spec.addresses` in the order of the spec; ranges are already summarised.
    /// No two prefixes of any two pools overlap.
    pub cidrs: Vec<Cidr>,
    /// False: only for Services that ask for the pool or for one of its addresses.
    pub auto_assign: bool,
    /// True: IPv4 addresses that end in .0 or .255 are not given out.
    pub avoid_buggy_ips: bool,
    /// `spec.serviceAllocation`; `None` is open to every Service. A pool that has one, be it empty
    /// or only a priority, is tried before all pools that have none.
    pub allocation: Option<ServiceAllocation>,
}

/// Which Services may use a pool, and how early it is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAllocation {
    /// Lower is tried first; 0 is the lowest priority of all.
    pub priority: i32,
    /// `namespaces` and what `namespaceSelectors` select now; `None` when neither is set, which
    /// leaves every namespace in. An empty set (selectors that select nothing) lets none in.
    pub namespaces: Option<BTreeSet<String>>,
    /// The Service must match one of these, if there are any.
    pub service_selectors: Vec<LabelSelector>,
}
