//! Routes on their way from the engine to the thread of the sessions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use herald_announce::bgp::{Change, Route};
use herald_model::Cidr;
use tokio::sync::Notify;

/// Changes that have not been taken yet, one for each prefix at most: whoever puts them there never
/// waits, and what changes twice meanwhile is told once.
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
    pub(crate) changes: BTreeMap<Cidr, Option<Arc<Route>>>,
    /// All that this node announces has been put here.
    pub(crate) complete: bool,
    /// Nobody takes up what this node announces when the process has ended.
    pub(crate) leaving: bool,
}

impl RouteQueue {
    /// These prefixes have these routes from now on.
    pub fn put(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let changes = changes.into_iter().map(|c| (c.prefix, c.route));
        self.change(|waiting| {
            if waiting.changes.is_empty() {
                // They are in order, and so the map is made at once.
                waiting.changes = changes.collect();
            } else {
                waiting.changes.extend(changes);
            }
        });
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
