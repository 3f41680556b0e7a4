//! What the API has, what is wanted, and the next request that brings the two together.
//!
//! No I/O, no clock. What objects are about, for example a Service, is looked at when somebody says
//! something new of it, when the watch shows that its objects are not as wanted, and again when a
//! request failed; each waits for itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use herald_model::NodeName;
use herald_runtime::backoff::Backoff;
use herald_runtime::watch::Event;
use kube::{Resource as _, ResourceExt as _};

use super::kind::{Kind, Read, Said};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A request that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<C> {
    /// Make an object; its status comes in a step of its own.
    Create,
    /// Make the object ours, so that it does not go with the Pod of an earlier life.
    Own { name: String },
    /// Make the object say this.
    Say { name: String, content: C },
    /// Delete the object.
    Delete { name: String },
}

/// Why a request was not successful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The object that it is about does not exist.
    Gone,
    /// The API server refused it.
    Refused(String),
    /// The API server did not answer, or has too much to do.
    Unavailable(String),
}

#[derive(Debug)]
struct Object<K: Kind> {
    uid: String,
    /// `resourceVersion`; 0 if it is not a number.
    revision: u64,
    subject: K::Subject,
    ours: bool,
    /// The UIDs of its owners.
    owners: Vec<String>,
    said: Said<K::Content>,
    /// It is about to go; nothing more needs to be done about it.
    going: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger<K: Kind> {
    me: NodeName,
    /// The UIDs that our objects' owners should have.
    owners: Vec<String>,
    /// The first word of the watch has come.
    complete: bool,
    wanted: HashMap<K::Subject, K::Content>,
    objects: HashMap<String, Object<K>>,
    by_subject: HashMap<K::Subject, BTreeSet<String>>,
    /// When which one is to be looked at.
    queue: BTreeSet<(Instant, K::Subject)>,
    queued: HashMap<K::Subject, Instant>,
    /// Of those that something went wrong with since the last word of them.
    pauses: HashMap<K::Subject, Backoff>,
    /// While the API server is not available, nothing is asked of it.
    resume: Option<Instant>,
    unavailable: Backoff,
}

impl<K: Kind> Ledger<K> {
    /// Knows nothing yet. `owner` is the UID of our Pod, if there is one.
    pub(super) fn new(me: NodeName, owner: Option<String>) -> Self {
        Self {
            me,
            owners: owner.into_iter().collect(),
            complete: false,
            wanted: HashMap::new(),
            objects: HashMap::new(),
            by_subject: HashMap::new(),
            queue: BTreeSet::new(),
            queued: HashMap::new(),
            pauses: HashMap::new(),
            resume: None,
            unavailable: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// This is to be said of it, or (`None`) nothing.
    pub(super) fn want(&mut self, now: Instant, key: K::Subject, content: Option<K::Content>) {
        match content {
            Some(content) => self.wanted.insert(key.clone(), content),
            None => self.wanted.remove(&key),
        };
        self.pauses.remove(&key);
        self.look_at(key, now);
    }

    /// The watch says something.
    pub(super) fn take(&mut self, now: Instant, event: Event<K::Object>) {
        let mut touched = BTreeSet::new();
        let first = !self.complete;
        match event {
            Event::Restarted { objects, malformed } => {
                self.complete = true;
                let present: HashSet<_> = objects
                    .iter()
                    .map(kube::ResourceExt::name_any)
                    .chain(malformed.into_iter().map(|object| object.name.name))
                    .collect();
                let gone: Vec<_> = self
                    .objects
                    .keys()
                    .filter(|name| !present.contains(*name))
                    .cloned()
                    .collect();
                touched.extend(gone.iter().filter_map(|name| self.remove(name)));
                touched.extend(objects.iter().flat_map(|object| self.put(object)));
            }
            Event::Applied(object) => touched.extend(self.put(&object)),
            Event::Deleted(object) => touched.extend(self.remove(&object.name)),
            Event::Malformed(object) => tracing::warn!(
                object = %object.name,
                error = object.error,
                "{} cannot be read: keeping what was known of it; delete the object",
                K::KIND
            ),
        }
        for key in touched {
            if self.plan(&key).is_none() || self.queued.contains_key(&key) {
                continue;
            }
            // Not at once: the object of a node that takes over appears before the engine has
            // heard of it, and two speakers that both believe in themselves must not race.
            let pause = if first {
                Duration::ZERO
            } else {
                self.pause(&key)
            };
            self.look_at(key, now + pause);
        }
    }

    /// When to call [`Ledger::next`]; `None` if there is nothing to do. May change with every other
    /// call.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.complete {
            return None;
        }
        let (due, _) = self.queue.first()?;
        Some(self.resume.map_or(*due, |resume| resume.max(*due)))
    }

    /// The request to be made now. Its result has to be told by [`Ledger::changed`],
    /// [`Ledger::deleted`] or [`Ledger::failed`].
    pub(super) fn next(&mut self, now: Instant) -> Option<(K::Subject, Step<K::Content>)> {
        if !self.complete || self.resume.is_some_and(|resume| now < resume) {
            return None;
        }
        while let Some((due, key)) = self.queue.first()
            && *due <= now
        {
            let key = key.clone();
            if let Some(step) = self.plan(&key) {
                return Some((key, step));
            }
            self.forget(&key);
        }
        None
    }

    /// The API server has the object so, by its answer to a request of ours. The watch's word of
    /// the same change is then no news.
    pub(super) fn changed(&mut self, object: &K::Object) {
        self.answered();
        self.put(object);
    }

    /// The object is gone or on its way.
    pub(super) fn deleted(&mut self, name: &str) {
        self.answered();
        self.going(name);
    }

    /// A request was not successful.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        key: &K::Subject,
        step: &Step<K::Content>,
        why: &Failure,
    ) {
        match (why, step) {
            (Failure::Gone, Step::Own { name } | Step::Say { name, .. }) => {
                // Another is made at once.
                self.deleted(name);
                return;
            }
            (Failure::Gone | Failure::Refused(_), _) => self.answered(),
            (Failure::Unavailable(_), _) => self.resume = Some(now + self.unavailable.pause()),
        }
        self.forget(key);
        let pause = self.pause(key);
        self.look_at(key.clone(), now + pause);
    }

    fn answered(&mut self) {
        self.resume = None;
        self.unavailable.reset();
    }

    /// The next thing to do about one; `None` if all is as it should be.
    fn plan(&self, key: &K::Subject) -> Option<Step<K::Content>> {
        let here = self.by_subject.get(key).into_iter().flatten();
        let here = here.filter_map(|name| Some((name, self.objects.get(name)?)));
        let (own, foreign): (Vec<_>, Vec<_>) = here
            .filter(|(_, object)| !object.going)
            .partition(|(_, object)| object.ours);
        let delete = |name: &String| Step::Delete { name: name.clone() };
        let Some(content) = self.wanted.get(key) else {
            return own.first().map(|(name, _)| delete(name));
        };
        // Of several, that which needs least; the last of equals.
        let right = |object: &Object<K>| {
            let says = matches!(&object.said, Said::This(said) if said == content);
            (object.owners == self.owners, says)
        };
        let kept = own
            .iter()
            .filter(|(_, object)| !matches!(object.said, Said::Other))
            .max_by_key(|(_, object)| right(object));
        let Some((kept, object)) = kept else {
            return Some(Step::Create);
        };
        let name = (*kept).clone();
        match right(object) {
            (false, _) => Some(Step::Own { name }),
            (true, false) => Some(Step::Say {
                name,
                content: content.clone(),
            }),
            (true, true) => own
                .iter()
                .chain(foreign.iter().filter(|_| K::EXCLUSIVE))
                .find(|(name, _)| name != kept)
                .map(|(name, _)| delete(name)),
        }
    }

    /// Takes in an object unless what is known of it is newer; what it was and is about.
    fn put(&mut self, object: &K::Object) -> Vec<K::Subject> {
        let name = object.name_any();
        let mut new = self.read(object);
        if let (Some(known), Some(new)) = (self.objects.get(&name), &mut new)
            && known.uid == new.uid
        {
            if new.revision != 0 && new.revision <= known.revision {
                return Vec::new();
            }
            new.going |= known.going;
        }
        // Somebody may have changed its labels.
        let before = self.remove(&name);
        let after = new.as_ref().map(|new| new.subject.clone());
        if let Some(new) = new {
            self.by_subject
                .entry(new.subject.clone())
                .or_default()
                .insert(name.clone());
            self.objects.insert(name, new);
        }
        before.into_iter().chain(after).collect()
    }

    fn read(&self, object: &K::Object) -> Option<Object<K>> {
        let Read {
            subject,
            node,
            said,
        } = K::read(object)?;
        Some(Object {
            uid: object.uid().unwrap_or_default(),
            revision: object
                .resource_version()
                .and_then(|revision| revision.parse().ok())
                .unwrap_or(0),
            ours: node == self.me.as_str(),
            owners: object
                .owner_references()
                .iter()
                .map(|owner| owner.uid.clone())
                .collect(),
            said,
            going: object.meta().deletion_timestamp.is_some(),
            subject,
        })
    }

    fn remove(&mut self, name: &str) -> Option<K::Subject> {
        let object = self.objects.remove(name)?;
        if let Some(names) = self.by_subject.get_mut(&object.subject) {
            names.remove(name);
            if names.is_empty() {
                self.by_subject.remove(&object.subject);
            }
        }
        Some(object.subject)
    }

    fn going(&mut self, name: &str) {
        if let Some(object) = self.objects.get_mut(name) {
            object.going = true;
        }
    }

    fn pause(&mut self, key: &K::Subject) -> Duration {
        self.pauses
            .entry(key.clone())
            .or_insert_with(|| Backoff::new(FIRST_PAUSE, LONGEST_PAUSE))
            .pause()
    }

    /// Has it looked at, at the latest at `due`.
    fn look_at(&mut self, key: K::Subject, due: Instant) {
        if self.queued.get(&key).is_some_and(|queued| *queued <= due) {
            return;
        }
        self.forget(&key);
        self.queue.insert((due, key.clone()));
        self.queued.insert(key, due);
    }

    fn forget(&mut self, key: &K::Subject) {
        if let Some(due) = self.queued.remove(key) {
            self.queue.remove(&(due, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
