//! Which Services a change of nodes concerns.

use std::collections::{HashMap, HashSet};

use herald_announce::{Node, decide};
use herald_model::NodeName;

use super::nodes::Before;
use super::view::{changed_phase, view, went_down};
use super::{Entry, World};

/// What changed about the nodes.
#[derive(Default)]
struct Changes<'a> {
    /// Nodes of which nothing changed but that they left the group.
    lost: HashSet<&'a NodeName>,
    /// Other nodes, by the pools whose elections see them differently.
    seen: HashMap<&'a str, Vec<&'a NodeName>>,
    /// This node is among them, and may be a candidate where it was none, or the other way round.
    own_part: bool,
}

impl World {
    /// Marks the Services of which one of these nodes changes the owner, or this node's part.
    ///
    /// The owner is the best of all nodes, so who it is follows from the one that was the best
    /// and those that changed, whatever the number of the others.
    pub(super) fn nodes_changed(&mut self, nodes: &[Before]) {
        self.announcing_nodes_changed(nodes);
        let changes = self.changes(nodes);
        if changes.lost.is_empty() && changes.seen.is_empty() {
            return;
        }
        let concerned = self.services.iter().filter(|(key, entry)| {
            entry.decided && !self.dirty.contains(*key) && self.is_concerned(entry, &changes)
        });
        let concerned: Vec<_> = concerned.map(|(key, _)| key.clone()).collect();
        self.dirty.extend(concerned);
    }

    fn changes<'a>(&'a self, nodes: &'a [Before]) -> Changes<'a> {
        let mut changes = Changes::default();
        for Before { name, node: before } in nodes {
            let after = self.nodes.get(name);
            if before.as_ref() == after {
                continue;
            }
            if went_down(before.as_ref(), after) {
                changes.lost.insert(name);
                continue;
            }
            changes.own_part |=
                self.me.as_ref() == Some(name) && !changed_phase(before.as_ref(), after);
            for pool in self.by_pool.keys() {
                let advertisements = self.pools.advertisements(pool);
                if view(before.as_ref(), advertisements) != view(after, advertisements) {
                    changes.seen.entry(pool).or_default().push(name);
                }
            }
        }
        changes
    }

    fn is_concerned(&self, entry: &Entry, changes: &Changes<'_>) -> bool {
        let Some(pool) = entry.pool.as_deref() else {
            return false;
        };
        let seen = changes.seen.get(pool).map_or(&[][..], Vec::as_slice);
        if seen.is_empty() && changes.lost.is_empty() {
            return false;
        }
        let service = &entry.facts.service;
        let Some(owner) = &entry.owner else {
            return true;
        };
        // Who is not the best for one Service may be what others that share its address agree on.
        if changes.lost.contains(owner) || self.sharers.are_shared(&service.addresses) {
            return true;
        }
        if seen.is_empty() {
            return false;
        }
        // The owner has to know who would come before and after it.
        let Some(me) = self.me.as_ref().filter(|me| *me != owner) else {
            return true;
        };
        if seen.contains(&owner) || changes.own_part && seen.contains(&me) {
            return true;
        }
        let entrants = seen.iter().copied().chain([owner]);
        let entrants = entrants.filter_map(|name| self.nodes.get(name));
        let advertisements = self.pools.advertisements(pool);
        let decision = decide(service, advertisements, entrants.collect::<Vec<&Node>>());
        decision.owner().map(|best| &best.node) != Some(owner)
    }
}
