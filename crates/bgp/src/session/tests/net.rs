//! Two sessions with a network between them, in virtual time.
//!
//! Connections cut what is written into segments of any length, take no more than their windows
//! allow, and break in all ways. Whatever happens, each session is held to its word: it says nothing
//! on a connection that it has closed, nothing after a NOTIFICATION, has no more than a bounded
//! number of bytes waiting, and never dials twice at once.

mod pipe;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::script::{id, secs};
use crate::routes::tests::rib::Rib;
use crate::routes::{Feed, Table};
use crate::session::{Action, Config, ConnectionId, Endpoints, Event, Session, State};
use crate::wire::{Asn, ExpectedAs};
use pipe::Pipe;

/// How long a connection that is closed may take to send what waits.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A session that nobody has told to hurry does not dial twice within this.
const BETWEEN_DIALS: Duration = Duration::from_millis(375);

/// One of the two speakers.
pub(super) struct Host {
    pub(super) session: Session,
    pub(super) feed: Feed,
    pub(super) table: Table,
    pub(super) events: Vec<(Duration, Event)>,
    /// Until then it does not run.
    pub(super) frozen: Option<Instant>,
    /// Its connections and their numbers in the network.
    wires: BTreeMap<ConnectionId, usize>,
    /// When it dialled, since it was last told to do something at once.
    dialled: Option<Instant>,
}

/// A TCP connection.
#[derive(Debug)]
struct Wire {
    /// What the two hosts call it, while they have it.
    ends: [Option<ConnectionId>; 2],
    /// What is sent to each host.
    pipes: [Pipe; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flight {
    /// The request of a host for a connection.
    Syn,
    /// It is granted.
    Granted,
    Refused,
    Bytes(Vec<u8>),
    /// So many bytes of the host's have been read.
    Ack(usize),
    Closed,
    Broken,
    /// The host that is told has waited long enough to send the rest. Needs no network.
    GiveUp,
}

/// When it arrives, a number that keeps the order, the connection, the host that it is for.
type Arrival = (Instant, usize, usize, usize, Flight);

pub(super) struct Net {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) hosts: [Host; 2],
    pub(super) rng: ChaCha8Rng,
    pub(super) delay: (Duration, Duration),
    /// Until then nothing arrives.
    pub(super) partitioned: Option<Instant>,
    /// Both hosts listen.
    pub(super) listening: [bool; 2],
    wires: Vec<Wire>,
    flights: BinaryHeap<Reverse<Arrival>>,
    count: usize,
}

pub(super) fn config(host: usize) -> Config {
    let asn = |host: usize| Asn(65_001 + u32::try_from(host).unwrap());
    let mut config = Config::new(
        asn(host),
        ExpectedAs::Exactly(asn(1 - host)),
        id(1 + u8::try_from(host).unwrap()),
    );
    config.timers.hold = 9;
    config.timers.connect = secs(5);
    config.timers.open = secs(20);
    config.timers.idle = secs(10);
    config.timers.send_hold = Some(secs(15));
    config
}

impl Host {
    fn new(config: Config, seed: u64, table: Table) -> Self {
        Self {
            session: Session::new(config, seed),
            feed: Feed::new("peer"),
            table,
            events: Vec::new(),
            frozen: None,
            wires: BTreeMap::new(),
            dialled: None,
        }
    }

    /// When it has something to do.
    fn alarm(&self) -> Option<Instant> {
        let at = self.session.next_timeout()?;
        Some(self.frozen.map_or(at, |frozen| at.max(frozen)))
    }
}

impl Net {
    pub(super) fn new(seed: u64, configs: [Config; 2]) -> Self {
        let start = Instant::now();
        let mut number = 0;
        let hosts = configs.map(|config| {
            number += 1;
            let mut table = Table::new();
            table.set_complete(true);
            Host::new(config, seed.wrapping_mul(2).wrapping_add(number), table)
        });
        Self {
            start,
            now: start,
            hosts,
            rng: ChaCha8Rng::seed_from_u64(seed),
            delay: (Duration::from_micros(50), Duration::from_millis(2)),
            partitioned: None,
            listening: [true; 2],
            wires: Vec::new(),
            flights: BinaryHeap::new(),
            count: 0,
        }
    }

    pub(super) fn start_both(&mut self) {
        self.start(0);
        self.start(1);
    }

    pub(super) fn start(&mut self, host: usize) {
        self.tell(host, Session::start);
    }

    /// Tells a session something after which it may dial at once.
    pub(super) fn tell(&mut self, host: usize, what: impl FnOnce(&mut Session, Instant)) {
        self.hosts[host].dialled = None;
        what(&mut self.hosts[host].session, self.now);
        self.drain(host);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let alarm = self.hosts.iter().filter_map(Host::alarm).min();
            let arrival = self.flights.peek().map(|Reverse((at, ..))| *at);
            let Some(next) = alarm.into_iter().chain(arrival).min() else {
                break;
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                self.deliver();
                continue;
            }
            for host in 0..2 {
                if self.hosts[host].alarm().is_none_or(|at| at > self.now) {
                    continue;
                }
                self.hosts[host].session.handle_timeout(self.now);
                self.drain(host);
                let next = self.hosts[host].session.next_timeout();
                assert!(next.is_none_or(|at| at > self.now), "it is due for ever");
            }
        }
        self.now = end;
    }

    pub(super) fn is_up(&self) -> bool {
        self.hosts
            .iter()
            .all(|host| host.session.state() == State::Established)
    }

    /// The connections that at least one host has, with a peer or without.
    pub(super) fn open_wires(&self) -> usize {
        self.wires
            .iter()
            .filter(|wire| wire.ends.iter().any(Option::is_some))
            .count()
    }

    /// What a host has from the other one, on the last connection that both have.
    pub(super) fn rib(&self, host: usize) -> &Rib {
        let both = |wire: &&Wire| wire.ends.iter().all(Option::is_some);
        let wire = self.wires.iter().rev().find(both).expect("a connection");
        &wire.pipes[host].rib
    }

    /// A host runs again with nothing that it had but its routes.
    pub(super) fn restart(&mut self, host: usize, config: Config, seed: u64) {
        for (_, wire) in std::mem::take(&mut self.hosts[host].wires) {
            self.wires[wire].ends[host] = None;
            self.send(wire, 1 - host, Flight::Broken);
        }
        let mut table = std::mem::take(&mut self.hosts[host].table);
        self.hosts[host].feed.close(&mut table);
        self.hosts[host] = Host::new(config, seed, table);
        self.start(host);
    }

    /// All connections break; the hosts are told at different times.
    pub(super) fn break_all(&mut self) {
        for wire in 0..self.wires.len() {
            for host in 0..2 {
                self.send(wire, host, Flight::Broken);
            }
        }
    }

    /// From now on nothing of what is sent to these hosts on the connections that there are arrives.
    pub(super) fn kill_silently(&mut self, hosts: &[usize]) {
        for wire in &mut self.wires {
            for host in hosts {
                wire.pipes[*host].dead = true;
            }
        }
    }

    /// Hands on what is in the hosts' tables.
    pub(super) fn fill(&mut self) {
        for host in 0..2 {
            self.fill_one(host);
            self.drain(host);
        }
    }

    fn fill_one(&mut self, host: usize) {
        let Host {
            session,
            feed,
            table,
            ..
        } = &mut self.hosts[host];
        feed.fill(self.now, session, table);
    }

    fn send(&mut self, wire: usize, to: usize, flight: Flight) {
        let delay = self.rng.random_range(self.delay.0..=self.delay.1);
        let last = &mut self.wires[wire].pipes[to].last;
        *last = (*last).max(self.now + delay);
        let at = *last;
        self.push(at, wire, to, flight);
    }

    fn push(&mut self, at: Instant, wire: usize, to: usize, flight: Flight) {
        self.flights
            .push(Reverse((at, self.count, wire, to, flight)));
        self.count += 1;
    }

    /// Sends as much as there is room for on the way to a host.
    fn pump(&mut self, wire: usize, to: usize) {
        while let Some(bytes) = self.wires[wire].pipes[to].segment(&mut self.rng) {
            self.send(wire, to, Flight::Bytes(bytes));
        }
        if self.wires[wire].pipes[to].take_end() {
            self.send(wire, to, Flight::Closed);
        }
        if let Some(connection) = self.wires[wire].ends[1 - to] {
            let pipe = &self.wires[wire].pipes[to];
            let (left, unread) = (pipe.waiting(), pipe.waiting() + pipe.under_way());
            let session = &mut self.hosts[1 - to].session;
            session.handle_sent(self.now, connection, left, unread);
        }
    }

    fn deliver(&mut self) {
        let Some(Reverse((_, count, wire, to, flight))) = self.flights.pop() else {
            return;
        };
        if flight == Flight::GiveUp {
            if self.wires[wire].pipes[1 - to].give_up() {
                self.send(wire, 1 - to, Flight::Broken);
            }
            return;
        }
        let pipe = &mut self.wires[wire].pipes[to];
        let held = [self.partitioned, self.hosts[to].frozen];
        if let Some(end) = held.into_iter().flatten().max()
            && end > self.now
        {
            // It comes after that, in the same order.
            pipe.last = pipe.last.max(end);
            self.flights.push(Reverse((end, count, wire, to, flight)));
            return;
        }
        if !pipe.dead {
            self.arrive(wire, to, flight);
        }
    }

    fn arrive(&mut self, wire: usize, to: usize, flight: Flight) {
        match flight {
            Flight::Syn if self.listening[to] => {
                self.send(wire, 1 - to, Flight::Granted);
                let connection = self.hosts[to]
                    .session
                    .handle_accepted(self.now, endpoints(to));
                self.wires[wire].ends[to] = Some(connection);
                self.hosts[to].wires.insert(connection, wire);
                self.drain(to);
            }
            Flight::Syn => self.send(wire, 1 - to, Flight::Refused),
            Flight::Granted => self.at(wire, to, |session, now, connection| {
                session.handle_connected(now, connection, endpoints(to));
            }),
            Flight::Refused => self.end(wire, to, |session, now, connection| {
                session.handle_connect_failed(now, connection, "Connection refused");
            }),
            Flight::Bytes(bytes) => {
                if self.wires[wire].ends[to].is_none() {
                    // The host that closed it says so.
                    return self.send(wire, 1 - to, Flight::Broken);
                }
                self.wires[wire].pipes[to].rib.push(&bytes);
                self.send(wire, 1 - to, Flight::Ack(bytes.len()));
                self.at(wire, to, |session, now, connection| {
                    session.handle_received(now, connection, &bytes);
                });
            }
            Flight::Ack(len) => {
                self.wires[wire].pipes[1 - to].read(len);
                self.pump(wire, 1 - to);
                self.fill_one(to);
                self.drain(to);
            }
            Flight::Closed => self.end(wire, to, |session, now, connection| {
                session.handle_closed(now, connection, None);
            }),
            Flight::Broken => self.end(wire, to, |session, now, connection| {
                session.handle_closed(now, connection, Some("Connection reset by peer"));
            }),
            Flight::GiveUp => unreachable!("it was seen to"),
        }
    }

    fn at(
        &mut self,
        wire: usize,
        to: usize,
        call: impl FnOnce(&mut Session, Instant, ConnectionId),
    ) {
        if let Some(connection) = self.wires[wire].ends[to] {
            call(&mut self.hosts[to].session, self.now, connection);
            self.drain(to);
        }
    }

    /// A connection is gone for a host, which is told so.
    fn end(
        &mut self,
        wire: usize,
        to: usize,
        call: impl FnOnce(&mut Session, Instant, ConnectionId),
    ) {
        if let Some(connection) = self.wires[wire].ends[to].take() {
            self.hosts[to].wires.remove(&connection);
            call(&mut self.hosts[to].session, self.now, connection);
            self.drain(to);
        }
    }

    /// Carries out what a session wants. It must want nothing of a connection that is gone.
    fn drain(&mut self, host: usize) {
        let to = 1 - host;
        while let Some(action) = self.hosts[host].session.poll_action() {
            match action {
                Action::Connect(connection) => self.dial(host, connection),
                Action::Write(connection, bytes) => {
                    let wire = self.hosts[host].wires[&connection];
                    self.wires[wire].pipes[to].write(&bytes);
                    self.pump(wire, to);
                }
                Action::Close(connection) => {
                    let wire = self.hosts[host].wires.remove(&connection);
                    let wire = wire.expect("it is open");
                    self.wires[wire].ends[host] = None;
                    self.wires[wire].pipes[to].close();
                    self.push(self.now + LAST_WORDS, wire, host, Flight::GiveUp);
                    self.pump(wire, to);
                }
                Action::Changed(_) => {}
                Action::Event(event) => self.event(host, event),
            }
            // One that was dialled, one that was accepted, and one that is up.
            assert!(self.hosts[host].wires.len() <= 3);
        }
    }

    fn dial(&mut self, host: usize, connection: ConnectionId) {
        let before = self.hosts[host].dialled.replace(self.now);
        let gap = before.map(|before| self.now - before);
        assert!(
            gap.is_none_or(|gap| gap >= BETWEEN_DIALS),
            "it dials again after {gap:?}"
        );
        let mut ends = [None; 2];
        ends[host] = Some(connection);
        let wire = self.wires.len();
        self.hosts[host].wires.insert(connection, wire);
        let pipes = [(); 2].map(|()| Pipe::new(self.now, &mut self.rng));
        self.wires.push(Wire { ends, pipes });
        self.send(wire, 1 - host, Flight::Syn);
    }

    fn event(&mut self, host: usize, event: Event) {
        let Host {
            session,
            feed,
            table,
            events,
            ..
        } = &mut self.hosts[host];
        feed.handle_event(&event, session, table);
        feed.fill(self.now, session, table);
        events.push((self.now - self.start, event));
    }
}

fn endpoints(host: usize) -> Endpoints {
    let address = |host: usize| {
        let last = 1 + u8::try_from(host).unwrap();
        SocketAddr::from((Ipv4Addr::new(10, 99, 1, last), 179))
    };
    Endpoints {
        local: address(host),
        peer: address(1 - host),
    }
}
