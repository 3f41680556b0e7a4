//! What this speaker tells the others of itself: how ready it is, and where it announces.
//!
//! A node that has only just come, or an interface that has only just got its carrier back, takes
//! nothing from others before it has stayed for a while; the while grows with how often it went
//! (see [`Damping`]). No I/O, no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use herald_model::{GroupView, LanInterface, MemberState, NodeName, Phase};
use serde::{Deserialize, Serialize};

use crate::Damping;

/// No more interfaces are remembered.
const MAX_INTERFACES: usize = 64;

/// How often this node and its interfaces went, and came back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Comings {
    node: Damping,
    interfaces: BTreeMap<String, Damping>,
}

/// What this speaker tells the others of itself, and when that changes by itself.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub struct Myself {
    comings: Comings,
    comings_changed: bool,
    /// When this node has settled.
    settled: Instant,
    /// As the driver has them; `None` until they are known.
    interfaces: Option<Vec<LanInterface>>,
    /// Those that were there and are not any longer.
    gone: BTreeSet<String>,
    /// Those that came back, and when they have settled.
    settling: BTreeMap<String, Instant>,
    fenced: bool,
    /// The generation that this node had in the group when it was last not fenced.
    generation: Option<u64>,
    draining: bool,
    /// It does not decide yet.
    waiting: bool,
    unheard: BTreeSet<NodeName>,
}

impl Myself {
    /// A speaker that starts. `before` is what the last one of this node knew, and whether it left
    /// the group before it ended.
    pub fn new(now: Instant, before: Option<(Comings, bool)>) -> Self {
        let (mut comings, left) = before.unwrap_or_else(|| (Comings::default(), true));
        if !left {
            comings.node.departed(now);
        }
        let settle = if left {
            Damping::default().wait(now)
        } else {
            comings.node.wait(now)
        };
        Self {
            comings,
            comings_changed: !left,
            settled: now + settle,
            interfaces: None,
            gone: BTreeSet::new(),
            settling: BTreeMap::new(),
            fenced: false,
            generation: None,
            draining: false,
            waiting: false,
            unheard: BTreeSet::new(),
        }
    }

    /// What the next speaker of this node should know.
    pub fn comings(&self) -> &Comings {
        &self.comings
    }

    /// True if [`comings`](Self::comings) gives something else than when this was last asked.
    pub fn take_comings_changed(&mut self) -> bool {
        std::mem::take(&mut self.comings_changed)
    }

    /// This node is, or is not, fenced, and has this generation in the group. One that was declared
    /// down and joined anew has another than before, and has to settle again.
    pub fn set_fenced(&mut self, now: Instant, fenced: bool, generation: u64) {
        self.fenced = fenced;
        if fenced {
            return;
        }
        let before = self.generation.replace(generation);
        if before.is_some_and(|before| before != generation) {
            self.comings.node.departed(now);
            self.comings_changed = true;
            self.settled = now + self.comings.node.wait(now);
        }
    }

    /// The interfaces that this node has at present.
    pub fn set_interfaces(&mut self, now: Instant, interfaces: Option<&[LanInterface]>) {
        if self.interfaces.as_deref() == interfaces {
            return;
        }
        let names = |interfaces: Option<&[LanInterface]>| -> BTreeSet<String> {
            let interfaces = interfaces.into_iter().flatten();
            interfaces.map(|i| i.name.clone()).collect()
        };
        let (before, after) = (names(self.interfaces.as_deref()), names(interfaces));
        for name in before.difference(&after) {
            self.settling.remove(name);
            self.went(now, name, &after);
        }
        for name in after.difference(&before) {
            if self.gone.remove(name)
                && let Some(damping) = self.comings.interfaces.get_mut(name)
            {
                self.settling.insert(name.clone(), now + damping.wait(now));
            }
        }
        self.interfaces = interfaces.map(<[_]>::to_vec);
    }

    /// Remembers that an interface went. Of too many the one that went least often is forgotten,
    /// of those that are not `present`: the interfaces of pods come and go under ever new names.
    fn went(&mut self, now: Instant, name: &str, present: &BTreeSet<String>) {
        let known = &mut self.comings.interfaces;
        if known.len() >= MAX_INTERFACES && !known.contains_key(name) {
            let absent = known
                .iter_mut()
                .filter(|(name, _)| !present.contains(*name));
            let least = absent.map(|(name, damping)| (Reverse(damping.count(now)), name.clone()));
            let Some((_, least)) = least.max() else {
                return;
            };
            known.remove(&least);
            self.gone.remove(&least);
        }
        known.entry(name.to_owned()).or_default().departed(now);
        self.gone.insert(name.to_owned());
        self.comings_changed = true;
    }

    /// This node is about to leave, or could not answer for anything, or that is over.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// This node does not decide anything yet, so that it answers for nothing.
    pub fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// The members that this node does not hear on the LAN.
    pub fn set_unheard(&mut self, unheard: &BTreeSet<NodeName>) {
        if self.unheard != *unheard {
            self.unheard.clone_from(unheard);
        }
    }

    /// What this speaker tells the others, who look like this.
    ///
    /// An interface that has not settled is not told, so that it draws nothing here, unless nothing
    /// else can do what it does: no other interface of this node is settled, or no other member has
    /// an interface like it. In the first case the whole node settles.
    pub fn state(&mut self, now: Instant, view: &GroupView) -> MemberState {
        self.settling.retain(|_, settled| *settled > now);
        let present = || self.interfaces.iter().flatten();
        let is_settling = |interface: &LanInterface| self.settling.contains_key(&interface.name);
        let none_settled = present().all(is_settling);
        let others = || {
            let live = view.members.values().filter(|member| member.live);
            live.filter_map(|member| member.state.as_ref())
                .flat_map(|state| &state.interfaces)
        };
        let told = present()
            .filter(|i| !is_settling(i) || none_settled || !others().any(|other| alike(i, other)));
        let interfaces = told.cloned();
        let returned = none_settled && !self.settling.is_empty();
        let phase = if self.draining {
            Phase::Draining
        } else if self.fenced || self.waiting || now < self.settled || returned {
            Phase::Settling
        } else {
            Phase::Ready
        };
        MemberState {
            phase,
            interfaces: interfaces.collect(),
            unheard: self.unheard.clone(),
        }
    }

    /// When [`state`](Self::state) gives something else although nothing was said.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let settling = self.settling.values().copied().chain([self.settled]);
        settling.filter(|settled| *settled > now).min()
    }
}

/// They are likely on the same LAN.
fn alike(one: &LanInterface, other: &LanInterface) -> bool {
    one.name == other.name || !one.prefixes.is_disjoint(&other.prefixes)
}

#[cfg(test)]
mod tests;
