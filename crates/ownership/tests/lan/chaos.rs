//! Everything at once.

use std::time::Duration;

use herald_ownership::Failback;

use crate::cluster::{Cluster, ms};
use crate::invariants::holders;

/// How long two that hear each other may hold one address: both see that the other announces it,
/// and after two seconds their names decide.
const DOUBLE: Duration = Duration::from_secs(3);

/// A random fault, and how it ends.
fn trouble(cluster: &mut Cluster) {
    let count = cluster.hosts.len();
    let host = cluster.dice.index(count);
    let other = (host + 1 + cluster.dice.index(count - 1)) % count;
    let time = ms(50 + cluster.dice.below(20_000));
    match cluster.dice.below(7) {
        0 => {
            cluster.crash(host);
            cluster.run(time);
            cluster.restart(host);
        }
        1 => {
            cluster.pause(host);
            cluster.run(time + ms(400));
            cluster.resume(host);
        }
        2 => {
            // The switch is split, for the group and the LAN alike.
            split(cluster, host, true, true);
            cluster.run(time);
        }
        3 => {
            split(cluster, host, true, false);
            cluster.run(time);
        }
        4 => {
            split(cluster, host, false, true);
            cluster.run(time);
        }
        5 => {
            cluster.deaf.insert((host, other));
            cluster.run(time);
        }
        _ => {
            cluster.cut.insert((host, other));
            cluster.changed();
            cluster.run(time);
        }
    }
    cluster.deaf.clear();
    cluster.cut.clear();
    cluster.changed();
    let pause = cluster.dice.below(6_000);
    cluster.run(ms(pause));
}

/// Parts the hosts in two: those whose number is at most `last`, and the rest.
fn split(cluster: &mut Cluster, last: usize, group: bool, lan: bool) {
    for a in 0..cluster.hosts.len() {
        for b in 0..cluster.hosts.len() {
            if (a <= last) == (b <= last) {
                continue;
            }
            if group {
                cluster.cut.insert((a, b));
            }
            if lan {
                cluster.deaf.insert((a, b));
            }
        }
    }
    cluster.changed();
}

fn chaos(seed: u64, loss: u64) {
    let hosts = 2 + usize::try_from(seed % 4).expect("small");
    let failback = [Failback::Revertive, Failback::Sticky][usize::from(seed % 8 >= 4)];
    let mut cluster = Cluster::new(seed, hosts, 3, failback);
    cluster.loss = loss;
    cluster.run(ms(3_000));
    for _ in 0..4 {
        trouble(&mut cluster);
    }
    let double = cluster.watch.longest_double;
    assert!(double <= DOUBLE, "seed {seed}: held twice for {double:?}");
    cluster.run(ms(15_000));
    cluster.watch.reset();
    for address in cluster.addresses.clone() {
        let holders = holders(&cluster, address);
        assert_eq!(
            holders.len(),
            1,
            "seed {seed}: {address} at {:?}",
            cluster.elapsed()
        );
    }
    cluster.run(ms(10_000));
    assert_eq!(cluster.watch.longest_double, Duration::ZERO, "seed {seed}");
    if loss == 0 {
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
    }
}

#[test]
fn faults_of_all_kinds_on_a_lan_that_loses_nothing() {
    for seed in 0..400 {
        chaos(seed, 0);
    }
}

#[test]
fn faults_of_all_kinds_on_a_lan_that_loses_every_twentieth_frame() {
    for seed in 1_000..1_400 {
        chaos(seed, 50);
    }
}
