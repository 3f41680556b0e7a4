//! Runs that a seed decides on: which cluster, and what goes wrong when.

use std::fmt;
use std::time::Duration;

use herald_announce::Failback;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::bounds::{FORMED, MOST_LOSS};
use crate::checks::Violation;
use crate::cluster::{Cluster, Setup};
use crate::fault::{Fault, Network};
use crate::wires::{Quality, chance, up_to};

/// How long a random run takes, in its own time.
const LENGTH: Duration = Duration::from_mins(1);

/// How long nothing goes wrong before its end.
const QUIET_END: Duration = Duration::from_secs(12);

/// The schedule has its own numbers, so that a change of the speakers does not change it.
const SCHEDULE: u64 = 0x5eed;

/// A cluster and what goes wrong in it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The cluster.
    pub setup: Setup,
    /// What goes wrong, from when to when.
    pub faults: Vec<(Duration, Duration, Fault)>,
    /// How long it takes.
    pub length: Duration,
}

/// How a run went.
#[derive(Debug)]
pub struct Run {
    /// The cluster at its end.
    pub cluster: Cluster,
    /// What was not as promised, if anything.
    pub violation: Option<Violation>,
}

impl Scenario {
    /// What the seed makes. `nodes` is how many there are, if not also that comes from the seed.
    pub fn random(seed: u64, nodes: Option<usize>) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ SCHEDULE);
        let nodes = nodes.unwrap_or_else(|| nodes_of(&mut random));
        let services = random.random_range(2..=5);
        let mut setup = Setup::new(seed, nodes);
        setup.failbacks = (0..services).map(|_| failback(&mut random)).collect();
        setup.gossip = quality(&mut random);
        setup.lan = quality(&mut random);
        setup.drift = random.random_range(0..=10_000);
        setup.api_delay = up_to(&mut random, Duration::from_secs(1));
        let mut faults = Vec::new();
        let mut at = FORMED + up_to(&mut random, Duration::from_secs(2));
        let last = LENGTH.saturating_sub(QUIET_END);
        let mut free = vec![Duration::ZERO; nodes];
        while at < last {
            let lasts = lasting(&mut random).min(last.saturating_sub(at));
            if let Some(fault) = fault(&mut random, nodes, &free, at) {
                if let Some(free) = fault.node().and_then(|node| free.get_mut(node)) {
                    *free = at + lasts + FREE_AFTER;
                }
                faults.push((at, at + lasts, fault));
            }
            at += pause(&mut random);
        }
        Self {
            setup,
            faults,
            length: LENGTH,
        }
    }

    /// Runs it to its end, or until something is not as promised.
    pub fn run(&self) -> Run {
        let mut cluster = Cluster::new(&self.setup);
        for (from, to, fault) in &self.faults {
            cluster.strike_at(*from, fault.clone());
            cluster.heal_at(*to, fault.clone());
        }
        let violation = cluster.run(self.length).err();
        Run { cluster, violation }
    }

    /// The same with its history kept.
    pub fn traced(mut self) -> Self {
        self.setup.trace = true;
        self
    }
}

/// A node that a fault of its own has left alone so long can get the next.
const FREE_AFTER: Duration = Duration::from_millis(100);

fn nodes_of(random: &mut Xoshiro256PlusPlus) -> usize {
    match random.random_range(0..100) {
        0..15 => 2,
        15..45 => 3,
        45..65 => random.random_range(4..=5),
        65..92 => random.random_range(6..=9),
        _ => random.random_range(10..=30),
    }
}

fn failback(random: &mut Xoshiro256PlusPlus) -> Failback {
    if random.random_bool(0.4) {
        Failback::Sticky
    } else {
        Failback::Revertive
    }
}

/// Half of the networks lose nothing.
fn quality(random: &mut Xoshiro256PlusPlus) -> Quality {
    let millis = |random: &mut Xoshiro256PlusPlus, most| up_to(random, Duration::from_millis(most));
    let lossy = random.random_bool(0.5);
    Quality {
        latency: Duration::from_micros(random.random_range(50..1000)),
        jitter: millis(random, 4),
        tail: millis(random, 15),
        loss: if lossy {
            random.random_range(0..=MOST_LOSS)
        } else {
            0
        },
        duplicates: if lossy { random.random_range(0..20) } else { 0 },
    }
}

/// Some end before anybody notices, some last for long.
fn lasting(random: &mut Xoshiro256PlusPlus) -> Duration {
    let millis = match random.random_range(0..10) {
        0..2 => random.random_range(20..400),
        2..7 => random.random_range(400..6000),
        _ => random.random_range(6000..20_000),
    };
    Duration::from_millis(millis)
}

/// Some come together, some are alone.
fn pause(random: &mut Xoshiro256PlusPlus) -> Duration {
    let millis = match random.random_range(0..10) {
        0..3 => random.random_range(0..800),
        3..7 => random.random_range(800..6000),
        _ => random.random_range(6000..15_000),
    };
    Duration::from_millis(millis)
}

/// `None` if all nodes have enough to bear.
fn fault(
    random: &mut Xoshiro256PlusPlus,
    nodes: usize,
    free: &[Duration],
    at: Duration,
) -> Option<Fault> {
    let free: Vec<_> = (0..nodes)
        .filter(|node| free.get(*node).is_some_and(|free| *free <= at))
        .collect();
    let index = random.random_range(0..free.len().max(1));
    let node = free.get(index).copied()?;
    Some(match random.random_range(0..100) {
        0..12 => Fault::PowerOff {
            node,
            wipe: random.random_bool(0.3),
        },
        12..22 => Fault::Kill { node },
        22..32 => Fault::Terminate { node },
        32..42 => Fault::Stop { node },
        42..47 => Fault::Busy { node },
        47..57 => Fault::Carrier {
            node,
            gossip: random.random_bool(0.5),
        },
        57..63 => Fault::Drain { node },
        63..66 => Fault::OutOfService { node },
        66..71 => Fault::Loss {
            network: network(random),
            loss: random.random_range(1..=MOST_LOSS),
        },
        71..78 => {
            // One station cannot be heard by one other.
            let stations = if chance(random, 500) {
                nodes
            } else {
                nodes + 1
            };
            let to = (node + random.random_range(1..stations)) % stations;
            cut(random, vec![node], vec![to])
        }
        78..90 => {
            let others = (0..=nodes).filter(|other| *other != node).collect();
            cut(random, vec![node], others)
        }
        _ => {
            let mut stations: Vec<_> = (0..=nodes).collect();
            stations.shuffle(random);
            let size = random.random_range(1..=nodes);
            let rest = stations.split_off(size);
            cut(random, stations, rest)
        }
    })
}

fn cut(random: &mut Xoshiro256PlusPlus, from: Vec<usize>, to: Vec<usize>) -> Fault {
    let (from, to) = if random.random_bool(0.5) {
        (from, to)
    } else {
        (to, from)
    };
    Fault::Cut {
        network: network(random),
        from,
        to,
        both_ways: random.random_bool(0.7),
    }
}

fn network(random: &mut Xoshiro256PlusPlus) -> Network {
    match random.random_range(0..10) {
        0..3 => Network::Gossip,
        3..6 => Network::Lan,
        _ => Network::Both,
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = &self.setup;
        writeln!(f, "{} nodes, addresses {:?}", setup.nodes, setup.failbacks)?;
        writeln!(f, "group: {:?}", setup.gossip)?;
        writeln!(f, "LAN: {:?}", setup.lan)?;
        writeln!(f, "drift {}, API {:?}", setup.drift, setup.api_delay)?;
        for (from, to, fault) in &self.faults {
            let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
            writeln!(f, "{from:10.3} to {to:10.3}: {fault}")?;
        }
        Ok(())
    }
}
