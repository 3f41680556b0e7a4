//! The rules of allocation once more, as slow and plain as they can be said: every address of every
//! pool is looked at, and so is every Service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_ipam::{Backend, FamilyPolicy, Pool, Request};
use herald_model::{IpFamily, ServiceKey, address_number};

/// Who has what.
pub(crate) type Book = BTreeMap<ServiceKey, (Request, Vec<IpAddr>)>;

/// The addresses a pool may give out, in the order in which it does.
pub(crate) fn addresses(pool: &Pool) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for cidr in &pool.cidrs {
        for number in cidr.first_number()..=cidr.last_number() {
            let address = cidr.family().address(number);
            if !(pool.avoid_buggy_ips && is_buggy(address)) {
                all.push(address);
            }
        }
    }
    all
}

pub(crate) fn is_buggy(address: IpAddr) -> bool {
    address.is_ipv4() && matches!(address_number(address) % 256, 0 | 255)
}

/// The pool that may give out `address`.
pub(crate) fn pool_of(pools: &[Pool], address: IpAddr) -> Option<&Pool> {
    pools.iter().find(|pool| addresses(pool).contains(&address))
}

pub(crate) fn admits(pool: &Pool, request: &Request) -> bool {
    pool.allocation.as_ref().is_none_or(|allocation| {
        let namespaces = &allocation.namespaces;
        let selectors = &allocation.service_selectors;
        namespaces
            .as_ref()
            .is_none_or(|set| set.contains(request.service.namespace()))
            && (selectors.is_empty() || selectors.iter().any(|s| s.matches(&request.labels)))
    })
}

/// Whether two Services may have one address.
pub(crate) fn share(a: &Request, b: &Request) -> bool {
    a.sharing_key.is_some()
        && a.sharing_key == b.sharing_key
        && a.backend == b.backend
        && a.backend != Backend::LocalWithoutSelector
        && !a.ports.iter().any(|port| b.ports.contains(port))
}

fn usable(book: &Book, address: IpAddr, request: &Request) -> bool {
    book.iter().all(|(service, (other, held))| {
        *service == request.service || !held.contains(&address) || share(request, other)
    })
}

fn lowest(book: &Book, pool: &Pool, family: IpFamily, request: &Request) -> Option<IpAddr> {
    addresses(pool)
        .into_iter()
        .find(|&a| IpFamily::of(a) == family && usable(book, a, request))
}

/// What a Service that holds nothing gets: the pool and the addresses, IPv4 first.
pub(crate) fn select(
    pools: &[Pool],
    book: &Book,
    request: &Request,
) -> Option<(String, Vec<IpAddr>)> {
    let dual = request.families.len() == 2;
    if request.family_policy == FamilyPolicy::RequireDualStack && !dual {
        return None;
    }
    let wanted = request.pool.as_ref();
    if !request.addresses.is_empty() {
        let mut families: Vec<_> = request.addresses.iter().map(|&a| IpFamily::of(a)).collect();
        let mut own = request.families.clone();
        families.sort();
        own.sort();
        let pool = pool_of(pools, request.addresses[0])?;
        let fits = families == own
            && admits(pool, request)
            && wanted.is_none_or(|name| *name == pool.name)
            && request.addresses.iter().all(|&address| {
                addresses(pool).contains(&address) && usable(book, address, request)
            });
        return fits.then(|| (pool.name.clone(), request.addresses.clone()));
    }
    let mut tried: Vec<Vec<&Pool>> = Vec::new();
    if let Some(name) = wanted {
        tried.push(pools.iter().filter(|pool| pool.name == *name).collect());
    } else {
        let automatic = || pools.iter().filter(|pool| pool.auto_assign);
        let mut pinned: Vec<_> = automatic().filter(|p| p.allocation.is_some()).collect();
        pinned.sort_by_key(|pool| {
            let priority = pool.allocation.as_ref().map_or(0, |a| a.priority);
            let last = priority == 0;
            (last, priority, pool.name.clone())
        });
        let mut unpinned: Vec<_> = automatic().filter(|p| p.allocation.is_none()).collect();
        unpinned.sort_by_key(|pool| pool.name.clone());
        tried.extend([pinned, unpinned]);
    }
    for group in tried {
        let group: Vec<_> = group.into_iter().filter(|p| admits(p, request)).collect();
        let mut wishes = vec![request.families.clone()];
        if dual && request.family_policy == FamilyPolicy::PreferDualStack {
            wishes.extend(request.families.iter().map(|&family| vec![family]));
        }
        for mut wish in wishes {
            wish.sort();
            for pool in &group {
                let found: Option<Vec<_>> = wish
                    .iter()
                    .map(|&family| lowest(book, pool, family, request))
                    .collect();
                if let Some(found) = found {
                    return Some((pool.name.clone(), found));
                }
            }
        }
    }
    None
}

/// The second address that a Service which has only `held` could be given.
pub(crate) fn additional(
    pools: &[Pool],
    book: &Book,
    request: &Request,
    held: IpAddr,
) -> Option<IpAddr> {
    let pool = pool_of(pools, held)?;
    lowest(book, pool, IpFamily::of(held).other(), request)
}
