//! Which Services have an address in common.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use herald_model::ServiceKey;

/// The Services of every address.
#[derive(Debug, Default)]
pub(super) struct Sharers {
    by_address: HashMap<IpAddr, BTreeSet<ServiceKey>>,
}

impl Sharers {
    /// A Service has these addresses.
    pub(super) fn add(&mut self, key: &ServiceKey, addresses: &[IpAddr]) {
        for address in addresses {
            self.by_address
                .entry(*address)
                .or_default()
                .insert(key.clone());
        }
    }

    /// A Service no longer has these addresses.
    pub(super) fn remove(&mut self, key: &ServiceKey, addresses: &[IpAddr]) {
        for address in addresses {
            if let Some(keys) = self.by_address.get_mut(address) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
    }

    /// True if more than one Service has one of these addresses.
    pub(super) fn are_shared(&self, addresses: &[IpAddr]) -> bool {
        let mut sharers = addresses.iter().filter_map(|a| self.by_address.get(a));
        sharers.any(|keys| keys.len() > 1)
    }

    /// The Services that have one of these addresses.
    pub(super) fn of<'a>(
        &'a self,
        addresses: &'a [IpAddr],
    ) -> impl Iterator<Item = &'a ServiceKey> {
        addresses
            .iter()
            .filter_map(|address| self.by_address.get(address))
            .flatten()
    }

    /// The Service and all that are connected to it by common addresses. `addresses` gives those
    /// of a Service.
    pub(super) fn group<'a>(
        &self,
        key: &ServiceKey,
        addresses: impl Fn(&ServiceKey) -> &'a [IpAddr],
    ) -> BTreeSet<ServiceKey> {
        let mut group = BTreeSet::from([key.clone()]);
        let mut open = vec![key.clone()];
        while let Some(key) = open.pop() {
            for sharer in self.of(addresses(&key)) {
                if group.insert(sharer.clone()) {
                    open.push(sharer.clone());
                }
            }
        }
        group
    }
}
