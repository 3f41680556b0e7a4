//! What the API server said of those who asked, for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many are remembered.
const LIMIT: usize = 64;
/// How long who may ask need not be asked for again: a right that is taken away ends after that.
const ALLOWED_FOR: Duration = Duration::from_mins(1);
/// The same of who may not: a right that is given begins after that.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long who might ask may go on while the API server cannot be asked.
const TRUSTED_FOR: Duration = Duration::from_hours(1);
/// How many of whom nothing is known are asked for in a [`WINDOW`].
const STRANGERS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The digest of a token: tokens themselves are not kept.
pub(super) type Key = [u8; 32];

/// What the API server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// It does not know the token.
    Unknown,
    /// It knows whose it is, who may not read this.
    Forbidden,
    /// Its owner may.
    Allowed,
}

/// What to do for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This was said a short while ago.
    Known(Answer),
    /// Ask the API server.
    Ask,
    /// Too many of whom nothing is known were asked for just now.
    Busy,
}

/// The answers, the oldest of which make room.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    window: Option<Instant>,
    strangers: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    answer: Answer,
    at: Instant,
}

impl Cache {
    /// What to do for a token. Who was allowed before does not wait for strangers.
    pub(super) fn next(&mut self, now: Instant, key: &Key) -> Next {
        if let Some(entry) = self.entries.get(key) {
            let lasts = match entry.answer {
                Answer::Allowed => ALLOWED_FOR,
                Answer::Forbidden | Answer::Unknown => REFUSED_FOR,
            };
            if now.saturating_duration_since(entry.at) < lasts {
                return Next::Known(entry.answer);
            }
            if entry.answer == Answer::Allowed {
                return Next::Ask;
            }
        }
        let in_window = |begin| now.saturating_duration_since(begin) < WINDOW;
        if !self.window.is_some_and(in_window) {
            self.window = Some(now);
            self.strangers = 0;
        }
        if self.strangers >= STRANGERS {
            return Next::Busy;
        }
        self.strangers += 1;
        Next::Ask
    }

    /// Remembers what the API server said.
    pub(super) fn said(&mut self, now: Instant, key: Key, answer: Answer) {
        if !self.entries.contains_key(&key) && self.entries.len() >= LIMIT {
            // Strangers cannot drive out who is allowed.
            let order = |(_, entry): &(&Key, &Entry)| (entry.answer == Answer::Allowed, entry.at);
            let oldest = self.entries.iter().min_by_key(order);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.entries.remove(&key);
            }
        }
        self.entries.insert(key, Entry { answer, at: now });
    }

    /// Whether to go on with a token although the API server cannot be asked.
    pub(super) fn is_trusted(&self, now: Instant, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            entry.answer == Answer::Allowed && now.saturating_duration_since(entry.at) < TRUSTED_FOR
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn an_answer_lasts_for_its_time() {
        let start = Instant::now();
        for (answer, lasts) in [
            (Answer::Allowed, ALLOWED_FOR),
            (Answer::Forbidden, REFUSED_FOR),
            (Answer::Unknown, REFUSED_FOR),
        ] {
            let mut cache = Cache::default();
            assert_eq!(cache.next(start, &key(1)), Next::Ask);
            cache.said(start, key(1), answer);
            let almost = start + lasts.mul_f32(0.99);
            assert_eq!(cache.next(almost, &key(1)), Next::Known(answer));
            assert_eq!(cache.next(start + lasts, &key(1)), Next::Ask);
            assert_eq!(cache.next(start, &key(2)), Next::Ask);
        }
    }

    #[test]
    fn strangers_wait_for_each_other_and_nobody_who_was_allowed_waits_for_them() {
        let start = Instant::now();
        let mut cache = Cache::default();
        cache.said(start, key(0), Answer::Allowed);
        let later = start + ALLOWED_FOR;
        for number in 1..=STRANGERS as usize {
            assert_eq!(cache.next(later, &key(number)), Next::Ask);
        }
        assert_eq!(cache.next(later, &key(99)), Next::Busy);
        assert_eq!(cache.next(later, &key(0)), Next::Ask);
        assert_eq!(cache.next(later + WINDOW, &key(99)), Next::Ask);
    }

    #[test]
    fn there_is_a_limit_and_strangers_do_not_drive_out_who_is_allowed() {
        let start = Instant::now();
        let mut cache = Cache::default();
        cache.said(start, key(0), Answer::Allowed);
        for number in 1..1000 {
            let now = start + Duration::from_millis(number as u64);
            cache.said(now, key(number), Answer::Unknown);
        }
        assert_eq!(cache.entries.len(), LIMIT);
        let now = start + Duration::from_secs(2);
        assert_eq!(cache.next(now, &key(0)), Next::Known(Answer::Allowed));
        assert_eq!(cache.next(now, &key(999)), Next::Known(Answer::Unknown));
        for number in 1000..2000 {
            cache.said(now, key(number), Answer::Allowed);
        }
        assert_eq!(cache.entries.len(), LIMIT);
    }

    #[test]
    fn who_was_allowed_goes_on_for_a_while_without_the_api_server() {
        let start = Instant::now();
        let mut cache = Cache::default();
        cache.said(start, key(0), Answer::Allowed);
        cache.said(start, key(1), Answer::Forbidden);
        let now = start + ALLOWED_FOR;
        assert!(cache.is_trusted(now, &key(0)));
        assert!(!cache.is_trusted(now, &key(1)));
        assert!(!cache.is_trusted(now, &key(2)));
        assert!(!cache.is_trusted(start + TRUSTED_FOR, &key(0)));
    }
}
