//! A datagram from another member: who of the two takes whom as down, and what else it says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foca::State;
use herald_model::{MemberState, NodeName, Phase};

use super::Group;
use super::screen::Bearer;
use crate::envelope::{Envelope, Sees};
use crate::identity::Identity;
use crate::seal::Opened;
use crate::{MAX_MEMBERS, ProblemKind};

/// One member is sent notes as answers at most so often.
const NOTE_EVERY: Duration = Duration::from_millis(5);
/// No other can know a generation of this one that is so much greater than its own: each is one more
/// than the one before. Else a confused member could use them up.
pub(super) const MOST_AHEAD: u64 = 1 << 32;
/// In the fitness of one that has interfaces to announce on.
const ANNOUNCES: u8 = 1;

impl Group {
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let opened = match self.seal.open(now, from, bytes, &self.directory) {
            Ok(Some(opened)) => opened,
            Ok(None) => return,
            Err(refused) => {
                self.problem(refused.kind, from, refused.node.as_ref());
                return;
            }
        };
        let Opened { name, body } = opened;
        let heard = postcard::from_bytes::<Envelope<'_>>(&body)
            .map_err(|_| ProblemKind::Malformed)
            .and_then(|envelope| {
                self.vet(&name, from)?;
                self.hear(now, from, &name, &envelope)
            });
        if let Err(kind) = heard {
            self.problem(kind, from, Some(&name));
        }
    }

    fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: &NodeName,
        envelope: &Envelope<'_>,
    ) -> Result<(), ProblemKind> {
        if !self.contacts.contains_key(name) && self.contacts.len() >= MAX_MEMBERS {
            return Err(ProblemKind::Crowded);
        }
        if envelope.known > self.current().saturating_add(MOST_AHEAD) {
            return Err(ProblemKind::Malformed);
        }
        self.note_receipt(now, from, name, envelope);
        if envelope.leaving {
            self.said_farewell(now, name, envelope.generation);
            return Ok(());
        }
        self.note_word(now, name, envelope);
        self.end_own_run(now, name, envelope);
        self.heed(now, envelope);
        if self.is_over(now, name, envelope) {
            return Ok(());
        }
        if envelope.swim.is_empty() {
            self.meet(now, from, name, envelope);
        } else {
            let bearer = Bearer {
                name,
                address: from,
                generation: envelope.generation,
                standing: envelope.standing,
            };
            let screened = self.screen(now, &bearer, envelope.swim)?;
            if let Some(generation) = screened.own {
                self.outdo(now, generation.saturating_add(1));
            }
            self.swim_message(now, &screened.message)?;
        }
        self.note_word(now, name, envelope);
        self.note_state(now, from, name, envelope)?;
        self.note_passed(now, name, envelope)?;
        self.confirmed_by(now, name, envelope);
        if envelope.reply {
            self.note(now, name, false);
        }
        Ok(())
    }

    /// Notes what the datagram proves by having come.
    fn note_receipt(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: &NodeName,
        envelope: &Envelope<'_>,
    ) {
        let run = self.seal.run(from);
        let sent = self.seal.sent(from, envelope.heard);
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        if contact.live || contact.doubted {
            self.heard = now;
        }
        if contact.run != run {
            contact.run = run;
            contact.forget_told();
            contact.proved = None;
        }
        contact.spoke = Some(now);
        contact.proved = contact.proved.max(sent);
        if contact.suspect.is_some() {
            self.clear_if_proved(now, name);
        }
    }

    /// Notes whether the sender takes this one, as it is now, as live. One that has just started
    /// does not know yet: that changes nothing.
    fn note_word(&mut self, now: Instant, name: &NodeName, envelope: &Envelope<'_>) {
        let mutual = match envelope.sees {
            _ if envelope.known != self.current() => return,
            Sees::Live => true,
            Sees::Down => false,
            Sees::Unknown => return,
        };
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        if contact.mutual != mutual && (contact.live || !mutual) {
            contact.mutual = mutual;
            contact.uncounted &= !mutual;
            if contact.live {
                self.show(name);
                self.queue_exchange(now, name);
            }
        }
    }

    /// Takes up one that is not known in this run, or at all, but speaks.
    fn meet(&mut self, now: Instant, from: SocketAddr, name: &NodeName, envelope: &Envelope<'_>) {
        let known = self
            .contacts
            .get(name)
            .map(|contact| contact.identity.generation);
        if known.is_none_or(|known| known < envelope.generation) {
            let identity = Identity {
                name: name.clone(),
                address: from,
                generation: envelope.generation,
            };
            self.swim_apply(now, identity, 0, State::Alive);
        }
    }

    /// Goes on as another run if the sender knows one with a greater generation, or has declared
    /// this one down.
    fn end_own_run(&mut self, now: Instant, name: &NodeName, envelope: &Envelope<'_>) {
        let mine = self.current();
        if envelope.known > mine {
            self.outdo(now, envelope.known.saturating_add(1));
        } else if envelope.known == mine
            && envelope.sees == Sees::Down
            && !self.prevails(name, envelope)
        {
            self.declared_down(now);
        }
    }

    /// The sender, in this run of it, is down here, and is told so. One that rather knows better is
    /// taken up again instead.
    fn is_over(&mut self, now: Instant, name: &NodeName, envelope: &Envelope<'_>) -> bool {
        let Some(contact) = self.contacts.get(name) else {
            return false;
        };
        let known = contact.identity.generation;
        if envelope.generation < known {
            self.note_if_quiet(now, name);
            return true;
        }
        if contact.live || envelope.generation > known {
            return false;
        }
        if contact.left && contact.left_run == contact.run {
            return true;
        }
        if !contact.doubted && !contact.left && self.prevails(name, envelope) {
            self.note_if_quiet(now, name);
            return true;
        }
        let identity = contact.identity.clone();
        if !contact.doubted && !contact.left {
            self.doubt_all();
        }
        self.swim_forgive(now, identity.clone());
        if envelope.swim.is_empty() {
            self.swim_announce(now, identity);
        }
        false
    }

    /// Whether this one's word counts more than the sender's when one has declared the other down.
    /// Each is asked how it would stand without the other: one that is cut off does not declare for
    /// a group that is not. Between equals the one that can announce is right, whoever hears whom; if
    /// both can, the one that declared; if both did, the fitter one, or else the one of the lesser
    /// name.
    fn prevails(&self, name: &NodeName, envelope: &Envelope<'_>) -> bool {
        let mine = self.standing_without(name);
        let down = self
            .contacts
            .get(name)
            .is_some_and(|contact| !contact.live && !contact.doubted);
        let mutual = down && envelope.sees == Sees::Down;
        let announces = |fitness: u8| fitness & ANNOUNCES != 0;
        let able = announces(self.fitness());
        match mine.cmp(&envelope.standing) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if able != announces(envelope.fitness) => able,
            std::cmp::Ordering::Equal if mutual => {
                let fitter = self.fitness().cmp(&envelope.fitness);
                fitter.then_with(|| name.cmp(&self.me)).is_gt()
            }
            std::cmp::Ordering::Equal => down,
        }
    }

    /// Better ready than not, and then better with interfaces to announce on than without.
    pub(super) fn fitness(&self) -> u8 {
        let me = &self.view.me;
        let ready = u8::from(me.phase == Phase::Ready) * 2;
        ready + u8::from(!me.interfaces.is_empty()) * ANNOUNCES
    }

    fn note_state(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: &NodeName,
        envelope: &Envelope<'_>,
    ) -> Result<(), ProblemKind> {
        let run = self.seal.run(from);
        let version = self.version;
        let Some(contact) = self.contacts.get_mut(name) else {
            return Ok(());
        };
        contact.run = run;
        contact.acknowledged = envelope.seen;
        if let Some(told) = &envelope.told
            && told.version > contact.have
        {
            let state: MemberState =
                postcard::from_bytes(told.state).map_err(|_| ProblemKind::Malformed)?;
            contact.have = told.version;
            contact.passed = None;
            self.learn_state(name, state);
            // So that it need not tell it again.
            self.note_if_quiet(now, name);
        } else if envelope.seen < version {
            self.note_if_quiet(now, name);
        }
        Ok(())
    }

    /// Answers with a note, but not to everything that comes in a rush.
    fn note_if_quiet(&mut self, now: Instant, name: &NodeName) {
        let quiet = self.contacts.get(name).is_none_or(|contact| {
            contact
                .noted
                .is_none_or(|noted| now.saturating_duration_since(noted) >= NOTE_EVERY)
        });
        if quiet {
            self.note(now, name, false);
        }
    }
}
