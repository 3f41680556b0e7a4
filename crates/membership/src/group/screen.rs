//! Looking through a SWIM message before it is believed.

use foca::{Header, Member, Message, State};
use herald_model::{NodeName, Standing};

use super::Group;
use crate::ProblemKind;
use crate::identity::Identity;
use crate::identity::same;

use std::net::SocketAddr;
use std::time::Instant;

/// What is left of a message, and what it says of this one.
pub(super) struct Screened {
    /// The message without what is not believed.
    pub(super) message: Vec<u8>,
    /// A generation of this one that is said to be down, or greater than its own.
    pub(super) own: Option<u64>,
}

/// Who brought a message.
pub(super) struct Bearer<'a> {
    pub(super) name: &'a NodeName,
    pub(super) address: SocketAddr,
    pub(super) generation: u64,
    pub(super) standing: Standing,
}

/// The same message without news of others; `None` if it has none.
pub(super) fn without_updates(message: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = postcard::take_from_bytes::<Header<Identity>>(message).ok()?;
    let header = message.len() - rest.len();
    if rest.len() <= 2 {
        return None;
    }
    let mut quiet = message.get(..header)?.to_vec();
    quiet.extend([0, 0]);
    Some(quiet)
}

impl Group {
    pub(super) fn screen(
        &mut self,
        now: Instant,
        bearer: &Bearer<'_>,
        message: &[u8],
    ) -> Result<Screened, ProblemKind> {
        let (header, rest) = postcard::take_from_bytes::<Header<Identity>>(message)
            .map_err(|_| ProblemKind::Malformed)?;
        if header.src.name != *bearer.name
            || header.src.generation != bearer.generation
            || !same(header.src.address, bearer.address)
        {
            return Err(ProblemKind::Malformed);
        }
        match &header.message {
            Message::TurnUndead | Message::Broadcast => return Err(ProblemKind::Malformed),
            Message::PingReq { target: other, .. }
            | Message::IndirectPing { origin: other, .. }
            | Message::IndirectAck { target: other, .. }
            | Message::ForwardedAck { origin: other, .. } => {
                self.vet(&other.name, other.address)?;
            }
            _ => {}
        }
        let length = message.len() - rest.len();
        let mut kept = message.get(..length).unwrap_or_default().to_vec();
        let mut own = None;
        let Some((count, mut rest)) = rest.split_first_chunk::<2>() else {
            return if rest.is_empty() {
                Ok(Screened { message: kept, own })
            } else {
                Err(ProblemKind::Malformed)
            };
        };
        let tally = kept.len();
        kept.extend([0, 0]);
        let mut believed: u16 = 0;
        for _ in 0..u16::from_be_bytes(*count) {
            let (member, after) = postcard::take_from_bytes::<Member<Identity>>(rest)
                .map_err(|_| ProblemKind::Malformed)?;
            let bytes = rest.get(..rest.len() - after.len()).unwrap_or_default();
            rest = after;
            match self.believes(now, bearer, &member, &mut own) {
                Ok(true) => {
                    kept.extend(bytes);
                    believed += 1;
                }
                Ok(false) => {}
                Err(kind) => self.problem(kind, bearer.address, Some(&member.id().name)),
            }
        }
        if !rest.is_empty() {
            return Err(ProblemKind::Malformed);
        }
        if let Some(place) = kept.get_mut(tally..tally + 2) {
            place.copy_from_slice(&believed.to_be_bytes());
        }
        Ok(Screened { message: kept, own })
    }

    fn believes(
        &mut self,
        now: Instant,
        bearer: &Bearer<'_>,
        member: &Member<Identity>,
        own: &mut Option<u64>,
    ) -> Result<bool, ProblemKind> {
        let identity = member.id();
        let down = member.state() == State::Down;
        let mine = self.swim.identity();
        if identity.name == self.me {
            if !same(identity.address, self.address) {
                return Err(ProblemKind::OwnName);
            }
            if identity.generation > mine.generation
                || (identity == mine
                    && down
                    && bearer.standing >= self.standing_without(bearer.name))
            {
                *own = (*own).max(Some(identity.generation));
            }
            return Ok(identity == mine && member.state() == State::Suspect);
        }
        self.vet(&identity.name, identity.address)?;
        let Some(contact) = self.contacts.get(&identity.name) else {
            if self.contacts.len() >= crate::MAX_MEMBERS {
                return Err(ProblemKind::Crowded);
            }
            if down {
                self.meet_down(identity);
            }
            return Ok(true);
        };
        if !down || !contact.live || identity.generation < contact.identity.generation {
            return Ok(true);
        }
        // One that answered just now is not down, and who stands worse than this one does not
        // declare for it.
        let answered = contact
            .proved
            .is_some_and(|proved| now.saturating_duration_since(proved) < self.timers.suspicion);
        let weaker = bearer.standing < self.standing_without(bearer.name);
        let of_itself = identity.name == *bearer.name;
        Ok(of_itself || !(answered || weaker))
    }

    /// Whether a member of this name may be at this address.
    pub(super) fn vet(&self, name: &NodeName, address: SocketAddr) -> Result<(), ProblemKind> {
        self.directory.check(name, address)?;
        if let Some(contact) = self.contacts.get(name)
            && contact.live
            && !same(contact.identity.address, address)
        {
            return Err(ProblemKind::NameTaken);
        }
        Ok(())
    }
}
