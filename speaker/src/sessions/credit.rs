//! How often something may be said.

use std::time::{Duration, Instant};

/// A few turns at once, and each of them again after a while.
#[derive(Debug, Clone)]
pub(super) struct Credit {
    most: u32,
    period: Duration,
    left: u32,
    /// When the next one comes back; only if some are spent.
    refill: Instant,
}

impl Credit {
    /// `most` turns, and one back in each `period`.
    pub(super) fn new(now: Instant, most: u32, period: Duration) -> Self {
        Self {
            most,
            period,
            left: most,
            refill: now,
        }
    }

    /// True if there is a turn left.
    pub(super) fn has_some(&mut self, now: Instant) -> bool {
        while self.left < self.most && self.refill <= now {
            self.left += 1;
            self.refill += self.period;
        }
        self.left > 0
    }

    pub(super) fn spend(&mut self, now: Instant) {
        if self.left == self.most {
            self.refill = now + self.period;
        }
        self.left = self.left.saturating_sub(1);
    }

    /// When there is a turn again, if there is none now.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.left == 0).then_some(self.refill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_one_at_a_time() {
        let start = Instant::now();
        let period = Duration::from_mins(1);
        let mut credit = Credit::new(start, 2, period);
        for _ in 0..2 {
            assert!(credit.has_some(start));
            credit.spend(start);
        }
        assert!(!credit.has_some(start));
        assert_eq!(credit.next(), Some(start + period));
        assert!(credit.has_some(start + period));
        credit.spend(start + period);
        assert!(!credit.has_some(start + period));
        let later = start + period * 10;
        for _ in 0..2 {
            assert!(credit.has_some(later));
            credit.spend(later);
        }
        assert!(!credit.has_some(later), "no more than there were");
    }
}
