//! Which patch goes out next, and what becomes of it.

use std::time::{Duration, Instant};

use herald_api::slim::Service;
use herald_model::ServiceKey;
use herald_runtime::events::Subject;
use jiff::Timestamp;
use serde_json::Value;

use super::Core;
use crate::notes;
use crate::request::{self, status_addresses};
use crate::status;

/// So often in a row a write that another controller undoes is made again at once.
const UNDONE_TOLERATED: u32 = 3;
/// What is undone later than this after its write begins a new row; longer than the longest pause.
const UNDONE_WINDOW: Duration = Duration::from_mins(2);

/// A patch of one Service's `services/status`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// Which Service.
    pub(crate) service: ServiceKey,
    /// The JSON merge patch.
    pub(crate) patch: Value,
}

/// What became of a [`Write`].
#[derive(Debug)]
pub(crate) enum Written {
    /// The Service as it is now: after the write, or, if that was refused as stale, as read anew.
    Now(Box<Service>),
    /// There is no such Service.
    Gone,
    /// It failed and is to be tried again later. It may have reached the API all the same.
    Failed,
}

/// What is to be done after a [`Written`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Nothing.
    Nothing,
    /// Read the Service: what is known of it is not certain.
    Read,
    /// Read it after a pause; it failed this often in a row.
    ReadLater(u32),
}

/// A write under way.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Of the object that it was made from.
    uid: Option<String>,
    at: Instant,
}

/// How a Service's status fares after our writes.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    /// When what it should say was last written.
    wrote: Option<Instant>,
    /// How often in a row it did not stay.
    pub(super) times: u32,
    /// No write before [`Core::resume`].
    paused: bool,
}

impl Core {
    /// The next write, if there is one; [`written`](Self::written) is due for it. Everything is
    /// decided when this is called. `date` is the time of day, which is only shown: it may be wrong.
    pub(crate) fn next_write(&mut self, now: Instant, date: Timestamp) -> Option<Write> {
        while let Some(key) = self.outbox.pop_front() {
            let Some(entry) = self.services.get_mut(&key) else {
                continue;
            };
            if !std::mem::take(&mut entry.queued)
                || entry.undone.paused
                || self.in_flight.contains_key(&key)
            {
                // One that is under way is decided again when it ends.
                continue;
            }
            let Some(desired) = &entry.desired else {
                continue;
            };
            if !status::differs(&entry.object, desired) || self.is_undone_too_often(&key, now) {
                continue;
            }
            if let Some(patch) = self.patch(&key, now, date) {
                return Some(Write {
                    service: key,
                    patch,
                });
            }
        }
        None
    }

    /// Takes in what became of a write.
    pub(crate) fn written(&mut self, key: &ServiceKey, outcome: Written) -> Follow {
        let flight = self.in_flight.remove(key);
        let Some(entry) = self.services.get_mut(key) else {
            // Gone, or not ours, when last seen: only a read from now on knows better.
            return match outcome {
                Written::Now(_) => Follow::Read,
                Written::Gone | Written::Failed => Follow::Nothing,
            };
        };
        match outcome {
            Written::Now(object) => {
                entry.failures = 0;
                entry.writing = Vec::new();
                self.apply(*object);
                self.mark(key);
                if let (Some(entry), Some(flight)) = (self.services.get_mut(key), flight) {
                    let desired = entry.desired.as_ref();
                    if desired.is_some_and(|desired| !status::differs(&entry.object, desired)) {
                        entry.undone.wrote = Some(flight.at);
                    }
                }
                Follow::Nothing
            }
            Written::Gone => {
                self.gone_if(key, flight.and_then(|flight| flight.uid).as_deref());
                Follow::Nothing
            }
            Written::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                Follow::ReadLater(entry.failures)
            }
        }
    }

    /// The uid of a Service, to be remembered with a read of it.
    pub(crate) fn uid(&self, key: &ServiceKey) -> Option<String> {
        self.services.get(key)?.object.metadata.uid.clone()
    }

    /// Takes in what a read found, which began when the Service's [`uid`](Self::uid) was this one,
    /// and writes what is to be written. Of one Service one read at a time may be under way.
    pub(crate) fn found(&mut self, key: &ServiceKey, uid: Option<&str>, outcome: Written) {
        match outcome {
            Written::Now(object) => {
                if !self.in_flight.contains_key(key)
                    && let Some(entry) = self.services.get_mut(key)
                {
                    // A write that failed has not reached the API if this does not show it.
                    entry.writing = Vec::new();
                }
                self.apply(*object);
                self.mark(key);
            }
            Written::Gone => self.gone_if(key, uid),
            Written::Failed => {}
        }
    }

    /// Forgets a Service that is gone, unless it is another one of that name by now.
    fn gone_if(&mut self, key: &ServiceKey, uid: Option<&str>) {
        let known = self
            .services
            .get(key)
            .map(|entry| &entry.object.metadata.uid);
        if known.is_some_and(|known| known.as_deref() == uid) {
            self.gone(key);
        }
    }

    /// The Services whose writes another controller undoes again and again, each with how often it
    /// was held back before: they are to be [`resumed`](Self::resume) after a pause.
    pub(crate) fn take_pauses(&mut self) -> Vec<(ServiceKey, u32)> {
        std::mem::take(&mut self.pauses)
    }

    /// Writes a Service again after its pause.
    pub(crate) fn resume(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.services.get_mut(key)
            && std::mem::take(&mut entry.undone.paused)
        {
            self.enqueue(key);
        }
    }

    pub(super) fn enqueue(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.services.get_mut(key)
            && self.acting
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.outbox.push_back(key.clone());
        }
    }

    /// Notes which addresses the API may show for the Service that it does not have, and lets
    /// those try again who waited for one that it shows no more.
    pub(super) fn update_leaving(&mut self, key: &ServiceKey) {
        if !self.acting {
            return;
        }
        let mut leaving = Vec::new();
        if let Some(entry) = self.services.get(key)
            && let Some(desired) = &entry.desired
            && request::is_ours(&entry.object, &self.class)
        {
            leaving = status_addresses(&entry.object);
            leaving.extend(&entry.writing);
            leaving.retain(|address| !desired.addresses().contains(address));
        }
        for waiting in self.leaving.set(key, leaving) {
            self.enqueue(&waiting);
        }
    }

    /// The patch to send for a Service, if it may be sent now.
    fn patch(&mut self, key: &ServiceKey, now: Instant, date: Timestamp) -> Option<Value> {
        let entry = self.services.get_mut(key)?;
        let desired = entry.desired.as_ref()?;
        let shown = status_addresses(&entry.object);
        let mut added = desired.addresses().to_vec();
        added.retain(|address| !shown.contains(address));
        let mut blocked = None;
        for &address in &added {
            if let Some(other) = self.leaving.other(address, key) {
                blocked = Some((address, other.clone()));
            }
        }
        let patch = if let Some((address, other)) = blocked {
            self.leaving.wait(address, key);
            if shown.iter().all(|ip| desired.addresses().contains(ip)) {
                return None;
            }
            // Two that change places would wait for each other: what this one must give away, it
            // gives away first.
            let less = desired.without(&added, || {
                format!("{address} is still in the status of {other}, which gives it away")
            });
            added.clear();
            status::patch(&entry.object, &less, date)?
        } else {
            status::patch(&entry.object, desired, date)?
        };
        // What failed before may still be on its way.
        entry.writing.extend(added);
        let flight = Flight {
            uid: entry.object.metadata.uid.clone(),
            at: now,
        };
        self.in_flight.insert(key.clone(), flight);
        Some(patch)
    }

    /// Counts a write that did not stay. True if the next one is to wait for
    /// [`resume`](Self::resume).
    fn is_undone_too_often(&mut self, key: &ServiceKey, now: Instant) -> bool {
        let Some(entry) = self.services.get_mut(key) else {
            return false;
        };
        let Some(wrote) = entry.undone.wrote.take() else {
            return false;
        };
        let in_a_row = now.saturating_duration_since(wrote) < UNDONE_WINDOW;
        let times = if in_a_row { entry.undone.times } else { 0 };
        entry.undone.times = times.saturating_add(1);
        let Some(pauses) = entry.undone.times.checked_sub(UNDONE_TOLERATED) else {
            return false;
        };
        if pauses == 0 {
            let subject = Subject::of(&entry.object);
            self.notes.push((subject, notes::of_undone()));
        }
        entry.undone.paused = true;
        self.pauses.push((key.clone(), pauses.saturating_add(1)));
        true
    }
}
