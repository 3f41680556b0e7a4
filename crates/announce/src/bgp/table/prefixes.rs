//! The prefixes of a table, and which of them are to be looked at.

use std::collections::hash_map::{Entry as Place, Iter};
use std::sync::Arc;

use herald_model::{Cidr, CidrMap};
use smallvec::SmallVec;

use super::{Announcement, Path, Route, Weight};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    entries: CidrMap<Entry>,
    /// Those that got a mark, by its kind. They may have another one by now, or none.
    changed: Vec<Cidr>,
    leaving: Vec<Cidr>,
}

/// What is known of a prefix. There may be very many, so it is small.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The different ones, each with the number of Services that have it.
    pub(super) paths: SmallVec<[(Arc<Path>, u32); 1]>,
    /// What was last told.
    pub(super) told: Option<Arc<Route>>,
    /// Only with a path that is weighted.
    pub(super) weight: Option<Box<Weight>>,
    /// Of all Services, each counted once. It wraps around, so that each takes away what it added.
    pub(super) endpoints: u32,
    pub(super) mark: Mark,
}

/// Why a prefix is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mark {
    /// It is not.
    #[default]
    None,
    /// It has a route, maybe another one.
    Changed,
    /// No Service has it.
    Leaving,
}

impl Prefixes {
    /// A Service has what this says.
    pub(super) fn add(&mut self, announcement: &Announcement) {
        for (prefix, paths) in by_prefix(announcement) {
            let entry = self.entries.entry(prefix).or_default();
            entry.endpoints = entry.endpoints.wrapping_add(announcement.endpoints);
            for (_, path) in paths {
                match entry.paths.iter_mut().find(|(p, _)| Arc::ptr_eq(p, path)) {
                    Some((_, count)) => *count += 1,
                    None => entry.paths.push((Arc::clone(path), 1)),
                }
            }
            if entry.mark != Mark::Changed {
                entry.mark = Mark::Changed;
                self.changed.push(prefix);
            }
        }
    }

    /// A Service no longer has what this says; it will have `next`.
    pub(super) fn subtract(&mut self, announcement: &Announcement, next: &Announcement) {
        for (prefix, paths) in by_prefix(announcement) {
            let Some(entry) = self.entries.get_mut(&prefix) else {
                continue;
            };
            entry.endpoints = entry.endpoints.wrapping_sub(announcement.endpoints);
            for (_, path) in paths {
                if let Some((_, count)) = entry.paths.iter_mut().find(|(p, _)| Arc::ptr_eq(p, path))
                {
                    *count -= 1;
                }
            }
            entry.paths.retain(|(_, count)| *count > 0);
            let stays = || {
                next.routes
                    .binary_search_by(|(p, _)| p.cmp(&prefix))
                    .is_ok()
            };
            if !entry.paths.is_empty() {
                self.mark(prefix);
            } else if entry.mark != Mark::Leaving && !stays() {
                entry.mark = Mark::Leaving;
                self.leaving.push(prefix);
            }
        }
    }

    /// A prefix is to be looked at, if it is still there.
    pub(super) fn mark(&mut self, prefix: Cidr) {
        if let Some(entry) = self.entries.get_mut(&prefix)
            && entry.mark == Mark::None
        {
            entry.mark = Mark::Changed;
            self.changed.push(prefix);
        }
    }

    /// Up to `most` prefixes to be looked at that have or had this mark, those without a route last.
    pub(super) fn take(&mut self, most: usize) -> Option<(Vec<Cidr>, Mark)> {
        if !self.changed.is_empty() {
            return Some((self.take_changed(most), Mark::Changed));
        }
        if self.leaving.is_empty() {
            return None;
        }
        Some((part(&mut self.leaving, most), Mark::Leaving))
    }

    /// The same of those that have a route.
    pub(super) fn take_changed(&mut self, most: usize) -> Vec<Cidr> {
        part(&mut self.changed, most)
    }

    pub(super) fn entry(&mut self, prefix: Cidr) -> Place<'_, Cidr, Entry> {
        self.entries.entry(prefix)
    }

    pub(super) fn iter(&self) -> Iter<'_, Cidr, Entry> {
        self.entries.iter()
    }
}

/// Takes up to `most` of all, from the end: in no order, and what is left need not be moved.
fn part(all: &mut Vec<Cidr>, most: usize) -> Vec<Cidr> {
    match all.len().checked_sub(most) {
        Some(rest @ 1..) => all.split_off(rest),
        _ => std::mem::take(all),
    }
}

/// The prefixes of an announcement, each once, with its paths.
fn by_prefix(announcement: &Announcement) -> impl Iterator<Item = (Cidr, &[(Cidr, Arc<Path>)])> {
    let groups = announcement.routes.chunk_by(|(a, _), (b, _)| a == b);
    groups.filter_map(|paths| Some((paths.first()?.0, paths)))
}
