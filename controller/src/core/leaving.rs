//! Which addresses the API may still show for Services that do not have them any more, and who
//! waits for that to end.
//!
//! The allocator gives a freed address on at once; the status of the one that had it says so only
//! some time later. Until then no other status may show it, or two Services would be announced on
//! one address.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use herald_model::ServiceKey;

/// The addresses on their way from one Service to another.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    by_service: HashMap<ServiceKey, Vec<IpAddr>>,
    by_address: HashMap<IpAddr, BTreeSet<ServiceKey>>,
    waiting: HashMap<IpAddr, BTreeSet<ServiceKey>>,
}

impl Leaving {
    /// These are the addresses that the API may show for a Service and that it does not have.
    /// Returns those who waited for one that nobody shows now.
    pub(crate) fn set(&mut self, service: &ServiceKey, addresses: Vec<IpAddr>) -> Vec<ServiceKey> {
        let before = if addresses.is_empty() {
            self.by_service.remove(service)
        } else {
            for &address in &addresses {
                let services = self.by_address.entry(address).or_default();
                services.insert(service.clone());
            }
            self.by_service.insert(service.clone(), addresses)
        };
        let now = self.by_service.get(service);
        let mut woken = Vec::new();
        for address in before.into_iter().flatten() {
            if now.is_some_and(|now| now.contains(&address)) {
                continue;
            }
            if let Some(services) = self.by_address.get_mut(&address) {
                services.remove(service);
                if services.is_empty() {
                    self.by_address.remove(&address);
                }
            }
            // Whoever waits looks again, also if another one shows it too: the Service that
            // waits may be that one.
            woken.extend(self.waiting.remove(&address).into_iter().flatten());
        }
        woken
    }

    /// A Service other than `service` for which the API may still show `address` wrongly.
    pub(crate) fn other(&self, address: IpAddr, service: &ServiceKey) -> Option<&ServiceKey> {
        let mut services = self.by_address.get(&address)?.iter();
        services.find(|&other| other != service)
    }

    /// `service` waits until nobody shows `address` any more.
    pub(crate) fn wait(&mut self, address: IpAddr, service: &ServiceKey) {
        let services = self.waiting.entry(address).or_default();
        services.insert(service.clone());
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
