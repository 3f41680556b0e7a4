//! All that is to be announced, and what each session told its peer of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use herald_model::Cidr;

use super::catalogue::{Catalogue, PathsId};
use super::outbound::Outbound;
use super::path::Path;
use super::slots::Slots;
use super::view::View;
use crate::wire::{Attributes, Families, Family};

/// Which session's side of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundId(u64);

/// What [`Table::poll_messages`] wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// UPDATE messages.
    pub updates: u64,
    /// ROUTE-REFRESH messages: the marks of an enhanced refresh (RFC 7313).
    pub marks: u64,
    /// Prefixes announced.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
    /// Prefixes that cannot be announced: their attributes alone fill a message.
    pub unsendable: u64,
}

/// A prefix whose paths are others than they were.
#[derive(Debug)]
struct Changed {
    index: u32,
    family: Family,
    before: Option<PathsId>,
}

/// The routes that are to be announced, shared by all sessions.
///
/// A prefix has paths; of those the first that is for a session is what it tells. Nothing is kept
/// for a session but two numbers for each prefix: what it told, and what it should.
///
/// ```text
/// set, remove ─> prefix ─> paths ─┬─> Outbound of a session: told, wanted, waiting ─> messages
///                                 └─> Outbound of another
/// ```
#[derive(Debug, Default)]
pub struct Table {
    catalogue: Catalogue,
    slots: Slots,
    outbounds: BTreeMap<OutboundId, Outbound>,
    next: u64,
    routes: usize,
    complete: bool,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces a prefix with these paths; with none it is withdrawn. False if that changes
    /// nothing.
    pub fn set(&mut self, prefix: Cidr, paths: &[Path]) -> bool {
        if paths.is_empty() {
            return self.remove(prefix);
        }
        let paths = self.catalogue.take(paths);
        let index = self.slots.take(prefix);
        if self.slots.get(index).and_then(|slot| slot.paths) == Some(paths) {
            self.release(paths);
            return false;
        }
        self.put(index, Some(paths));
        true
    }

    /// Announces all these prefixes with these paths; with none they are withdrawn.
    pub fn set_all(&mut self, prefixes: impl IntoIterator<Item = Cidr>, paths: &[Path]) {
        // It is held to the end, so that the number stands for the same paths all the time.
        let paths = (!paths.is_empty()).then(|| self.catalogue.take(paths));
        let changed: Vec<Changed> = prefixes
            .into_iter()
            .filter_map(|prefix| {
                let index = match paths {
                    Some(_) => self.slots.take(prefix),
                    None => self.slots.find(prefix)?,
                };
                if self.slots.get(index)?.paths == paths {
                    return None;
                }
                if let Some(paths) = paths {
                    self.catalogue.hold(paths);
                }
                self.change(index, paths)
            })
            .collect();
        self.tell(&changed, paths);
        if let Some(paths) = paths {
            self.release(paths);
        }
    }

    /// Withdraws a prefix. False if it was not announced.
    pub fn remove(&mut self, prefix: Cidr) -> bool {
        let Some(index) = self.slots.find(prefix) else {
            return false;
        };
        if self
            .slots
            .get(index)
            .is_none_or(|slot| slot.paths.is_none())
        {
            return false;
        }
        self.put(index, None);
        true
    }

    /// Announces exactly these prefixes. Returns how many of them this changes, or takes away.
    pub fn replace<'a>(&mut self, routes: impl IntoIterator<Item = (Cidr, &'a [Path])>) -> usize {
        let mut kept = vec![false; self.slots.end()];
        let mut changed = 0;
        for (prefix, paths) in routes {
            changed += usize::from(self.set(prefix, paths));
            if paths.is_empty() {
                continue;
            }
            if let Some(place) = self
                .slots
                .find(prefix)
                .and_then(|index| kept.get_mut(index as usize))
            {
                *place = true;
            }
        }
        for (index, kept) in (0..).zip(kept) {
            if !kept
                && self
                    .slots
                    .get(index)
                    .is_some_and(|slot| slot.paths.is_some())
            {
                self.put(index, None);
                changed += 1;
            }
        }
        changed
    }

    /// Says whether all is in the table that this node announces. Before that no End-of-RIB is
    /// sent: a peer that kept the routes of the last run would drop those that are to come yet
    /// (RFC 4724 4.1).
    pub fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    /// How many prefixes are announced.
    pub fn len(&self) -> usize {
        self.routes
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// How many lists of paths the prefixes have between them.
    pub fn distinct_paths(&self) -> usize {
        self.catalogue.len()
    }

    /// The paths of a prefix; none if it is not announced.
    pub fn paths(&self, prefix: Cidr) -> &[Path] {
        self.slots
            .find(prefix)
            .and_then(|index| self.slots.get(index)?.paths)
            .map_or(&[], |paths| self.catalogue.paths(paths))
    }

    /// Begins a session: all that its view allows waits to be told.
    pub fn open(&mut self, view: View) -> OutboundId {
        let id = OutboundId(self.next);
        self.next += 1;
        let outbound = Outbound::new(view, &self.slots, &self.catalogue);
        self.outbounds.insert(id, outbound);
        id
    }

    /// Ends a session.
    pub fn close(&mut self, id: OutboundId) {
        let Some(outbound) = self.outbounds.remove(&id) else {
            return;
        };
        for index in (0..).take(self.slots.end()) {
            if !outbound.holds(index) {
                continue;
            }
            if let Some(slot) = self.slots.get_mut(index) {
                slot.holders = slot.holders.saturating_sub(1);
            }
            self.slots.release(index);
        }
    }

    /// How a session speaks; `None` if it has ended.
    pub fn view(&self, id: OutboundId) -> Option<&View> {
        self.outbounds.get(&id).map(Outbound::view)
    }

    /// Sets how a session speaks. Only what its peer sees otherwise then is told again; the table's
    /// entries stay as they are. Draining is done so ([`View::draining`]).
    pub fn set_view(&mut self, id: OutboundId, view: View) {
        if let Some(outbound) = self.outbounds.get_mut(&id) {
            outbound.set_view(view, &self.slots, &self.catalogue);
        }
    }

    /// The peer of a session asked for all prefixes of a family again.
    pub fn refresh(&mut self, id: OutboundId, family: Family) {
        if let Some(outbound) = self.outbounds.get_mut(&id) {
            outbound.refresh(family);
        }
    }

    /// Appends messages for the peer of a session to `buffer` until nothing is left to say or
    /// `budget` bytes are reached; the last message may go beyond by its length. What was appended
    /// counts as told.
    pub fn poll_messages(
        &mut self,
        id: OutboundId,
        budget: usize,
        buffer: &mut Vec<u8>,
    ) -> Written {
        let Some(outbound) = self.outbounds.get_mut(&id) else {
            return Written::default();
        };
        let (written, withdrawn) =
            outbound.poll_messages(&mut self.slots, self.complete, budget, buffer);
        for index in withdrawn {
            self.slots.release(index);
        }
        written
    }

    /// How many prefixes wait to be told to the peer of a session.
    pub fn waiting(&self, id: OutboundId) -> usize {
        self.outbounds.get(&id).map_or(0, Outbound::waiting)
    }

    /// How many prefixes of a family the peer of a session has been told.
    pub fn told(&self, id: OutboundId, family: Family) -> usize {
        self.outbounds
            .get(&id)
            .map_or(0, |outbound| outbound.told(family))
    }

    /// How many prefixes of a family the peer of a session is to have.
    pub fn wanted(&self, id: OutboundId, family: Family) -> usize {
        self.outbounds
            .get(&id)
            .map_or(0, |outbound| outbound.wanted(family))
    }

    /// How many prefixes of these families a session with this name would tell if it were up. Costs
    /// the number of [`distinct_paths`](Self::distinct_paths).
    pub fn meant_for(&self, name: &str, families: Families) -> usize {
        self.catalogue.meant_for(name, families)
    }

    /// The session with this name that began last.
    pub fn session(&self, name: &str) -> Option<OutboundId> {
        let mut all = self.outbounds.iter().rev();
        all.find(|(_, outbound)| outbound.view().name == name)
            .map(|(id, _)| *id)
    }

    /// True if the peer of a session has had all that was there when the session came up, and the
    /// End-of-RIB of each family.
    pub fn is_synchronized(&self, id: OutboundId) -> bool {
        self.outbounds
            .get(&id)
            .is_some_and(Outbound::is_synchronized)
    }

    /// What the peer of a session has been told, in no order.
    pub fn advertised(
        &self,
        id: OutboundId,
    ) -> impl Iterator<Item = (Cidr, &Arc<Attributes>)> + '_ {
        self.outbounds.get(&id).into_iter().flat_map(|outbound| {
            self.slots
                .iter()
                .filter_map(|(index, slot)| Some((slot.prefix, outbound.sent(index)?)))
        })
    }

    /// A part of [`advertised`](Self::advertised): looks at `most` places from `from` on, and says
    /// from where to go on, if there is more. Each part costs no more than `most`, however many
    /// prefixes there are; what changes between two parts may be missing.
    pub fn advertised_part(
        &self,
        id: OutboundId,
        from: usize,
        most: usize,
    ) -> (Vec<(Cidr, Arc<Attributes>)>, Option<usize>) {
        let Some(outbound) = self.outbounds.get(&id) else {
            return (Vec::new(), None);
        };
        let end = from.saturating_add(most).min(self.slots.end());
        let part = (from..end).filter_map(|place| {
            let index = u32::try_from(place).ok()?;
            let sent = outbound.sent(index)?;
            Some((self.slots.get(index)?.prefix, Arc::clone(sent)))
        });
        (part.collect(), (end < self.slots.end()).then_some(end))
    }

    fn put(&mut self, index: u32, paths: Option<PathsId>) {
        if let Some(changed) = self.change(index, paths) {
            self.tell(&[changed], paths);
        }
    }

    /// Sets the paths of a prefix, of which the sessions are to be told.
    fn change(&mut self, index: u32, paths: Option<PathsId>) -> Option<Changed> {
        let slot = self.slots.get_mut(index)?;
        let before = std::mem::replace(&mut slot.paths, paths);
        let family = Family::of(slot.prefix);
        match (before, paths) {
            (None, Some(_)) => self.routes += 1,
            (Some(_), None) => self.routes -= 1,
            _ => {}
        }
        if let Some(paths) = paths {
            self.catalogue.enter(paths, family);
        }
        if let Some(before) = before {
            self.catalogue.leave(before, family);
        }
        Some(Changed {
            index,
            family,
            before,
        })
    }

    /// Has the sessions tell these prefixes with their new paths, and lets go of the old ones.
    fn tell(&mut self, changed: &[Changed], paths: Option<PathsId>) {
        for outbound in self.outbounds.values_mut() {
            for same in changed.chunk_by(|one, other| one.family == other.family) {
                if let Some(Changed { family, .. }) = same.first() {
                    let indexes = same.iter().map(|changed| changed.index);
                    outbound.put(indexes, *family, paths, &self.catalogue);
                }
            }
        }
        for Changed { index, before, .. } in changed {
            if let Some(before) = before {
                self.release(*before);
            }
            if paths.is_none() {
                self.slots.release(*index);
            }
        }
    }

    fn release(&mut self, paths: PathsId) {
        if self.catalogue.release(paths) {
            for outbound in self.outbounds.values_mut() {
                outbound.forget(paths);
            }
        }
    }
}
