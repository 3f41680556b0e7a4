//! The attribute sets that one session tells, each kept once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::wire::Attributes;

/// Stands for "not told" where the number of a set may.
pub(super) const NOTHING: u32 = 0;
/// The first number of a set; those below are kept for withdrawals, one for each family.
const FIRST: u32 = 2;

/// Attribute sets by number. A number is used again only after nobody refers to its set.
#[derive(Debug, Default)]
pub(super) struct Sets {
    by_attributes: HashMap<Arc<Attributes>, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    attributes: Option<Arc<Attributes>>,
    uses: usize,
}

impl Sets {
    /// The number of a set, with one use more.
    pub(super) fn take(&mut self, attributes: Attributes) -> u32 {
        if let Some(&id) = self.by_attributes.get(&attributes) {
            self.hold(id);
            return id;
        }
        let attributes = Arc::new(attributes);
        let entry = Entry {
            attributes: Some(Arc::clone(&attributes)),
            uses: 1,
        };
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.entry(id) {
                *place = entry;
            }
            id
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len()).map_or(u32::MAX, |count| count + FIRST - 1)
        };
        self.by_attributes.insert(attributes, id);
        id
    }

    /// One use more.
    pub(super) fn hold(&mut self, id: u32) {
        if let Some(entry) = self.entry(id) {
            entry.uses += 1;
        }
    }

    /// One use less.
    pub(super) fn release(&mut self, id: u32) {
        let Some(entry) = self.entry(id) else {
            return;
        };
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0
            && let Some(attributes) = entry.attributes.take()
        {
            self.by_attributes.remove(&attributes);
            self.free.push(id);
        }
    }

    /// The set with this number; none for [`NOTHING`].
    pub(super) fn get(&self, id: u32) -> Option<&Arc<Attributes>> {
        let index = id.checked_sub(FIRST)?;
        self.entries.get(index as usize)?.attributes.as_ref()
    }

    fn entry(&mut self, id: u32) -> Option<&mut Entry> {
        let index = id.checked_sub(FIRST)?;
        self.entries.get_mut(index as usize)
    }
}
