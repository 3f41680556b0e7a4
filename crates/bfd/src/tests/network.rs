//! Two sessions with each other over a network that loses, delays, overtakes and is cut, with a
//! clock each, in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::{
    Arrival, Event, EventKind, Hops, Inbox, PACKET_LEN, Path, SessionId, Sessions, Settings, State,
    Status, TTL,
};

/// How packets of one direction fare.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) least_delay: Duration,
    pub(super) most_delay: Duration,
    /// Whether packets may overtake each other.
    pub(super) reorders: bool,
    /// The share of packets that is lost.
    pub(super) loss: f64,
    /// The share of packets that arrives twice.
    pub(super) doubled: f64,
    pub(super) cut: bool,
}

/// One node, with its own clock.
struct Node {
    address: IpAddr,
    sessions: Sessions,
    id: Option<SessionId>,
    settings: Settings,
    /// Where its clock starts, and how much faster than the true time it runs, in millionths.
    epoch: Instant,
    drift: i64,
    /// No packet arrives before, if they do not overtake each other.
    arrived: Duration,
    /// Stands still until then.
    stalled: Option<Duration>,
}

impl Node {
    fn clock(&self, now: Duration) -> Instant {
        let nanos = i128::try_from(now.as_nanos()).unwrap();
        let own = nanos + nanos * i128::from(self.drift) / 1_000_000;
        self.epoch + Duration::from_nanos(u64::try_from(own).unwrap())
    }

    /// The first true time at which its clock shows this.
    fn true_time(&self, own: Instant) -> Duration {
        let own = i128::try_from(own.saturating_duration_since(self.epoch).as_nanos()).unwrap();
        let nanos = own * 1_000_000 / (1_000_000 + i128::from(self.drift));
        let mut time = Duration::from_nanos(u64::try_from(nanos.max(1) - 1).unwrap());
        while self
            .clock(time)
            .saturating_duration_since(self.epoch)
            .as_nanos()
            < u128::try_from(own).unwrap()
        {
            time += Duration::from_nanos(1);
        }
        time
    }
}

/// Something that happened at a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happened {
    pub(super) at: Duration,
    pub(super) node: usize,
    pub(super) event: Event,
}

impl Happened {
    /// Whether the session of this node went down, for whatever reason.
    pub(super) fn is_down_of(&self, node: usize) -> bool {
        let down = matches!(
            self.event.kind,
            EventKind::Changed {
                from: State::Up,
                ..
            }
        );
        self.node == node && down
    }
}

/// When a packet arrives, its number, at which node, and what it says.
type Flying = (Duration, u64, usize, [u8; PACKET_LEN]);

/// Two nodes and the two ways between them; way 0 leads to node 0.
pub(super) struct Network {
    pub(super) now: Duration,
    pub(super) ways: [Way; 2],
    pub(super) rng: ChaCha8Rng,
    pub(super) happened: Vec<Happened>,
    nodes: [Node; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    launched: u64,
}

impl Network {
    pub(super) fn new(seed: u64, ways: [Way; 2], settings: [Settings; 2]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let epoch = Instant::now();
        let [first, second] = settings;
        let mut node = |number: u8, settings: Settings| Node {
            address: Ipv4Addr::new(10, 99, 1, number).into(),
            sessions: Sessions::new(rng.random()),
            id: None,
            settings,
            epoch,
            // Quartz: 100 millionths each way.
            drift: rng.random_range(-100..=100),
            arrived: Duration::ZERO,
            stalled: None,
        };
        let nodes = [node(1, first), node(2, second)];
        Self {
            now: Duration::ZERO,
            ways,
            rng,
            happened: Vec::new(),
            nodes,
            flying: BinaryHeap::new(),
            launched: 0,
        }
    }

    /// Sets what the node's session begins with.
    pub(super) fn prepare(&mut self, node: usize, settings: Settings) {
        self.nodes[node].settings = settings;
    }

    /// Begins the node's session.
    pub(super) fn start(&mut self, node: usize) {
        let peer = self.nodes[1 - node].address;
        let this = &mut self.nodes[node];
        let path = Path::SingleHop {
            peer,
            interface: None,
        };
        let now = this.clock(self.now);
        this.id = Some(this.sessions.add(now, path, this.settings.clone()).unwrap());
        self.drain(node);
    }

    /// The node's process ends without a word and begins anew.
    pub(super) fn restart(&mut self, node: usize) {
        self.nodes[node].sessions = Sessions::new(self.rng.random());
        self.start(node);
    }

    pub(super) fn reconfigure(&mut self, node: usize, settings: Settings) {
        let this = &mut self.nodes[node];
        this.settings = settings.clone();
        let now = this.clock(self.now);
        let id = this.id.unwrap();
        this.sessions.reconfigure(now, id, settings).unwrap();
        self.drain(node);
    }

    pub(super) fn retire(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let now = this.clock(self.now);
        this.sessions.retire_all(now);
        self.drain(node);
    }

    /// The node's process does not run for so long; what arrives waits to be read.
    pub(super) fn stall(&mut self, node: usize, time: Duration) {
        self.nodes[node].stalled = Some(self.now + time);
    }

    pub(super) fn settings(&self, node: usize) -> &Settings {
        &self.nodes[node].settings
    }

    pub(super) fn status(&self, node: usize) -> Status {
        let this = &self.nodes[node];
        this.sessions.status(this.id.unwrap()).unwrap()
    }

    pub(super) fn both_up(&self) -> bool {
        [0, 1].iter().all(|node| {
            let this = &self.nodes[*node];
            let status = this.id.and_then(|id| this.sessions.status(id));
            status.is_some_and(|status| status.state == State::Up)
        })
    }

    /// Runs until then, or until it is so.
    pub(super) fn run_until(&mut self, end: Duration, so: impl Fn(&Self) -> bool) -> bool {
        loop {
            if so(self) {
                return true;
            }
            let flying = self.flying.peek().map(|Reverse((at, ..))| *at);
            let next = [self.wake(0), self.wake(1), flying];
            let next = next.into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return so(self);
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// When the node does something by itself.
    fn wake(&self, node: usize) -> Option<Duration> {
        let this = &self.nodes[node];
        let timeout = this.sessions.next_timeout()?;
        let timeout = this.true_time(timeout);
        Some(this.stalled.map_or(timeout, |until| timeout.max(until)))
    }

    fn step(&mut self) {
        let mut arrived = BTreeSet::new();
        while let Some(Reverse((at, _, node, _))) = self.flying.peek()
            && *at <= self.now
        {
            let node = *node;
            let Some(Reverse((at, sequence, _, bytes))) = self.flying.pop() else {
                break;
            };
            if let Some(until) = self.nodes[node].stalled.filter(|until| *until > at) {
                // Read as soon as the process runs, after the timers that were due.
                self.flying.push(Reverse((until, sequence, node, bytes)));
                continue;
            }
            if !arrived.contains(&node) && self.nodes[node].stalled.is_some() {
                self.tick(node, Inbox::Waiting);
            }
            arrived.insert(node);
            self.receive(node, &bytes);
        }
        for node in [0, 1] {
            if self.nodes[node]
                .stalled
                .is_some_and(|until| until <= self.now)
            {
                self.nodes[node].stalled = None;
            }
            if self.wake(node).is_some_and(|at| at <= self.now) {
                self.tick(node, Inbox::Empty);
            }
        }
    }

    fn tick(&mut self, node: usize, inbox: Inbox) {
        let this = &mut self.nodes[node];
        let now = this.clock(self.now);
        this.sessions.handle_timeout(now, inbox);
        self.drain(node);
    }

    fn receive(&mut self, node: usize, bytes: &[u8]) {
        let arrival = Arrival {
            hops: Hops::Single,
            from: self.nodes[1 - node].address,
            to: self.nodes[node].address,
            interface: 3,
            ttl: TTL,
        };
        let this = &mut self.nodes[node];
        let now = this.clock(self.now);
        // Packets for a session before a restart, and for one that retired, are dropped.
        let _ = this.sessions.handle_packet(now, &arrival, bytes);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let now = this.clock(self.now);
        let events = std::iter::from_fn(|| this.sessions.poll_event());
        self.happened.extend(events.map(|event| Happened {
            at: self.now,
            node,
            event,
        }));
        while let Some(transmit) = self.nodes[node].sessions.poll_transmit(now) {
            self.launch(1 - node, transmit.payload);
        }
    }

    fn launch(&mut self, to: usize, payload: [u8; PACKET_LEN]) {
        let way = &self.ways[to];
        if way.cut || self.rng.random_bool(way.loss) {
            return;
        }
        let copies = if self.rng.random_bool(way.doubled) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = self.rng.random_range(way.least_delay..=way.most_delay);
            let mut at = self.now + delay;
            if !way.reorders {
                at = at.max(self.nodes[to].arrived);
                self.nodes[to].arrived = at;
            }
            self.launched += 1;
            self.flying.push(Reverse((at, self.launched, to, payload)));
        }
    }
}
