//! How long to wait before the next attempt.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// The wait after the first attempt that failed.
const FIRST: Duration = Duration::from_secs(1);

/// Waits that double with each attempt that failed, up to a limit, and are spread so that speakers
/// that lost a router at the same time do not come back at the same time (RFC 4271 10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure. Returns how long to wait, at most `most` without the spread.
    pub(super) fn fail(&mut self, most: Duration, rng: &mut ChaCha8Rng) -> Duration {
        let doubled = FIRST.saturating_mul(1_u32 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jitter(doubled.min(most), rng)
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// 0.75 to 1 times the duration (RFC 4271 10).
pub(super) fn jitter(duration: Duration, rng: &mut ChaCha8Rng) -> Duration {
    duration.mul_f64(rng.random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn waits_double_up_to_the_limit_and_are_spread() {
        for seed in 0..100 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            let most = Duration::from_secs(30);
            for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
                let full = Duration::from_secs(seconds);
                let wait = backoff.fail(most, &mut rng);
                assert!(
                    wait <= full && wait >= full.mul_f64(0.75),
                    "{wait:?} {full:?}"
                );
            }
            for _ in 0..100 {
                backoff.fail(most, &mut rng);
            }
            backoff.reset();
            assert!(backoff.fail(most, &mut rng) <= FIRST);
        }
    }

    #[test]
    fn a_short_limit_is_kept_from_the_first_wait_on() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let most = Duration::from_millis(500);
        assert!(Backoff::default().fail(most, &mut rng) <= most);
    }
}
