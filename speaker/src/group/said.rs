//! Says what happens often now and then: anybody on the network can cause these lines.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The same thing is said once in this time.
const QUIET: Duration = Duration::from_mins(1);

/// When which kind of thing was last said. The kinds are few and known when it is built.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: HashMap<&'static str, (Instant, u64)>,
}

impl Said {
    /// `Some` if it is to be said now: how often it happened since it was last said, this time
    /// included.
    pub(crate) fn say(&mut self, now: Instant, kind: &'static str) -> Option<u64> {
        let Some((last, unsaid)) = self.last.get_mut(kind) else {
            self.last.insert(kind, (now, 0));
            return Some(1);
        };
        *unsaid += 1;
        if now.saturating_duration_since(*last) < QUIET {
            return None;
        }
        *last = now;
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_said_once_a_minute_with_how_often_it_was() {
        let (mut said, now) = (Said::default(), Instant::now());
        assert_eq!(said.say(now, "garbage"), Some(1));
        for n in 1..60 {
            assert_eq!(said.say(now + Duration::from_secs(n), "garbage"), None);
        }
        assert_eq!(said.say(now, "replay"), Some(1));
        assert_eq!(said.say(now + QUIET, "garbage"), Some(60));
        assert_eq!(said.say(now + QUIET, "garbage"), None);
    }
}
