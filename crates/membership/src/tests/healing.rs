//! Who is believed when parts of a group meet again, or hear each other one way only.

use super::net::{Net, ms, name};
use herald_model::{MemberState, Phase, Standing};

/// How often any of these was fenced.
fn fenced(net: &Net, among: impl IntoIterator<Item = usize>) -> usize {
    among.into_iter().map(|index| net.fenced(index)).sum()
}

#[test]
fn what_one_that_was_alone_says_of_others_takes_nobody_down() {
    for seed in 0..60 {
        let mut net = Net::new(8, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        let others: Vec<_> = (0..8).filter(|index| *index != 2).collect();
        net.part(&[2], &others);
        net.run(ms(2000 + seed * 31));
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(2000));
        assert_eq!(fenced(&net, others), 0, "seed {seed}");
        assert!(net.whole(), "seed {seed}");
    }
}

#[test]
fn what_few_that_were_cut_off_say_of_others_takes_nobody_down() {
    for seed in 0..30 {
        let mut net = Net::new(9, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        net.part(&[0, 4, 8], &[1, 2, 3, 5, 6, 7]);
        net.run(ms(1500 + seed * 31));
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(2000));
        assert_eq!(fenced(&net, [1, 2, 3, 5, 6, 7]), 0, "seed {seed}");
    }
}

#[test]
fn those_that_hear_all_and_are_heard_by_few_count_only_who_hears_them() {
    for seed in 0..20 {
        let mut net = Net::new(7, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        let most = [0, 2, 3, 4, 5];
        for from in [1, 6] {
            net.cut.extend(most.map(|to| (from, to)));
        }
        net.until(ms(1000), |net| net.fenced(1) > 0 && net.fenced(6) > 0);
        net.run(ms(500));
        for _ in 0..4000 {
            net.run(ms(1));
            for (index, other) in [(1, 6), (6, 1)] {
                let view = net.view(index);
                assert_eq!(view.standing, Standing::Minority, "seed {seed}");
                let live = net.live(index);
                assert!(
                    live.is_empty() || live == [name(other)],
                    "seed {seed}: {live:?}"
                );
            }
        }
        for index in most {
            assert_eq!(net.live(index).len(), 4, "seed {seed}");
            assert_eq!(net.view(index).standing, Standing::Majority);
        }
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(2000));
        assert!(net.whole(), "seed {seed}");
        assert_eq!(fenced(&net, most), 0, "seed {seed}");
    }
}

#[test]
fn one_that_was_drained_and_is_only_heard_counts_for_nothing() {
    for seed in 0..10 {
        let mut net = Net::new(5, seed);
        let draining = MemberState {
            phase: Phase::Draining,
            ..MemberState::default()
        };
        let now = net.now;
        net.hosts[4].group.set_state(now, draining);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        for from in [0, 1] {
            net.cut.extend([2, 3, 4].map(|to| (from, to)));
        }
        net.run(ms(3000));
        for _ in 0..4000 {
            net.run(ms(1));
            for index in [0, 1] {
                // Two of four.
                assert_eq!(net.view(index).standing, Standing::Half, "seed {seed}");
            }
        }
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        let ready = MemberState {
            phase: Phase::Ready,
            ..MemberState::default()
        };
        let now = net.now;
        net.hosts[4].group.set_state(now, ready);
        net.run(ms(500));
        net.part(&[0, 1], &[2, 3, 4]);
        net.run(ms(1000));
        assert_eq!(net.view(0).standing, Standing::Minority, "it counts again");
    }
}

#[test]
fn in_a_tie_the_one_that_is_ready_stands() {
    for seed in 0..40 {
        for settling in [0, 1] {
            let mut net = Net::new(2, seed);
            net.until(ms(2000), Net::whole);
            net.part(&[0], &[1]);
            net.run(ms(1000));
            let now = net.now;
            let state = MemberState {
                phase: Phase::Settling,
                ..MemberState::default()
            };
            net.hosts[settling].group.set_state(now, state);
            net.run(ms(seed * 17));
            net.cut.clear();
            net.until(ms(500), |net| net.fenced(settling) > 0);
            net.until(ms(500), Net::whole);
            net.run(ms(1000));
            assert_eq!(net.fenced(1 - settling), 0, "seed {seed}");
            assert_eq!(net.fenced(settling), 1, "seed {seed}");
        }
    }
}

#[test]
fn in_a_tie_of_two_that_are_ready_the_one_with_interfaces_stands() {
    for seed in 0..40 {
        for with in [0, 1] {
            let mut net = Net::new(2, seed);
            let state = MemberState {
                phase: Phase::Ready,
                interfaces: vec![super::net::lan("eth0")],
                ..MemberState::default()
            };
            let now = net.now;
            net.hosts[with].group.set_state(now, state);
            net.until(ms(2000), Net::whole);
            net.part(&[0], &[1]);
            net.run(ms(1000 + seed * 17));
            net.cut.clear();
            net.until(ms(500), |net| net.fenced(1 - with) > 0);
            net.until(ms(500), Net::whole);
            net.run(ms(1000));
            assert_eq!(net.fenced(with), 0, "seed {seed}");
            assert_eq!(net.fenced(1 - with), 1, "seed {seed}");
        }
    }
}

#[test]
fn one_that_was_alone_and_stood_still_is_fenced_when_it_goes_on() {
    for seed in 0..20 {
        let mut net = Net::new(2, seed);
        net.until(ms(2000), Net::whole);
        net.part(&[0], &[1]);
        net.run(ms(1000));
        let now = net.now;
        net.hosts[0].paused = Some(now + ms(2000));
        net.run(ms(1000));
        net.cut.clear();
        net.run(ms(1001));
        assert_eq!(net.fenced(0), 1, "seed {seed}");
        net.until(ms(1000), Net::whole);
        net.run(ms(1000));
        assert!(net.whole());
    }
}

#[test]
fn one_that_stood_still_goes_on_as_another_run_even_if_those_who_noticed_were_cut_off_then() {
    for seed in 0..20 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        let now = net.now;
        net.hosts[1].paused = Some(now + ms(8000));
        net.run(ms(50));
        net.part(&[0], &[2]);
        net.run(ms(2000));
        assert_eq!(net.view(0).standing, Standing::Minority);
        net.cut.clear();
        net.run(ms(5940));
        assert_eq!(net.view(0).standing, Standing::Majority);
        net.run(ms(20));
        net.until(ms(1000), Net::whole);
        assert!(net.fenced(1) > 0);
        assert!(net.hosts[1].group.generation() > 1, "seed {seed}");
    }
}

#[test]
fn what_one_that_was_alone_tells_a_new_member_of_others_takes_nobody_down() {
    for seed in 0..30 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        net.part(&[1], &[0, 2]);
        net.run(ms(1000 + seed * 31));
        net.hosts[2].dead = true;
        net.run(ms(2000));
        assert_eq!(net.fenced(0), 0, "seed {seed}");
        // The new one hears the one that was cut off first, and is a majority with it.
        net.cut.clear();
        net.part(&[0], &[1, 2]);
        net.restart(2, 2);
        net.until(ms(1000), |net| {
            net.live(1).len() == 1 && net.live(2).len() == 1
        });
        net.run(ms(seed * 7));
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(1000));
        assert_eq!(net.fenced(0), 0, "seed {seed}");
    }
}

#[test]
fn of_two_the_one_that_can_announce_stands_although_the_other_does_not_hear_it() {
    for seed in 0..20 {
        let mut net = Net::new(2, seed);
        let state = MemberState {
            phase: Phase::Ready,
            interfaces: vec![super::net::lan("eth0")],
            ..MemberState::default()
        };
        let now = net.now;
        net.hosts[0].group.set_state(now, state);
        net.until(ms(2000), Net::whole);
        net.cut.insert((0, 1));
        net.run(ms(3000));
        assert_eq!(net.fenced(0), 0, "seed {seed}");
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(1000));
        assert!(net.whole());
        assert_eq!(net.fenced(0), 0, "seed {seed}");
    }
}

#[test]
fn a_state_reaches_one_that_does_not_hear_it_through_others() {
    for seed in 0..20 {
        let mut net = Net::new(4, seed);
        net.until(ms(2000), Net::whole);
        for both_ways in [false, true] {
            net.cut.insert((0, 1));
            if both_ways {
                net.cut.insert((1, 0));
            }
            net.run(ms(2000));
            assert!(net.whole(), "seed {seed}");
            let state = MemberState {
                phase: Phase::Draining,
                interfaces: if both_ways {
                    vec![super::net::lan("eth0")]
                } else {
                    vec![]
                },
                ..MemberState::default()
            };
            let now = net.now;
            net.hosts[0].group.set_state(now, state.clone());
            let told = |net: &Net| net.view(1).members[&name(0)].state.as_deref() == Some(&state);
            let took = net.until(ms(300), told);
            assert!(took <= ms(150), "seed {seed}: {took:?}");
        }
    }
}

#[test]
fn one_that_is_busy_and_alone_is_not_fenced() {
    for seed in 0..20 {
        let mut net = Net::new(2, seed);
        net.until(ms(2000), Net::whole);
        net.hosts[0].dead = true;
        net.run(ms(1000));
        for _ in 0..400 {
            let now = net.now;
            net.hosts[1].paused = Some(now + ms(60));
            net.run(ms(75));
        }
        assert_eq!(net.fenced(1), 0, "seed {seed}");
    }
}

#[test]
fn all_hear_at_once_of_one_that_was_declared_down_and_has_stopped_to_answer() {
    const FEW: [usize; 4] = [0, 1, 3, 11];
    for seed in 0..10 {
        let mut net = Net::new(13, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        let most: Vec<_> = (0..13).filter(|index| !FEW.contains(index)).collect();
        net.part(&FEW, &most);
        net.run(ms(2000 + seed * 31));
        net.cut.clear();
        let (mut fenced, mut known) = ([None; FEW.len()], [None; FEW.len()]);
        for passed in 0..1500 {
            net.run(ms(1));
            for (place, index) in FEW.into_iter().enumerate() {
                if net.fenced(index) == 0 {
                    continue;
                }
                fenced[place].get_or_insert(passed);
                if most
                    .iter()
                    .all(|other| net.live(*other).contains(&name(index)))
                {
                    known[place].get_or_insert(passed);
                }
            }
        }
        for (fenced, known) in fenced.into_iter().zip(known) {
            let took = known.unwrap() - fenced.unwrap();
            assert!(took <= 15, "seed {seed}: after {took} ms");
        }
    }
}
