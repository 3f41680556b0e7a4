//! What members tell each other of themselves: each version of a state until it is acknowledged.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use foca::State;
use herald_model::{MemberState, NodeName, Standing};

use super::{Due, Group};
use crate::envelope::{Envelope, MAX_STATE, Passed, Sees, Told, encode_state};
use crate::identity::Identity;
use crate::seal::OVERHEAD;
use crate::{MAX_DATAGRAM, ProblemKind};

/// How soon one that has not acknowledged is told again; twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How often the time is doubled: up to 3.2 s.
const DOUBLED: u32 = 6;
/// At which tries others are asked to pass on what is not acknowledged: one that cannot be reached for
/// long must not cost them more and more.
const ASKS: RangeInclusive<u32> = 1..=5;
/// How far apart notes to different members are, so that a large group is no burst.
const APART: Duration = Duration::from_micros(250);
/// How many may go at once nevertheless, as a time.
const AT_ONCE: Duration = Duration::from_millis(16);

/// What is in an envelope besides what the sender always says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Letter<'a> {
    pub(super) swim: &'a [u8],
    pub(super) reply: bool,
    pub(super) pass: Option<&'a str>,
    pub(super) passed: Option<Passed<'a>>,
}

impl Group {
    /// Takes on an own state and tells all.
    pub(super) fn tell(&mut self, now: Instant, state: MemberState) {
        let (bytes, trimmed) = encode_state(&state, MAX_STATE);
        if trimmed {
            self.problem(ProblemKind::StateTooLarge, self.address, None);
        }
        self.state = bytes;
        self.version += 1;
        self.show_me(state);
        let live: Vec<_> = self
            .contacts
            .iter_mut()
            .filter(|(_, contact)| contact.live)
            .map(|(name, contact)| {
                contact.tries = None;
                name.clone()
            })
            .collect();
        for name in live {
            self.queue_exchange(now, &name);
        }
    }

    pub(super) fn queue_exchange(&mut self, now: Instant, name: &NodeName) {
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        if contact.tries.is_some() {
            return;
        }
        contact.tries = Some(0);
        contact.turn += 1;
        let due = Due::Exchange(name.clone(), contact.turn);
        self.schedule_apart(now, due);
    }

    /// Schedules something that is sent to one member, soon, but not all such things at once.
    pub(super) fn schedule_apart(&mut self, now: Instant, due: Due) {
        let earliest = now.checked_sub(AT_ONCE).unwrap_or(now);
        self.slot = self.slot.max(earliest) + APART;
        self.schedule(self.slot.max(now), due);
    }

    /// Tells and asks a member what is missing, until nothing is.
    pub(super) fn exchange(&mut self, now: Instant, name: &NodeName, turn: u64) {
        let version = self.version;
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        let Some(tries) = contact.tries.filter(|_| contact.turn == turn) else {
            return;
        };
        let complete = contact.have > 0 && contact.acknowledged == version && contact.mutual;
        if !contact.live || complete {
            contact.tries = None;
            return;
        }
        contact.tries = Some(tries + 1);
        let unheard = ASKS.contains(&tries) && contact.acknowledged < version;
        self.note(now, name, true);
        if unheard {
            self.ask_to_pass(now, name);
        }
        let wait = AGAIN_AFTER * (1 << tries.min(DOUBLED));
        self.schedule(now + wait, Due::Exchange(name.clone(), turn));
    }

    /// Sends a datagram without SWIM message.
    pub(super) fn note(&mut self, now: Instant, name: &NodeName, reply: bool) {
        if let Some(contact) = self.contacts.get_mut(name) {
            contact.noted = Some(now);
            let to = contact.identity.clone();
            self.send(now, &to, &[], reply);
        }
    }

    /// Sends a SWIM message, and with it what else the receiver should know.
    pub(super) fn send(&mut self, now: Instant, to: &Identity, swim: &[u8], reply: bool) {
        let letter = Letter {
            swim,
            reply,
            ..Letter::default()
        };
        self.post(now, to, &letter);
    }

    pub(super) fn post(&mut self, now: Instant, to: &Identity, letter: &Letter<'_>) {
        if to.name == self.me {
            return;
        }
        let acknowledged = self
            .contacts
            .get(&to.name)
            .map_or(0, |contact| contact.acknowledged);
        let told = (acknowledged < self.version).then_some(Told {
            version: self.version,
            state: &self.state,
        });
        let standing = self.standing_without(&to.name);
        let envelope = self.envelope(to, standing, told, letter);
        let Ok(mut body) = postcard::to_stdvec(&envelope) else {
            return;
        };
        if body.len() + OVERHEAD > MAX_DATAGRAM {
            // Too much for one: the state goes alone, later.
            let without = Envelope {
                told: None,
                ..envelope
            };
            body = postcard::to_stdvec(&without).unwrap_or_default();
        }
        self.seal.send(now, to.address, body);
    }

    fn envelope<'a>(
        &self,
        to: &Identity,
        standing: Standing,
        told: Option<Told<'a>>,
        letter: &Letter<'a>,
    ) -> Envelope<'a> {
        let contact = self.contacts.get(&to.name);
        let sees = match contact {
            Some(contact) if contact.live => Sees::Live,
            Some(contact) if !contact.doubted && !contact.left => Sees::Down,
            _ => Sees::Unknown,
        };
        Envelope {
            generation: self.current(),
            known: contact.map_or(0, |contact| contact.identity.generation),
            sees,
            standing,
            fitness: self.fitness(),
            heard: self.seal.received(to.address),
            seen: contact.map_or(0, |contact| contact.have),
            reply: letter.reply,
            leaving: self.left,
            told,
            pass: letter.pass,
            passed: letter.passed,
            swim: letter.swim,
        }
    }

    /// Tells all that this one leaves: twice, since nothing is said after that.
    pub(super) fn say_farewell(&mut self, now: Instant) {
        self.left = true;
        self.swim_leave(now);
        let names: Vec<_> = self
            .contacts
            .iter()
            .filter(|(_, contact)| contact.live)
            .map(|(name, _)| name.clone())
            .collect();
        for name in names.iter().chain(&names) {
            self.note(now, name, false);
        }
    }

    /// A member said that it leaves.
    pub(super) fn said_farewell(&mut self, now: Instant, name: &NodeName, generation: u64) {
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        if contact.identity.generation != generation || contact.left {
            return;
        }
        contact.left = true;
        contact.left_run = contact.run;
        let identity = contact.identity.clone();
        self.recount = true;
        self.swim_apply(now, identity, 0, State::Down);
    }
}
