//! Reads of single Services, where a watch does not tell enough.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use herald_model::ServiceKey;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Done, Loop};
use crate::core::Written;
use crate::retries::{Retry, pause_after};
use crate::write;

/// Services read at the same time, when many are gone at once.
const AT_ONCE: usize = 32;

/// The reads under way and those that failed.
#[derive(Debug)]
pub(super) struct Reads {
    permits: Arc<Semaphore>,
    /// Each with whether another is due after it.
    under_way: HashMap<ServiceKey, bool>,
    /// How often in a row.
    failed: HashMap<ServiceKey, u32>,
}

impl Reads {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: HashMap::new(),
            failed: HashMap::new(),
        }
    }

    /// True if a read is to begin; if one is under way, another follows it.
    fn begin(&mut self, key: &ServiceKey) -> bool {
        if let Some(again) = self.under_way.get_mut(key) {
            *again = true;
            return false;
        }
        self.under_way.insert(key.clone(), false);
        true
    }

    /// A read ended well: true if another is to follow.
    fn succeeded(&mut self, key: &ServiceKey) -> bool {
        if let Some(failures) = self.failed.remove(key) {
            tracing::info!(event = "readRecovered", service = %key, failures, "read again");
        }
        self.under_way.remove(key).unwrap_or_default()
    }

    /// A read failed: the pause after which it is tried again.
    fn failed(&mut self, key: &ServiceKey, error: &str) -> Duration {
        self.under_way.remove(key);
        let failures = self.failed.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        if *failures == 1 {
            tracing::warn!(
                event = "readFailed",
                service = %key,
                error,
                "cannot read the service, retrying; check the API server and the RBAC of \
                 services (get)"
            );
        }
        pause_after(*failures)
    }

    /// None is under way any more, and no failure counts.
    pub(super) fn clear(&mut self) {
        self.under_way.clear();
        self.failed.clear();
    }
}

impl Loop {
    /// Reads a Service as it is now.
    pub(super) fn read(&mut self, key: ServiceKey) {
        if !self.reads.begin(&key) {
            return;
        }
        let uid = self.core.uid(&key);
        let (client, permits) = (self.client.clone(), Arc::clone(&self.reads.permits));
        self.tasks.spawn(async move {
            // Closed never; without a permit the read is only less polite.
            let _permit = permits.acquire_owned().await;
            let found = write::read(&client, &key).await;
            Done::Read(key, uid, found)
        });
    }

    /// Takes in what a read brought; `uid` is what was known when it began.
    pub(super) fn read_ended(
        &mut self,
        key: ServiceKey,
        uid: Option<&str>,
        found: Result<Written, String>,
    ) {
        match found {
            Ok(found) => {
                let again = self.reads.succeeded(&key);
                self.core.found(&key, uid, found);
                if again {
                    self.read(key);
                }
            }
            Err(error) => {
                let pause = self.reads.failed(&key, &error);
                self.retries.add(Instant::now(), pause, Retry::Read(key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_once_at_a_time_and_again_if_asked_meanwhile() {
        let key = ServiceKey::new("default", "web");
        let mut reads = Reads::new();
        assert!(reads.begin(&key));
        assert!(!reads.begin(&key));
        assert!(reads.succeeded(&key));
        assert!(reads.begin(&key));
        assert!(!reads.succeeded(&key));
    }

    #[test]
    fn the_pauses_of_a_service_grow_until_it_can_be_read() {
        let key = ServiceKey::new("default", "web");
        let mut reads = Reads::new();
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            assert!(reads.begin(&key));
            let pause = reads.failed(&key, "away");
            assert!(pause > last, "{pause:?} after {last:?}");
            last = pause;
        }
        assert!(reads.begin(&key));
        reads.succeeded(&key);
        assert!(reads.begin(&key));
        assert_eq!(reads.failed(&key, "away"), pause_after(1));
    }
}
