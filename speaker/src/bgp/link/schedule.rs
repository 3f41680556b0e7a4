//! When this node advertises itself (RFC 4861 sections 6.2.4 and 6.2.6).

use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// `MaxRtrAdvInterval`: as routers with unnumbered peers have it.
const INTERVAL: Duration = Duration::from_secs(10);
/// `MIN_DELAY_BETWEEN_RAS`.
const LEAST: Duration = Duration::from_secs(3);
/// `MAX_INITIAL_RTR_ADVERTISEMENTS`: so many follow each other as soon as they may.
const INITIAL: u32 = 3;
/// `MAX_RA_DELAY_TIME`.
const ANSWER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Schedule {
    rng: ChaCha8Rng,
    count: u32,
    last: Option<Instant>,
    next: Instant,
}

impl Schedule {
    /// The first one is due at once.
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            count: 0,
            last: None,
            next: now,
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// One is sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
        self.next = now
            + if self.count < INITIAL {
                LEAST
            } else {
                INTERVAL.mul_f64(self.rng.random_range(0.75..=1.0))
            };
    }

    /// Somebody asked for one. All who ask within three seconds get one answer.
    pub(super) fn solicited(&mut self, now: Instant) {
        let answer = now + ANSWER.mul_f64(self.rng.random_range(0.0..=1.0));
        let least = self.last.map(|last| last + LEAST);
        let answer = least.map_or(answer, |least| answer.max(least));
        self.next = self.next.min(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_follow_each_other_and_then_one_comes_every_ten_seconds() {
        let start = Instant::now();
        for seed in 0..100 {
            let mut schedule = Schedule::new(start, seed);
            let mut times = Vec::new();
            for _ in 0..6 {
                let now = schedule.next();
                times.push(now.duration_since(start));
                schedule.sent(now);
            }
            let gaps: Vec<Duration> = times
                .windows(2)
                .map(|pair| pair[1].saturating_sub(pair[0]))
                .collect();
            assert_eq!((times[0], gaps[0], gaps[1]), (Duration::ZERO, LEAST, LEAST));
            for gap in &gaps[2..] {
                assert!(
                    *gap <= INTERVAL && *gap >= INTERVAL.mul_f64(0.75),
                    "{gap:?}"
                );
            }
        }
    }

    #[test]
    fn a_flood_of_questions_gets_an_answer_every_three_seconds() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1);
        for _ in 0..INITIAL {
            schedule.sent(start);
        }
        let mut answers = Vec::new();
        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            schedule.solicited(now);
            if schedule.next() <= now {
                schedule.sent(now);
                answers.push(millis);
            }
        }
        assert!(
            answers.windows(2).all(|pair| pair[1] - pair[0] >= 3000),
            "{answers:?}"
        );
        assert_eq!(answers.len(), 3, "{answers:?}");
    }

    #[test]
    fn one_question_after_a_while_is_answered_within_half_a_second() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1);
        for _ in 0..INITIAL {
            schedule.sent(start);
        }
        let asked = start + Duration::from_secs(5);
        schedule.solicited(asked);
        assert!(schedule.next() >= asked && schedule.next() <= asked + ANSWER);
    }
}
