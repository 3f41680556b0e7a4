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
        whole.saturating_sub(self.spread(whole / 2))
    }

    /// Some time from nothing to `most`, each as likely (full jitter). The pauses do not grow by
    /// it.
    pub fn spread(&mut self, most: Duration) -> Duration {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let thousandths = u32::try_from(self.noise % 1000).unwrap_or(0);
        most * thousandths / 1000
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

    /// The pause after a failure now.
    pub(crate) fn pause(&mut self, now: Instant) -> Duration {
        self.pause_and(now, Duration::ZERO)
    }

    /// The pause after a failure now that many processes have at the same time: longer by up to
    /// `spread`, each time as likely.
    pub(crate) fn pause_spread(&mut self, now: Instant, spread: Duration) -> Duration {
        let more = self.pauses.spread(spread);
        self.pause_and(now, more)
    }

    fn pause_and(&mut self, now: Instant, more: Duration) -> Duration {
        if self
            .resumed
            .is_some_and(|resumed| now >= resumed + self.quiet)
        {
            self.pauses.reset();
        }
        let pause = self.pauses.pause() + more;
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
    fn a_spread_reaches_from_nothing_to_the_most() {
        let most = Duration::from_secs(5);
        let mut tenths = [0_u32; 10];
        for seed in 0..1000 {
            let mut backoff = Backoff::new(most, most);
            backoff.noise = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed) | 1;
            let spread = backoff.spread(most);
            tenths[usize::try_from(spread.as_millis() / 500).expect("small")] += 1;
        }
        assert!(tenths.iter().all(|&count| count > 50), "{tenths:?}");
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
