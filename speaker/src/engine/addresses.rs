//! Between ownership and those who carry out or report what it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use herald_model::ServiceKey;
use herald_ownership::{Sighting, Status};

use super::tell::tell_addresses;
use super::{Engine, Unsaved};
use crate::metrics::Protocol;

impl Engine {
    /// Follows the statuses of addresses and the conflicts over them.
    pub(super) fn settle_addresses(&mut self, now: Instant, touched: &mut BTreeSet<ServiceKey>) {
        let news = self.ownership.take_changes();
        tell_addresses(&news);
        for (address, status) in news {
            touched.extend(self.claims.services_of(address).cloned());
            let changed = match status {
                Status::Held => self.held.insert(address),
                _ => self.held.remove(&address),
            };
            if changed {
                self.unsaved(Unsaved::Something);
                let view = self.standpoint.view();
                if status == Status::Held {
                    let (cause, waited) = self.changes.gained(Instant::now(), address, view);
                    self.metrics.gained(cause);
                    if let Some(waited) = waited {
                        self.metrics.announced_after(Protocol::Layer2, waited);
                    }
                } else {
                    let cause = self.changes.lost(address, &status, view);
                    self.metrics.lost(cause);
                }
            }
            self.metrics.address(address, &status);
            self.conflicts.status(address, &status);
        }
        for conflict in self.ownership.take_conflicts() {
            self.conflicts.report(now, conflict);
            self.tell_conflict(conflict);
        }
        self.conflicts.expire(now);
        self.io.conflicts.send_if_modified(|current| {
            let changed = current != self.conflicts.current();
            if changed {
                current.clone_from(self.conflicts.current());
            }
            changed
        });
    }

    /// Hands the driver all tasks; those of ownership go before.
    pub(super) fn publish_tasks(&mut self) {
        let tasks = (self.ownership.tasks(), self.lan.tasks());
        let same = Arc::ptr_eq(&tasks.0, &self.applied.0) && Arc::ptr_eq(&tasks.1, &self.applied.1);
        if same {
            return;
        }
        let desired = if tasks.1.is_empty() {
            Arc::clone(&tasks.0)
        } else {
            let mut all: BTreeMap<_, _> = tasks.1.as_ref().clone();
            all.extend(tasks.0.iter().map(|(a, task)| (*a, task.clone())));
            Arc::new(all)
        };
        self.applied = tasks;
        self.io.desired.send_replace(desired);
    }

    /// Without a group other speakers look like foreign stations, so nothing is made of it.
    pub(super) fn saw(&mut self, now: Instant, sighting: Sighting) {
        if self.io.group.is_some() {
            self.ownership.saw(now, sighting);
            self.lan.saw(now, sighting);
            self.ownership.set_answer_time(self.lan.answer_time());
        }
    }
}
