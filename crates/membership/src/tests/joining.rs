use super::net::{Net, ms, name};
use crate::ProblemKind;
use herald_model::{MemberState, Phase, Standing};

#[test]
fn two_that_know_of_each_other_find_each_other_and_tell_their_states() {
    for v6 in [false, true] {
        let mut net = Net::with(2, 1, v6);
        let took = net.until(ms(500), Net::whole);
        assert!(took <= ms(300), "{took:?}");
        assert_eq!(net.view(0).standing, Standing::Majority);
        assert_eq!(net.view(0).members[&name(1)].address, net.address(1));
        assert!(net.problems(0).is_empty(), "{:?}", net.problems(0));
    }
}

#[test]
fn all_of_a_group_learn_a_new_state_at_once() {
    for seed in 0..20 {
        let mut net = Net::new(5, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(1000));
        let state = MemberState {
            phase: Phase::Draining,
            ..MemberState::default()
        };
        let now = net.now;
        net.hosts[2].group.set_state(now, state.clone());
        let took = net.until(ms(100), |net| {
            [0, 1, 3, 4]
                .iter()
                .all(|&index| net.view(index).members[&name(2)].state.as_deref() == Some(&state))
        });
        assert!(took <= ms(10), "{took:?}");
    }
}

#[test]
fn a_state_gets_through_a_network_that_loses_a_third() {
    for seed in 0..20 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.loss = 0.33;
        let state = MemberState {
            phase: Phase::Draining,
            ..MemberState::default()
        };
        let now = net.now;
        net.hosts[2].group.set_state(now, state.clone());
        net.until(ms(1500), |net| {
            [0, 1]
                .iter()
                .all(|&index| net.view(index).members[&name(2)].state.as_deref() == Some(&state))
        });
    }
}

#[test]
fn one_that_restarts_with_a_lower_generation_is_back_at_once_and_not_fenced() {
    for seed in 0..20 {
        let mut net = Net::new(3, seed);
        net.hosts[1].group = net.group(1, 500);
        net.introduce(1);
        net.until(ms(2000), Net::whole);
        net.run(ms(1000));
        net.hosts[1].events.clear();
        net.restart(1, 0);
        let took = net.until(ms(1000), Net::whole);
        assert!(took <= ms(700), "{took:?}");
        net.run(ms(1000));
        assert!(net.whole());
        // The others know better, but have not declared this run down.
        assert_eq!(net.hosts[1].group.generation(), 1);
        assert_eq!(net.fenced(1), 0);
        assert!(
            net.problems(0)
                .iter()
                .all(|kind| *kind == ProblemKind::Stale)
        );
    }
}

#[test]
fn one_that_lost_its_disk_is_not_fenced_by_one_that_knows_only_its_last_run() {
    for seed in 0..20 {
        let mut net = Net::new(3, seed);
        net.hosts[1].group = net.group(1, 500);
        net.introduce(1);
        net.until(ms(2000), Net::whole);
        net.part(&[2], &[0, 1]);
        net.run(ms(1000));
        // Who knew that there was a run with a greater generation forgets it.
        net.restart(0, 2);
        net.restart(1, 0);
        net.until(ms(1000), |net| {
            net.live(0).len() == 1 && net.live(1).len() == 1
        });
        net.run(ms(1000));
        net.hosts[1].events.clear();
        net.cut.clear();
        net.until(ms(1500), Net::whole);
        net.run(ms(1000));
        assert!(net.whole(), "seed {seed}");
        assert_eq!(net.fenced(1), 0, "seed {seed}");
        assert_eq!(net.hosts[1].group.generation(), 1, "seed {seed}");
    }
}
