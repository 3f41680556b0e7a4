//! How long one that came back waits before it is ready again.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The wait after a clean start.
const CLEAN: Duration = Duration::from_millis(300);
/// The waits by count of departures.
const WAITS: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(32),
    Duration::from_secs(128),
    Duration::from_secs(512),
    Duration::from_mins(30),
];
/// The count falls by one each time that nothing happened for so long.
const CALM: Duration = Duration::from_mins(10);

/// Counts the departures of this node, or of one of its interfaces, that were not planned: each
/// makes the wait before it takes addresses back longer, so that one that flaps moves an address
/// only a few times an hour. Only the count is kept over a restart, not the time: a wrong clock
/// changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Damping {
    count: u8,
    #[serde(skip)]
    calm_since: Option<Instant>,
}

impl Damping {
    /// Counts a departure that was not planned: declared down, crashed, lost its carrier.
    pub fn departed(&mut self, now: Instant) {
        self.settle_down(now);
        let most = u8::try_from(WAITS.len()).unwrap_or(u8::MAX);
        self.count = self.count.saturating_add(1).min(most);
        self.calm_since = Some(now);
    }

    /// How long to be settling from the return on.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.settle_down(now);
        match usize::from(self.count).checked_sub(1) {
            None => CLEAN,
            Some(index) => WAITS.get(index).or(WAITS.last()).copied().unwrap_or(CLEAN),
        }
    }

    /// How many departures count now.
    pub fn count(&mut self, now: Instant) -> u8 {
        self.settle_down(now);
        self.count
    }

    /// Lets the count fall with the time. The first call after a start begins to count time.
    fn settle_down(&mut self, now: Instant) {
        let mut since = self.calm_since.unwrap_or(now);
        while self.count > 0 && now.saturating_duration_since(since) >= CALM {
            since += CALM;
            self.count -= 1;
        }
        if self.count == 0 {
            since = now;
        }
        self.calm_since = Some(since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_with_each_departure_and_forgets_them_one_by_one() {
        let start = Instant::now();
        let mut damping = Damping::default();
        assert_eq!(damping.wait(start), CLEAN);
        for seconds in [2, 8, 32, 128, 512, 1800, 1800] {
            damping.departed(start);
            assert_eq!(damping.wait(start), Duration::from_secs(seconds));
        }
        let mut now = start + CALM / 2;
        assert_eq!(damping.count(now), 6);
        for left in [5, 4, 3] {
            now += CALM;
            assert_eq!(damping.count(now), left);
        }
        damping.departed(now);
        assert_eq!(damping.count(now + CALM / 2), 4);
        assert_eq!(damping.count(now + CALM * 100), 0);
        assert_eq!(damping.wait(now + CALM * 100), CLEAN);
    }

    #[test]
    fn keeps_the_count_but_no_time() {
        let start = Instant::now();
        let mut damping = Damping::default();
        damping.departed(start);
        damping.departed(start);
        let kept = postcard::to_stdvec(&damping).unwrap();
        assert_eq!(kept, [2]);
        let mut back: Damping = postcard::from_bytes(&kept).unwrap();
        let later = start + CALM * 5;
        assert_eq!(back.count(later), 2);
        assert_eq!(back.count(later + CALM), 1);
    }

    #[test]
    fn one_that_flaps_once_a_minute_returns_at_most_eight_times_an_hour() {
        let start = Instant::now();
        let mut damping = Damping::default();
        let (mut now, mut returns) = (start, 0);
        while now < start + Duration::from_hours(1) {
            damping.departed(now);
            now += damping.wait(now) + Duration::from_mins(1);
            returns += 1;
        }
        assert!(returns <= 8, "{returns}");
    }
}
