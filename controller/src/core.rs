//! The Services, the allocator, and what is to be written: all state of the controller, without
//! I/O.
//!
//! The core is told what the API shows and what became of writes; it says which patch to send next.
//! Between [`begin`](Core::begin) and [`stop`](Core::stop) it acts; otherwise it only keeps up. Of
//! one Service at most one write is under way, and each is made from what the API showed last.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use herald_api::slim::Service;
use herald_ipam::{Allocator, Assignment, Notice, Outcome, Pool, Reason, Request, Usage};
use herald_model::ServiceKey;
use herald_runtime::events::Subject;
use jiff::Timestamp;
use serde_json::Value;

use crate::notes::{self, Note};
use crate::request::{self, Problem, Reading};
use crate::status::{self, Desired};

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
    /// It failed and is to be tried again later.
    Failed,
}

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
    in_flight: HashSet<ServiceKey>,
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
    /// Writes that failed in a row.
    failures: u32,
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
    /// What the Services have stays theirs before anything is given out.
    pub(crate) fn begin(&mut self, list: Vec<Service>, list_version: &str) {
        for key in self.restarted(list) {
            let newer = self
                .services
                .get(&key)
                .is_some_and(|entry| version(&entry.object) > list_version.parse().ok());
            if !newer {
                self.services.remove(&key);
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
        self.notes.clear();
        self.allocator.restore(&[]);
        for entry in self.services.values_mut() {
            entry.desired = None;
            entry.dirty = false;
            entry.queued = false;
            entry.failures = 0;
        }
    }

    /// True between [`begin`](Self::begin) and [`stop`](Self::stop).
    pub(crate) fn is_acting(&self) -> bool {
        self.acting
    }

    /// Decides every Service that needs it.
    pub(crate) fn decide(&mut self) {
        if !self.acting {
            return;
        }
        while let Some(key) = self.dirty.pop_front() {
            let Some(entry) = self.services.get_mut(&key) else {
                continue;
            };
            if !std::mem::take(&mut entry.dirty) {
                continue;
            }
            self.decide_one(&key);
        }
    }

    /// The next write, if there is one; [`written`](Self::written) is due for it.
    pub(crate) fn next_write(&mut self, now: Timestamp) -> Option<Write> {
        while let Some(key) = self.outbox.pop_front() {
            let Some(entry) = self.services.get_mut(&key) else {
                continue;
            };
            if !std::mem::take(&mut entry.queued) || self.in_flight.contains(&key) {
                // One that is under way is decided again when it ends.
                continue;
            }
            let Some(desired) = &entry.desired else {
                continue;
            };
            if let Some(patch) = status::patch(&entry.object, desired, now) {
                self.in_flight.insert(key.clone());
                return Some(Write {
                    service: key,
                    patch,
                });
            }
        }
        None
    }

    /// Takes in what became of a write. Returns how often it failed in a row if it is to be
    /// [`retried`](Self::retry) later.
    pub(crate) fn written(&mut self, key: &ServiceKey, outcome: Written) -> Option<u32> {
        self.in_flight.remove(key);
        match outcome {
            Written::Now(object) => {
                if let Some(entry) = self.services.get_mut(key) {
                    entry.failures = 0;
                }
                self.apply(*object);
                self.mark(key);
                None
            }
            Written::Gone => {
                self.gone(key);
                None
            }
            Written::Failed => {
                let entry = self.services.get_mut(key)?;
                entry.failures = entry.failures.saturating_add(1);
                Some(entry.failures)
            }
        }
    }

    /// Decides and writes a Service again whose write failed.
    pub(crate) fn retry(&mut self, key: &ServiceKey) {
        self.mark(key);
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
            entry.object = object;
            return;
        }
        let entry = Entry {
            object,
            desired: None,
            dirty: false,
            queued: false,
            failures: 0,
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

    fn decide_one(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get(key) else {
            return;
        };
        let (desired, why, deprecated) = if request::is_ours(&entry.object, &self.class) {
            let reading = request::read(key, &entry.object);
            let deprecated = reading.deprecated.clone();
            let (desired, why) = self.desire(key, reading);
            (desired, why, deprecated)
        } else {
            let revisit = self.allocator.release(key);
            self.mark_all(revisit);
            (Desired::Released, None, Vec::new())
        };
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        let news = entry.desired.as_ref() != Some(&desired);
        let differs = status::differs(&entry.object, &desired);
        if news && differs {
            let subject = Subject::of(&entry.object);
            let told = status::condition_changes(&entry.object, &desired);
            self.notes
                .extend(why.filter(|_| told).map(|note| (subject.clone(), note)));
            for annotation in deprecated {
                self.notes
                    .push((subject.clone(), notes::of_deprecated(annotation)));
            }
        }
        entry.desired = Some(desired);
        if differs && !std::mem::replace(&mut entry.queued, true) {
            self.outbox.push_back(key.clone());
        }
    }

    /// What the Service is to have, and the event that says why it is less than it asks for.
    fn desire(&mut self, key: &ServiceKey, reading: Reading) -> (Desired, Option<Note>) {
        if let Some(desired) = self.stranded(key, &reading) {
            let why = reading.problem.as_ref().and_then(notes::of_problem);
            return (desired, why);
        }
        match (reading.request, reading.problem) {
            (Some(request), None) => self.converge(key, &request),
            (Some(request), Some(problem)) if problem.keeps_addresses() => {
                self.keep(key, &request, &problem)
            }
            (_, Some(problem)) => self.refuse(key, &problem),
            // A reading without a request has a problem.
            (None, None) => self.refuse(key, &Problem::NoClusterIp),
        }
    }

    /// What a Service has of a pool that cannot be used, unless it asks for something else. The
    /// allocator holds it too as long as the Service is not converged, so that nobody else gets it
    /// when the pool is corrected.
    fn stranded(&self, key: &ServiceKey, reading: &Reading) -> Option<Desired> {
        let request = reading.request.as_ref()?;
        let pool = status::allocated_from(&self.services.get(key)?.object)?;
        let wants_other_pool = request.pool.as_deref().is_some_and(|wanted| wanted != pool);
        let wants_other_address = !request.addresses.is_empty()
            && (request.addresses.len() != request.current.len()
                || request
                    .addresses
                    .iter()
                    .any(|address| !request.current.contains(address)));
        if !self.unusable.contains(pool)
            || request.current.is_empty()
            || wants_other_pool
            || wants_other_address
            || self.allocator.assignment(key).is_some()
        {
            return None;
        }
        let remark = match &reading.problem {
            Some(problem) => (problem.name(), problem.to_string()),
            None => (status::UNUSABLE_POOL, notes::unusable_pool(pool)),
        };
        let assignment = Assignment {
            pool: pool.to_owned(),
            addresses: request.current.clone(),
        };
        Some(Desired::Assigned {
            assignment,
            remark: Some(remark),
        })
    }

    fn converge(&mut self, key: &ServiceKey, request: &Request) -> (Desired, Option<Note>) {
        let decision = self.allocator.converge(request);
        self.mark_all(decision.revisit);
        self.tell(key, &decision.notices);
        match decision.outcome {
            Outcome::Assigned(assignment) => {
                let remark = None;
                (Desired::Assigned { assignment, remark }, None)
            }
            Outcome::Pending(Reason::UnknownPool(pool)) if self.unusable.contains(&pool) => {
                let desired = Desired::Pending {
                    reason: status::UNUSABLE_POOL,
                    message: notes::unusable_pool(&pool),
                };
                (desired, Some(notes::of_unusable_pool(key, &pool)))
            }
            Outcome::Pending(reason) => {
                let note = notes::of_reason(key, &reason);
                let desired = Desired::Pending {
                    reason: reason.name(),
                    message: reason.to_string(),
                };
                (desired, Some(note))
            }
        }
    }

    /// A Service that asks for something unreadable keeps what it has, and gets nothing new.
    fn keep(
        &mut self,
        key: &ServiceKey,
        request: &Request,
        problem: &Problem,
    ) -> (Desired, Option<Note>) {
        if self.allocator.assignment(key).is_none() && request.current.is_empty() {
            return self.refuse(key, problem);
        }
        let decision = self.allocator.converge(request);
        self.mark_all(decision.revisit);
        let given_anew = |notice: &Notice| matches!(notice, Notice::Allocated(_));
        match decision.outcome {
            Outcome::Assigned(assignment) if !decision.notices.iter().any(given_anew) => {
                self.tell(key, &decision.notices);
                let remark = Some((problem.name(), problem.to_string()));
                (
                    Desired::Assigned { assignment, remark },
                    notes::of_problem(problem),
                )
            }
            _ => {
                let cleared = decision.notices.into_iter().filter(|n| !given_anew(n));
                self.tell(key, &cleared.collect::<Vec<_>>());
                self.refuse(key, problem)
            }
        }
    }

    fn refuse(&mut self, key: &ServiceKey, problem: &Problem) -> (Desired, Option<Note>) {
        let revisit = self.allocator.release(key);
        self.mark_all(revisit);
        let desired = Desired::Pending {
            reason: problem.name(),
            message: problem.to_string(),
        };
        (desired, notes::of_problem(problem))
    }

    fn tell(&mut self, key: &ServiceKey, notices: &[Notice]) {
        let Some(entry) = self.services.get(key).filter(|_| !notices.is_empty()) else {
            return;
        };
        let subject = Subject::of(&entry.object);
        let notes = notices
            .iter()
            .map(|notice| (subject.clone(), notes::of_notice(key, notice)));
        self.notes.extend(notes);
    }
}

/// True if `object` is an earlier state of the same object as `known`.
fn is_older(object: &Service, known: &Service) -> bool {
    object.metadata.uid == known.metadata.uid
        && matches!((version(object), version(known)), (Some(a), Some(b)) if a < b)
}

/// Resource versions of the API are comparable as numbers within one resource.
fn version(object: &Service) -> Option<u64> {
    object.metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
