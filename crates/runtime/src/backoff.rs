//! Growing, jittered pauses between attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// Pauses that double from `first` to `most`, each shortened by up to a half at random so that
/// replicas that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    noise: u64,
}

impl Backoff {
    /// Pauses from `first` to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self::seeded(first, most, RandomState::new().hash_one(first))
    }

    /// The same with a given seed, for tests.
    pub fn seeded(first: Duration, most: Duration, seed: u64) -> Self {
        Self {
            first,
            most,
            next: first,
            // xorshift never leaves zero.
            noise: seed | 1,
        }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let thousandths = u32::try_from(self.noise % 500).unwrap_or(0);
        whole * (1000 - thousandths) / 1000
    }

    /// Starts again with the first pause.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

/// Pauses for a stream of kube's watcher, which start over only after a quiet time.
///
/// kube resets the pauses at every `Ok`, and its watcher gives one (`Event::Init`) before every
/// attempt to list: pauses that obeyed would never grow while lists fail. So they do not obey, and
/// look at the time between failures instead.
#[derive(Debug)]
pub(crate) struct QuietReset {
    pauses: Backoff,
    /// The time without a failure after which the pauses start over.
    quiet: Duration,
    /// The end of the last pause.
    resumed: Option<Instant>,
}

impl QuietReset {
    /// Pauses that start over once `quiet` has passed since the last one ended.
    pub(crate) fn new(pauses: Backoff, quiet: Duration) -> Self {
        Self {
            pauses,
            quiet,
            resumed: None,
        }
    }

    fn pause(&mut self, now: Instant) -> Duration {
        if self
            .resumed
            .is_some_and(|resumed| now >= resumed + self.quiet)
        {
            self.pauses.reset();
        }
        let pause = self.pauses.pause();
        self.resumed = Some(now + pause);
        pause
    }
}

impl Iterator for QuietReset {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause(Instant::now()))
    }
}

impl kube::runtime::utils::Backoff for QuietReset {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most_and_start_over() {
        let (first, most) = (Duration::from_millis(200), Duration::from_secs(10));
        let mut backoff = Backoff::seeded(first, most, 7);
        let mut whole = first;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(
                pause <= whole && pause >= whole / 2,
                "{pause:?} of {whole:?}"
            );
            whole = (whole * 2).min(most);
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }

    #[test]
    fn only_a_quiet_time_starts_the_pauses_over() {
        use kube::runtime::utils::Backoff as _;
        let (first, most) = (Duration::from_millis(200), Duration::from_secs(10));
        let quiet = Duration::from_secs(10);
        let mut backoff = QuietReset::new(Backoff::seeded(first, most, 7), quiet);
        let mut now = Instant::now();
        for _ in 0..12 {
            now += backoff.pause(now);
            backoff.reset();
        }
        let pause = backoff.pause(now);
        assert!(pause >= most / 2, "{pause:?}");
        assert!(backoff.pause(now + pause + quiet) <= first);
    }
}
