//! The counters of the pools: in the metrics and in the status of each pool.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Done, Loop};
use crate::write;

/// Pause between a change of the counters and their write.
const DELAY: Duration = Duration::from_millis(500);
/// Pools whose status is written at the same time.
const WRITES: usize = 8;

/// When the counters are to be shown, and where that is under way.
#[derive(Debug, Default)]
pub(super) struct Counters {
    due: Option<Instant>,
    /// Pools whose status is being written.
    writing: HashSet<String>,
}

impl Counters {
    /// They may have changed: they are shown after a pause.
    pub(super) fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + DELAY);
    }

    /// When they are to be shown.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// True if they are to be shown now.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// Whether the status of a pool may be written now; `None` if none may.
    fn may_begin(&self, pool: &str) -> Option<bool> {
        (self.writing.len() < WRITES).then(|| !self.writing.contains(pool))
    }

    /// A write of the status of this pool ended.
    pub(super) fn written(&mut self, pool: &str) {
        self.writing.remove(pool);
    }

    /// No write is under way any more.
    pub(super) fn clear(&mut self) {
        self.writing.clear();
    }
}

impl Loop {
    /// Shows the counters as they are now.
    pub(super) fn show_counters(&mut self) {
        let usage: Vec<_> = self.core.usage().collect();
        self.metrics.show(&usage);
        if !self.may_write() {
            return;
        }
        for (pool, usage, _) in &usage {
            match self.counters.may_begin(pool) {
                // What is left out is looked at again when one of those under way ends.
                None => return,
                Some(false) => continue,
                Some(true) => {}
            }
            let Some(status) = self.pools.status_to_write(pool, usage) else {
                continue;
            };
            let (client, namespace) = (self.client.clone(), self.namespace.clone());
            let pool = pool.clone();
            self.counters.writing.insert(pool.clone());
            self.tasks.spawn(async move {
                let written = write::pool_status(&client, &namespace, &pool, &status).await;
                Done::PoolStatus(pool, written.then_some(status))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_shown_once_and_soon() {
        let mut counters = Counters::default();
        assert!(!counters.take_due(Instant::now() + DELAY));
        counters.changed();
        let due = counters.due().expect("something changed");
        tokio::time::advance(DELAY / 2).await;
        counters.changed();
        assert_eq!(counters.due(), Some(due));
        assert!(!counters.take_due(Instant::now()));
        assert!(counters.take_due(due));
        assert_eq!(counters.due(), None);
    }

    #[test]
    fn a_pool_is_written_once_at_a_time_and_few_at_the_same_time() {
        let mut counters = Counters::default();
        for number in 0..WRITES {
            let pool = number.to_string();
            assert_eq!(counters.may_begin(&pool), Some(true));
            counters.writing.insert(pool);
            if number + 1 < WRITES {
                assert_eq!(counters.may_begin("0"), Some(false));
            }
        }
        assert_eq!(counters.may_begin("other"), None);
        counters.written("0");
        assert_eq!(counters.may_begin("0"), Some(true));
        counters.clear();
        assert_eq!(counters.may_begin("1"), Some(true));
    }
}
