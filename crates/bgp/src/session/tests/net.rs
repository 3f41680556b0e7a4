//! Two sessions with a network between them, in virtual time.

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

/// One of the two speakers.
pub(super) struct Host {
    pub(super) session: Session,
    pub(super) feed: Feed,
    pub(super) table: Table,
    /// What it has from the other one.
    pub(super) rib: Rib,
    pub(super) events: Vec<(Duration, Event)>,
    /// Its connections and their numbers in the network.
    wires: BTreeMap<ConnectionId, usize>,
}

/// A TCP connection.
#[derive(Debug)]
struct Wire {
    /// What the two hosts call it, while they have it.
    ends: [Option<ConnectionId>; 2],
    /// When the last thing sent to each host arrives: nothing overtakes.
    last: [Instant; 2],
    /// Nothing arrives any more, and nobody notices.
    dead: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flight {
    /// The request of a host for a connection.
    Syn {
        from: usize,
    },
    /// It is granted.
    Granted {
        to: usize,
    },
    Refused {
        to: usize,
    },
    Bytes {
        to: usize,
        bytes: Vec<u8>,
    },
    Closed {
        to: usize,
    },
    Broken {
        to: usize,
    },
}

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
    flights: BinaryHeap<Reverse<(Instant, usize, usize, Flight)>>,
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
    config
}

impl Net {
    pub(super) fn new(seed: u64, configs: [Config; 2]) -> Self {
        let start = Instant::now();
        let mut number = 0;
        let hosts = configs.map(|config| {
            number += 1;
            let mut table = Table::new();
            table.set_complete(true);
            Host {
                session: Session::new(config, seed.wrapping_mul(2).wrapping_add(number)),
                feed: Feed::new("peer"),
                table,
                rib: Rib::new(),
                events: Vec::new(),
                wires: BTreeMap::new(),
            }
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
        self.hosts[host].session.start(self.now);
        self.drain(host);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let alarms = self.hosts.iter().map(|host| host.session.next_timeout());
            let alarm = alarms.flatten().min();
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
            } else {
                for host in 0..2 {
                    self.hosts[host].session.handle_timeout(self.now);
                    self.drain(host);
                    let next = self.hosts[host].session.next_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "it is due for ever");
                }
            }
            self.check();
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

    /// A host runs again with nothing that it had.
    pub(super) fn restart(&mut self, host: usize, config: Config, seed: u64) {
        for (_, wire) in std::mem::take(&mut self.hosts[host].wires) {
            self.wires[wire].ends[host] = None;
            self.send(wire, Flight::Broken { to: 1 - host }, 1 - host);
        }
        let mut table = Table::new();
        std::mem::swap(&mut table, &mut self.hosts[host].table);
        self.hosts[host].feed.close(&mut table);
        self.hosts[host] = Host {
            session: Session::new(config, seed),
            feed: Feed::new("peer"),
            table,
            rib: Rib::new(),
            events: Vec::new(),
            wires: BTreeMap::new(),
        };
        self.hosts[host].session.start(self.now);
        self.drain(host);
    }

    /// All connections break; the hosts are told at different times.
    pub(super) fn break_all(&mut self) {
        for wire in 0..self.wires.len() {
            for host in 0..2 {
                self.send(wire, Flight::Broken { to: host }, host);
            }
        }
    }

    /// From now on nothing of what is sent on the connections that there are arrives.
    pub(super) fn kill_silently(&mut self) {
        for wire in &mut self.wires {
            wire.dead = true;
        }
    }

    /// Hands on what is in the hosts' tables.
    pub(super) fn fill(&mut self) {
        for host in 0..2 {
            let Host {
                session,
                feed,
                table,
                ..
            } = &mut self.hosts[host];
            feed.fill(self.now, session, table);
            self.drain(host);
        }
    }

    fn check(&self) {
        for host in &self.hosts {
            // One that was dialled, one that was accepted, and one that is up.
            assert!(host.wires.len() <= 3, "{:?}", host.wires);
        }
    }

    fn send(&mut self, wire: usize, flight: Flight, to: usize) {
        let delay = self.rng.random_range(self.delay.0..=self.delay.1);
        let last = &mut self.wires[wire].last[to];
        *last = (*last).max(self.now + delay);
        self.flights
            .push(Reverse((*last, self.count, wire, flight)));
        self.count += 1;
    }

    fn deliver(&mut self) {
        let Some(Reverse((_, count, wire, flight))) = self.flights.pop() else {
            return;
        };
        if let Some(end) = self.partitioned.filter(|end| *end > self.now) {
            // It is sent again after that, in the same order.
            self.wires[wire].last = self.wires[wire].last.map(|last| last.max(end));
            self.flights.push(Reverse((end, count, wire, flight)));
            return;
        }
        if self.wires[wire].dead {
            return;
        }
        match flight {
            Flight::Syn { from } if self.listening[1 - from] => {
                let to = 1 - from;
                self.send(wire, Flight::Granted { to: from }, from);
                let endpoints = endpoints(to);
                let connection = self.hosts[to].session.handle_accepted(self.now, endpoints);
                self.wires[wire].ends[to] = Some(connection);
                self.hosts[to].wires.insert(connection, wire);
                self.drain(to);
            }
            Flight::Syn { from } => self.send(wire, Flight::Refused { to: from }, from),
            Flight::Granted { to } => self.at(wire, to, |session, now, connection| {
                session.handle_connected(now, connection, endpoints(to));
            }),
            Flight::Refused { to } => {
                self.at(wire, to, |session, now, connection| {
                    session.handle_connect_failed(now, connection, "Connection refused");
                });
                self.drop_end(wire, to);
            }
            Flight::Bytes { to, bytes } => {
                if self.wires[wire].ends[to].is_none() {
                    // The host that closed it says so.
                    return self.send(wire, Flight::Broken { to: 1 - to }, 1 - to);
                }
                self.tap(wire, to, &bytes);
                self.at(wire, to, |session, now, connection| {
                    session.handle_received(now, connection, &bytes);
                });
            }
            Flight::Closed { to } => {
                self.at(wire, to, |session, now, connection| {
                    session.handle_closed(now, connection, None);
                });
                self.drop_end(wire, to);
            }
            Flight::Broken { to } => {
                self.at(wire, to, |session, now, connection| {
                    session.handle_closed(now, connection, Some("Connection reset by peer"));
                });
                self.drop_end(wire, to);
            }
        }
    }

    /// What arrives on the connection that is up goes into the routes.
    fn tap(&mut self, wire: usize, to: usize, bytes: &[u8]) {
        let host = &mut self.hosts[to];
        let up = host.session.state() == State::Established;
        if up && self.wires[wire].ends[to].is_some() {
            host.rib.push(bytes);
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

    fn drop_end(&mut self, wire: usize, host: usize) {
        if let Some(connection) = self.wires[wire].ends[host].take() {
            self.hosts[host].wires.remove(&connection);
        }
    }

    fn drain(&mut self, host: usize) {
        while let Some(action) = self.hosts[host].session.poll_action() {
            match action {
                Action::Connect(connection) => {
                    let mut ends = [None; 2];
                    ends[host] = Some(connection);
                    self.hosts[host].wires.insert(connection, self.wires.len());
                    self.wires.push(Wire {
                        ends,
                        last: [self.now; 2],
                        dead: false,
                    });
                    let wire = self.wires.len() - 1;
                    self.send(wire, Flight::Syn { from: host }, 1 - host);
                }
                Action::Write(connection, bytes) => {
                    // One that is refused at once has its number only after the call.
                    if let Some(&wire) = self.hosts[host].wires.get(&connection) {
                        let to = 1 - host;
                        self.send(wire, Flight::Bytes { to, bytes }, to);
                    }
                    let session = &mut self.hosts[host].session;
                    session.handle_sent(self.now, connection, 0, 0);
                }
                Action::Close(connection) => {
                    if let Some(&wire) = self.hosts[host].wires.get(&connection) {
                        let to = 1 - host;
                        self.send(wire, Flight::Closed { to }, to);
                        self.drop_end(wire, host);
                    }
                }
                Action::Changed(_) => {}
                Action::Event(event) => self.event(host, event),
            }
        }
    }

    fn event(&mut self, host: usize, event: Event) {
        let Host {
            session,
            feed,
            table,
            rib,
            events,
            ..
        } = &mut self.hosts[host];
        if let Event::Down(_) | Event::Up(_) = event {
            *rib = Rib::new();
        }
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
