//! The planned end: hand over and tell the routers first, then leave the group, then let the tasks
//! end.

use std::sync::Arc;
use std::time::Instant;

use super::leaving::Leaving;
use super::{Engine, Kept};
use crate::state::Journal;

impl Engine {
    /// The process is to end as planned.
    pub(super) fn drain(&mut self, now: Instant) {
        tracing::info!(
            event = "handover",
            addresses = self.held.len(),
            "handing over to other speakers before the end"
        );
        self.end = Some(now + self.settings.handover);
        self.settle_myself(now);
        self.ownership.leaving(now);
        self.leave_routers(now);
    }

    /// The process is to end as planned, and nothing is left to hand over, or no time.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let Some(end) = self.end else {
            return false;
        };
        let handed_over = end <= now || self.ownership.is_quiet();
        let routers_know = self.leaving.as_ref().is_none_or(Leaving::is_over);
        !self.start.has_begun() || handed_over && routers_know
    }

    /// Hands over to the next speaker of this node, and to those that end the process.
    pub(super) async fn finish(&mut self, journal: Journal<Kept>) {
        if !self.ownership.is_quiet() {
            tracing::warn!(
                event = "handover",
                addresses = self.held.len(),
                limit = ?self.settings.handover,
                "not all addresses were taken over in time: ending all the same"
            );
        }
        if let Some(group) = &self.io.group {
            group.leave().await;
        }
        // Whoever takes what is left has been told; the tasks may take a while to end.
        self.io.desired.send_replace(Arc::default());
        if self.start.may_save() {
            journal.close(self.kept(true)).await;
        }
        // Now the tasks may end.
        self.io.drain = None;
    }
}
