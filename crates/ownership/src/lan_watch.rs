//! Whom this node watches on the LAN, and whether it hears them there.
//!
//! A node may be in the group and yet not be heard on the LAN: a port that lost its VLAN, a filter,
//! a cable in the wrong switch. So every member names a canary, an own address, of each interface, and
//! a few others ask those that are on a LAN with them for it all the time, each by itself, so that
//! what the LAN carries to all does not grow with the number of members. Who is silent on one LAN is not
//! heard, whatever is heard on another. What they find they tell the group; the votes decide
//! ([`not_heard`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{GroupView, MacAddress, NodeName};

use crate::ring::{Ring, Target};
use crate::{Command, Duty, Kind, Sighting, Task};

/// How often each canary is asked for.
const PERIOD: Duration = Duration::from_millis(60);

/// The same while one that was heard is not: a client waits for what is found.
const HASTE: Duration = Duration::from_millis(35);

/// So many questions in a row without an answer, at least: the member is not heard. With [`HASTE`]
/// that is 200 to 260 ms after it fell silent, as long as the group takes to notice a death. As many
/// as [`ASSUMED_LOSS`] asks for: a watch that has only just begun is as fast.
const LEAST_MISSES: u32 = 5;

/// The same at most, however much is lost.
const MOST_MISSES: u32 = 16;

/// On a LAN that loses some of what is sent, so many misses are needed that they come by chance
/// less often than this.
const CHANCE: f64 = 1e-6;

/// The part of questions without an answer that is assumed of a LAN that is not known yet.
const ASSUMED_LOSS: f64 = 0.05;

/// How much a question changes what is held of the LAN.
const WEIGHT: f64 = 1.0 / 64.0;

/// So many questions in a row with an answer: it is heard again.
const HITS: u32 = 8;

/// How much an answer that comes faster shortens what is held of how long answers take: a slow one
/// counts for some seconds.
const FASTER: u32 = 128;

/// A round that comes so much later than it was due says nothing: the answers may not have been
/// told yet.
const LATE: Duration = Duration::from_millis(20);

/// Asks some other members for their canary addresses and notes who does not answer.
#[derive(Debug)]
pub struct LanWatch {
    me: NodeName,
    watched: BTreeMap<NodeName, Watched>,
    unheard: BTreeSet<NodeName>,
    tasks: Arc<BTreeMap<IpAddr, Task>>,
    commands: Vec<Command>,
    /// When the next round is due.
    next: Option<Instant>,
    /// How long answers take, the slow ones of late.
    answer_time: Duration,
}

#[derive(Debug)]
struct Watched {
    canaries: BTreeMap<IpAddr, Canary>,
    macs: BTreeSet<MacAddress>,
}

/// An address of a member that is asked for.
#[derive(Debug)]
struct Canary {
    /// The station that has it.
    station: MacAddress,
    /// Both interfaces have a prefix in common, or it was heard once: it can be heard here.
    sure: bool,
    /// When it was asked for in the last round.
    asked: Option<Instant>,
    /// It was heard since.
    heard: bool,
    /// It does not answer, by what is held of it.
    silent: bool,
    /// Rounds in a row that went against that.
    against: u32,
    /// The part of the questions that are not answered while it is heard.
    loss: f64,
}

impl LanWatch {
    /// Watches nobody yet.
    pub fn new(me: NodeName) -> Self {
        Self {
            me,
            watched: BTreeMap::new(),
            unheard: BTreeSet::new(),
            tasks: Arc::default(),
            commands: Vec::new(),
            next: None,
            answer_time: Duration::ZERO,
        }
    }

    /// How the group looks now.
    pub fn set_group(&mut self, now: Instant, view: &GroupView) {
        let ring = Ring::of(&self.me, view);
        let mut watched = BTreeMap::new();
        let mut tasks = BTreeMap::new();
        for target in ring.targets(&self.me) {
            let known = self.watched.remove(target.name);
            let mut known = known.map(|watched| watched.canaries).unwrap_or_default();
            let mut canaries = BTreeMap::new();
            for (mine, theirs) in target.canaries() {
                let Some(address) = theirs.canary else {
                    continue;
                };
                watch(&mut tasks, address, &mine.name);
                let sure = !mine.prefixes.is_disjoint(&theirs.prefixes);
                let canary: &mut Canary = canaries
                    .entry(address)
                    .or_insert_with(|| known.remove(&address).unwrap_or(Canary::NEW));
                canary.station = theirs.mac;
                canary.sure |= sure;
            }
            if canaries.is_empty() {
                continue;
            }
            let renewed = Watched {
                canaries,
                macs: macs(&target),
            };
            if renewed.is_heard() {
                self.unheard.remove(target.name);
            }
            watched.insert(target.name.clone(), renewed);
        }
        self.unheard.retain(|name| watched.contains_key(name));
        self.next = match self.next {
            _ if watched.is_empty() => None,
            None => Some(now),
            next => next,
        };
        self.watched = watched;
        if *self.tasks != tasks {
            self.tasks = Arc::new(tasks);
        }
    }

    /// Another station had to do with an address; those that are not watched do not matter. Only
    /// who answers is heard and hears: one that is deaf goes on asking and announcing.
    pub fn saw(&mut self, now: Instant, sighting: Sighting) {
        if sighting.kind != Kind::Answered {
            return;
        }
        for watched in self.watched.values_mut() {
            if !watched.macs.contains(&sighting.mac) {
                continue;
            }
            if let Some(canary) = watched.canaries.get_mut(&sighting.address) {
                if let Some(asked) = canary.asked.filter(|_| !canary.heard) {
                    let took = now.saturating_duration_since(asked);
                    let shorter = self.answer_time.saturating_sub(self.answer_time / FASTER);
                    self.answer_time = shorter.max(took);
                }
                canary.heard = true;
                canary.sure = true;
            }
        }
    }

    /// Does what is due. Call it at [`LanWatch::next_timeout`], after all that was seen until then
    /// was told by [`LanWatch::saw`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(due) = self.next.filter(|due| *due <= now) else {
            return;
        };
        let late = now.saturating_duration_since(due) > LATE;
        let mut pause = PERIOD;
        for (name, watched) in &mut self.watched {
            for (&address, canary) in &mut watched.canaries {
                if canary.asked.is_some() && (canary.heard || !late) {
                    canary.judge();
                }
                if canary.is_missed() {
                    pause = HASTE;
                }
                canary.asked = Some(now);
                canary.heard = false;
                let station = canary.station;
                self.commands.push(Command::Ask { address, station });
            }
            if watched.is_heard() {
                self.unheard.remove(name);
            } else {
                self.unheard.insert(name.clone());
            }
        }
        self.next = Some(now + pause);
    }

    /// When to call [`LanWatch::handle_timeout`] next; `None` while nobody is watched. May change
    /// with [`LanWatch::set_group`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The addresses to watch; a task of [`Ownership`](crate::Ownership) for the same address goes
    /// before. The same `Arc` as long as nothing changes.
    pub fn tasks(&self) -> Arc<BTreeMap<IpAddr, Task>> {
        Arc::clone(&self.tasks)
    }

    /// What the driver should send once.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// The members that do not answer: what this node tells the others as
    /// [`MemberState::unheard`](herald_model::MemberState::unheard).
    pub fn unheard(&self) -> &BTreeSet<NodeName> {
        &self.unheard
    }

    /// How long the slower of the answers take that came of late, as far as this process saw them:
    /// what waits for an answer should wait longer. Zero as long as there was none.
    pub fn answer_time(&self) -> Duration {
        self.answer_time
    }
}

impl Watched {
    /// Each canary that can be heard is, and one at least: clients may be on any of the LANs.
    fn is_heard(&self) -> bool {
        let mut canaries = self.canaries.values();
        let all = canaries.all(|canary| !canary.silent || !canary.sure);
        all && self.canaries.values().any(|canary| !canary.silent)
    }
}

impl Canary {
    /// One that has not been asked for.
    const NEW: Self = Self {
        station: MacAddress([0; 6]),
        sure: false,
        asked: None,
        heard: false,
        silent: false,
        against: 0,
        loss: ASSUMED_LOSS,
    };

    /// How many in a row show that it is not heard.
    fn enough(&self) -> u32 {
        let needed = |misses: &u32| {
            let misses = i32::try_from(*misses).unwrap_or(i32::MAX);
            self.loss.powi(misses) <= CHANCE
        };
        (LEAST_MISSES..MOST_MISSES)
            .find(needed)
            .unwrap_or(MOST_MISSES)
    }

    /// It was heard and is not at present.
    fn is_missed(&self) -> bool {
        self.sure && !self.silent && self.against > 0
    }

    /// Counts the last round.
    fn judge(&mut self) {
        if self.heard != self.silent {
            if self.heard {
                // Those that went unanswered until now count too: they were lost after all.
                for _ in 0..self.against {
                    self.loss += (1.0 - self.loss) * WEIGHT;
                }
                self.loss -= self.loss * WEIGHT;
            }
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if self.silent { HITS } else { self.enough() };
        if self.against >= enough {
            self.silent = !self.silent;
            self.against = 0;
        }
    }
}

/// All MAC addresses of the member: which of its interfaces answers is its own affair.
fn macs(target: &Target<'_>) -> BTreeSet<MacAddress> {
    let interfaces = target.state.interfaces.iter();
    interfaces.map(|interface| interface.mac).collect()
}

/// Adds an interface to where the address is watched.
fn watch(tasks: &mut BTreeMap<IpAddr, Task>, address: IpAddr, interface: &str) {
    let task = tasks.entry(address).or_insert_with(|| Task {
        duty: Duty::Watch,
        interfaces: Interfaces::Named(BTreeSet::new()),
    });
    if let Interfaces::Named(names) = &mut task.interfaces {
        names.insert(interface.to_owned());
    }
}

/// The live members (`me` included) that more than half of those that watch them, and at least two,
/// do not hear on the LAN; those that hear nobody are not asked. The election should give such a
/// node nothing as long as another one is heard.
pub fn not_heard(me: &NodeName, view: &GroupView) -> BTreeSet<NodeName> {
    let others = view.members.values().filter(|member| member.live);
    let states = others.filter_map(|member| member.state.as_deref());
    let accused: BTreeSet<&NodeName> = states
        .chain([&view.me])
        .flat_map(|state| &state.unheard)
        .collect();
    if accused.is_empty() {
        return BTreeSet::new();
    }
    let watchers = Ring::of(me, view).watchers(&accused);
    let lost = watchers.into_iter().filter(|(name, watchers)| {
        let votes = watchers
            .iter()
            .filter(|state| state.unheard.contains(*name));
        let votes = votes.count();
        votes >= 2 && votes * 2 > watchers.len()
    });
    lost.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
