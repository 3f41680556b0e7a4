//! What is to be tried again, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use herald_model::ServiceKey;
use tokio::time::Instant;

/// The pause after the first failure.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest pause.
pub(crate) const MAX_RETRY: Duration = Duration::from_secs(30);

/// Something to try again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The writes of a Service that another controller undid again and again.
    Resume(ServiceKey),
    /// The read of a Service of which the state is not certain.
    Read(ServiceKey),
    /// The list of all Services with which allocation begins.
    List,
    /// The write of the pools' counters.
    Counters,
}

/// The retries in the order of their times.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    /// The number keeps equal instants apart.
    by_time: BTreeMap<(Instant, u64), Retry>,
    next: u64,
}

impl Retries {
    /// Something is to be tried again after a pause.
    pub(crate) fn add(&mut self, now: Instant, pause: Duration, retry: Retry) {
        self.next += 1;
        self.by_time.insert((now + pause, self.next), retry);
    }

    /// When the first one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    /// One that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Retry> {
        let first = self.by_time.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.by_time.clear();
    }
}

/// Doubles with every failure.
pub(crate) fn pause_after(failures: u32) -> Duration {
    (FIRST_RETRY * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.add(now, MAX_RETRY, Retry::List);
        retries.add(now, FIRST_RETRY, Retry::Counters);
        retries.add(now, FIRST_RETRY, Retry::List);
        assert_eq!(retries.take_due(now), None);
        assert_eq!(retries.next_due(), Some(now + FIRST_RETRY));
        let later = now + FIRST_RETRY;
        assert_eq!(retries.take_due(later), Some(Retry::Counters));
        assert_eq!(retries.take_due(later), Some(Retry::List));
        assert_eq!(retries.take_due(later), None);
        assert_eq!(retries.next_due(), Some(now + MAX_RETRY));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pause_after(1), FIRST_RETRY);
        assert_eq!(pause_after(2), FIRST_RETRY * 2);
        assert_eq!(pause_after(u32::MAX), MAX_RETRY);
    }
}
