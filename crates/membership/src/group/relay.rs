//! Passing on what a member tells of itself to one that does not hear it: the two are in one group
//! through others, but not every datagram of the group takes such a way.

use std::time::{Duration, Instant};

use herald_model::{MemberState, NodeName};
use rand::RngExt;

use super::Group;
use super::exchange::Letter;
use crate::envelope::{Envelope, Passed, Told, encode_state};
use crate::seal::OVERHEAD;
use crate::{MAX_DATAGRAM, ProblemKind};

/// How many are asked to pass something on.
const HELPERS: usize = 2;
/// How much of an envelope a state that is passed on may take together with its member's name: the rest
/// is for numbers.
const MOST_PASSED: usize = MAX_DATAGRAM - OVERHEAD - 128;
/// What was sent longer ago is not under way any longer. After that a lesser version is no older one,
/// but one that another run counts, or one after a version that there never was.
const UNDER_WAY: Duration = Duration::from_secs(1);

impl Group {
    /// Asks others to pass the own state on to a member that does not acknowledge it.
    pub(super) fn ask_to_pass(&mut self, now: Instant, name: &NodeName) {
        let first = self.rng.random_range(0..self.contacts.len().max(1));
        let (before, after) = (self.contacts.iter(), self.contacts.iter());
        let in_turn = after.skip(first).chain(before.take(first));
        let helpers: Vec<_> = in_turn
            .filter(|(other, contact)| *other != name && contact.counts_live())
            .take(HELPERS)
            .map(|(_, contact)| contact.identity.clone())
            .collect();
        for helper in helpers {
            let letter = Letter {
                pass: Some(name.as_str()),
                ..Letter::default()
            };
            self.post(now, &helper, &letter);
        }
    }

    /// Passes on what `name` has told, if `envelope` asks for that, and takes what is passed on.
    pub(super) fn note_passed(
        &mut self,
        now: Instant,
        name: &NodeName,
        envelope: &Envelope<'_>,
    ) -> Result<(), ProblemKind> {
        if let Some(to) = envelope.pass {
            self.pass(now, name, &NodeName::new(to));
        }
        envelope
            .passed
            .as_ref()
            .map_or(Ok(()), |passed| self.take_passed(now, passed))
    }

    fn pass(&mut self, now: Instant, name: &NodeName, to: &NodeName) {
        let (Some(contact), Some(receiver)) = (self.contacts.get(name), self.contacts.get(to))
        else {
            return;
        };
        let member = self.view.members.get(name);
        let Some(state) = member.and_then(|member| member.state.as_ref()) else {
            return;
        };
        if !receiver.live || contact.have == 0 {
            return;
        }
        let (bytes, trimmed) = encode_state(state, MOST_PASSED.saturating_sub(name.as_str().len()));
        let (from, version) = (contact.identity.address, contact.have);
        let passed = Passed {
            name: name.as_str(),
            generation: contact.identity.generation,
            told: Told {
                version,
                state: &bytes,
            },
        };
        let letter = Letter {
            passed: Some(passed),
            ..Letter::default()
        };
        let receiver = receiver.identity.clone();
        self.post(now, &receiver, &letter);
        if trimmed {
            self.problem(ProblemKind::StateTooLarge, from, Some(name));
        }
    }

    /// Takes what another says of a member, unless it may be older than what is known; what the member
    /// says itself counts more, so it is asked too.
    fn take_passed(&mut self, now: Instant, passed: &Passed<'_>) -> Result<(), ProblemKind> {
        let name = NodeName::new(passed.name);
        let Some(contact) = self.contacts.get_mut(&name) else {
            return Ok(());
        };
        let recent = |at: Instant| now.saturating_duration_since(at) < UNDER_WAY;
        let version = passed.told.version;
        let after_its_own = version > contact.have || !contact.spoke.is_some_and(recent);
        let before = contact.passed;
        let after_others = before.is_none_or(|(before, at)| version > before || !recent(at));
        let same = contact.live && contact.identity.generation == passed.generation;
        if !(same && after_its_own && after_others) {
            return Ok(());
        }
        let state: MemberState =
            postcard::from_bytes(passed.told.state).map_err(|_| ProblemKind::Malformed)?;
        contact.passed = Some((version, now));
        let known = self.view.members.get(&name);
        if known.and_then(|member| member.state.as_deref()) != Some(&state) {
            contact.have = 0;
            self.learn_state(&name, state);
            self.queue_exchange(now, &name);
        }
        Ok(())
    }
}
