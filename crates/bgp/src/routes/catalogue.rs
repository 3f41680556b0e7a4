//! Each list of paths is kept once, however many prefixes have it.

use std::collections::HashMap;
use std::sync::Arc;

use super::path::Path;
use crate::wire::{Families, Family, PerFamily};

/// Which list of paths a prefix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PathsId(u32);

/// The lists of paths that are in use.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    by_paths: HashMap<Arc<[Path]>, PathsId>,
    entries: Vec<Entry>,
    free: Vec<PathsId>,
}

#[derive(Debug)]
struct Entry {
    paths: Arc<[Path]>,
    uses: usize,
    /// How many prefixes have it.
    prefixes: PerFamily<usize>,
}

impl Catalogue {
    /// The number of these paths, with one use more.
    pub(super) fn take(&mut self, paths: &[Path]) -> PathsId {
        if let Some(&id) = self.by_paths.get(paths) {
            if let Some(entry) = self.entries.get_mut(id.0 as usize) {
                entry.uses += 1;
            }
            return id;
        }
        let paths: Arc<[Path]> = paths.into();
        let entry = Entry {
            paths: Arc::clone(&paths),
            uses: 1,
            prefixes: PerFamily::default(),
        };
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.entries.get_mut(id.0 as usize) {
                *place = entry;
            }
            id
        } else {
            let id = u32::try_from(self.entries.len())
                .expect("there are fewer lists of paths than prefixes, and those are below 2^32");
            self.entries.push(entry);
            PathsId(id)
        };
        self.by_paths.insert(paths, id);
        id
    }

    /// One use more of a number that is in use.
    pub(super) fn hold(&mut self, id: PathsId) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            entry.uses += 1;
        }
    }

    /// Takes one use away. True if it was the last: the number may then stand for other paths.
    pub(super) fn release(&mut self, id: PathsId) -> bool {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return false;
        };
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses > 0 {
            return false;
        }
        let paths = std::mem::replace(&mut entry.paths, Arc::from([]));
        self.by_paths.remove(&paths);
        self.free.push(id);
        true
    }

    /// A prefix of this family has these paths from now on.
    pub(super) fn enter(&mut self, id: PathsId, family: Family) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            *entry.prefixes.get_mut(family) += 1;
        }
    }

    /// A prefix of this family has these paths no longer.
    pub(super) fn leave(&mut self, id: PathsId, family: Family) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            let count = entry.prefixes.get_mut(family);
            *count = count.saturating_sub(1);
        }
    }

    /// How many prefixes of these families have a path for the session with this name.
    pub(super) fn meant_for(&self, name: &str, families: Families) -> usize {
        let meant = self
            .entries
            .iter()
            .filter(|entry| entry.paths.iter().any(|path| path.audience.contains(name)));
        meant
            .flat_map(|entry| families.iter().map(|family| entry.prefixes.get(family)))
            .sum()
    }

    /// The paths with this number.
    pub(super) fn paths(&self, id: PathsId) -> &[Path] {
        self.entries
            .get(id.0 as usize)
            .map_or(&[], |entry| &entry.paths)
    }

    /// How many lists are kept.
    pub(super) fn len(&self) -> usize {
        self.by_paths.len()
    }
}
