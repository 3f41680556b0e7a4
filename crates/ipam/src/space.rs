//! All pools with their free addresses: where an address is, which pool comes first, the counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use herald_model::{IpFamily, Labels, address_number};

use crate::decision::{Incompatibility, Reason};
use crate::free::FreeSpace;
use crate::pool::Pool;

/// An index into the pools of a [`Space`], valid until they are replaced. Pools are numbered by
/// name.
pub(crate) type PoolId = usize;

/// An address by its place: positions of one pool and family sort in the order in which addresses
/// are given out, prefix by prefix as the spec lists them and ascending within each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) pool: PoolId,
    pub(crate) family: IpFamily,
    range: usize,
    number: u128,
}

impl Position {
    /// Before every position of the pool and family.
    pub(crate) fn start(pool: PoolId, family: IpFamily) -> Self {
        Self {
            pool,
            family,
            range: 0,
            number: 0,
        }
    }

    /// After every position of the pool and family.
    pub(crate) fn end(pool: PoolId, family: IpFamily) -> Self {
        Self {
            pool,
            family,
            range: usize::MAX,
            number: u128::MAX,
        }
    }

    pub(crate) fn address(self) -> IpAddr {
        self.family.address(self.number)
    }
}

/// How many addresses a pool has and how many of them are in use. Every number stops at
/// `i64::MAX`, which is what the status of an `IPAddressPool` can hold (compat.md 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// IPv4 addresses that may be given out, used or not.
    pub total_ipv4: i64,
    /// IPv6 addresses that may be given out, used or not.
    pub total_ipv6: i64,
    /// IPv4 addresses in use; a shared one counts once.
    pub assigned_ipv4: i64,
    /// IPv6 addresses in use; a shared one counts once.
    pub assigned_ipv6: i64,
    /// IPv4 addresses still free.
    pub available_ipv4: i64,
    /// IPv6 addresses still free.
    pub available_ipv6: i64,
}

/// The prefixes of one family of one pool.
#[derive(Debug, Default)]
struct Side {
    ranges: Vec<FreeSpace>,
    /// The ranges that have a free address.
    open: BTreeSet<usize>,
    total: u128,
    assigned: u64,
}

#[derive(Debug)]
struct PoolSpace {
    pool: Pool,
    ipv4: Side,
    ipv6: Side,
}

#[derive(Debug, Clone, Copy)]
struct RangeAt {
    last: u128,
    pool: PoolId,
    range: usize,
}

/// The pools and their free addresses.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pools: Vec<PoolSpace>,
    /// Every prefix of every pool by its first address.
    ranges: BTreeMap<(IpFamily, u128), RangeAt>,
    /// Pools with a `serviceAllocation`, in the order of trying, then those without.
    pinned: Vec<PoolId>,
    unpinned: Vec<PoolId>,
}

impl Space {
    /// The pools with every address free.
    pub(crate) fn new(mut pools: Vec<Pool>) -> Self {
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        pools.dedup_by(|a, b| a.name == b.name);
        let mut space = Self::default();
        for pool in pools {
            space.push(pool);
        }
        // Priority 0 comes after every other one (compat.md 1.1); the sort is stable, so pools of
        // one priority stay in the order of their names.
        let priority = |id: &PoolId| {
            let allocation = space.pools[*id].pool.allocation.as_ref();
            allocation.map_or(0, |allocation| allocation.priority)
        };
        let (mut pinned, unpinned): (Vec<_>, Vec<_>) = (0..space.pools.len())
            .filter(|&id| space.pools[id].pool.auto_assign)
            .partition(|&id| space.pools[id].pool.allocation.is_some());
        pinned.sort_by_key(|id| (priority(id) == 0, priority(id)));
        space.pinned = pinned;
        space.unpinned = unpinned;
        space
    }

    fn push(&mut self, pool: Pool) {
        let id = self.pools.len();
        let (mut ipv4, mut ipv6) = (Side::default(), Side::default());
        for &cidr in &pool.cidrs {
            let side = match cidr.family() {
                IpFamily::V4 => &mut ipv4,
                IpFamily::V6 => &mut ipv6,
            };
            let free = FreeSpace::new(cidr, pool.avoid_buggy_ips);
            let range = side.ranges.len();
            side.total = side.total.saturating_add(free.size());
            if free.first().is_some() {
                side.open.insert(range);
            }
            side.ranges.push(free);
            self.ranges.insert(
                (cidr.family(), cidr.first_number()),
                RangeAt {
                    last: cidr.last_number(),
                    pool: id,
                    range,
                },
            );
        }
        self.pools.push(PoolSpace { pool, ipv4, ipv6 });
    }

    /// The pools, by name.
    pub(crate) fn into_pools(self) -> Vec<Pool> {
        self.pools.into_iter().map(|space| space.pool).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pools.len()
    }

    pub(crate) fn pool(&self, id: PoolId) -> &Pool {
        &self.pools[id].pool
    }

    pub(crate) fn find(&self, name: &str) -> Option<PoolId> {
        self.pools
            .binary_search_by(|pool| pool.pool.name.as_str().cmp(name))
            .ok()
    }

    /// The pools that are tried without being asked for, in two groups: a Service gets from the
    /// second only what it cannot get from the first (compat.md 3.2).
    pub(crate) fn automatic(&self) -> [&[PoolId]; 2] {
        [&self.pinned, &self.unpinned]
    }

    /// Where `address` is; an error says that no pool has it or that its pool avoids it.
    pub(crate) fn locate(&self, address: IpAddr) -> Result<Position, Reason> {
        let (family, number) = (IpFamily::of(address), address_number(address));
        let found = self.ranges.range(..=(family, number)).next_back();
        match found {
            Some((&(found_family, _), at)) if found_family == family && number <= at.last => {
                if !self.side(at.pool, family).ranges[at.range].usable(number) {
                    return Err(Reason::BuggyAddress {
                        address,
                        pool: self.pool(at.pool).name.clone(),
                    });
                }
                Ok(Position {
                    pool: at.pool,
                    family,
                    range: at.range,
                    number,
                })
            }
            _ => Err(Reason::NotInAnyPool(address)),
        }
    }

    /// The lowest free address of a family, by position.
    pub(crate) fn first_free(&self, pool: PoolId, family: IpFamily) -> Option<Position> {
        let side = self.side(pool, family);
        let &range = side.open.first()?;
        let number = side.ranges[range].first()?;
        Some(Position {
            pool,
            family,
            range,
            number,
        })
    }

    /// Marks the address as used; it must be free.
    pub(crate) fn take(&mut self, at: Position) {
        let side = self.side_mut(at.pool, at.family);
        side.ranges[at.range].take(at.number);
        if side.ranges[at.range].first().is_none() {
            side.open.remove(&at.range);
        }
        side.assigned += 1;
    }

    /// Marks the address as free; it must be used.
    pub(crate) fn give(&mut self, at: Position) {
        let side = self.side_mut(at.pool, at.family);
        side.ranges[at.range].give(at.number);
        side.open.insert(at.range);
        side.assigned -= 1;
    }

    /// Whether the pool's `serviceAllocation` lets a Service in (compat.md 3.2).
    pub(crate) fn admits(
        &self,
        id: PoolId,
        namespace: &str,
        labels: &Labels,
    ) -> Result<(), Incompatibility> {
        let Some(allocation) = &self.pool(id).allocation else {
            return Ok(());
        };
        if let Some(namespaces) = &allocation.namespaces
            && !namespaces.contains(namespace)
        {
            return Err(Incompatibility::Namespace);
        }
        let selectors = &allocation.service_selectors;
        if !selectors.is_empty() && !selectors.iter().any(|s| s.matches(labels)) {
            return Err(Incompatibility::ServiceLabels);
        }
        Ok(())
    }

    /// The counters of one pool.
    pub(crate) fn usage(&self, id: PoolId) -> Usage {
        let PoolSpace { ipv4, ipv6, .. } = &self.pools[id];
        Usage {
            total_ipv4: saturate(ipv4.total),
            total_ipv6: saturate(ipv6.total),
            assigned_ipv4: saturate(ipv4.assigned.into()),
            assigned_ipv6: saturate(ipv6.assigned.into()),
            available_ipv4: saturate(ipv4.total - u128::from(ipv4.assigned)),
            available_ipv6: saturate(ipv6.total - u128::from(ipv6.assigned)),
        }
    }

    fn side(&self, pool: PoolId, family: IpFamily) -> &Side {
        match family {
            IpFamily::V4 => &self.pools[pool].ipv4,
            IpFamily::V6 => &self.pools[pool].ipv6,
        }
    }

    fn side_mut(&mut self, pool: PoolId, family: IpFamily) -> &mut Side {
        match family {
            IpFamily::V4 => &mut self.pools[pool].ipv4,
            IpFamily::V6 => &mut self.pools[pool].ipv6,
        }
    }
}

fn saturate(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
