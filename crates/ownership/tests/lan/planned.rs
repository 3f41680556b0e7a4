//! On a LAN that loses nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use herald_model::Phase;
use herald_ownership::{Failback, Status};

use crate::cluster::{Cluster, ms};
use crate::invariants::holders;

fn settled(seed: u64, hosts: usize, failback: Failback) -> Cluster {
    let mut cluster = Cluster::new(seed, hosts, 6, failback);
    cluster.run(ms(15_000));
    for address in cluster.addresses.clone() {
        assert_eq!(
            holders(&cluster, address).len(),
            1,
            "seed {seed}: {address}"
        );
    }
    cluster.watch.reset();
    cluster
}

fn each_seed(test: impl Fn(u64, usize, Failback)) {
    for seed in 0..60 {
        let hosts = 2 + usize::try_from(seed % 4).expect("small");
        let failback = [Failback::Revertive, Failback::Sticky];
        test(seed, hosts, failback[usize::from(seed % 8 >= 4)]);
    }
}

#[test]
fn nothing_moves_without_a_cause() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        cluster.run(ms(120_000));
        assert!(cluster.watch.moves.is_empty(), "seed {seed}");
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert_eq!(cluster.watch.longest_double, Duration::ZERO, "seed {seed}");
    });
}

#[test]
fn one_that_leaves_is_replaced_without_a_moment_unanswered() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        cluster.leave(0);
        cluster.run(ms(500));
        assert!(cluster.is_quiet(0), "seed {seed}");
        for address in cluster.addresses.clone() {
            assert!(!holders(&cluster, address).contains(&0), "seed {seed}");
        }
        cluster.crash(0);
        cluster.run(ms(20_000));
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert!(cluster.watch.longest_double < ms(500), "seed {seed}");
    });
}

#[test]
fn a_drain_that_is_called_off_brings_back_what_reverts() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        let before: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        cluster.set_phase(0, Phase::Draining);
        let pause = cluster.dice.below(400);
        cluster.run(ms(pause));
        cluster.set_phase(0, Phase::Ready);
        cluster.run(ms(15_000));
        let after: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        assert!(
            after.iter().all(|holders| holders.len() == 1),
            "seed {seed}"
        );
        if failback == Failback::Revertive {
            assert_eq!(before, after, "seed {seed}");
        }
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert!(cluster.watch.longest_double < ms(500), "seed {seed}");
    });
}

#[test]
fn a_change_of_selectors_moves_addresses_without_a_moment_unanswered() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        for _ in 0..5 {
            let left_out = cluster.dice.index(hosts);
            let nodes: BTreeSet<usize> = (0..hosts).filter(|host| *host != left_out).collect();
            for address in cluster.addresses.clone() {
                cluster.set_candidates(address, &nodes);
            }
            cluster.run(ms(3_000));
            for address in cluster.addresses.clone() {
                let holders = holders(&cluster, address);
                assert_eq!(holders.len(), 1, "seed {seed}");
                assert_ne!(holders, [left_out], "seed {seed}");
            }
        }
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert!(cluster.watch.longest_double < ms(1_000), "seed {seed}");
    });
}

#[test]
fn one_that_dies_is_replaced_within_half_a_second() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        cluster.crash(0);
        cluster.run(ms(20_000));
        let gap = cluster.watch.longest_nobody;
        assert!(
            gap > Duration::ZERO && gap <= ms(520),
            "seed {seed}: {gap:?}"
        );
        assert_eq!(cluster.watch.longest_double, Duration::ZERO, "seed {seed}");
    });
}

#[test]
fn a_returned_node_gets_back_what_reverts_and_nothing_that_sticks() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = settled(seed, hosts, failback);
        let before: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        cluster.crash(0);
        cluster.run(ms(10_000));
        let without: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        cluster.watch.reset();
        cluster.restart(0);
        cluster.run(ms(30_000));
        let after: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        match failback {
            Failback::Revertive => assert_eq!(after, before, "seed {seed}"),
            Failback::Sticky => assert_eq!(after, without, "seed {seed}"),
        }
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert!(cluster.watch.longest_double < ms(500), "seed {seed}");
        for address in &cluster.addresses {
            let waiting = matches!(cluster.status(0, *address), Status::HeldBy(_));
            assert!(failback == Failback::Sticky || !waiting, "seed {seed}");
        }
    });
}

#[test]
fn when_all_come_back_together_nothing_moves_although_they_are_ready_one_after_the_other() {
    each_seed(|seed, hosts, failback| {
        let mut cluster = Cluster::in_phase(Phase::Settling, seed, hosts, 6, failback);
        cluster.run(ms(2_000));
        let before: Vec<_> = cluster
            .addresses
            .iter()
            .map(|a| holders(&cluster, *a))
            .collect();
        assert!(
            before.iter().all(|holders| holders.len() == 1),
            "{before:?}"
        );
        cluster.watch.reset();
        for host in 0..hosts {
            cluster.set_phase(host, Phase::Ready);
            cluster.run(ms(50 + seed * 150));
        }
        cluster.run(ms(5_000));
        assert!(cluster.watch.moves.is_empty(), "seed {seed}");
        assert_eq!(cluster.watch.longest_nobody, Duration::ZERO, "seed {seed}");
        assert_eq!(cluster.watch.longest_double, Duration::ZERO, "seed {seed}");
    });
}
