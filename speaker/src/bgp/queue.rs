//! Routes on their way from the engine to the thread of the sessions.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use herald_announce::bgp::Change;
use tokio::sync::Notify;

/// Changes that have not been taken yet: whoever puts them there never waits. They take no more
/// memory than about twice as many prefixes as there are.
#[derive(Debug, Clone, Default)]
pub struct RouteQueue(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    news: Notify,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// In the order in which they came: of two for a prefix the later one holds.
    pub(crate) changes: Vec<Change>,
    /// How many there were when each prefix was there once.
    prefixes: usize,
    /// All that this node announces has been put here.
    pub(crate) complete: bool,
    /// Nobody takes up what this node announces when the process has ended.
    pub(crate) leaving: bool,
}

impl RouteQueue {
    /// How many Services to decide on, or prefixes to look at, before what follows is put here, when
    /// there are many: the sessions tell it while the rest is decided. As the last UPDATE of each part
    /// may be a short one, there are ten full ones before it.
    pub const PART: usize = 8192;

    /// These prefixes have these routes from now on.
    pub fn put(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.change(|waiting| waiting.add(changes));
    }

    /// All that this node announces has been put here once: peers that kept the routes of an earlier
    /// run may drop the others.
    pub fn set_complete(&self) {
        self.change(|waiting| waiting.complete = true);
    }

    /// Nobody takes up what this node announces when the process ends: no peer is to keep it.
    pub fn set_leaving(&self) {
        self.change(|waiting| waiting.leaving = true);
    }

    /// Waits for something to [`take`](Self::take). Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.0.news.notified().await;
    }

    pub(crate) fn take(&self) -> Waiting {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Waiting {
            changes: std::mem::take(&mut waiting.changes),
            prefixes: std::mem::take(&mut waiting.prefixes),
            complete: waiting.complete,
            leaving: waiting.leaving,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        drop(waiting);
        self.0.news.notify_one();
    }
}

impl Waiting {
    fn add(&mut self, changes: Vec<Change>) {
        if self.changes.is_empty() {
            self.prefixes = changes.len();
            self.changes = changes;
            return;
        }
        self.changes.extend(changes);
        if self.changes.len() > RouteQueue::PART.max(2 * self.prefixes) {
            let mut known = HashSet::with_capacity(self.changes.len());
            self.changes.reverse();
            self.changes.retain(|change| known.insert(change.prefix));
            self.changes.reverse();
            self.prefixes = self.changes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_announce::bgp::Route;

    use super::*;

    fn change(number: u8, announced: bool) -> Change {
        Change {
            prefix: format!("192.0.2.{number}/32").parse().expect("valid"),
            route: announced.then(|| Arc::new(Route::default())),
        }
    }

    #[test]
    fn what_nobody_takes_is_kept_once_for_each_prefix_and_the_last_holds() {
        let queue = RouteQueue::default();
        for round in 0..1000 {
            queue.put(
                (0..200)
                    .map(|number| change(number, round % 2 == 0))
                    .collect(),
            );
            queue.put(vec![change(200, true)]);
        }
        let waiting = queue.take();
        assert!(waiting.changes.len() <= RouteQueue::PART);
        for number in 0..=200 {
            let wanted = change(number, number == 200);
            let mut all = waiting.changes.iter().rev();
            let last = all.find(|change| change.prefix == wanted.prefix);
            assert_eq!(last, Some(&wanted));
        }
        assert!(queue.take().changes.is_empty());
    }
}
