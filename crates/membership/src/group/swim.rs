//! The SWIM protocol inside: what it wants sent, when it wants to be woken, whom it sees.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use foca::{
    AccumulatingRuntime, Config, Foca, Member, NoCustomBroadcast, OwnedNotification,
    PeriodicParams, PostcardCodec, State, Timer,
};
use herald_model::{NodeName, Standing};
use rand::rngs::ChaCha8Rng;

use super::{Due, Group, Suspicion};
use crate::identity::Identity;
use crate::{ProblemKind, Timers};

type Inner = Foca<Identity, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>;
type Runtime = AccumulatingRuntime<Identity>;

/// A SWIM message is no longer.
pub(crate) const MAX_SWIM: usize = 1000;

/// How often the return of members is passed on at once, where many return.
const HAIL_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Swim {
    inner: Inner,
    runtime: Runtime,
    config: Config,
}

impl Swim {
    pub(super) fn new(identity: Identity, timers: &Timers, rng: ChaCha8Rng) -> Self {
        let config = config(timers);
        Self {
            inner: Foca::new(identity, config.clone(), rng, PostcardCodec),
            runtime: Runtime::new(),
            config,
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        self.inner.identity()
    }
}

fn config(timers: &Timers) -> Config {
    let periodic = |frequency, members: usize| {
        Some(PeriodicParams {
            frequency,
            num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
        })
    };
    Config {
        probe_period: timers.probe_period,
        probe_rtt: timers.probe_timeout,
        num_indirect_probes: NonZeroUsize::new(timers.indirect_probes).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: transmissions(0),
        suspect_to_down_after: timers.suspicion,
        // Who is down is kept and forgotten by the group.
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(MAX_SWIM).unwrap_or(NonZeroUsize::MIN),
        // The group tells them itself, if it is in a position to.
        notify_down_members: false,
        periodic_announce: periodic(Duration::from_secs(10), 1),
        periodic_announce_to_down_members: None,
        periodic_gossip: periodic(timers.gossip, timers.gossip_fanout),
    }
}

/// How often a change is passed on in a group of this size.
fn transmissions(size: usize) -> NonZeroU8 {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let size = NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN);
    Config::new_lan(size)
        .max_transmissions
        .max(NonZeroU8::new(6).unwrap_or(NonZeroU8::MIN))
}

impl Group {
    /// Lets the protocol do something and does what it wants then.
    fn swim(
        &mut self,
        now: Instant,
        action: impl FnOnce(&mut Inner, &mut Runtime) -> Result<(), foca::Error>,
    ) -> Result<(), foca::Error> {
        let deaf = self.is_deaf(now);
        let result = action(&mut self.swim.inner, &mut self.swim.runtime);
        self.drain(now, deaf);
        if std::mem::take(&mut self.urgent) && !deaf && !self.left {
            let _ = self.swim.inner.gossip(&mut self.swim.runtime);
            self.drain(now, deaf);
        }
        result
    }

    /// Does what the protocol wants.
    fn drain(&mut self, now: Instant, deaf: bool) {
        while let Some(notification) = self.swim.runtime.to_notify() {
            self.noticed(now, notification, deaf);
        }
        while let Some((after, timer)) = self.swim.runtime.to_schedule() {
            if let Timer::ChangeSuspectToDown {
                member_id,
                incarnation,
                ..
            } = &timer
            {
                self.suspected(now, member_id, *incarnation, false);
            }
            self.schedule(now + after, Due::Swim(timer));
        }
        while let Some((to, message)) = self.swim.runtime.to_send() {
            if deaf && let Some(quiet) = super::screen::without_updates(&message) {
                self.send(now, &to, &quiet, false);
            } else {
                self.send(now, &to, &message, false);
            }
        }
    }

    pub(super) fn swim_timer(&mut self, now: Instant, timer: Timer<Identity>) {
        if let Timer::ChangeSuspectToDown { member_id, .. } = &timer {
            self.clear_if_proved(now, &member_id.name.clone());
            // It may have gone down and come back meanwhile: that ended this suspicion.
            let ripe = self.contacts.get(&member_id.name).is_some_and(|contact| {
                contact.suspect.is_some_and(|suspicion| {
                    now.saturating_duration_since(suspicion.since) >= self.timers.suspicion
                })
            });
            if !ripe {
                return;
            }
        }
        // A probe that was cut short by a change of identity is reported, and means nothing.
        let _ = self.swim(now, |foca, runtime| foca.handle_timer(timer, runtime));
    }

    /// Takes a message that was screened.
    pub(super) fn swim_message(&mut self, now: Instant, message: &[u8]) -> Result<(), ProblemKind> {
        self.swim(now, |foca, runtime| foca.handle_data(message, runtime))
            .map_err(|error| match error {
                foca::Error::DataFromOurselves => ProblemKind::OwnName,
                _ => ProblemKind::Malformed,
            })
    }

    pub(super) fn swim_announce(&mut self, now: Instant, to: Identity) {
        let _ = self.swim(now, |foca, runtime| foca.announce(to, runtime));
    }

    pub(super) fn swim_apply(&mut self, now: Instant, identity: Identity, inc: u16, state: State) {
        let member = Member::new(identity, inc, state);
        let _ = self.swim(now, |foca, runtime| {
            foca.apply_many(std::iter::once(member), true, runtime)
        });
    }

    /// Makes the protocol forget that a run of a member was declared down.
    pub(super) fn swim_forgive(&mut self, now: Instant, identity: Identity) {
        let _ = self.swim(now, |foca, runtime| {
            foca.handle_timer(Timer::RemoveDown(identity), runtime)
        });
    }

    /// Goes on under a new generation.
    pub(super) fn swim_renew(&mut self, now: Instant, generation: u64) {
        let identity = Identity {
            generation,
            ..self.swim.identity().clone()
        };
        let _ = self.swim(now, |foca, runtime| {
            foca.change_identity(identity, &mut *runtime)?;
            // Else nobody would be probed until somebody calls.
            foca.apply_many(std::iter::empty(), true, runtime)
        });
    }

    pub(super) fn swim_leave(&mut self, now: Instant) {
        let _ = self.swim(now, |foca, runtime| foca.leave_cluster(runtime));
    }

    fn noticed(&mut self, now: Instant, notification: OwnedNotification<Identity>, deaf: bool) {
        match notification {
            OwnedNotification::MemberUp(identity) => self.came_up(now, identity),
            OwnedNotification::MemberDown(identity) => self.went_down(now, &identity, deaf),
            OwnedNotification::Rename(_, identity) => self.renamed(now, identity),
            OwnedNotification::Defunct if !self.left => {
                // Only a count of suspicions that ran over ends here.
                self.declared_down(now);
            }
            _ => {}
        }
    }

    fn came_up(&mut self, now: Instant, identity: Identity) {
        let name = identity.name.clone();
        self.keep_contact(&identity);
        self.comes_back(&name);
        let Some(contact) = self.contacts.get_mut(&name) else {
            return;
        };
        let returns = contact.down.is_some();
        contact.identity = identity;
        contact.live = true;
        contact.mutual = false;
        contact.down = None;
        contact.doubted = false;
        contact.left = false;
        contact.suspect = None;
        // What it told before it went down may be long out of date, and it may have lost what it was
        // told.
        contact.forget_told();
        self.forget_state(&name);
        self.fit_to_size();
        self.queue_exchange(now, &name);
        if returns {
            self.hail_soon(now);
        }
    }

    /// Passes on that one is back: others may watch an address that it had and has lost. Where many
    /// return, some at a time.
    fn hail_soon(&mut self, now: Instant) {
        let next = self.hailed.map_or(now, |last| last + HAIL_EVERY);
        if next <= now {
            self.hailed = Some(now);
            self.urgent = true;
        } else if self.hailed.is_some_and(|last| last <= now) {
            self.hailed = Some(next);
            self.schedule(next, Due::Hail);
        }
    }

    pub(super) fn hail(&mut self, now: Instant) {
        self.urgent = true;
        let _ = self.swim(now, |_, _| Ok(()));
    }

    fn went_down(&mut self, now: Instant, identity: &Identity, deaf: bool) {
        let unsure = deaf || self.fence.is_some() || self.view.standing == Standing::Minority;
        let majority = self.majority;
        if let Some(contact) = self.contacts.get_mut(&identity.name) {
            // What this one suspected before it was in the majority, it did in a worse place.
            let before = contact.suspect.zip(majority);
            let unsure = unsure
                || !contact.mutual
                || before.is_some_and(|(suspicion, since)| suspicion.since < since);
            contact.live = false;
            contact.down = Some(now);
            contact.doubted = unsure;
            contact.mutual = false;
            contact.suspect = None;
            contact.proved = None;
        }
        self.show(&identity.name);
        self.fit_to_size();
        self.urgent = true;
    }

    fn renamed(&mut self, now: Instant, identity: Identity) {
        let name = identity.name.clone();
        self.comes_back(&name);
        if let Some(contact) = self.contacts.get_mut(&name) {
            contact.identity = identity;
            contact.suspect = None;
            contact.left = false;
            contact.doubted = false;
            // Another run counts its versions anew, and knows nothing.
            contact.forget_told();
        }
        self.show(&name);
        self.queue_exchange(now, &name);
    }

    pub(super) fn suspected(
        &mut self,
        now: Instant,
        identity: &Identity,
        incarnation: u16,
        accused: bool,
    ) {
        let Some(contact) = self.contacts.get_mut(&identity.name) else {
            return;
        };
        if let Some(suspicion) = &mut contact.suspect {
            suspicion.accused |= accused;
            return;
        }
        contact.suspect = Some(Suspicion {
            since: now,
            incarnation,
            accused,
        });
        self.schedule(now, Due::Nudge(identity.name.clone(), now));
    }

    /// Asks a suspected member directly, again and again. One that was declared down by another
    /// and does not answer is down.
    pub(super) fn nudge(&mut self, now: Instant, name: &NodeName, since: Instant) {
        let Some(contact) = self.contacts.get(name).filter(|contact| contact.live) else {
            return;
        };
        let Some(suspicion) = contact.suspect.filter(|suspicion| suspicion.since == since) else {
            return;
        };
        let age = now.saturating_duration_since(suspicion.since);
        if suspicion.accused && age >= self.timers.suspicion {
            let identity = contact.identity.clone();
            self.swim_apply(now, identity, suspicion.incarnation, State::Down);
            return;
        }
        self.note(now, name, true);
        let again = now + self.timers.suspicion / 5;
        self.schedule(again, Due::Nudge(name.clone(), since));
    }

    /// Ends a suspicion of a member that has received something since it began.
    pub(super) fn clear_if_proved(&mut self, now: Instant, name: &NodeName) {
        let Some(contact) = self.contacts.get_mut(name) else {
            return;
        };
        let Some(suspicion) = contact.suspect else {
            return;
        };
        if contact.live
            && contact
                .proved
                .is_some_and(|proved| proved >= suspicion.since)
        {
            contact.suspect = None;
            let identity = contact.identity.clone();
            let incarnation = suspicion.incarnation.saturating_add(1);
            self.swim_apply(now, identity, incarnation, State::Alive);
        }
    }

    /// True if this one hears nobody of those that there were: then it is likely the one that is
    /// cut off, and has nothing to say of others.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        let quiet = self.timers.probe_period + self.timers.probe_timeout * 2;
        now.saturating_duration_since(self.heard) > quiet
            && self
                .contacts
                .values()
                .filter(|contact| contact.live || contact.doubted)
                .nth(1)
                .is_some()
    }

    fn fit_to_size(&mut self) {
        let wanted = transmissions(self.swim.inner.num_members() + 1);
        if wanted != self.swim.config.max_transmissions {
            self.swim.config.max_transmissions = wanted;
            // Only changes of the probe times are refused.
            let _ = self.swim.inner.set_config(self.swim.config.clone());
        }
    }
}
