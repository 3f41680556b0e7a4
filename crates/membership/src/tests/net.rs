//! A network of groups in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use herald_model::{GroupView, LanInterface, MacAddress, MemberState, NodeName, Phase};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::{Event, Group, Keyring, Settings, Timers};

pub(super) const PORT: u16 = 7946;
pub(super) const SECRET: &[u8] = b"a secret of enough bytes";

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn name(index: usize) -> NodeName {
    NodeName::new(format!("node-{index:04}"))
}

/// An interface that a node announces on.
pub(super) fn lan(name: &str) -> LanInterface {
    LanInterface {
        name: name.into(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        arp: true,
        ndp: true,
        prefixes: BTreeSet::new(),
        canary: None,
    }
}

/// One node: its group, and what its caller does with it.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) group: Group,
    pub(super) events: Vec<(Duration, Event)>,
    /// Does not run until then; what comes meanwhile waits.
    pub(super) paused: Option<Instant>,
    pub(super) dead: bool,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
    alarm: Option<Instant>,
    pub(super) bytes: usize,
}

/// A datagram under way.
type Flight = (Instant, u64, usize, SocketAddr, Vec<u8>);

pub(super) struct Net {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) hosts: Vec<Host>,
    rng: ChaCha8Rng,
    flights: BinaryHeap<Reverse<Flight>>,
    /// When each host may have to be woken; some are out of date.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    count: u64,
    /// From, to: nothing gets through.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) loss: f64,
    pub(super) delay: (Duration, Duration),
    pub(super) timers: Timers,
    /// How often [`Net::until`] looks.
    pub(super) look_every: Duration,
    /// All that was ever sent, if kept.
    pub(super) record: Option<Vec<(usize, SocketAddr, Vec<u8>)>>,
    by_address: BTreeMap<SocketAddr, usize>,
    v6: bool,
}

impl Net {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        Self::with(size, seed, false)
    }

    pub(super) fn with(size: usize, seed: u64, v6: bool) -> Self {
        let start = Instant::now();
        let mut net = Self {
            start,
            now: start,
            hosts: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            flights: BinaryHeap::new(),
            alarms: BinaryHeap::new(),
            count: 0,
            cut: BTreeSet::new(),
            loss: 0.0,
            delay: (Duration::from_micros(100), Duration::from_micros(400)),
            timers: Timers::default(),
            look_every: ms(1),
            record: None,
            by_address: BTreeMap::new(),
            v6,
        };
        for index in 0..size {
            let address = net.address(index);
            let group = net.group(index, 1);
            net.by_address.insert(address, index);
            net.hosts.push(Host {
                address,
                group,
                events: Vec::new(),
                paused: None,
                dead: false,
                waiting: Vec::new(),
                alarm: None,
                bytes: 0,
            });
        }
        net.tell_nodes(size);
        net
    }

    pub(super) fn address(&self, index: usize) -> SocketAddr {
        let index = u16::try_from(index).unwrap();
        let [a, b] = index.to_be_bytes();
        let ip: IpAddr = if self.v6 {
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, index])
        } else {
            Ipv4Addr::new(10, 0, a, b).into()
        };
        (ip, PORT).into()
    }

    /// A group for a node, not in the network yet.
    pub(super) fn group(&mut self, index: usize, generation: u64) -> Group {
        let settings = Settings {
            me: name(index),
            address: self.address(index),
            timers: self.timers,
            keys: Keyring::new([SECRET]).unwrap(),
            seed: self.rng.random(),
            generation,
        };
        let state = MemberState {
            phase: Phase::Ready,
            ..MemberState::default()
        };
        Group::new(self.now, settings, state)
    }

    fn tell_nodes(&mut self, size: usize) {
        for index in 0..size {
            self.introduce(index);
        }
    }

    /// Tells one group of all nodes.
    pub(super) fn introduce(&mut self, index: usize) {
        let nodes = (0..self.hosts.len())
            .map(|index| (name(index), BTreeSet::from([self.address(index).ip()])))
            .collect();
        let roster = (0..self.hosts.len()).map(name).collect();
        let group = &mut self.hosts[index].group;
        group.set_nodes(self.now, nodes);
        group.set_roster(self.now, roster);
    }

    pub(super) fn restart(&mut self, index: usize, generation: u64) {
        self.hosts[index].group = self.group(index, generation);
        self.hosts[index].dead = false;
        self.introduce(index);
    }

    /// Nothing gets through between the two sets.
    pub(super) fn part(&mut self, a: &[usize], b: &[usize]) {
        for &a in a {
            for &b in b {
                self.cut.insert((a, b));
                self.cut.insert((b, a));
            }
        }
    }

    pub(super) fn view(&self, index: usize) -> &GroupView {
        self.hosts[index].group.view()
    }

    /// Whom a node takes as live, without itself.
    pub(super) fn live(&self, index: usize) -> Vec<NodeName> {
        self.view(index)
            .members
            .iter()
            .filter(|(_, member)| member.live)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// True if all that run take each other as live and have each other's state.
    pub(super) fn whole(&self) -> bool {
        let up: Vec<_> = (0..self.hosts.len())
            .filter(|index| !self.hosts[*index].dead)
            .collect();
        up.iter().all(|&index| {
            let view = self.view(index);
            !view.fenced
                && up.iter().filter(|&&other| other != index).all(|&other| {
                    view.members
                        .get(&name(other))
                        .is_some_and(|member| member.live && member.state.is_some())
                })
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Runs until the condition holds, at most for `bound`; how long it took.
    pub(super) fn until(&mut self, bound: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        while !condition(self) {
            assert!(
                self.now - begin < bound,
                "not within {bound:?}: {:?}",
                self.hosts
                    .iter()
                    .enumerate()
                    .map(|(index, host)| (
                        self.live(index).len(),
                        host.group.view().fenced,
                        host.dead
                    ))
                    .take(10)
                    .collect::<Vec<_>>()
            );
            self.step(self.look_every);
        }
        self.now - begin
    }

    pub(super) fn run(&mut self, duration: Duration) {
        self.step(duration);
    }

    fn step(&mut self, duration: Duration) {
        let end = self.now + duration;
        for index in 0..self.hosts.len() {
            self.collect(index);
        }
        loop {
            let flight = self.flights.peek().map(|Reverse((at, ..))| *at);
            let timer = self.alarms.peek().map(|Reverse(alarm)| *alarm);
            let next = match (flight, timer) {
                (Some(flight), Some((timer, _))) => flight.min(timer),
                (Some(at), None) | (None, Some((at, _))) => at,
                (None, None) => break,
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if flight.is_some_and(|flight| flight <= next) {
                let Some(Reverse((_, _, to, from, bytes))) = self.flights.pop() else {
                    break;
                };
                self.deliver(to, from, bytes);
                self.collect(to);
            } else if let Some((at, index)) = timer {
                self.alarms.pop();
                if self.hosts[index].alarm == Some(at) {
                    self.hosts[index].alarm = None;
                }
                if self.wakes(index) == Some(at) {
                    self.wake(index);
                    self.collect(index);
                }
            }
        }
        self.now = end;
    }

    fn wakes(&self, index: usize) -> Option<Instant> {
        let host = &self.hosts[index];
        if host.dead {
            return None;
        }
        let due = host.group.next_timeout();
        match host.paused {
            Some(paused) => Some(paused),
            None => due,
        }
    }

    fn wake(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.paused.take().is_some() {
            for (from, bytes) in std::mem::take(&mut host.waiting) {
                host.group.handle_datagram(now, from, &bytes);
            }
        }
        host.group.handle_timeout(now);
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) {
        let now = self.now;
        let host = &mut self.hosts[to];
        if host.dead {
        } else if host.paused.is_some() {
            host.waiting.push((from, bytes));
        } else {
            host.group.handle_datagram(now, from, &bytes);
        }
    }

    fn collect(&mut self, index: usize) {
        let elapsed = self.elapsed();
        let from = self.hosts[index].address;
        while let Some(event) = self.hosts[index].group.poll_event() {
            self.hosts[index].events.push((elapsed, event));
        }
        while let Some((to, bytes)) = self.hosts[index].group.poll_transmit() {
            if self.hosts[index].dead {
                continue;
            }
            assert!(bytes.len() <= crate::MAX_DATAGRAM);
            self.hosts[index].bytes += bytes.len();
            if let Some(record) = &mut self.record {
                record.push((index, to, bytes.clone()));
            }
            let Some(&receiver) = self.by_address.get(&to) else {
                continue;
            };
            if self.cut.contains(&(index, receiver)) || self.rng.random_bool(self.loss) {
                continue;
            }
            let delay = self.rng.random_range(self.delay.0..=self.delay.1);
            self.count += 1;
            let flight = (self.now + delay, self.count, receiver, from, bytes);
            self.flights.push(Reverse(flight));
        }
        if let Some(at) = self.wakes(index)
            && self.hosts[index].alarm != Some(at)
        {
            self.hosts[index].alarm = Some(at);
            self.alarms.push(Reverse((at, index)));
        }
    }

    /// How often a node was fenced.
    pub(super) fn fenced(&self, index: usize) -> usize {
        self.hosts[index]
            .events
            .iter()
            .filter(|(_, event)| *event == Event::Fenced)
            .count()
    }

    /// What a node had to complain of.
    pub(super) fn problems(&self, index: usize) -> Vec<crate::ProblemKind> {
        self.hosts[index]
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Problem(problem) => Some(problem.kind),
                _ => None,
            })
            .collect()
    }
}
