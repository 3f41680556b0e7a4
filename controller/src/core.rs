//! The Services, the allocator, and what is to be written: all state of the controller, without
//! I/O.
//!
//! The core is told what the API shows and what became of writes; it says which patch to send next.
//! Between [`begin`](Core::begin) and [`stop`](Core::stop) it acts; otherwise it only keeps up. Of
//! one Service at most one write is under way, and each is made from what the API showed last.

mod decide;
mod describe;
mod leaving;
mod writes;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use herald_api::slim::Service;
use herald_ipam::{Allocator, Pool, Request, Usage};
use herald_model::ServiceKey;
use herald_runtime::events::Subject;

use crate::notes::Note;
use crate::request;
use crate::status::{self, Desired};
use leaving::Leaving;
use writes::{Flight, Undone};
pub(crate) use writes::{Follow, Write, Written};

/// All state of the controller.
#[derive(Debug, Default)]
pub(crate) struct Core {
    class: String,
    acting: bool,
    allocator: Allocator,
    /// Pools that exist and cannot be used, not even in an earlier version.
    unusable: BTreeSet<String>,
    services: HashMap<ServiceKey, Entry>,
    /// To be decided, first come first served.
    dirty: VecDeque<ServiceKey>,
    /// To be written, first come first served.
    outbox: VecDeque<ServiceKey>,
    in_flight: HashMap<ServiceKey, Flight>,
    leaving: Leaving,
    /// To be held back for a while, and how often they were before.
    pauses: Vec<(ServiceKey, u32)>,
    notes: Vec<(Subject, Note)>,
}

#[derive(Debug)]
struct Entry {
    object: Service,
    desired: Option<Desired>,
    /// In `dirty`.
    dirty: bool,
    /// In `outbox`.
    queued: bool,
    /// Addresses of a write that is under way, or failed and may have reached the API all the same.
    writing: Vec<IpAddr>,
    /// Writes that failed in a row.
    failures: u32,
    undone: Undone,
}

impl Core {
    /// A core that handles Services of this class (empty: those without one).
    pub(crate) fn new(class: String) -> Self {
        Self {
            class,
            ..Self::default()
        }
    }

    /// Takes in a Service as the API shows it. Older versions than the one known change nothing.
    pub(crate) fn apply(&mut self, object: Service) {
        let Some(key) = request::key(&object) else {
            return;
        };
        let known = self.services.get(&key);
        if known.is_some_and(|entry| is_older(&object, &entry.object)) {
            return;
        }
        if request::is_ours(&object, &self.class) {
            self.store(&key, object);
            self.mark(&key);
        } else if !request::is_load_balancer(&object) && status::is_marked(&object) {
            // It was a load balancer of ours once, and still looks like one.
            self.store(&key, object);
            self.mark(&key);
        } else {
            self.gone(&key);
        }
    }

    /// Forgets a Service that is gone, or is not for us, and gives its addresses back.
    pub(crate) fn gone(&mut self, key: &ServiceKey) {
        self.services.remove(key);
        let revisit = self.allocator.release(key);
        self.mark_all(revisit);
        self.update_leaving(key);
    }

    /// Takes in the whole set that a watch shows, and returns the Services that are known and not
    /// in it: whether they are gone or only changed their type has to be found out.
    pub(crate) fn restarted(&mut self, objects: Vec<Service>) -> Vec<ServiceKey> {
        let shown: HashSet<_> = objects.iter().filter_map(request::key).collect();
        for object in objects {
            self.apply(object);
        }
        let missing = self.services.keys().filter(|key| !shown.contains(*key));
        missing.cloned().collect()
    }

    /// Replaces the pools.
    pub(crate) fn set_pools(&mut self, pools: Vec<Pool>) {
        let revisit = self.allocator.set_pools(pools);
        self.mark_all(revisit);
    }

    /// Replaces the names of the pools that exist and cannot be used, not even in an earlier
    /// version. What Services have of them stays theirs: a pool that is mistyped is not one that
    /// is deleted.
    pub(crate) fn set_unusable_pools(&mut self, pools: BTreeSet<String>) {
        let changed: BTreeSet<_> = pools
            .symmetric_difference(&self.unusable)
            .cloned()
            .collect();
        if changed.is_empty() {
            return;
        }
        self.unusable = pools;
        let concerned = self.services.iter().filter(|(_, entry)| {
            let has = status::allocated_from(&entry.object);
            let waits = entry
                .desired
                .as_ref()
                .is_some_and(Desired::waits_for_named_pool);
            waits || has.is_some_and(|pool| changed.contains(pool))
        });
        let keys = concerned.map(|(key, _)| key.clone()).collect();
        self.mark_all(keys);
    }

    /// Starts to act, from a complete list of the Services read after the last leader stopped.
    /// What the Services have stays theirs before anything is given out; those of the list that
    /// are `malformed` stay what they were when they could last be read.
    pub(crate) fn begin(
        &mut self,
        list: Vec<Service>,
        malformed: &HashSet<ServiceKey>,
        list_version: &str,
    ) {
        for key in self.restarted(list) {
            let newer = self
                .services
                .get(&key)
                .is_some_and(|entry| version(&entry.object) > list_version.parse().ok());
            if !newer && !malformed.contains(&key) {
                self.services.remove(&key);
                self.update_leaving(&key);
            }
        }
        let requests: Vec<Request> = self
            .services
            .iter()
            .filter(|(_, entry)| request::is_ours(&entry.object, &self.class))
            .filter_map(|(key, entry)| request::read(key, &entry.object).request)
            .collect();
        self.allocator.restore(&requests);
        self.acting = true;
        let mut all: Vec<_> = self
            .services
            .iter()
            .map(|(key, entry)| {
                (
                    entry.object.metadata.creation_timestamp.clone(),
                    key.clone(),
                )
            })
            .collect();
        all.sort_unstable();
        self.mark_all(all.into_iter().map(|(_, key)| key).collect());
    }

    /// Stops acting; what was to be written is another's to write.
    pub(crate) fn stop(&mut self) {
        self.acting = false;
        self.dirty.clear();
        self.outbox.clear();
        self.in_flight.clear();
        self.leaving.clear();
        self.pauses.clear();
        self.notes.clear();
        self.allocator.restore(&[]);
        for entry in self.services.values_mut() {
            entry.desired = None;
            entry.dirty = false;
            entry.queued = false;
            entry.writing = Vec::new();
            entry.failures = 0;
            entry.undone = Undone::default();
        }
    }

    /// True between [`begin`](Self::begin) and [`stop`](Self::stop).
    pub(crate) fn is_acting(&self) -> bool {
        self.acting
    }

    /// The events since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<(Subject, Note)> {
        std::mem::take(&mut self.notes)
    }

    /// The counters of the pools, and how many Services have an address of each.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (String, Usage, usize)> {
        let mut services: HashMap<&str, usize> = HashMap::new();
        for entry in self.services.values() {
            if let Some(Desired::Assigned { assignment, .. }) = &entry.desired {
                *services.entry(&assignment.pool).or_default() += 1;
            }
        }
        let usage = self.allocator.usage().into_iter();
        usage.map(move |(pool, usage)| {
            let count = services.get(pool.as_str()).copied().unwrap_or_default();
            (pool, usage, count)
        })
    }

    fn store(&mut self, key: &ServiceKey, object: Service) {
        if let Some(entry) = self.services.get_mut(key) {
            if version(&object) > version(&entry.object) {
                // What was under way is in it, or will be refused as stale.
                entry.writing = Vec::new();
            }
            entry.object = object;
            self.update_leaving(key);
            return;
        }
        let entry = Entry {
            object,
            desired: None,
            dirty: false,
            queued: false,
            writing: Vec::new(),
            failures: 0,
            undone: Undone::default(),
        };
        self.services.insert(key.clone(), entry);
    }

    fn mark(&mut self, key: &ServiceKey) {
        if !self.acting {
            return;
        }
        if let Some(entry) = self.services.get_mut(key)
            && !std::mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push_back(key.clone());
        }
    }

    fn mark_all(&mut self, keys: Vec<ServiceKey>) {
        for key in keys {
            self.mark(&key);
        }
    }
}

/// True if `object` is an earlier state than `known`, be it of an object that had the name before.
fn is_older(object: &Service, known: &Service) -> bool {
    matches!((version(object), version(known)), (Some(a), Some(b)) if a < b)
}

/// Resource versions of the API are comparable as numbers within one resource, also between an
/// object and the one that comes after it under the same name.
fn version(object: &Service) -> Option<u64> {
    object.metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
