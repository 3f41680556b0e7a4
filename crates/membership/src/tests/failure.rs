use super::net::{Net, ms, name};
use crate::Event;
use herald_model::Standing;

#[test]
fn a_dead_member_is_declared_down_within_400_ms_and_nobody_else_is() {
    let mut times = Vec::new();
    for seed in 0..100 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500 + seed * 7));
        net.hosts[2].dead = true;
        let took = net.until(ms(1000), |net| {
            [0, 1]
                .iter()
                .all(|&index| !net.live(index).contains(&name(2)))
        });
        assert_eq!(net.live(0), [name(1)]);
        assert_eq!(net.view(0).standing, Standing::Majority);
        times.push(took);
    }
    times.sort();
    println!("detection: median {:?}, worst {:?}", times[50], times[99]);
    assert!(times[99] < ms(400), "{:?}", times[99]);
    assert!(times[50] < ms(300), "{:?}", times[50]);
}

#[test]
fn the_last_of_two_notices_that_the_other_is_dead() {
    for seed in 0..50 {
        let mut net = Net::new(2, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        net.hosts[1].dead = true;
        let took = net.until(ms(1000), |net| net.live(0).is_empty());
        assert!(took < ms(300), "{took:?}");
        assert_eq!(net.view(0).standing, Standing::Half);
        assert!(!net.view(0).fenced);
    }
}

#[test]
fn one_that_was_cut_off_is_fenced_soon_after_the_heal_and_only_it() {
    for seed in 0..50 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(300));
        net.part(&[0], &[1, 2]);
        net.run(ms(1000 + seed * 100));
        assert_eq!(net.view(0).standing, Standing::Minority);
        assert_eq!(net.view(1).standing, Standing::Majority);
        assert_eq!(net.fenced(0), 0);
        net.cut.clear();
        let took = net.until(ms(1000), |net| net.fenced(0) > 0);
        assert!(took <= ms(500), "seed {seed}: {took:?}");
        let took = net.until(ms(500), Net::whole);
        assert!(took <= ms(100), "seed {seed}: {took:?}");
        net.run(ms(1000));
        assert!(net.whole());
        for index in [1, 2] {
            assert_eq!(net.fenced(index), 0, "seed {seed}: node {index}");
        }
        assert_eq!(net.fenced(0), 1);
    }
}

#[test]
fn of_two_that_were_cut_off_from_each_other_one_is_fenced() {
    for seed in 0..50 {
        let mut net = Net::new(2, seed);
        net.until(ms(2000), Net::whole);
        net.part(&[0], &[1]);
        net.run(ms(1000));
        net.cut.clear();
        net.until(ms(500), |net| net.fenced(1) > 0);
        net.until(ms(500), Net::whole);
        net.run(ms(1000));
        assert_eq!(net.fenced(0), 0);
        assert_eq!(net.fenced(1), 1);
    }
}

#[test]
fn one_that_hears_nobody_takes_nobody_else_down_with_it() {
    for seed in 0..50 {
        let mut net = Net::new(4, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        for other in 1..4 {
            net.cut.insert((other, 0));
        }
        net.until(ms(700), |net| {
            (1..4).all(|index| !net.live(index).contains(&name(0)))
        });
        net.run(ms(1000));
        for index in 1..4 {
            assert_eq!(net.live(index).len(), 2, "seed {seed}");
            assert_eq!(net.fenced(index), 0, "seed {seed}");
        }
        assert!(net.live(0).is_empty());
        net.cut.clear();
        net.until(ms(1000), Net::whole);
        for index in 1..4 {
            assert_eq!(net.fenced(index), 0, "seed {seed}");
        }
    }
}

#[test]
fn two_that_cannot_reach_each_other_but_a_third_stay_in_the_group() {
    for seed in 0..20 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.part(&[0], &[1]);
        net.run(ms(5000));
        for index in 0..3 {
            assert_eq!(net.live(index).len(), 2, "seed {seed}");
            assert_eq!(net.fenced(index), 0, "seed {seed}");
        }
    }
}

#[test]
fn one_that_stood_still_for_long_is_fenced_until_the_others_have_spoken() {
    for seed in 0..50 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        let now = net.now;
        net.hosts[0].paused = Some(now + ms(2000));
        net.run(ms(1999));
        for index in [1, 2] {
            assert!(!net.live(index).contains(&name(0)), "seed {seed}");
        }
        for host in &mut net.hosts {
            host.events.clear();
        }
        net.run(ms(2));
        let first = net.hosts[0].events.first().map(|(_, event)| event);
        assert_eq!(first, Some(&Event::Fenced), "seed {seed}");
        let took = net.until(ms(500), Net::whole);
        assert!(took <= ms(300), "seed {seed}: {took:?}");
        net.run(ms(1000));
        for index in [1, 2] {
            assert_eq!(net.fenced(index), 0, "seed {seed}: node {index}");
            assert_eq!(net.live(index).len(), 2, "seed {seed}: node {index}");
        }
    }
}

#[test]
fn one_that_stood_still_shortly_suspects_nobody() {
    for seed in 0..50 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        for _ in 0..20 {
            let now = net.now;
            net.hosts[0].paused = Some(now + ms(90));
            net.run(ms(300));
        }
        for index in 0..3 {
            assert_eq!(net.live(index).len(), 2, "seed {seed}");
            assert_eq!(net.fenced(index), 0, "seed {seed}");
        }
    }
}

#[test]
fn one_that_leaves_is_gone_at_once_and_does_not_count() {
    for seed in 0..20 {
        let mut net = Net::new(2, seed);
        net.until(ms(2000), Net::whole);
        let now = net.now;
        net.hosts[1].group.leave(now);
        let took = net.until(ms(100), |net| net.live(0).is_empty());
        assert!(took <= ms(5), "{took:?}");
        assert_eq!(net.view(0).standing, Standing::Majority);
        net.run(ms(1000));
        assert!(net.live(0).is_empty());
        net.restart(1, 0);
        net.until(ms(1000), Net::whole);
        assert_eq!(net.view(0).standing, Standing::Majority);
    }
}

#[test]
fn a_network_that_loses_a_tenth_moves_nothing() {
    let mut fenced = 0;
    for seed in 0..10 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.loss = 0.1;
        net.run(ms(30_000));
        fenced += (0..3).map(|index| net.fenced(index)).sum::<usize>();
    }
    println!("fenced in five minutes of three nodes at a loss of a tenth: {fenced}");
    assert!(fenced <= 1);
}

/// Nobody of the greater side is fenced, all of the smaller are.
fn split(smaller: usize, size: usize, seed: u64, apart: u64) {
    let mut net = Net::new(size, seed);
    net.until(ms(5000), Net::whole);
    net.run(ms(300));
    let a: Vec<_> = (0..smaller).collect();
    let b: Vec<_> = (smaller..size).collect();
    net.part(&a, &b);
    net.run(ms(apart));
    net.cut.clear();
    let took = net.until(ms(1000), |net| a.iter().all(|&index| net.fenced(index) > 0));
    let whole = net.until(ms(2000), Net::whole);
    println!("{smaller} of {size}: all fenced after {took:?}, whole {whole:?} later");
    net.run(ms(1000));
    assert!(net.whole());
    for &index in &b {
        assert_eq!(net.fenced(index), 0, "seed {seed}: node {index} of {size}");
    }
    for &index in &a {
        assert_eq!(net.fenced(index), 1, "seed {seed}: node {index} of {size}");
    }
}

#[test]
fn the_smaller_side_of_a_partition_is_fenced_after_the_heal() {
    for seed in 0..20 {
        split(2, 5, seed, 3000);
    }
    for seed in 0..3 {
        split(10, 30, seed, 6000);
    }
}

#[test]
fn one_that_stood_still_again_and_again_asks_no_more_for_it() {
    for seed in 0..5 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        for _ in 0..30 {
            net.hosts[0].paused = Some(net.now + ms(220));
            net.run(ms(223));
        }
        assert!(net.fenced(0) > 10, "seed {seed}: {}", net.fenced(0));
        // The others are gone, so that it asks for as long as it may.
        net.part(&[0], &[1, 2]);
        net.hosts[0].paused = Some(net.now + ms(220));
        net.run(ms(230));
        net.record = Some(Vec::new());
        net.run(ms(300));
        let sent = net.record.take().unwrap();
        let sent = sent.iter().filter(|(from, ..)| *from == 0).count();
        assert!(sent <= 150, "seed {seed}: {sent} datagrams");
    }
}
