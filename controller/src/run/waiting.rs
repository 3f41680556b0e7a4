//! The Services that have no address yet, and since when: how long they wait is a metric.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use herald_api::slim::Service;
use herald_model::ServiceKey;
use tokio::time::Instant;

use super::Loop;
use crate::request;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    since: HashMap<ServiceKey, Instant>,
}

impl Waiting {
    /// A Service of ours was seen. How long it waited, if it did and has an address now.
    fn seen(&mut self, now: Instant, key: &ServiceKey, has_address: bool) -> Option<Duration> {
        if has_address {
            let since = self.since.remove(key)?;
            return Some(now.saturating_duration_since(since));
        }
        self.since.entry(key.clone()).or_insert(now);
        None
    }

    /// It is gone, or not ours any more.
    pub(super) fn gone(&mut self, key: &ServiceKey) {
        self.since.remove(key);
    }

    /// Those that there are are these.
    pub(super) fn retain(&mut self, present: &HashSet<ServiceKey>) {
        self.since.retain(|key, _| present.contains(key));
    }
}

impl Loop {
    /// Takes in how a Service is now. Only who acts counts: the others see the same Services.
    pub(super) fn follow_wait(&mut self, service: &Service) {
        let Some(key) = request::key(service) else {
            return;
        };
        if !request::is_ours(service, &self.class) {
            self.waiting.gone(&key);
            return;
        }
        let ingress = service.status.load_balancer.ingress.as_ref();
        let has_address = ingress.is_some_and(|ingress| !ingress.is_empty());
        let waited = self.waiting.seen(Instant::now(), &key, has_address);
        if let Some(waited) = waited.filter(|_| self.core.is_acting()) {
            self.metrics.address_time.observe(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_waits_from_when_it_is_first_seen_until_it_has_an_address() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let (key, second) = (ServiceKey::new("shop", "web"), Duration::from_secs(1));
        assert_eq!(waiting.seen(start, &key, false), None);
        assert_eq!(waiting.seen(start + second, &key, false), None);
        assert_eq!(
            waiting.seen(start + second * 2, &key, true),
            Some(second * 2)
        );
        // It is counted once, and one that had its address before not at all.
        assert_eq!(waiting.seen(start + second * 3, &key, true), None);
        assert_eq!(waiting.seen(start, &key, false), None);
        waiting.gone(&key);
        assert_eq!(waiting.seen(start + second, &key, true), None);
        assert_eq!(waiting.seen(start, &key, false), None);
        waiting.retain(&HashSet::new());
        assert_eq!(waiting.seen(start + second, &key, true), None);
    }
}
