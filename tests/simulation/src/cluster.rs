//! The cluster: machines, the two networks between them, and time.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use herald_announce::Failback;
use herald_model::MacAddress;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use crate::checks::{Checks, Violation};
use crate::clock::Clock;
use crate::electorate::{Decisions, Facts};
use crate::fault::Fault;
use crate::frame::{Frame, What};
use crate::history::History;
use crate::machine::{Backlog, Disk, Machine};
use crate::plan::{self, Plan};
use crate::process::{Outbox, Process, Start};
use crate::queue::Queue;
use crate::wires::{Quality, Wires, up_to};

/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How much later than asked for a process is woken at most, as by a kernel with something to do.
const WAKE_JITTER: Duration = Duration::from_micros(300);

/// How long a speaker that is stopped may answer for, as in its driver.
const LEASE: Duration = Duration::from_millis(300);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// All that is random comes from it.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// One address for each.
    pub failbacks: Vec<Failback>,
    /// The network of the group.
    pub gossip: Quality,
    /// The network of the addresses.
    pub lan: Quality,
    /// By how many millionths clocks differ from time at most.
    pub drift: u32,
    /// How long a node takes to learn what changed in the API at most.
    pub api_delay: Duration,
    /// The nodes are started within this time.
    pub start: Duration,
    /// Keep what happens.
    pub trace: bool,
}

impl Setup {
    /// A good network, three addresses, clocks that are a hundredth off.
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            failbacks: vec![Failback::Revertive, Failback::Sticky, Failback::Revertive],
            gossip: Quality::GOOD,
            lan: Quality::GOOD,
            drift: 10_000,
            api_delay: Duration::from_millis(200),
            start: Duration::from_millis(500),
            trace: false,
        }
    }
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum Event {
    Datagram {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Frame {
        to: usize,
        frame: Frame,
    },
    Wake(usize),
    Start(usize),
    /// A busy machine gets or loses its processor.
    Turn(usize),
    /// What the API says of a node reaches another.
    Api {
        to: usize,
        node: usize,
    },
    Strike(Fault),
    Heal(Fault),
    Look,
}

/// Speakers in virtual time.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) plan: Rc<Plan>,
    pub(crate) now: Duration,
    pub(crate) random: Xoshiro256PlusPlus,
    pub(crate) queue: Queue<Event>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) gossip: Wires,
    /// The client is its last station.
    pub(crate) lan: Wires,
    /// What the API has of the nodes.
    pub(crate) facts: Vec<Facts>,
    pub(crate) history: History,
    /// Faults that have begun and not ended.
    pub(crate) active: Vec<Fault>,
    pub(crate) checks: Checks,
    /// When the group last became whole, or a node was last busy.
    pub(crate) healed: Duration,
    /// When a node last learned from the API something that it did not know: as long as not all have,
    /// elections differ.
    pub(crate) learned: Duration,
    api_delay: Duration,
    engine: Duration,
    decisions: Decisions,
    out: Outbox,
}

impl Cluster {
    /// A cluster whose speakers are about to start.
    pub fn new(setup: &Setup) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(setup.seed);
        let nodes = setup.nodes;
        let plan = Rc::new(Plan::new(nodes, &setup.failbacks));
        let mut queue = Queue::new();
        let million = 1_000_000;
        let rates = (million - setup.drift)..=(million + setup.drift);
        let machines = (0..nodes).map(|node| {
            let at = up_to(&mut random, setup.start);
            queue.push(at, Event::Start(node));
            Machine::new(Clock::new(random.random_range(rates.clone())), nodes)
        });
        let machines = machines.collect();
        queue.push(LOOK, Event::Look);
        Self {
            checks: Checks::new(&plan, nodes),
            now: Duration::ZERO,
            machines,
            gossip: Wires::new(nodes, setup.gossip),
            lan: Wires::new(nodes + 1, setup.lan),
            facts: vec![Facts::default(); nodes],
            history: History::new(setup.trace),
            active: Vec::new(),
            healed: Duration::ZERO,
            learned: Duration::ZERO,
            api_delay: setup.api_delay,
            // The engine looks at all nodes for a change of one.
            engine: Duration::from_millis(1) + Duration::from_micros(50) * nodes_u32(nodes),
            decisions: Decisions::default(),
            out: Outbox::default(),
            queue,
            random,
            plan,
        }
    }

    /// The time since the beginning.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The client on the LAN, as a station.
    pub fn client(&self) -> usize {
        self.machines.len()
    }

    /// The addresses of the Services.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.plan.addresses().collect()
    }

    /// The nodes that answer for the address when asked now, heard by the client or not.
    pub fn answering(&self, address: IpAddr) -> Vec<usize> {
        let machines = self.machines.iter().enumerate();
        machines
            .filter(|(_, machine)| machine.answers(address))
            .map(|(node, _)| node)
            .collect()
    }

    /// Bytes and datagrams that each node has sent to the group so far.
    pub fn sent(&self) -> Vec<(u64, u64)> {
        self.machines.iter().map(|machine| machine.sent).collect()
    }

    /// What happened so far, if that is kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was counted so far.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Forgets how long nobody answered so far.
    pub fn forget_silence(&mut self) {
        self.checks.forget_silence();
    }

    /// Lets something go wrong at `at`.
    pub fn strike_at(&mut self, at: Duration, fault: Fault) {
        self.queue.push(at, Event::Strike(fault));
    }

    /// Ends at `at` what went wrong.
    pub fn heal_at(&mut self, at: Duration, fault: Fault) {
        self.queue.push(at, Event::Heal(fault));
    }

    /// Lets time go on until `end`, or until something is not as promised.
    pub fn run(&mut self, end: Duration) -> Result<(), Violation> {
        while let Some((at, event)) = self.queue.pop(end) {
            self.now = at;
            match event {
                Event::Look => {
                    self.queue.push(at + LOOK, Event::Look);
                    self.look()?;
                }
                event => self.happen(event),
            }
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, bytes } => self.datagram(from, to, bytes),
            Event::Frame { to, frame } => self.frame(to, frame),
            Event::Wake(node) => {
                let now = self.now;
                let due = self.machines.get_mut(node).is_some_and(|machine| {
                    let due = machine.wake == Some(now);
                    if due {
                        machine.wake = None;
                    }
                    due
                });
                if due {
                    self.step(node);
                }
            }
            Event::Start(node) => self.start(node),
            Event::Turn(node) => self.turn(node),
            Event::Api { to, node } => self.api(to, node),
            Event::Strike(fault) => self.strike(fault),
            Event::Heal(fault) => self.heal(&fault),
            Event::Look => {}
        }
    }

    fn datagram(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let Some(machine) = self.machines.get_mut(to) else {
            return;
        };
        let now = machine.clock.show(self.now);
        match (&mut machine.stopped, &mut machine.process) {
            (_, None) => return,
            (Some(backlog), _) => return backlog.datagram(from, bytes),
            (None, Some(process)) => process.datagram(now, plan::socket(from), &bytes),
        }
        self.step(to);
    }

    fn frame(&mut self, to: usize, frame: Frame) {
        let Some(machine) = self.machines.get_mut(to).filter(|m| m.is_on_lan()) else {
            return;
        };
        // The kernel answers for the node's own address, whatever the speaker does.
        if frame.what == What::Question && self.plan.node_of(frame.address) == Some(to) {
            let answer = Frame {
                from: plan::mac(to),
                what: What::Answer,
                ..frame
            };
            self.out.frames.push((Some(frame.from), answer));
        }
        let now = machine.clock.show(self.now);
        match (&mut machine.stopped, &mut machine.process) {
            (Some(backlog), Some(_)) => backlog.frame(frame),
            (None, Some(process)) => {
                process.frame(now, frame, &mut self.out);
                return self.step(to);
            }
            (_, None) => {}
        }
        self.send(to);
    }

    /// Lets a process do what is due, sends what it wants sent, and notes when to wake it.
    pub(crate) fn step(&mut self, node: usize) {
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        if machine.stopped.is_some() {
            return;
        }
        let Some(process) = &mut machine.process else {
            return;
        };
        let now = machine.clock.show(self.now);
        process.step(now, &mut self.decisions, &mut self.out);
        self.history.observe(self.now, node, process);
        if self.checks.phase(node, process.state().phase) {
            self.checks.changed(self.now);
        }
        if process.has_ended(now) {
            machine.disk = process.save();
            machine.process = None;
            self.history.say(self.now, || format!("n{node} has ended"));
            return self.send(node);
        }
        if let Some(due) = process.next_timeout() {
            let due = machine.clock.when(due).max(self.now);
            if machine.wake.is_none_or(|wake| due < wake) {
                let at = due + up_to(&mut self.random, WAKE_JITTER);
                machine.wake = Some(at);
                self.queue.push(at, Event::Wake(node));
            }
        }
        self.send(node);
    }

    /// Puts what a node sends onto the networks.
    fn send(&mut self, node: usize) {
        let mut out = std::mem::take(&mut self.out);
        for (to, bytes) in out.datagrams.drain(..) {
            self.send_datagram(node, to, bytes);
        }
        for (to, frame) in out.frames.drain(..) {
            self.send_frame(node, to, frame);
        }
        self.out = out;
    }

    fn send_datagram(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        if let Some(machine) = self.machines.get_mut(from) {
            let (total, count) = machine.sent;
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            machine.sent = (total + length, count + 1);
        }
        let Some(to) = self.plan.node_of(to.ip()) else {
            return;
        };
        let (first, again) = self.gossip.fate(&mut self.random, from, to);
        if let Some(delay) = again {
            let bytes = bytes.clone();
            let event = Event::Datagram { from, to, bytes };
            self.queue.push(self.now + delay, event);
        }
        if let Some(delay) = first {
            let event = Event::Datagram { from, to, bytes };
            self.queue.push(self.now + delay, event);
        }
    }

    fn send_frame(&mut self, from: usize, to: Option<MacAddress>, frame: Frame) {
        if !self.machines.get(from).is_some_and(Machine::is_on_lan) {
            return;
        }
        let stations = match to {
            None => 0..self.machines.len(),
            Some(mac) => plan::node_at(mac).map_or(0..0, |node| node..node + 1),
        };
        let owner = self.plan.node_of(frame.address);
        for station in stations {
            // Those whom it does not concern would drop it; most of a large LAN does.
            let machine = self.machines.get(station);
            let process = machine.and_then(|machine| machine.process.as_ref());
            let concerned = || {
                owner == Some(station)
                    || owner.is_none()
                    || process.is_some_and(|process| process.cares(frame.address))
            };
            if station == from || !concerned() {
                continue;
            }
            let (first, again) = self.lan.fate(&mut self.random, from, station);
            for delay in [first, again].into_iter().flatten() {
                let event = Event::Frame { to: station, frame };
                self.queue.push(self.now + delay, event);
            }
        }
    }

    /// Starts a speaker with what is on its disk.
    pub(crate) fn start(&mut self, node: usize) {
        let seed = self.random.random();
        let now = self.now;
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        machine.power = true;
        machine.started = now;
        machine.wake = None;
        machine.stopped = None;
        let start = Start {
            node,
            seed,
            engine: self.engine,
            carrier: machine.carrier,
            facts: &machine.api,
            disk: &machine.disk,
        };
        machine.process = Some(Process::new(machine.clock.show(now), &self.plan, &start));
        self.history.say(now, || format!("n{node} starts"));
        self.checks.started(now, node);
        self.step(node);
    }

    /// Ends a speaker without a word.
    pub(crate) fn kill(&mut self, node: usize, wipe: bool) {
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        if let Some(process) = machine.process.take() {
            machine.disk = process.save();
        }
        if wipe {
            machine.disk = Disk::empty();
        }
        machine.stopped = None;
    }

    pub(crate) fn stop(&mut self, node: usize) {
        if let Some(machine) = self.machines.get_mut(node)
            && machine.process.is_some()
        {
            machine
                .stopped
                .get_or_insert_with(|| Backlog::new(self.now));
        }
    }

    /// Lets a stopped speaker go on: it finds all that arrived meanwhile.
    pub(crate) fn resume(&mut self, node: usize) {
        let group_first = self.random.random_bool(0.5);
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        let Some(backlog) = machine.stopped.take() else {
            return;
        };
        let Some(process) = &mut machine.process else {
            return;
        };
        machine.resumed = self.now;
        let now = machine.clock.show(self.now);
        let leased = self.now.saturating_sub(backlog.since) < LEASE;
        for (from, bytes) in backlog.datagrams {
            process.datagram(now, plan::socket(from), &bytes);
        }
        if group_first {
            self.step(node);
        }
        for frame in backlog.frames {
            let Some(process) = self.machines.get_mut(node).and_then(|m| m.process.as_mut()) else {
                break;
            };
            if leased {
                process.frame(now, frame, &mut self.out);
            } else {
                process.frame(now, frame, &mut Outbox::default());
            }
        }
        self.step(node);
    }

    fn turn(&mut self, node: usize) {
        let Some(machine) = self.machines.get(node) else {
            return;
        };
        if !machine.busy {
            return self.resume(node);
        }
        let (least, most) = if machine.stopped.is_some() {
            self.resume(node);
            (1, 20)
        } else {
            self.stop(node);
            (5, 60)
        };
        let pause = Duration::from_millis(self.random.random_range(least..=most));
        self.queue.push(self.now + pause, Event::Turn(node));
    }

    /// A watch shows how the object is by then.
    fn api(&mut self, to: usize, node: usize) {
        let (Some(machine), Some(facts)) = (self.machines.get_mut(to), self.facts.get(node)) else {
            return;
        };
        let facts = *facts;
        if let Some(known) = machine.api.get_mut(node)
            && std::mem::replace(known, facts) != facts
        {
            self.learned = self.now;
        }
        let now = machine.clock.show(self.now);
        if let Some(process) = &mut machine.process {
            process.api(now, node, facts);
        }
        self.checks.changed(self.now);
        self.step(to);
    }

    /// Tells all nodes what the API has of one, each in its time.
    pub(crate) fn publish(&mut self, node: usize) {
        for to in 0..self.machines.len() {
            let delay = up_to(&mut self.random, self.api_delay);
            self.queue.push(self.now + delay, Event::Api { to, node });
        }
    }

    /// How the cluster looks, in some lines.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (node, machine) in self.machines.iter().enumerate() {
            let what = match (&machine.process, &machine.stopped) {
                (None, _) => "no speaker",
                (Some(_), Some(_)) => "stopped",
                (Some(_), None) => "runs",
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "n{node} {what}");
            if let Some(process) = &machine.process {
                let _ = write!(text, ": {}", crate::history::summary(process));
            }
            text.push('\n');
        }
        text
    }
}

fn nodes_u32(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}
