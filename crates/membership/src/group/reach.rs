//! Calling those that are not in the group: nodes that should have a speaker, members that are
//! down.

use std::time::{Duration, Instant};

use herald_model::NodeName;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Due, Group};
use crate::identity::Identity;

/// How many are called at a time.
const AT_A_TIME: usize = 4;
/// How many are told at once that this one goes on as another run. In a larger group the news takes
/// some rounds.
const TOLD_AT_ONCE: usize = 64;
/// How many calls one that is not there gets from all members together in the time in which each
/// could call once.
const SHARED: f64 = 4.0;
/// How long one that is down and belongs to no node is kept.
const FORGET_AFTER: Duration = Duration::from_hours(1);

impl Group {
    pub(super) fn reach(&mut self, now: Instant) {
        self.reach_now(now);
        self.forget(now);
        self.give_up(now);
        self.doubt_no_longer(now);
        // Members that started together do not all call at once.
        let jitter = self.rng.random_range(0.9..1.1);
        let wait = self.timers.reach_out.mul_f64(jitter);
        self.schedule(now + wait, Due::Reach);
    }

    /// Calls some of those that are not in the group. The more members there are to call, the less
    /// often each does.
    pub(super) fn reach_now(&mut self, now: Instant) {
        if self.left {
            return;
        }
        let live = self
            .contacts
            .values()
            .filter(|contact| contact.live)
            .count();
        // A count of members is small enough for a float.
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are at most 4,096 members"
        )]
        let share = (SHARED / live.max(1) as f64).min(1.0);
        let mut absent: Vec<Identity> = self.absent().collect();
        let rng = &mut self.rng;
        absent.retain(|_| rng.random_bool(share));
        absent.shuffle(rng);
        absent.truncate(AT_A_TIME);
        for identity in absent {
            self.swim_announce(now, identity);
        }
    }

    /// Tells those that are down that this one was so itself and goes on as another run: they may
    /// watch an address that it has lost. They need not wait until others pass it on to them.
    pub(super) fn call_the_lost(&mut self, now: Instant) {
        let lost = self.contacts.iter().filter(|(_, c)| !c.live && !c.left);
        let mut lost: Vec<_> = lost.map(|(name, _)| name.clone()).collect();
        if lost.len() > TOLD_AT_ONCE {
            lost.shuffle(&mut self.rng);
            lost.truncate(TOLD_AT_ONCE);
        }
        for name in lost {
            self.schedule_apart(now, Due::Call(name));
        }
    }

    /// Makes itself known to one that is down.
    pub(super) fn call(&mut self, now: Instant, name: &NodeName) {
        if self.contacts.get(name).is_some_and(|c| !c.live) {
            self.note(now, name, false);
        }
    }

    fn absent(&self) -> impl Iterator<Item = Identity> {
        let expected = |name: &NodeName| {
            self.roster
                .as_ref()
                .is_none_or(|roster| roster.contains(name))
        };
        let down = self
            .contacts
            .iter()
            .filter(move |(name, contact)| !contact.live && (!contact.left || expected(name)))
            .map(|(_, contact)| contact.identity.clone());
        let unknown = self
            .directory
            .nodes()
            .iter()
            .filter(move |(name, _)| {
                **name != self.me && expected(name) && !self.contacts.contains_key(*name)
            })
            .flat_map(|(name, addresses)| {
                addresses
                    .iter()
                    .filter(|address| address.is_ipv4() == self.address.is_ipv4())
                    .map(|address| Identity {
                        name: name.clone(),
                        address: (*address, self.address.port()).into(),
                        generation: 0,
                    })
            });
        down.chain(unknown)
    }

    /// Forgets members that are long gone with their nodes.
    fn forget(&mut self, now: Instant) {
        let gone = self.contacts.iter().find(|(name, contact)| {
            if contact.live {
                return false;
            }
            let long = contact
                .down
                .is_none_or(|down| now.saturating_duration_since(down) >= FORGET_AFTER);
            let listed = self.directory.nodes().contains_key(*name)
                || self
                    .roster
                    .as_ref()
                    .is_some_and(|roster| roster.contains(*name));
            long && !listed
        });
        if let Some((name, contact)) = gone {
            let (name, identity) = (name.clone(), contact.identity.clone());
            self.swim_forgive(now, identity);
            self.drop_contact(&name);
        }
    }
}
