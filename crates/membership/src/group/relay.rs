//! Passing on what a member tells of itself to one that does not hear it: the two are in one group
//! through others, but not every datagram of the group takes such a way.

use std::time::Instant;

use herald_model::{MemberState, NodeName};
use rand::RngExt;

use super::Group;
use super::exchange::Letter;
use crate::ProblemKind;
use crate::envelope::{Envelope, Passed, Told, encode_state};

/// How many are asked to pass something on.
const HELPERS: usize = 2;

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
            .map_or(Ok(()), |passed| self.take_passed(passed))
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
        let (bytes, _) = encode_state(state);
        let passed = Passed {
            name: name.as_str(),
            generation: contact.identity.generation,
            told: Told {
                version: contact.have,
                state: &bytes,
            },
        };
        let letter = Letter {
            passed: Some(passed),
            ..Letter::default()
        };
        let receiver = receiver.identity.clone();
        self.post(now, &receiver, &letter);
    }

    fn take_passed(&mut self, passed: &Passed<'_>) -> Result<(), ProblemKind> {
        let name = NodeName::new(passed.name);
        let Some(contact) = self.contacts.get_mut(&name) else {
            return Ok(());
        };
        let same = contact.live && contact.identity.generation == passed.generation;
        if same && passed.told.version > contact.have {
            let state: MemberState =
                postcard::from_bytes(passed.told.state).map_err(|_| ProblemKind::Malformed)?;
            contact.have = passed.told.version;
            self.learn_state(&name, state);
        }
        Ok(())
    }
}
