//! When an address has to be answered for: what must be true of nodes and networks.

use std::time::Duration;

use crate::bounds::{
    FORMED, MOST_LOSS, REJOINED, SERVED, SERVED_BY_VOTE, SERVED_BY_VOTE_LOSSY, SERVED_LOSSY,
    SERVED_WATCHED,
};
use crate::cluster::Cluster;
use crate::electorate::Facts;
use crate::fault::Fault;
use crate::machine::Machine;

/// In a group of more the news of a death takes some rounds of gossip to reach all.
const MANY: usize = 30;

impl Cluster {
    /// Within which time an address must answer the client again; `None` if nothing is promised.
    ///
    /// It is promised if at least half of the speakers are in one group, one of them is well on the
    /// LAN, and the LAN is whole as far as it goes: who is on it hears all others on it.
    pub(crate) fn promise(&self) -> Option<Duration> {
        if self.gossip.loss() > MOST_LOSS || self.lan.loss() > MOST_LOSS {
            return None;
        }
        let group = self.largest_group();
        if group.len() * 2 < self.machines.len() {
            return None;
        }
        let client = self.client();
        let on_lan = |node: &usize| self.machines.get(*node).is_some_and(Machine::is_on_lan);
        let heard = |node: &usize| on_lan(node) && self.lan.both(*node, client);
        let well: Vec<_> = group.iter().copied().filter(heard).collect();
        if !well.iter().any(|node| self.is_eligible(*node)) {
            return None;
        }
        let stations = || well.iter().copied().chain([client]);
        let mut by_vote = false;
        for node in 0..self.machines.len() {
            let well_on_lan = stations().all(|other| other == node || self.lan.both(node, other));
            if well.contains(&node) {
                if !well_on_lan {
                    return None;
                }
                continue;
            }
            let silent = !on_lan(&node)
                || stations()
                    .all(|other| !self.lan.open(node, other) && !self.lan.open(other, node));
            let runs = self.machines.get(node).and_then(Machine::running).is_some();
            // One that has only just started, or goes on, may be a member already.
            let member = runs && group.iter().any(|other| self.gossip.both(node, *other));
            if member && on_lan(&node) && !well_on_lan {
                // It cannot be heard and does not know it: two must say so, and not hear it
                // themselves because of a fault of their own.
                let alone = (0..self.machines.len()).all(|other| {
                    other == node || !self.lan.open(node, other) && !self.lan.open(other, node)
                });
                if !alone || by_vote || well.len() < 2 {
                    return None;
                }
                by_vote = true;
            } else if !silent && !well_on_lan {
                return None;
            }
        }
        // The parts of a group that has only just healed find each other; those that do not know the
        // same of the nodes elect different owners; a busy node may fence itself.
        let healing = self.now < self.healed + SERVED_LOSSY;
        let differing = self.now < self.learned + SERVED || self.knows_different_things();
        let busy = self.machines.iter().any(|machine| machine.busy);
        let uneven = healing || differing || busy;
        let lossy = self.gossip.loss() > 0 || self.lan.loss() > 0;
        Some(if by_vote && (uneven || lossy) {
            SERVED_BY_VOTE_LOSSY
        } else if by_vote {
            SERVED_BY_VOTE
        } else if uneven || lossy || self.machines.len() > MANY {
            SERVED_LOSSY
        } else if self.active.iter().any(Fault::cuts_group) {
            SERVED_WATCHED
        } else {
            SERVED
        })
    }

    /// A speaker has not learned yet what the API has of a node.
    fn knows_different_things(&self) -> bool {
        let mut running = self
            .machines
            .iter()
            .filter(|machine| machine.process.is_some());
        running.any(|machine| machine.api != self.facts)
    }

    /// All nodes know, or once knew and may still think, that it may announce.
    fn is_eligible(&self, node: usize) -> bool {
        let barred = |facts: &[Facts]| facts.get(node).is_none_or(|facts| facts.out_of_service);
        let mut machines = self.machines.iter();
        !barred(&self.facts) && !machines.any(|machine| barred(&machine.api))
    }

    /// The most speakers that run and all reach each other, directly or by two others.
    fn largest_group(&self) -> Vec<usize> {
        let able = |node: usize| {
            let machine = self.machines.get(node)?;
            let process = machine.running()?;
            let settled =
                self.now >= machine.started + FORMED && self.now >= machine.resumed + REJOINED;
            (settled && !machine.busy && !process.is_leaving()).then_some(node)
        };
        let mut left: Vec<usize> = (0..self.machines.len()).filter_map(able).collect();
        let mut largest = Vec::new();
        while let Some(first) = left.first().copied() {
            let mut group = vec![first];
            left.retain(|node| *node != first);
            let mut next = 0;
            while let Some(node) = group.get(next).copied() {
                next += 1;
                let (reached, rest) = left
                    .iter()
                    .partition(|other| self.gossip.both(node, **other));
                left = rest;
                group.extend::<Vec<usize>>(reached);
            }
            if group.len() > largest.len() {
                largest = group;
            }
        }
        let whole = largest.iter().all(|one| {
            largest.iter().all(|other| {
                one == other
                    || self.gossip.both(*one, *other)
                    || self.helpers(&largest, *one, *other) >= 2
            })
        });
        if whole { largest } else { Vec::new() }
    }

    fn helpers(&self, group: &[usize], one: usize, other: usize) -> usize {
        let helps =
            |node: &&usize| self.gossip.both(one, **node) && self.gossip.both(other, **node);
        group.iter().filter(helps).count()
    }

    /// It hears others in the group, and none of those that run hears it: it stops when it learns that
    /// they declared it down, and only the LAN can show them that it did.
    pub(crate) fn is_mute(&self, node: usize) -> bool {
        let runs = |other: &usize| {
            self.machines
                .get(*other)
                .is_some_and(|m| m.running().is_some())
        };
        let others = (0..self.machines.len()).filter(|other| *other != node);
        let others: Vec<_> = others.filter(runs).collect();
        others.iter().any(|other| self.gossip.open(*other, node))
            && !others.iter().any(|other| self.gossip.open(node, *other))
    }

    /// Something is wrong with the node at present.
    pub(crate) fn suffers(&self, node: usize) -> bool {
        let mut active = self.active.iter();
        active.any(|fault| match fault {
            Fault::Cut { from, to, .. } => from.contains(&node) || to.contains(&node),
            Fault::Loss { loss, .. } => *loss > MOST_LOSS,
            fault => fault.node() == Some(node),
        })
    }
}
