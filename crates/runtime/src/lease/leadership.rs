//! Whether this process leads, as the rest of it sees it.

use std::time::Instant;

use tokio::sync::watch;

/// Until when a leadership lasts unless it is prolonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    At(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// How many times this process has begun to lead.
    term: u64,
    /// `None` while it does not lead.
    leads: Option<End>,
}

/// Whether this process leads now.
#[derive(Debug, Clone)]
pub struct Leadership {
    state: watch::Receiver<State>,
    /// The leadership that [`changed`](Self::changed) told last.
    told: Option<u64>,
}

impl Leadership {
    /// Leads always: for a process that runs alone.
    pub fn always() -> Self {
        let state = State {
            term: 1,
            leads: Some(End::Never),
        };
        Self {
            // A receiver keeps the last value after its sender is gone.
            state: watch::channel(state).1,
            told: Some(state.term),
        }
    }

    /// True while this process leads. False from the instant on at which others may lead, even if
    /// nothing in this process has run since: ask before every write.
    pub fn is_leader(&self) -> bool {
        match self.state.borrow().leads {
            None => false,
            Some(End::Never) => true,
            Some(End::At(end)) => Instant::now() < end,
        }
    }

    /// Waits for the next change, and tells whether this process leads after it. Of a leadership
    /// that was lost and regained in between, the loss is told first. Pending for ever if there
    /// will be no change.
    pub async fn changed(&mut self) -> bool {
        loop {
            let state = *self.state.borrow_and_update();
            let term = state.leads.map(|_| state.term);
            match (self.told, term) {
                (Some(_), _) if self.told != term => {
                    self.told = None;
                    return false;
                }
                (None, Some(_)) => {
                    self.told = term;
                    return true;
                }
                _ => {}
            }
            if self.state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Where a candidate tells of its leadership.
#[derive(Debug)]
pub(super) struct Publisher(watch::Sender<State>);

/// A leadership that is not yet, and its publisher.
pub(super) fn channel() -> (Publisher, Leadership) {
    let (sender, state) = watch::channel(State::default());
    (Publisher(sender), Leadership { state, told: None })
}

impl Publisher {
    /// Tells until when this process leads, or that it does not; true if it begins or ends.
    pub(super) fn publish(&self, until: Option<Instant>) -> bool {
        let leads = until.map(End::At);
        let mut turned = false;
        self.0.send_if_modified(|state| {
            turned = state.leads.is_some() != leads.is_some();
            state.term += u64::from(turned && leads.is_some());
            let modified = state.leads != leads;
            state.leads = leads;
            modified
        });
        turned
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_leadership_ends_with_its_time_though_nothing_ran_meanwhile() {
        let (publisher, view) = channel();
        assert!(!view.is_leader());
        let end = Instant::now() + Duration::from_millis(20);
        publisher.publish(Some(end));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        assert!(!view.is_leader());
        publisher.publish(Some(end + LONG));
        assert!(view.is_leader());
        assert!(Leadership::always().is_leader());
    }

    #[test]
    fn a_renewal_is_no_change() {
        let (publisher, mut view) = channel();
        let now = Instant::now();
        assert!(publisher.publish(Some(now + LONG)));
        assert_eq!(view.changed().now_or_never(), Some(true));
        assert!(!publisher.publish(Some(now + LONG * 2)));
        assert_eq!(view.changed().now_or_never(), None);
        assert!(publisher.publish(None));
        assert_eq!(view.changed().now_or_never(), Some(false));
        assert_eq!(Leadership::always().changed().now_or_never(), None);
    }

    #[test]
    fn a_loss_is_told_even_if_it_is_over() {
        let (publisher, mut view) = channel();
        let end = Some(Instant::now() + LONG);
        publisher.publish(end);
        assert_eq!(view.changed().now_or_never(), Some(true));
        publisher.publish(None);
        publisher.publish(end);
        assert_eq!(view.changed().now_or_never(), Some(false));
        assert_eq!(view.changed().now_or_never(), Some(true));
        assert_eq!(view.changed().now_or_never(), None);
    }
}
