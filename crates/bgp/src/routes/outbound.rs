//! What one session has told its peer, and what it still has to.

mod poll;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use super::catalogue::{Catalogue, PathsId};
use super::sets::{NOTHING, Sets};
use super::slots::Slots;
use super::view::View;
use crate::wire::{Attributes, Family, PerFamily};
use waiting::Waiting;

/// One session's side of the table.
///
/// What waits is kept as prefixes, not as messages: a prefix that changes ten times before it is
/// sent is sent once, and a peer that never reads costs a few bytes for each prefix.
#[derive(Debug)]
pub(super) struct Outbound {
    view: View,
    sets: Sets,
    /// The set that a list of paths comes to for this session, [`NOTHING`] if none of them is for it.
    by_paths: HashMap<(PathsId, Family), u32>,
    /// By the numbers of the prefixes.
    states: Vec<State>,
    /// What waits, by what is said: withdrawals first, then set by set.
    pending: Waiting,
    progress: PerFamily<Progress>,
}

/// One prefix.
#[derive(Debug, Clone, Copy)]
struct State {
    /// The set that the peer was told last.
    sent: u32,
    /// The one it should have.
    want: u32,
    /// It belongs to the round that is under way, and has not been told in it yet.
    marked: bool,
}

impl State {
    const NEW: Self = Self {
        sent: NOTHING,
        want: NOTHING,
        marked: false,
    };

    fn is_pending(self) -> bool {
        self.want != self.sent || self.marked
    }
}

/// One family.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// How many prefixes the peer has been told.
    told: usize,
    /// How many it is to have.
    wanted: usize,
    /// How many are left of the round.
    marked: usize,
    round: Option<Round>,
    /// The peer asked for all again.
    asked: bool,
}

/// A time in which all prefixes of a family are told, and what is said when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// The first one of a session, up to End-of-RIB (RFC 4724).
    First,
    /// After a ROUTE-REFRESH (RFC 2918); between its marks with enhanced refresh (RFC 7313).
    Refresh,
}

impl Outbound {
    /// All that is in `slots` waits to be told.
    pub(super) fn new(view: View, slots: &Slots, catalogue: &Catalogue) -> Self {
        let mut outbound = Self {
            view,
            sets: Sets::default(),
            by_paths: HashMap::new(),
            states: vec![State::NEW; slots.end()],
            pending: Waiting::default(),
            progress: PerFamily::default(),
        };
        for (index, slot) in slots.iter() {
            let Some(paths) = slot.paths else {
                continue;
            };
            let family = Family::of(slot.prefix);
            let want = outbound.set_of(paths, family, catalogue);
            if want == NOTHING {
                continue;
            }
            outbound.sets.hold(want);
            if let Some(state) = outbound.states.get_mut(index as usize) {
                state.want = want;
                state.marked = true;
            }
            let progress = outbound.progress.get_mut(family);
            progress.marked += 1;
            progress.wanted += 1;
            outbound.pending.push(want, index);
        }
        for family in Family::ALL {
            if outbound.view.tells(family) {
                outbound.progress.get_mut(family).round = Some(Round::First);
            }
        }
        outbound
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Sets what is to be told of prefixes of a family.
    pub(super) fn put(
        &mut self,
        indexes: impl IntoIterator<Item = u32>,
        family: Family,
        paths: Option<PathsId>,
        catalogue: &Catalogue,
    ) {
        let want = paths.map_or(NOTHING, |paths| self.set_of(paths, family, catalogue));
        for index in indexes {
            self.want(index, family, want);
        }
    }

    /// Sets how the session speaks. What this changes waits to be told again.
    pub(super) fn set_view(&mut self, view: View, slots: &Slots, catalogue: &Catalogue) {
        if self.view == view {
            return;
        }
        self.view = view;
        for (_, set) in std::mem::take(&mut self.by_paths) {
            self.sets.release(set);
        }
        for (index, slot) in slots.iter() {
            let family = Family::of(slot.prefix);
            self.put([index], family, slot.paths, catalogue);
        }
    }

    /// A number of paths stands for others from now on.
    pub(super) fn forget(&mut self, paths: PathsId) {
        for family in Family::ALL {
            if let Some(set) = self.by_paths.remove(&(paths, family)) {
                self.sets.release(set);
            }
        }
    }

    /// The peer asks to be told all prefixes of a family again. However often it asks, a new round
    /// begins only when the last one is over.
    pub(super) fn refresh(&mut self, family: Family) {
        if self.view.tells(family) {
            self.progress.get_mut(family).asked = true;
        }
    }

    /// How many prefixes of a family the peer has been told.
    pub(super) fn told(&self, family: Family) -> usize {
        self.progress.get(family).told
    }

    /// How many prefixes of a family the peer is to have.
    pub(super) fn wanted(&self, family: Family) -> usize {
        self.progress.get(family).wanted
    }

    /// How many prefixes wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// True after the first End-of-RIB of each family.
    pub(super) fn is_synchronized(&self) -> bool {
        Family::ALL
            .iter()
            .all(|family| self.progress.get(*family).round != Some(Round::First))
    }

    /// What the peer was told last of a prefix.
    pub(super) fn sent(&self, index: u32) -> Option<&Arc<Attributes>> {
        self.sets.get(self.states.get(index as usize)?.sent)
    }

    /// True if the peer has been told the prefix.
    pub(super) fn holds(&self, index: u32) -> bool {
        self.sent(index).is_some()
    }

    /// The number of the set that a list of paths comes to.
    fn set_of(&mut self, paths: PathsId, family: Family, catalogue: &Catalogue) -> u32 {
        if let Some(&set) = self.by_paths.get(&(paths, family)) {
            return set;
        }
        let set = catalogue
            .paths(paths)
            .iter()
            .find(|path| path.audience.contains(&self.view.name))
            .and_then(|path| self.view.attributes(family, &path.attributes))
            .map_or(NOTHING, |attributes| self.sets.take(attributes));
        self.by_paths.insert((paths, family), set);
        set
    }

    fn want(&mut self, index: u32, family: Family, want: u32) {
        let place = index as usize;
        if place >= self.states.len() {
            if want == NOTHING {
                return;
            }
            self.states.resize(place + 1, State::NEW);
        }
        let Some(state) = self.states.get_mut(place) else {
            return;
        };
        if state.want == want {
            return;
        }
        let before = *state;
        state.want = want;
        // What the peer never had need not be told in this round any more.
        let unmark = state.marked && want == NOTHING && state.sent == NOTHING;
        if unmark {
            state.marked = false;
        }
        let after = *state;
        let progress = self.progress.get_mut(family);
        match (before.want, want) {
            (NOTHING, _) => progress.wanted += 1,
            (_, NOTHING) => progress.wanted -= 1,
            _ => {}
        }
        self.sets.hold(want);
        if before.is_pending() {
            self.pending.remove(place_of(before.want, family), index);
        }
        if after.is_pending() {
            self.pending.push(place_of(after.want, family), index);
        }
        self.sets.release(before.want);
        if unmark {
            self.progress.get_mut(family).marked -= 1;
        }
    }
}

/// Where a prefix waits: with those that are told the same. Withdrawals of the two families go into
/// different messages.
fn place_of(want: u32, family: Family) -> u32 {
    match (want, family) {
        (NOTHING, Family::Ipv4Unicast) => 0,
        (NOTHING, Family::Ipv6Unicast) => 1,
        _ => want,
    }
}
