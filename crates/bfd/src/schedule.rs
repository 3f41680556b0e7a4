//! When each session wants to be looked at.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::SessionId;

/// The sessions by the time at which they want to be looked at. Each is in it once at most, so that
/// it can't grow, however often times change.
#[derive(Debug, Default)]
pub(crate) struct Schedule(BTreeSet<(Instant, SessionId)>);

impl Schedule {
    /// The earliest time.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Moves a session from one time to another.
    pub(crate) fn rearm(
        &mut self,
        session: SessionId,
        armed: &mut Option<Instant>,
        wake: Option<Instant>,
    ) {
        if *armed == wake {
            return;
        }
        if let Some(at) = *armed {
            self.0.remove(&(at, session));
        }
        if let Some(at) = wake {
            self.0.insert((at, session));
        }
        *armed = wake;
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the first session out if it is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<SessionId> {
        let (at, session) = *self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            session
        })
    }
}
