//! A speaker: the real machines, put together as the engine of `herald-speaker` does it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_l2::Announcer;
use herald_membership::{Event, Group, Keyring, Myself, Settings, Timers};
use herald_model::{GroupView, LanInterface, MacAddress, MemberState, NodeName};
use herald_ownership::{
    Claim, Command, Duty, Kind, LanWatch, Limits, Ownership, Sighting, Standpoint, Status, Task,
    not_heard,
};

use crate::electorate::{Decisions, Electorate, Facts};
use crate::frame::{Frame, What};
use crate::machine::Disk;
use crate::plan::{self, Plan};

/// What all speakers seal with.
const SECRET: &[u8] = b"the secret of the simulation";

/// The kernel's index of the one interface.
const INDEX: u32 = 2;

/// How long after the speaker has left the group its process ends.
const FAREWELL: Duration = Duration::from_millis(100);

/// How long others have to be heard before a speaker that starts decides without them.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a speaker that ends hands over at most.
const HANDOVER: Duration = Duration::from_secs(10);

/// What a speaker sends.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// With whom they are for; `None` for all on the LAN.
    pub(crate) frames: Vec<(Option<MacAddress>, Frame)>,
}

/// What a speaker is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) node: usize,
    pub(crate) seed: u64,
    /// How long the engine takes from a change to its decisions.
    pub(crate) engine: Duration,
    pub(crate) carrier: bool,
    pub(crate) facts: &'a [Facts],
    pub(crate) disk: &'a Disk,
}

/// A running speaker.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(crate) struct Process {
    node: usize,
    me: NodeName,
    plan: Rc<Plan>,
    engine: Duration,
    group: Group,
    ownership: Ownership,
    watch: LanWatch,
    announcer: Announcer,
    myself: Myself,
    electorate: Electorate,
    draining: bool,
    carrier: bool,
    phase_timeout: Option<Instant>,
    /// When it decides although it has heard nobody.
    patience: Instant,
    begun: bool,
    /// The group as the engine last looked at it. An answer needs a lease, and that the generation
    /// is this one's.
    standpoint: Standpoint,
    claims: BTreeMap<IpAddr, Claim>,
    applied: Arc<BTreeMap<IpAddr, Task>>,
    told: MemberState,
    settle: Option<Instant>,
    leaving: bool,
    /// When it ends although not all is handed over.
    end: Option<Instant>,
    ended: Option<Instant>,
}

impl Process {
    pub(crate) fn new(now: Instant, plan: &Rc<Plan>, start: &Start<'_>) -> Self {
        let me = plan
            .nodes
            .get(start.node)
            .cloned()
            .expect("a node of the plan");
        let settings = Settings {
            me: me.clone(),
            address: plan::socket(start.node),
            timers: Timers::default(),
            keys: Keyring::new([SECRET]).expect("one key that is long enough"),
            seed: start.seed,
            generation: start.disk.generation,
        };
        let mut process = Self {
            node: start.node,
            plan: Rc::clone(plan),
            engine: start.engine,
            group: Group::new(now, settings, MemberState::default()),
            ownership: Ownership::new(me.clone(), Limits::default()),
            watch: LanWatch::new(me.clone()),
            announcer: Announcer::new(None),
            myself: Myself::new(now, Some((start.disk.comings.clone(), start.disk.clean))),
            electorate: Electorate::new(plan, start.node, start.facts),
            draining: start.facts.get(start.node).is_some_and(|f| f.draining),
            carrier: start.carrier,
            phase_timeout: None,
            patience: now + PATIENCE,
            begun: false,
            standpoint: Standpoint::new(0),
            claims: BTreeMap::new(),
            applied: Arc::default(),
            told: MemberState::default(),
            settle: Some(now),
            leaving: false,
            end: None,
            ended: None,
            me,
        };
        process
            .myself
            .set_interfaces(now, Some(&process.interfaces()));
        let state = process.tells(now);
        process.told = state.clone();
        process.group.set_state(now, state);
        process.group.set_nodes(now, plan.node_addresses());
        process.group.set_roster(now, plan.roster());
        process.ownership.resume(start.disk.held.iter().copied());
        process
    }

    /// When to call [`Process::step`] next, whatever else happens.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let announcer = self.announcer.next_timeout().filter(|_| !self.is_fenced());
        [
            self.group.next_timeout(),
            self.ownership.next_timeout().filter(|_| self.begun),
            self.watch.next_timeout().filter(|_| self.begun),
            Some(self.patience).filter(|_| !self.begun),
            self.end.filter(|_| self.ended.is_none()),
            self.phase_timeout,
            announcer,
            self.settle,
            self.ended,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.group.handle_datagram(now, from, bytes);
    }

    /// Takes a frame from the LAN and answers it if it asks for an address that this speaker
    /// answers for.
    pub(crate) fn frame(&mut self, now: Instant, frame: Frame, out: &mut Outbox) {
        if !self.carrier {
            return;
        }
        if frame.what == What::Question && self.answers(frame.address) {
            let answer = Frame {
                from: plan::mac(self.node),
                what: What::Answer,
                ..frame
            };
            out.frames.push((Some(frame.from), answer));
        }
        let sighting = Sighting {
            address: frame.address,
            mac: frame.from,
            kind: match frame.what {
                What::Announcement => Kind::Announced,
                What::Question => Kind::Probed,
                What::Answer => Kind::Answered,
            },
        };
        if self.ownership.tasks().contains_key(&frame.address) {
            self.ownership.saw(now, sighting);
        }
        if self.watch.tasks().contains_key(&frame.address) {
            self.watch.saw(now, sighting);
            self.ownership.set_answer_time(self.watch.answer_time());
        }
    }

    /// It has a task for the address, so that frames about it are looked at.
    pub(crate) fn cares(&self, address: IpAddr) -> bool {
        self.ownership.tasks().contains_key(&address) || self.watch.tasks().contains_key(&address)
    }

    /// What the API says of a node, as this speaker learns it.
    pub(crate) fn api(&mut self, now: Instant, node: usize, facts: Facts) {
        self.electorate.set_facts(node, facts);
        if node == self.node {
            self.draining = facts.draining;
        }
        self.settle_soon(now);
    }

    /// The interface has lost its carrier, or has it again.
    pub(crate) fn set_carrier(&mut self, now: Instant, carrier: bool) {
        if carrier != self.carrier {
            self.carrier = carrier;
            self.myself.set_interfaces(now, Some(&self.interfaces()));
            self.applied = Arc::default();
            if !carrier {
                self.announcer.forget(INDEX);
            }
            self.settle_soon(now);
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, now: Instant) {
        self.leaving = true;
        self.end = Some(now + HANDOVER);
        self.ownership.leaving(now);
        self.settle_soon(now);
    }

    /// Does all that is due.
    pub(crate) fn step(&mut self, now: Instant, decisions: &mut Decisions, out: &mut Outbox) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.group.next_timeout()) {
            self.group.handle_timeout(now);
        }
        self.pump(now, out);
        if is_due(self.phase_timeout) {
            self.settle_soon(now);
        }
        if !self.begun && now >= self.patience {
            self.settle_soon(now);
        }
        if is_due(self.settle) {
            self.settle = None;
            self.settle(now, decisions);
            self.pump(now, out);
        }
        if self.begun {
            self.ownership.handle_timeout(now);
            self.watch.handle_timeout(now);
        }
        self.drive(now, out);
        if *self.watch.unheard() != self.told.unheard {
            self.settle_soon(now);
        }
        let over = self.end.is_some_and(|end| end <= now)
            || self.settle.is_none() && self.ownership.is_quiet();
        if self.leaving && self.ended.is_none() && over {
            self.group.leave(now);
            self.pump(now, out);
            self.ended = Some(now + FAREWELL);
        }
    }

    /// Carries out what the group wants.
    fn pump(&mut self, now: Instant, out: &mut Outbox) {
        let mut changed = false;
        while let Some(event) = self.group.poll_event() {
            match event {
                Event::Changed | Event::Fenced | Event::Unfenced => changed = true,
                Event::Problem(_) => {}
            }
        }
        if changed {
            self.settle_soon(now);
        }
        while let Some(transmit) = self.group.poll_transmit() {
            out.datagrams.push(transmit);
        }
    }

    fn settle_soon(&mut self, now: Instant) {
        self.settle.get_or_insert(now + self.engine);
    }

    /// What the engine does with a change.
    fn settle(&mut self, now: Instant, decisions: &mut Decisions) {
        let view = self.group.shared_view();
        let generation = self.group.generation();
        self.myself.set_fenced(now, view.fenced, generation);
        let state = self.tells(now);
        self.phase_timeout = self.myself.next_timeout(now);
        if state != self.told {
            self.told = state.clone();
            self.group.set_state(now, state.clone());
        }
        if self.standpoint.follow(view, generation, state) {
            let view = self.standpoint.view();
            self.electorate.set_group(view, &not_heard(&self.me, view));
            self.watch.set_group(now, view);
            self.standpoint.tell(now, &mut self.ownership);
        }
        if !self.begins(now) {
            return;
        }
        for (service, address) in self.plan.addresses().enumerate() {
            let claim = self.electorate.claim(&self.plan, service, decisions);
            if let Some(claim) = claim
                && self.claims.get(&address) != Some(&claim)
            {
                self.claims.insert(address, claim.clone());
                self.ownership.set_claim(now, address, Some(claim));
            }
        }
        self.standpoint.tell_return(now, &mut self.ownership);
    }

    /// True if decisions can be made, from now on.
    fn begins(&mut self, now: Instant) -> bool {
        let mut others = self.standpoint.view().members.values();
        if !self.begun
            && (now >= self.patience || others.any(|member| member.live && member.state.is_some()))
        {
            self.begun = true;
            // It tells so.
            self.settle_soon(now);
        }
        self.begun
    }

    /// What this speaker is.
    fn tells(&mut self, now: Instant) -> MemberState {
        self.myself.set_draining(self.leaving || self.draining);
        self.myself.set_waiting(!self.begun);
        self.myself.set_unheard(self.watch.unheard());
        self.myself.state(now, self.standpoint.view())
    }

    /// The interfaces that have carrier.
    fn interfaces(&self) -> Vec<LanInterface> {
        let interface = self.carrier.then(|| plan::interface(self.node));
        interface.into_iter().collect()
    }

    /// What the driver of layer 2 does.
    fn drive(&mut self, now: Instant, out: &mut Outbox) {
        let tasks = self.ownership.tasks();
        if !Arc::ptr_eq(&tasks, &self.applied) {
            let announced = tasks.iter().filter(|(_, task)| task.duty == Duty::Announce);
            if self.carrier {
                let announced = announced.map(|(address, _)| *address);
                self.announcer.set(now, INDEX, announced);
            }
            self.applied = tasks;
            self.settle_soon(now);
        }
        let mut commands = self.ownership.take_commands();
        commands.extend(self.watch.take_commands());
        for command in commands {
            match command {
                Command::Probe(address) => self.send(What::Question, address, None, out),
                Command::Ask { address, station } => {
                    self.send(What::Question, address, Some(station), out);
                }
                Command::Announce(address) => self.announcer.again(now, address),
            }
        }
        if self.is_fenced() {
            return;
        }
        let mut due = Vec::new();
        self.announcer.poll(now, &mut due);
        for announcement in due {
            self.send(What::Announcement, announcement.address, None, out);
        }
    }

    fn send(&self, what: What, address: IpAddr, to: Option<MacAddress>, out: &mut Outbox) {
        if self.carrier {
            let from = plan::mac(self.node);
            let frame = Frame {
                from,
                address,
                what,
            };
            out.frames.push((to, frame));
        }
    }

    /// The lease by which it may answer is revoked.
    pub(crate) fn is_fenced(&self) -> bool {
        self.group.view().fenced || self.group.generation() != self.standpoint.generation()
    }

    fn duty(&self, address: IpAddr) -> Option<Duty> {
        self.applied.get(&address).map(|task| task.duty)
    }

    /// It answers for the address when asked now.
    pub(crate) fn answers(&self, address: IpAddr) -> bool {
        let answering = matches!(self.duty(address), Some(Duty::Announce | Duty::Answer));
        answering && self.carrier && !self.is_fenced()
    }

    /// It takes the address for its own.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.duty(address) == Some(Duty::Announce) && self.answers(address)
    }

    /// The addresses of the Services.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.plan.addresses()
    }

    pub(crate) fn status(&self, address: IpAddr) -> Status {
        self.ownership.status(address)
    }

    pub(crate) fn view(&self) -> &GroupView {
        self.group.view()
    }

    /// What it tells of itself.
    pub(crate) fn state(&self) -> &MemberState {
        &self.told
    }

    /// It is about to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// It has left, and what it sent is gone.
    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        self.ended.is_some_and(|ended| ended <= now)
    }

    /// What it keeps on disk.
    pub(crate) fn save(&self) -> Disk {
        let held: BTreeSet<_> = self
            .plan
            .addresses()
            .filter(|address| self.duty(*address) == Some(Duty::Announce))
            .collect();
        Disk {
            generation: self.group.generation() + 1,
            held,
            comings: self.myself.comings().clone(),
            clean: self.ended.is_some(),
        }
    }
}
