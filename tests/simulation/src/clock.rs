//! The clocks of nodes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The one real instant of a simulation: all others are differences to it, and it shows nowhere.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

const MILLION: u32 = 1_000_000;

/// A clock that goes faster or slower than time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// How far it goes while a million goes by.
    rate: u32,
}

impl Clock {
    /// `rate` is in millionths; a million is exact.
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate }
    }

    /// What it shows when this time has gone by.
    pub(crate) fn show(self, time: Duration) -> Instant {
        *EPOCH + time * self.rate / MILLION
    }

    /// The first time at which it shows `instant` or more.
    pub(crate) fn when(self, instant: Instant) -> Duration {
        let shown = instant.saturating_duration_since(*EPOCH);
        let time = shown * MILLION / self.rate;
        if self.show(time) < instant {
            time + Duration::from_nanos(1)
        } else {
            time
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_what_it_is_asked_for_and_not_earlier() {
        for rate in [990_000, 1_000_000, 1_000_003, 1_010_000] {
            let clock = Clock::new(rate);
            for nanos in [0, 1, 999, 1_000_000_007, 3_600_000_000_123] {
                let instant = *EPOCH + Duration::from_nanos(nanos);
                let time = clock.when(instant);
                assert!(clock.show(time) >= instant, "{rate} {nanos}");
                if let Some(before) = time.checked_sub(Duration::from_nanos(1)) {
                    assert!(clock.show(before) < instant, "{rate} {nanos}");
                }
            }
        }
    }
}
