//! When this one must not answer: it was declared down, or may have been and did not notice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use herald_model::NodeName;

use super::{Contact, Due, Event, Group};
use crate::envelope::{Envelope, Sees};

/// How many members are asked.
const ASKED: usize = 3;
/// How often.
const ASK_EVERY: Duration = Duration::from_millis(40);

/// Why this one is fenced, and what is known against it.
#[derive(Debug)]
pub(super) struct Fence {
    since: Instant,
    /// It was declared down and goes on as another run; else it only may have been.
    declared: bool,
    asked: BTreeSet<NodeName>,
    confirmed: BTreeSet<NodeName>,
    /// When another was last heard that does not take this one as alive.
    denied: Option<Instant>,
}

impl Group {
    /// This process did not run for so long that others may have declared it down.
    pub(super) fn stalled(&mut self, now: Instant) {
        // Also one that was alone before: others may have met meanwhile, or one that left may have
        // started again.
        let others = |contact: &Contact| {
            let may_be_back = contact.left && contact.expected;
            contact.live || may_be_back || !contact.left && !contact.uncounted
        };
        if self.fence.is_none() && (self.strangers > 0 || self.contacts.values().any(others)) {
            self.raise_fence(now, false);
            self.reach_now(now);
        }
    }

    /// Others have declared this run down: goes on as another.
    pub(super) fn declared_down(&mut self, now: Instant) {
        let generation = self.current().saturating_add(1);
        // One that was in no group since it started has nothing to stop: they mean a run before it.
        if !self.accepted && self.fence.is_none() {
            return self.outdo(now, generation);
        }
        if self.left {
            return;
        }
        self.returned = generation;
        self.raise_fence(now, true);
        self.doubt_all();
        self.swim_renew(now, generation);
        self.nobody_knows_yet(now);
        self.reach_now(now);
        self.ask(now);
        self.call_the_lost(now);
    }

    /// Others know a run of this node with a greater generation, although it ran before this one:
    /// its disk was lost. Goes on with this one, which says nothing of what this run answers for.
    pub(super) fn outdo(&mut self, now: Instant, generation: u64) {
        if !self.left && generation > self.current() {
            self.swim_renew(now, generation);
            self.reach_now(now);
        }
    }

    /// The group went on without this one, so what this one has seen of others meanwhile says
    /// nothing of them.
    pub(super) fn doubt_all(&mut self) {
        self.doubt(|_| true);
    }

    /// This one fell into the minority: it is rather cut off than those are down that were lost on
    /// the way there.
    pub(super) fn doubt_the_last(&mut self, now: Instant) {
        let way = self.timers.least_detection() * 4;
        self.doubt(|down| now.saturating_duration_since(down) < way);
    }

    fn doubt(&mut self, which: impl Fn(Instant) -> bool) {
        for contact in self.contacts.values_mut() {
            contact.doubted |= !contact.live && !contact.left && contact.down.is_none_or(&which);
        }
    }

    /// None of the others has said yet that it takes this run as live.
    fn nobody_knows_yet(&mut self, now: Instant) {
        let live: Vec<_> = self
            .contacts
            .iter_mut()
            .filter(|(_, contact)| contact.live)
            .map(|(name, contact)| {
                contact.mutual = false;
                contact.tries = None;
                name.clone()
            })
            .collect();
        for name in live {
            self.show(&name);
            self.queue_exchange(now, &name);
        }
    }

    fn raise_fence(&mut self, now: Instant, declared: bool) {
        let was = self.fence.replace(Fence {
            since: now,
            declared,
            asked: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            denied: None,
        });
        self.show_fence(true);
        if was.is_none() {
            self.push_event(Event::Fenced);
            self.fences += 1;
            self.schedule(now, Due::Fence(self.fences));
        }
    }

    /// Asks others whether they take this one as alive.
    fn ask(&mut self, now: Instant) {
        let live: Vec<_> = self
            .contacts
            .iter()
            .filter(|(_, contact)| contact.live)
            .map(|(name, _)| name.clone())
            .take(ASKED)
            .collect();
        for name in live {
            if let Some(fence) = &mut self.fence {
                fence.asked.insert(name.clone());
            }
            if let Some(contact) = self.contacts.get(&name) {
                let identity = contact.identity.clone();
                self.swim_announce(now, identity);
            }
            self.note(now, &name, true);
        }
    }

    pub(super) fn check_fence(&mut self, now: Instant, number: u64) {
        let Some(fence) = self.fence.as_ref().filter(|_| self.fences == number) else {
            return;
        };
        let age = now.saturating_duration_since(fence.since);
        let alone = !self.contacts.values().any(|contact| contact.live);
        // Nobody may be left who could take it back; else one of them calls or answers by then.
        let patience = if fence.declared {
            self.timers.least_detection() * 2
        } else {
            self.timers.reach_out * 2
        };
        // One that hears others and is not heard must not take itself for the only one that is left.
        let memory = (self.timers.reach_out * 3).max(patience);
        let denied = fence
            .denied
            .is_some_and(|at| now.saturating_duration_since(at) < memory);
        let enough = !fence.confirmed.is_empty() && age >= ASK_EVERY;
        if enough || (alone && age >= patience && !denied) {
            self.drop_fence();
            return;
        }
        self.ask(now);
        self.schedule(now + ASK_EVERY, Due::Fence(number));
    }

    /// Notes whether a member takes this one as alive, as it is now.
    pub(super) fn heed(&mut self, now: Instant, envelope: &Envelope<'_>) {
        let known = envelope.sees == Sees::Live && envelope.known == self.current();
        if let Some(fence) = self.fence.as_mut().filter(|_| !known) {
            fence.denied = Some(now);
        }
    }

    /// Takes what a member says of this one as an answer.
    pub(super) fn confirmed_by(&mut self, now: Instant, name: &NodeName, envelope: &Envelope<'_>) {
        let generation = self.current();
        let Some(contact) = self.contacts.get(name) else {
            return;
        };
        if contact.live && envelope.sees == Sees::Live && envelope.known == generation {
            self.accepted = true;
        }
        let Some(fence) = &mut self.fence else {
            return;
        };
        let fresh = fence.declared || contact.proved.is_some_and(|proved| proved >= fence.since);
        if !fresh
            || !contact.live
            || envelope.sees != Sees::Live
            || envelope.known != generation
            || now < fence.since
        {
            return;
        }
        fence.confirmed.insert(name.clone());
        // Who has not answered yet would look as if it were down. That is waited for no longer than
        // until the others are asked again.
        let all = if fence.declared {
            let mut contacts = self.contacts.values();
            contacts.all(|contact| contact.mutual || !contact.live)
        } else {
            !fence.asked.is_empty() && fence.asked.is_subset(&fence.confirmed)
        };
        if all {
            self.drop_fence();
        }
    }

    fn drop_fence(&mut self) {
        if self.fence.take().is_some() {
            self.show_fence(false);
            self.push_event(Event::Unfenced);
        }
    }
}
