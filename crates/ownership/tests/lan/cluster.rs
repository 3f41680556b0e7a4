//! Several machines on one LAN in virtual time: what each one knows of the others comes late and
//! from a model of the group, what it sees of them from a model of the LAN.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{
    GroupView, LanInterface, MacAddress, Member, MemberState, NodeName, Phase, Standing,
};
use herald_ownership::{
    Claim, Command, Duty, Failback, Kind, Limits, Ownership, Sighting, Status, Task,
};

use crate::dice::Dice;

/// When an address that is taken is announced, as the driver does.
const ROUNDS: [u64; 7] = [0, 100, 300, 1_000, 2_000, 4_000, 8_000];

pub(crate) struct Host {
    pub(crate) name: NodeName,
    machine: Ownership,
    pub(crate) running: bool,
    /// Stopped as by a signal: it does nothing and says nothing, but is there.
    pub(crate) paused: bool,
    fenced: bool,
    phase: Phase,
    /// What it believes of the others: live, and their phase.
    beliefs: BTreeMap<usize, (bool, Phase)>,
    /// Who could own each address, as far as it has heard from the API.
    candidates: BTreeMap<IpAddr, BTreeSet<usize>>,
    tasks: BTreeMap<IpAddr, Task>,
    /// Counts the times that an address was taken, so that old rounds end.
    epochs: BTreeMap<IpAddr, u32>,
}

enum Event {
    Frame {
        to: usize,
        sighting: Sighting,
        from: usize,
    },
    Round {
        host: usize,
        address: IpAddr,
        epoch: u32,
        round: usize,
    },
    /// `host` looks whether it still reaches `other`.
    Belief {
        host: usize,
        other: usize,
    },
    Candidates {
        host: usize,
        address: IpAddr,
        nodes: BTreeSet<usize>,
    },
    Phase {
        host: usize,
        phase: Phase,
    },
    Unfence {
        host: usize,
    },
}

pub(crate) struct Cluster {
    start: Instant,
    pub(crate) now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub(crate) dice: Dice,
    pub(crate) hosts: Vec<Host>,
    pub(crate) addresses: Vec<IpAddr>,
    failback: Failback,
    /// Frames of the first are not seen by the second.
    pub(crate) deaf: BTreeSet<(usize, usize)>,
    /// The group's datagrams do not go between these.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Of a thousand frames so many are lost.
    pub(crate) loss: u64,
    pub(crate) watch: crate::invariants::Watch,
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn mac(host: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 1, u8::try_from(host).expect("few hosts")])
}

impl Cluster {
    pub(crate) fn new(seed: u64, hosts: usize, addresses: u8, failback: Failback) -> Self {
        Self::in_phase(Phase::Ready, seed, hosts, addresses, failback)
    }

    /// All begin in this phase.
    pub(crate) fn in_phase(
        phase: Phase,
        seed: u64,
        hosts: usize,
        addresses: u8,
        failback: Failback,
    ) -> Self {
        let now = Instant::now();
        let addresses: Vec<IpAddr> = (0..addresses)
            .map(|number| IpAddr::from([192, 0, 2, number]))
            .collect();
        let mut cluster = Self {
            start: now,
            now,
            events: BTreeMap::new(),
            sequence: 0,
            dice: Dice::new(seed),
            hosts: Vec::new(),
            addresses,
            failback,
            deaf: BTreeSet::new(),
            cut: BTreeSet::new(),
            loss: 0,
            watch: crate::invariants::Watch::default(),
        };
        let all: BTreeSet<usize> = (0..hosts).collect();
        for host in 0..hosts {
            let candidates = cluster.addresses.iter().map(|a| (*a, all.clone()));
            let beliefs = all.iter().filter(|other| **other != host);
            let name = NodeName::new(format!("host{host}"));
            cluster.hosts.push(Host {
                machine: Ownership::new(name.clone(), Limits::default()),
                name,
                running: true,
                paused: false,
                fenced: false,
                phase,
                beliefs: beliefs.map(|other| (*other, (true, phase))).collect(),
                candidates: candidates.collect(),
                tasks: BTreeMap::new(),
                epochs: BTreeMap::new(),
            });
        }
        for host in 0..hosts {
            cluster.tell(host);
        }
        cluster
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeouts = self.hosts.iter().enumerate().filter_map(|(index, host)| {
                let due = host.machine.next_timeout()?;
                (host.running && !host.paused).then_some((due.max(self.now), index))
            });
            let timeout = timeouts.min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            match (timeout, event) {
                (Some((due, host)), event) if due <= end && event.is_none_or(|at| due < at) => {
                    self.step(due);
                    self.hosts[host].machine.handle_timeout(due);
                    self.drive(host);
                }
                (_, Some(at)) if at <= end => {
                    self.step(at);
                    let (_, event) = self.events.pop_first().expect("it was there");
                    self.happen(event);
                }
                _ => break,
            }
        }
        self.step(end);
    }

    fn step(&mut self, to: Instant) {
        crate::invariants::check(self, to);
        self.now = to;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { to, sighting, from } => self.receive(to, from, sighting),
            Event::Round {
                host,
                address,
                epoch,
                round,
            } => {
                let is_current = self.hosts[host].epochs.get(&address) == Some(&epoch);
                if is_current && self.duty(host, address) == Some(Duty::Announce) {
                    if self.is_up(host) {
                        self.broadcast(host, address, Kind::Announced);
                    }
                    self.plan_round(host, address, epoch, round + 1);
                }
            }
            Event::Belief { host, other } => self.believe(host, other),
            Event::Candidates {
                host,
                address,
                nodes,
            } => {
                self.hosts[host].candidates.insert(address, nodes);
                self.tell(host);
            }
            Event::Phase { host, phase } => self.set_phase(host, phase),
            Event::Unfence { host } => {
                self.hosts[host].fenced = false;
                self.tell(host);
            }
        }
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.hosts[host].running && !self.hosts[host].paused
    }

    pub(crate) fn duty(&self, host: usize, address: IpAddr) -> Option<Duty> {
        self.hosts[host].tasks.get(&address).map(|task| task.duty)
    }

    pub(crate) fn status(&self, host: usize, address: IpAddr) -> Status {
        self.hosts[host].machine.status(address)
    }

    // ----- the LAN -----

    fn broadcast(&mut self, from: usize, address: IpAddr, kind: Kind) {
        for to in (0..self.hosts.len()).filter(|to| *to != from) {
            self.send(from, to, address, kind);
        }
    }

    fn send(&mut self, from: usize, to: usize, address: IpAddr, kind: Kind) {
        if self.deaf.contains(&(from, to)) || self.dice.below(1_000) < self.loss {
            return;
        }
        let mac = mac(from);
        let sighting = Sighting { address, mac, kind };
        let delay = Duration::from_micros(100 + self.dice.below(2_000));
        self.at(delay, Event::Frame { to, sighting, from });
    }

    fn receive(&mut self, to: usize, from: usize, sighting: Sighting) {
        if !self.is_up(to) {
            return;
        }
        let duty = self.duty(to, sighting.address);
        let answers = matches!(duty, Some(Duty::Announce | Duty::Answer));
        if sighting.kind == Kind::Probed && answers {
            self.send(to, from, sighting.address, Kind::Answered);
        }
        if duty.is_some() {
            self.hosts[to].machine.saw(self.now, sighting);
            self.drive(to);
        }
    }

    /// Does what the machine wants done.
    fn drive(&mut self, host: usize) {
        let tasks = self.hosts[host].machine.tasks();
        let before = std::mem::replace(&mut self.hosts[host].tasks, (*tasks).clone());
        let announced = |tasks: &BTreeMap<IpAddr, Task>, address: &IpAddr| {
            tasks.get(address).map(|task| task.duty) == Some(Duty::Announce)
        };
        for address in tasks.keys().filter(|address| announced(&tasks, address)) {
            if !announced(&before, address) {
                let epoch = self.hosts[host].epochs.entry(*address).or_default();
                *epoch += 1;
                let epoch = *epoch;
                self.plan_round(host, *address, epoch, 0);
            }
        }
        for command in self.hosts[host].machine.take_commands() {
            match command {
                Command::Probe(address) | Command::Ask { address, .. } => {
                    self.broadcast(host, address, Kind::Probed);
                }
                Command::Announce(address) => self.broadcast(host, address, Kind::Announced),
            }
        }
    }

    fn plan_round(&mut self, host: usize, address: IpAddr, epoch: u32, round: usize) {
        let Some(at) = ROUNDS.get(round) else {
            return;
        };
        let before = round.checked_sub(1).map_or(0, |before| ROUNDS[before]);
        let event = Event::Round {
            host,
            address,
            epoch,
            round,
        };
        self.at(ms(at - before), event);
    }

    // ----- the group -----

    /// True if datagrams go from one to the other and back.
    pub(crate) fn reaches(&self, a: usize, b: usize) -> bool {
        let cut = self.cut.contains(&(a, b)) || self.cut.contains(&(b, a));
        self.is_up(a) && self.is_up(b) && !cut
    }

    /// Something about reachability changed: all find out, each in its time.
    pub(crate) fn changed(&mut self) {
        for host in 0..self.hosts.len() {
            for other in (0..self.hosts.len()).filter(|other| *other != host) {
                let delay = if self.reaches(host, other) {
                    ms(10 + self.dice.below(150))
                } else {
                    ms(150 + self.dice.below(200))
                };
                self.at(delay, Event::Belief { host, other });
            }
        }
    }

    fn believe(&mut self, host: usize, other: usize) {
        if !self.is_up(host) {
            return;
        }
        let live = self.reaches(host, other) && !self.hosts[other].fenced;
        let phase = self.hosts[other].phase;
        let belief = self.hosts[host]
            .beliefs
            .get_mut(&other)
            .expect("all are there");
        let known = if live { phase } else { belief.1 };
        let renewed = (live, known);
        if *belief != renewed {
            *belief = renewed;
            self.tell(host);
        }
    }

    pub(crate) fn set_phase(&mut self, host: usize, phase: Phase) {
        self.hosts[host].phase = phase;
        self.tell(host);
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if self.reaches(host, other) {
                let delay = ms(5 + self.dice.below(80));
                self.at(
                    delay,
                    Event::Belief {
                        host: other,
                        other: host,
                    },
                );
            }
        }
    }

    /// Tells a machine how the group looks, and what the election says.
    fn tell(&mut self, index: usize) {
        if !self.is_up(index) {
            return;
        }
        let view = self.view(index);
        let host = &mut self.hosts[index];
        host.machine.set_group(self.now, &view);
        for address in self.addresses.clone() {
            let claim = self.claim(index, address);
            self.hosts[index]
                .machine
                .set_claim(self.now, address, Some(claim));
        }
        self.drive(index);
    }

    fn view(&self, index: usize) -> GroupView {
        let host = &self.hosts[index];
        let members = host.beliefs.iter().map(|(other, (live, phase))| {
            let member = Member {
                address: SocketAddr::from(([198, 51, 100, 1], 7946)),
                live: *live,
                state: Some(state(*other, *phase).into()),
            };
            (self.hosts[*other].name.clone(), member)
        });
        let live = 1 + host.beliefs.values().filter(|(live, _)| *live).count();
        GroupView {
            members: members.collect(),
            me: state(index, host.phase),
            standing: match (live * 2).cmp(&self.hosts.len()) {
                std::cmp::Ordering::Less => Standing::Minority,
                std::cmp::Ordering::Equal => Standing::Half,
                std::cmp::Ordering::Greater => Standing::Majority,
            },
            fenced: host.fenced,
        }
    }

    fn claim(&self, index: usize, address: IpAddr) -> Claim {
        let host = &self.hosts[index];
        let offset = self.addresses.iter().position(|a| *a == address);
        let (count, offset) = (self.hosts.len(), offset.unwrap_or_default());
        let belief = |other: usize| {
            let own = (true, host.phase);
            host.beliefs.get(&other).copied().unwrap_or(own)
        };
        let candidates = &host.candidates[&address];
        let mut order: Vec<usize> = candidates.iter().copied().collect();
        order.sort_by_key(|other| (belief(*other).1, (other + offset) % count));
        let owner = order.iter().find(|other| belief(**other).0);
        let name = |other: &usize| self.hosts[*other].name.clone();
        match owner {
            None => Claim::Nobody,
            Some(owner) if *owner == index => Claim::Mine {
                interfaces: Interfaces::All,
                order: order.iter().map(name).collect(),
                failback: self.failback,
            },
            Some(owner) => Claim::Theirs {
                owner: name(owner),
                interfaces: candidates.contains(&index).then_some(Interfaces::All),
                failback: self.failback,
            },
        }
    }
}

fn state(host: usize, phase: Phase) -> MemberState {
    MemberState {
        phase,
        interfaces: vec![LanInterface {
            name: "eth0".to_owned(),
            mac: mac(host),
            arp: true,
            ndp: true,
            prefixes: BTreeSet::new(),
            canary: None,
        }],
        unheard: BTreeSet::new(),
    }
}
