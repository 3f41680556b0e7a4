//! What follows for an address from the claim and the group.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::{NodeName, Standing};

use super::{Leaving, Ownership};
use crate::Claim;
use crate::entry::{Entry, Idle, State};
use crate::peers::{Peers, Station};
use crate::way::{Way, way, yields};

impl Ownership {
    /// Brings the state in line with the claim and the group. Does nothing when both are as they
    /// were.
    pub(super) fn reconsider(&mut self, now: Instant, address: IpAddr) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            self.wait(address);
            return;
        };
        if peers.fenced {
            // What others do meanwhile is not known.
            entry.certain = false;
            let mine = entry.is_mine() || matches!(entry.state, State::Held(_));
            let idle = if mine { Idle::Fenced } else { Idle::NotOurs };
            self.rest(address, idle);
            return;
        }
        match &entry.claim {
            Claim::Nobody => {
                // Whoever gets it next gets it anew.
                entry.settled_with_it = true;
                self.rest(address, Idle::NotOurs);
            }
            Claim::Theirs { owner, .. } => {
                let owner = owner.clone();
                note(now, &self.me, peers, entry, &owner);
                self.lose(now, address, owner);
            }
            Claim::Mine { .. } => self.gain(now, address),
        }
    }

    /// The group is not known yet: nothing is done.
    fn wait(&mut self, address: IpAddr) {
        let mine = self.entries.get(&address).is_some_and(Entry::is_mine);
        let idle = if mine {
            Idle::NoMajority
        } else {
            Idle::NotOurs
        };
        self.rest(address, idle);
    }

    /// Does nothing about the address any longer.
    pub(super) fn rest(&mut self, address: IpAddr, idle: Idle) {
        let entry = self.entries.get(&address);
        if entry.is_some_and(|entry| !matches!(entry.state, State::Idle(was) if was == idle)) {
            self.enter(address, State::Idle(idle));
        }
    }

    /// The election gives the address to another.
    fn lose(&mut self, now: Instant, address: IpAddr, owner: NodeName) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        let may_keep = (entry.is_sticky() || peers.settling)
            && entry.interfaces().is_some()
            && !peers.draining
            && self.leaving == Leaving::No;
        let live = peers.is_live(&owner);
        let shown = self.tasks.get(&address).map(|task| &task.interfaces);
        let mute = shown.is_some_and(|interfaces| !peers.is_on(interfaces));
        match &entry.state {
            // Nobody hears it there, nor does it hear who takes over.
            State::Held(_) | State::HandingOver { .. } if mute => {
                self.rest(address, Idle::NotOurs);
            }
            State::Held(_) if may_keep => {
                self.show(address);
                self.plan_audit(now, address);
            }
            // What nobody has taken over yet may stay after all.
            State::HandingOver { .. } if may_keep => self.hold(now, address),
            State::HandingOver { to } if *to == owner => {}
            State::Held(_) | State::HandingOver { .. } if live => {
                self.hand_over(now, address, owner);
            }
            // Until it was told of another, who may have taken the address meanwhile, or its time
            // is up.
            State::HandingOver { .. } => {}
            State::Held(_)
            | State::Idle(_)
            | State::Looking(_)
            | State::HeldBy(_)
            | State::InUse { .. } => self.rest(address, Idle::NotOurs),
        }
    }

    fn hand_over(&mut self, now: Instant, address: IpAddr, to: NodeName) {
        let entry = self.entries.get(&address);
        // One that has announced it for longer has had to hear that it is this node's, and may have
        // left it.
        let (lately, just) = (self.limits.contest / 2, self.limits.announce_pause);
        if entry.is_some_and(|entry| entry.was_taken_by(&to, now, lately, just)) {
            // The LAN was faster than the group.
            return self.give_way(now, address, to);
        }
        self.enter(address, State::HandingOver { to });
        self.agenda
            .set_alarm(address, Some(now + self.limits.hand_over));
        // If its announcement is lost, or was made before, the new owner's answer tells as well.
        let first = now + self.limits.watch_pause;
        self.agenda.set_probe(address, Some(first));
    }

    /// The election gives the address to this node.
    fn gain(&mut self, now: Instant, address: IpAddr) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        let leaving = self.leaving != Leaving::No;
        let new = entry.is_new(now, &self.limits);
        match &mut entry.state {
            State::Held(_) => {
                self.show(address);
                self.plan_audit(now, address);
            }
            State::HandingOver { .. } => self.hold(now, address),
            _ if leaving => self.rest(address, Idle::NotOurs),
            State::Idle(_) => {
                let way = way(&self.me, peers, entry, false, new);
                self.go(now, address, way);
            }
            State::Looking(look) => {
                let certain = look.certain;
                let shown = self.tasks.get(&address).map(|task| &task.interfaces);
                let moved = shown != entry.interfaces();
                match way(&self.me, peers, entry, certain, new) {
                    Way::Look | Way::Glance | Way::Search | Way::Probe if !moved => {}
                    way => self.go(now, address, way),
                }
            }
            State::HeldBy(watching) => {
                let live = peers.is_live(&watching.holder);
                let lost = watching.live && !live;
                let returned = !watching.live && live;
                watching.live = live;
                if !live {
                    watching.outvoted =
                        peers.standing == Standing::Majority && peers.is_lost(&watching.holder);
                }
                let told = peers.has_told(&watching.holder);
                let settling = peers.is_settling(&watching.holder);
                // It joined anew, or started again: it has lost what it had.
                let began = settling && !watching.settles;
                watching.settles &= settling || !told;
                let (settles, outvoted) = (watching.settles, watching.outvoted);
                let holder = watching.holder.clone();
                if lost {
                    entry.had_by(holder, settles);
                    let way = way(&self.me, peers, entry, true, new);
                    self.go(now, address, way);
                } else if began || yields(&self.me, peers, entry, &holder, settles) {
                    entry.had_by(holder, settles);
                    self.hold(now, address);
                } else if returned && outvoted {
                    // It was declared down, and learns that only now: then it stops.
                    entry.had_by(holder, settles);
                    self.hold(now, address);
                } else if returned {
                    entry.had_by(holder, settles);
                    // What is sticky must not be taken because a LAN loses some.
                    let way = if entry.is_sticky() {
                        Way::Look
                    } else {
                        Way::Glance
                    };
                    self.go(now, address, way);
                    self.be_certain(address);
                } else {
                    self.show(address);
                }
            }
            State::InUse { mac, .. } => {
                let foreign = peers.station(*mac) == Station::Foreign;
                match way(&self.me, peers, entry, false, new) {
                    Way::Refuse => self.go(now, address, Way::Refuse),
                    _ if foreign => self.show(address),
                    way => self.go(now, address, way),
                }
            }
        }
    }

    /// What is looked for was had by whom it is taken from, for sure.
    fn be_certain(&mut self, address: IpAddr) {
        if let Some(State::Looking(look)) = self.entries.get_mut(&address).map(|e| &mut e.state) {
            look.certain = true;
        }
    }

    /// Each of the probes of a glance is waited for: half as long again as answers take.
    fn glance_pause(&self) -> Duration {
        let (least, most) = (self.limits.glance_pause, self.limits.look_pause);
        (self.answer_time * 3 / 2).max(least).min(most)
    }

    pub(super) fn go(&mut self, now: Instant, address: IpAddr, way: Way) {
        let in_use_pause = self.limits.in_use_pause / 10;
        match way {
            Way::Now => self.hold(now, address),
            Way::Look => self.look(now, address, self.limits.look_pause, in_use_pause),
            Way::Glance => self.look(now, address, self.glance_pause(), in_use_pause),
            Way::Search => {
                let (pause, rounds) = (self.limits.look_pause, self.limits.sticky_rounds);
                self.look_for(now, address, pause, in_use_pause, rounds);
            }
            Way::Probe => {
                if let Some(entry) = self.entries.get_mut(&address) {
                    entry.nobodys = Some(now);
                }
                self.look(now, address, self.limits.probe_pause, in_use_pause);
            }
            Way::Refuse => self.rest(address, Idle::NoMajority),
        }
    }
}

/// Notes who has the address from now on: whom the election gives it to, if that one could take it.
/// In a minority nobody takes what belonged to one that is gone.
fn note(now: Instant, me: &NodeName, peers: &Peers, entry: &mut Entry, owner: &NodeName) {
    entry.resumed = false;
    let planned = entry
        .previous
        .as_ref()
        .is_some_and(|previous| previous == me || peers.is_live(previous));
    if planned || peers.standing != Standing::Minority {
        let before = entry.previous.replace(owner.clone());
        if before.is_none() {
            entry.nobodys = Some(now);
        }
        entry.certain &= before.as_ref() == Some(owner);
        entry.settled_with_it = peers.is_settling(owner);
    }
}
