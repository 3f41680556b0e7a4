//! Each prefix has a small number, by which the sessions keep what they told of it.

use std::collections::hash_map::Entry;

use herald_model::{Cidr, CidrMap};

use super::catalogue::PathsId;

/// A prefix that is announced, or that some session still has to withdraw.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) prefix: Cidr,
    /// What it is announced with, `None` if it is no longer.
    pub(super) paths: Option<PathsId>,
    /// How many sessions have announced it to their peer.
    pub(super) holders: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    by_prefix: CidrMap<u32>,
}

impl Slots {
    /// The number of a prefix, if it has one.
    pub(super) fn find(&self, prefix: Cidr) -> Option<u32> {
        self.by_prefix.get(&prefix).copied()
    }

    /// The number of a prefix.
    pub(super) fn take(&mut self, prefix: Cidr) -> u32 {
        let place = match self.by_prefix.entry(prefix) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(place) => place,
        };
        let slot = Slot {
            prefix,
            paths: None,
            holders: 0,
        };
        let index = if let Some(index) = self.free.pop() {
            if let Some(place) = self.all.get_mut(index as usize) {
                *place = slot;
            }
            index
        } else {
            let index = u32::try_from(self.all.len())
                .expect("2^32 prefixes do not fit into the memory of a node");
            self.all.push(slot);
            index
        };
        place.insert(index);
        index
    }

    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        self.all.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.all.get_mut(index as usize)
    }

    /// Lets go of the number if nobody needs it any more.
    pub(super) fn release(&mut self, index: u32) {
        let Some(slot) = self.all.get(index as usize) else {
            return;
        };
        if slot.paths.is_none()
            && slot.holders == 0
            && let Entry::Occupied(known) = self.by_prefix.entry(slot.prefix)
            && *known.get() == index
        {
            known.remove();
            self.free.push(index);
        }
    }

    /// One more than the highest number.
    pub(super) fn end(&self) -> usize {
        self.all.len()
    }

    /// All with their numbers. Those that are free have neither paths nor holders.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.all)
    }
}
