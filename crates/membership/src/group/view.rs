//! Keeping the view of the group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_model::{GroupView, Member, MemberState, NodeName, Phase, Standing};

use super::{Contact, Group};
use crate::identity::Identity;
use crate::quorum::Quorum;

/// A member that was down for so long, while this one was in the majority, counts no longer.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(1);

impl Contact {
    /// Whether it is in the group as far as others are concerned: the two take each other as live.
    /// One that hears others and is not heard by them is in no group with them.
    pub(super) fn counts_live(&self) -> bool {
        self.live && self.mutual
    }
}

impl Group {
    fn change(&mut self) -> &mut GroupView {
        self.changed = true;
        Arc::make_mut(&mut self.view)
    }

    /// Puts what is known of a member's place and life into the view.
    pub(super) fn show(&mut self, name: &NodeName) {
        let Some(contact) = self.contacts.get(name) else {
            return;
        };
        let (address, live) = (contact.identity.address, contact.counts_live());
        self.recount = true;
        let member = self.change().members.entry(name.clone()).or_insert(Member {
            address,
            live,
            state: None,
        });
        member.address = address;
        member.live = live;
    }

    /// Makes sure that there is a contact for a member.
    pub(super) fn keep_contact(&mut self, identity: &Identity) {
        if self.contacts.contains_key(&identity.name) {
            return;
        }
        let mut contact = Contact::new(identity.clone());
        if let Some(roster) = &self.roster {
            contact.expected = roster.contains(&identity.name);
            self.strangers = self.strangers.saturating_sub(usize::from(contact.expected));
        }
        self.contacts.insert(identity.name.clone(), contact);
    }

    pub(super) fn drop_contact(&mut self, name: &NodeName) {
        if self.contacts.remove(name).is_some() {
            self.compare_roster();
            self.change().members.remove(name);
        }
    }

    /// Looks again who of the contacts is expected.
    pub(super) fn compare_roster(&mut self) {
        self.recount = true;
        let Some(roster) = &self.roster else {
            return;
        };
        let mut met = usize::from(roster.contains(&self.me));
        for (name, contact) in &mut self.contacts {
            contact.expected = roster.contains(name);
            met += usize::from(contact.expected);
        }
        self.strangers = roster.len().saturating_sub(met);
    }

    /// Keeps one that is known only as down, from one that may itself doubt it.
    pub(super) fn meet_down(&mut self, identity: &Identity) {
        self.keep_contact(identity);
        if let Some(contact) = self.contacts.get_mut(&identity.name) {
            contact.doubted = true;
        }
        self.show(&identity.name);
    }

    pub(super) fn forget_state(&mut self, name: &NodeName) {
        if let Some(member) = self.change().members.get_mut(name) {
            member.state = None;
        }
        self.show(name);
    }

    pub(super) fn learn_state(&mut self, name: &NodeName, state: MemberState) {
        let known = self.view.members.get(name);
        if known.is_some_and(|member| member.state.as_deref() == Some(&state)) {
            return;
        }
        if let Some(member) = self.change().members.get_mut(name) {
            member.state = Some(Arc::new(state));
        }
    }

    pub(super) fn show_me(&mut self, state: MemberState) {
        self.change().me = state;
    }

    pub(super) fn show_fence(&mut self, fenced: bool) {
        if self.view.fenced != fenced {
            self.change().fenced = fenced;
        }
    }

    /// Counts the speakers.
    pub(super) fn stand(&mut self, now: Instant) {
        self.quorum = self.count();
        let standing = self.quorum.standing();
        match (standing, self.majority) {
            (Standing::Majority, None) => self.majority = Some(now),
            (Standing::Majority, Some(_)) | (_, None) => {}
            (_, Some(_)) => self.majority = None,
        }
        if self.view.standing != standing {
            if standing == Standing::Minority {
                self.doubt_the_last(now);
            }
            Arc::make_mut(&mut self.view).standing = standing;
        }
    }

    /// One that is still silent when this one is well in the majority again is down indeed.
    pub(super) fn doubt_no_longer(&mut self, now: Instant) {
        let count = u32::try_from(self.contacts.len()).unwrap_or(u32::MAX);
        // Long enough that each of them was called, or has called.
        let enough = self.timers.least_detection() * 4
            + self
                .timers
                .probe_period
                .saturating_mul(count.saturating_mul(2));
        let well = |since| now.saturating_duration_since(since) >= enough;
        if self.fence.is_some() || !self.majority.is_some_and(well) || self.is_deaf(now) {
            return;
        }
        for contact in self.contacts.values_mut().filter(|contact| !contact.live) {
            contact.doubted &= !contact.down.is_none_or(well);
        }
    }

    /// Gives up who has been down for so long: also if the majority is lost later.
    pub(super) fn give_up(&mut self, now: Instant) {
        let Some(majority) = self.majority else {
            return;
        };
        for contact in self
            .contacts
            .values_mut()
            .filter(|contact| !contact.uncounted)
        {
            let since = contact.down.map(|down| down.max(majority));
            let long = |since| now.saturating_duration_since(since) >= GIVEN_UP_AFTER;
            if since.is_some_and(long) {
                contact.uncounted = true;
                self.recount = true;
                self.changed = true;
            }
        }
    }

    fn count(&self) -> Quorum {
        let mut quorum = Quorum {
            live: 1,
            size: 1 + self.strangers,
        };
        for contact in self.contacts.values() {
            if contact.expected && self.counts(contact) {
                quorum.size += 1;
                quorum.live += usize::from(contact.counts_live());
            }
        }
        quorum
    }

    fn counts(&self, contact: &Contact) -> bool {
        !contact.uncounted && (contact.live || !self.went_cleanly(contact))
    }

    /// It comes up, or goes on as another run, so far as it is heard.
    pub(super) fn comes_back(&mut self, name: &NodeName) {
        let counts = self
            .contacts
            .get(name)
            .is_none_or(|contact| self.counts(contact));
        if let Some(contact) = self.contacts.get_mut(name) {
            contact.uncounted = !counts;
        }
    }

    /// It said that it leaves, or had nothing left to do.
    fn went_cleanly(&self, contact: &Contact) -> bool {
        let drained = || {
            let member = self.view.members.get(&contact.identity.name);
            member
                .and_then(|member| member.state.as_ref())
                .is_some_and(|state| state.phase == Phase::Draining)
        };
        contact.left || (contact.down.is_some() && drained())
    }

    /// How this one would stand without a certain other.
    pub(super) fn standing_without(&self, name: &NodeName) -> Standing {
        if self.fence.is_some() {
            return Standing::Minority;
        }
        let counted = |contact: &Contact| contact.expected && contact.counts_live();
        if self.contacts.get(name).is_some_and(counted) {
            self.quorum.without_one().standing()
        } else {
            self.quorum.standing()
        }
    }
}
