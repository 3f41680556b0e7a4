//! Looking through a SWIM message before it is believed.

use foca::{Header, Member, Message, State};
use herald_model::{NodeName, Standing};

use super::Group;
use super::receive::MOST_AHEAD;
use crate::ProblemKind;
use crate::identity::Identity;
use crate::identity::same;

use std::net::SocketAddr;
use std::time::Instant;

/// What is left of a message, and what it says of this one.
pub(super) struct Screened {
    /// The message without what is not believed.
    pub(super) message: Vec<u8>,
    /// A generation of this one that is greater than its own.
    pub(super) own: Option<u64>,
}

/// What becomes of a piece of news.
enum Verdict {
    Believed,
    Ignored,
    /// That a member is down is taken as a suspicion first: it is asked.
    Asked,
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
            let full = self.contacts.len() + usize::from(believed) >= crate::MAX_MEMBERS;
            match self.believes(now, bearer, &member, full, &mut own) {
                Ok(Verdict::Believed) => {
                    kept.extend(bytes);
                    believed += 1;
                }
                Ok(Verdict::Asked) => {
                    let suspect =
                        Member::new(member.id().clone(), member.incarnation(), State::Suspect);
                    kept.extend(postcard::to_stdvec(&suspect).map_err(|_| ProblemKind::Malformed)?);
                    believed += 1;
                    self.urgent = true;
                }
                Ok(Verdict::Ignored) => {}
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
        full: bool,
        own: &mut Option<u64>,
    ) -> Result<Verdict, ProblemKind> {
        let identity = member.id();
        let down = member.state() == State::Down;
        let mine = self.swim.identity();
        if identity.name == self.me {
            if !same(identity.address, self.address) {
                return Err(ProblemKind::OwnName);
            }
            // Whether the bearer takes this run as down it says itself.
            if identity.generation > mine.generation.saturating_add(MOST_AHEAD) {
                return Err(ProblemKind::Malformed);
            }
            if identity.generation > mine.generation {
                *own = (*own).max(Some(identity.generation));
            }
            return Ok(if identity == mine && member.state() == State::Suspect {
                Verdict::Believed
            } else {
                Verdict::Ignored
            });
        }
        self.vet(&identity.name, identity.address)?;
        let Some(contact) = self.contacts.get(&identity.name) else {
            if full {
                return Err(ProblemKind::Crowded);
            }
            if down {
                self.meet_down(identity);
            }
            return Ok(Verdict::Believed);
        };
        let of_itself = identity.name == *bearer.name;
        if !down || !contact.live || of_itself || identity.generation < contact.identity.generation
        {
            return Ok(Verdict::Believed);
        }
        // Who stands worse than this one does not declare for it.
        if bearer.standing < self.standing_without(bearer.name) {
            return Ok(Verdict::Ignored);
        }
        // One that answers is not down, whoever says so.
        let asked = contact.suspect.is_some_and(|suspicion| {
            now.saturating_duration_since(suspicion.since) >= self.timers.suspicion / 2
        });
        if asked {
            return Ok(Verdict::Believed);
        }
        self.suspected(now, identity, member.incarnation(), true);
        Ok(Verdict::Asked)
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
