//! The machine itself: what it is told, and what it wants done.
//!
//! ```text
//!                        look                       nobody answers
//!            ┌─────────────────────▶ Looking ───────────────────────┐
//!            │                        │   │ a station answers       ▼
//!            │             a member,  │   └───────────▶ InUse ─▶ Looking
//!            │         which keeps it ▼                       retry
//!   Idle ────┤                      HeldBy ── silent, gone, yields ─┐
//!     ▲      │ at once                ▲                             │
//!     │      └────────────▶ Held ◀────┼─────────────────────────────┘
//!     │                      │ └──────┘ a better one announces it
//!     │  announced, 10 s     ▼ the election gives it to another
//!     └────────────── HandingOver
//! ```
//!
//! Every state ends in `Idle` when the address is not this node's, or the node is fenced.

mod audit;
mod reconsider;
mod sightings;
mod timeouts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{GroupView, NodeName, Standing};

use crate::conflicts::Conflicts;
use crate::entry::{Entry, Holding, Look, State, Watching};
use crate::peers::Peers;
use crate::timers::Agenda;
use crate::{Claim, Command, Conflict, Duty, Limits, Status, Task};

/// How many times an address is announced again after the network fell apart and healed, besides
/// the first.
const ECHOES: u32 = 2;

/// All addresses of the cluster as this node goes about them.
#[derive(Debug)]
pub struct Ownership {
    me: NodeName,
    limits: Limits,
    /// Held before a restart, and not claimed since.
    resumed: BTreeSet<IpAddr>,
    entries: BTreeMap<IpAddr, Entry>,
    /// `None` until the group is known.
    peers: Option<Peers>,
    /// The group has changed, and what follows from that is still to be decided.
    news: Option<News>,
    agenda: Agenda,
    /// The addresses that are asked for all the time: which another node or a foreign station keeps,
    /// or this one although the election gives them to another, or until another announces them.
    asked: BTreeSet<IpAddr>,
    leaving: Leaving,
    /// How long answers on the LAN take.
    answer_time: Duration,
    tasks: Arc<BTreeMap<IpAddr, Task>>,
    commands: Vec<Command>,
    conflicts: Conflicts,
    /// What was last given out by `take_changes`, without [`Status::NotOurs`].
    told: BTreeMap<IpAddr, Status>,
    changed: BTreeSet<IpAddr>,
    /// Members that are down and were seen with an address, and when all that was taken from them
    /// was last announced because of it.
    exposed: BTreeMap<NodeName, Instant>,
}

/// A change of the group.
#[derive(Debug)]
struct News {
    at: Instant,
    before: Peers,
}

/// Whether this node is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It hands over, until this time at most.
    Until(Instant),
    /// It has waited long enough.
    Late,
}

impl Ownership {
    /// A machine that knows of no address and no group.
    pub fn new(me: NodeName, limits: Limits) -> Self {
        Self {
            me,
            limits,
            resumed: BTreeSet::new(),
            entries: BTreeMap::new(),
            peers: None,
            news: None,
            agenda: Agenda::default(),
            asked: BTreeSet::new(),
            leaving: Leaving::No,
            answer_time: Duration::ZERO,
            tasks: Arc::default(),
            commands: Vec::new(),
            conflicts: Conflicts::default(),
            told: BTreeMap::new(),
            changed: BTreeSet::new(),
            exposed: BTreeMap::new(),
        }
    }

    /// This node answered for these addresses when it last ran. Say it before the first claim.
    pub fn resume(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.resumed.extend(addresses);
    }

    /// What the election says about an address; `None` if nobody wants it any longer.
    pub fn set_claim(&mut self, now: Instant, address: IpAddr, claim: Option<Claim>) {
        let Some(claim) = claim else {
            self.forget(address);
            return;
        };
        let resumed = self.resumed.remove(&address);
        let entry = self
            .entries
            .entry(address)
            .or_insert_with(|| Entry::new(resumed));
        if entry.claim == claim {
            return;
        }
        entry.set_claim(claim);
        self.reconsider(now, address);
    }

    /// How long answers on the LAN take at present: the quickest look lasts long enough for them.
    pub fn set_answer_time(&mut self, answer_time: Duration) {
        self.answer_time = answer_time;
    }

    /// How the group looks now. Nothing is taken before this was said once. A node that is drained
    /// by a label or taint must say [`Phase::Draining`](herald_model::Phase) of itself too: it
    /// gives up what it would otherwise keep.
    ///
    /// Say this before the claims that follow from it, and then call [`Ownership::handle_timeout`]:
    /// only then is decided what follows for addresses whose claims are as they were, since a claim
    /// from before may be wrong now. A fence counts at once. When a node is not fenced any longer
    /// because it joined anew, `view.me` must not be ready yet, and its claims be those of one that is
    /// not.
    pub fn set_group(&mut self, now: Instant, view: &GroupView) {
        let peers = Peers::of(view, self.peers.as_ref());
        if self.peers.as_ref() == Some(&peers) {
            return;
        }
        let fenced = peers.fenced;
        let before = self.peers.replace(peers).unwrap_or_default();
        self.news.get_or_insert(News { at: now, before });
        if fenced {
            self.follow_group(now);
        }
    }

    /// Decides what follows from a change of the group.
    fn follow_group(&mut self, now: Instant) {
        let Some(News { before, .. }) = self.news.take() else {
            return;
        };
        let Some(peers) = &self.peers else {
            return;
        };
        let returned = peers.returned(&before);
        self.exposed.retain(|name, _| peers.is_down(name));
        // One that saw most of the others again was cut off itself.
        let was_cut_off = !returned.is_empty() && before.standing != Standing::Majority;
        let addresses: Vec<IpAddr> = self.entries.keys().copied().collect();
        for address in addresses {
            self.reconsider(now, address);
            let Some(entry) = self.entries.get_mut(&address) else {
                continue;
            };
            if let State::Held(holding) = &mut entry.state {
                let from = holding.from.as_ref();
                if was_cut_off || from.is_some_and(|from| returned.contains(from)) {
                    holding.echoes = ECHOES;
                    self.announce(now, address);
                }
            }
        }
    }

    /// When to call [`Ownership::handle_timeout`] next. May change with every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let leaving = match self.leaving {
            Leaving::Until(until) => Some(until),
            Leaving::No | Leaving::Late => None,
        };
        let news = self.news.as_ref().map(|news| news.at);
        let due = [self.agenda.next(), leaving, news];
        due.into_iter().flatten().min()
    }

    /// All that the driver should do; the same `Arc` as long as nothing changes.
    pub fn tasks(&self) -> Arc<BTreeMap<IpAddr, Task>> {
        Arc::clone(&self.tasks)
    }

    /// What the driver should send once, in this order, after it has taken over the tasks.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// The addresses whose status is another than when this was last asked; those that are gone
    /// are [`Status::NotOurs`].
    pub fn take_changes(&mut self) -> Vec<(IpAddr, Status)> {
        let mut changes = Vec::new();
        for address in std::mem::take(&mut self.changed) {
            let status = self.status(address);
            let told = match status.clone() {
                Status::NotOurs => self.told.remove(&address),
                status => self.told.insert(address, status),
            };
            if told.unwrap_or(Status::NotOurs) != status {
                changes.push((address, status));
            }
        }
        changes
    }

    /// Conflicts with foreign stations, each address at most once a minute.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        self.conflicts.take()
    }

    /// What this node does about an address.
    pub fn status(&self, address: IpAddr) -> Status {
        self.entries
            .get(&address)
            .map_or(Status::NotOurs, Entry::status)
    }

    /// This node is about to end: it takes nothing any longer and hands over what the election
    /// gives others, who must be told ([`Phase::Draining`](herald_model::Phase)).
    pub fn leaving(&mut self, now: Instant) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = Leaving::Until(now + self.limits.hand_over);
        let addresses: Vec<IpAddr> = self.entries.keys().copied().collect();
        for address in addresses {
            self.reconsider(now, address);
        }
    }

    /// Nothing is left to hand over: every address was taken by another node, no other can take
    /// it, or the time for it is up.
    pub fn is_quiet(&self) -> bool {
        self.leaving == Leaving::Late
            || self.entries.values().all(|entry| match entry.state {
                State::HandingOver { .. } => false,
                State::Held(_) => self.leaving == Leaving::No || !self.has_successor(entry),
                _ => true,
            })
    }

    /// Another node could take the address from this one, which leaves.
    fn has_successor(&self, entry: &Entry) -> bool {
        let Some(peers) = &self.peers else {
            return false;
        };
        let mut order = entry.order().iter();
        order.any(|name| *name != self.me && peers.is_live(name) && !peers.is_leaving(name))
    }

    fn forget(&mut self, address: IpAddr) {
        self.resumed.remove(&address);
        if self.entries.contains_key(&address) {
            self.enter(address, State::Idle(crate::entry::Idle::NotOurs));
            self.entries.remove(&address);
            self.conflicts.forget(address);
        }
    }

    /// Changes the state, and with it the duty; timers begin anew.
    fn enter(&mut self, address: IpAddr, state: State) {
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        entry.state = state;
        let asks = matches!(
            entry.state,
            State::HeldBy(_) | State::HandingOver { .. } | State::InUse { .. }
        );
        if asks {
            self.asked.insert(address);
        } else {
            self.asked.remove(&address);
        }
        self.changed.insert(address);
        self.agenda.clear(address);
        self.show(address);
    }

    /// Brings the task of the address up to date. One that hands over goes on where it was.
    fn show(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.get(&address) else {
            return;
        };
        let shown = self.tasks.get(&address);
        let handing_over = matches!(entry.state, State::HandingOver { .. });
        let interfaces: Option<&Interfaces> = if handing_over {
            shown.map(|task| &task.interfaces)
        } else {
            entry.interfaces()
        };
        let task = entry.duty().zip(interfaces);
        if task == shown.map(|task| (task.duty, &task.interfaces)) {
            return;
        }
        let task = task.map(|(duty, interfaces): (Duty, _)| Task {
            duty,
            interfaces: interfaces.clone(),
        });
        let tasks = Arc::make_mut(&mut self.tasks);
        match task {
            Some(task) => tasks.insert(address, task),
            None => tasks.remove(&address),
        };
    }

    /// Answers for the address and announces it from now on.
    fn hold(&mut self, now: Instant, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        let before = entry.previous.replace(self.me.clone());
        entry.certain = true;
        entry.resumed = false;
        let holding = Holding {
            from: before.filter(|before| *before != self.me),
            since: now,
            announced: now,
            echoes: 0,
            contest: None,
            deaf: None,
        };
        self.enter(address, State::Held(holding));
        self.plan_audit(now, address);
    }

    /// Probes for the address before it is taken.
    fn look(&mut self, now: Instant, address: IpAddr, pause: Duration, in_use_pause: Duration) {
        self.look_for(now, address, pause, in_use_pause, 1);
    }

    /// The same with so many times as many probes.
    fn look_for(
        &mut self,
        now: Instant,
        address: IpAddr,
        pause: Duration,
        in_use_pause: Duration,
        rounds: u32,
    ) {
        if self.limits.probes == 0 {
            return self.hold(now, address);
        }
        let look = Look {
            sent: 0,
            probes: self.limits.probes * rounds,
            pause,
            in_use_pause,
            certain: false,
            put_off: false,
            anew: 0,
        };
        self.enter(address, State::Looking(look));
        self.agenda.set_probe(address, Some(now));
    }

    /// Leaves the address to another member, and watches it.
    fn watch(&mut self, now: Instant, address: IpAddr, holder: NodeName) {
        let Some(peers) = &self.peers else {
            return;
        };
        let watching = Watching {
            live: peers.is_live(&holder),
            settles: peers.may_settle(&holder),
            outvoted: peers.standing == Standing::Majority && peers.is_lost(&holder),
            holder,
            seen: true,
            misses: 0,
            foreign: None,
            asked: None,
        };
        self.enter(address, State::HeldBy(watching));
        self.agenda
            .set_probe(address, Some(now + self.limits.watch_pause));
    }

    /// Announces an address that is held once more, at once or as soon as that is not too often.
    fn announce(&mut self, now: Instant, address: IpAddr) {
        let pause = self.limits.announce_pause;
        let Some(State::Held(holding)) = self.entries.get_mut(&address).map(|e| &mut e.state)
        else {
            return;
        };
        if now < holding.announced + pause {
            if !self.agenda.has_alarm(address) {
                holding.echoes += 1;
                let at = holding.announced + pause;
                self.agenda.set_alarm(address, Some(at));
            }
            return;
        }
        holding.announced = now;
        self.commands.push(Command::Announce(address));
        let next = (holding.echoes > 0).then(|| now + pause * 2);
        self.agenda.set_alarm(address, next);
    }

    /// How long to wait between two probes of an address that is asked for all the time, so that
    /// all together stay bounded.
    fn watch_pause(&self) -> Duration {
        let count = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        let spaced = self.limits.watch_spacing.saturating_mul(count);
        spaced.max(self.limits.watch_pause)
    }
}
