//! How a node comes to an address.

use std::time::Duration;

use herald_model::{Phase, Standing};
use herald_ownership::{Command, Duty, Kind, Status};

use crate::node::*;

#[test]
fn an_address_that_nobody_had_is_probed_for_three_times_and_then_taken() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Probing);
    assert_eq!(node.duty(), Some(Duty::Watch));
    node.pass(190);
    assert_eq!(node.status(), Status::Probing);
    assert_eq!(node.probes(), 3);
    node.pass(20);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.duty(), Some(Duty::Announce));
    node.pass(60_000);
    assert_eq!(node.probes(), 3);
}

#[test]
fn nothing_is_taken_before_the_group_is_known() {
    let mut node = Node::new();
    node.machine.resume([ADDRESS]);
    node.mine(&[ME]);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NoMajority);
    assert_eq!(node.duty(), None);
    node.tell();
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_live_owner_is_relieved_at_once() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    assert_eq!(node.status(), Status::NotOurs);
    node.pass(200);
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn an_address_that_the_election_gave_to_and_fro_before_anybody_took_it_is_probed_for_all_the_same()
{
    for (looked, passed) in [(0, 0), (0, 190), (30, 20), (190, 190)] {
        let mut node = Node::of_three();
        if looked > 0 {
            node.mine(&[ME, ANN]);
            node.pass(looked);
        }
        node.theirs(ANN);
        node.pass(passed);
        let before = node.probes();
        node.mine(&[ME, ANN]);
        node.pass(150);
        // News of the group change nothing about that.
        node.phase(ZOE, Phase::Draining);
        assert_eq!(node.status(), Status::Probing, "{looked} {passed}");
        node.pass(50);
        assert_eq!(node.status(), Status::Held, "{looked} {passed}");
        assert_eq!(node.probes() - before, 3, "{looked} {passed}");
    }
}

#[test]
fn a_new_owner_that_is_faster_than_it_seems_is_relieved_when_it_answers() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.mine(&[ME, ANN]);
    node.pass_answered_by(ANN, 1);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_member_that_comes_after_hands_over_when_it_answers_the_first_probe() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.pass_answered_by(ANN, 1);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_member_that_comes_before_is_left_the_address_while_it_answers() {
    let mut node = Node::of_three();
    node.mine(&[ANN, ME]);
    node.pass_answered_by(ANN, 10_000);
    assert_eq!(node.status(), held_by(ANN));
    assert_eq!(node.duty(), Some(Duty::Watch));
    node.pass(600);
    assert_eq!(node.status(), held_by(ANN));
    node.pass(400);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn of_two_that_look_at_the_same_time_the_later_in_the_order_waits() {
    let mut node = Node::of_three();
    node.mine(&[ANN, ME]);
    node.saw(ANN, Kind::Probed);
    assert_eq!(node.status(), held_by(ANN));
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.saw(ANN, Kind::Probed);
    assert_eq!(node.status(), Status::Probing);
}

#[test]
fn what_was_held_before_a_restart_is_taken_up_at_once() {
    let mut node = Node::of_three();
    node.machine.resume([ADDRESS]);
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.probes(), 0);
}

#[test]
fn what_was_held_before_a_restart_is_looked_for_first_in_a_minority() {
    let mut node = Node::of_three();
    node.standing(Standing::Minority);
    node.machine.resume([ADDRESS]);
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Probing);
    node.pass(130);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_was_held_before_a_restart_is_looked_for_first_while_some_have_not_told_their_state() {
    let mut node = Node::of_three();
    node.view.members.get_mut(ANN).unwrap().state = None;
    node.tell();
    node.machine.resume([ADDRESS]);
    node.mine(&[ME]);
    assert_eq!(node.status(), Status::Probing);
    node.theirs(ANN);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn what_was_held_before_a_restart_and_is_anothers_now_is_left_alone() {
    let mut node = Node::of_three();
    node.machine.resume([ADDRESS]);
    node.theirs(ANN);
    assert_eq!(node.status(), Status::NotOurs);
    node.standing(Standing::Minority);
    node.down(ANN, Standing::Minority);
    node.mine(&[ANN, ME]);
    assert_eq!(node.status(), Status::NoMajority);
}

#[test]
fn an_address_that_is_gone_is_forgotten() {
    let mut node = Node::of_three();
    node.take(&[ME]);
    node.claim(None);
    assert_eq!(node.duty(), None);
    assert_eq!(node.machine.next_timeout(), None);
    let changes = node.machine.take_changes();
    assert_eq!(changes, []);
    node.mine(&[ME]);
    assert_eq!(node.status(), Status::Probing);
}

#[test]
fn an_address_without_candidates_is_given_up_at_once() {
    let mut node = Node::of_three();
    node.take(&[ME]);
    node.claim(Some(herald_ownership::Claim::Nobody));
    assert_eq!(node.status(), Status::NotOurs);
    assert_eq!(node.duty(), None);
    // And is back at once: endpoints come and go.
    node.mine(&[ME]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn probes_are_spread_and_not_repeated_when_claims_are_said_again() {
    let mut node = Node::of_three();
    for _ in 0..20 {
        node.mine(&[ME, ANN]);
        node.pass(9);
    }
    assert_eq!(node.probes(), 3);
    let times: Vec<u128> = node.commands.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 66, 132]);
    assert!(matches!(node.commands[0].1, Command::Probe(ADDRESS)));
}

#[test]
fn a_verdict_that_comes_late_is_put_off_once() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.pass(140);
    // The process stands still, and the answers wait in its queue.
    node.now += Duration::from_millis(200);
    node.machine.handle_timeout(node.now);
    assert_eq!(node.status(), Status::Probing);
    node.saw_station(STRANGER, Kind::Answered);
    assert_eq!(node.status(), Status::InUse(STRANGER));
}

#[test]
fn one_that_asks_and_is_not_in_the_group_is_not_waited_for_by_most_of_it() {
    let mut node = Node::of_three();
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    // It watches the same address, or looks for it too.
    node.saw(ANN, Kind::Probed);
    assert_eq!(node.status(), Status::Probing);
    node.pass(210);
    assert_eq!(node.status(), Status::Held);
}

/// One of half a group that looks for the address, and a better one of the other half that does too.
fn looking_like_another_half() -> Node {
    let mut node = Node::of_three();
    node.down(ANN, Standing::Half);
    node.mine(&[ANN, ME, ZOE]);
    node.pass(100);
    for _ in 0..3 {
        node.saw(ANN, Kind::Probed);
        assert_eq!(node.status(), Status::Probing);
        node.pass(66);
    }
    node
}

#[test]
fn half_of_a_group_waits_until_one_of_the_other_half_would_have_taken_the_address() {
    let mut node = looking_like_another_half();
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn half_of_a_group_waits_no_longer_for_one_that_asks_and_takes_nothing() {
    let mut node = looking_like_another_half();
    node.saw(ANN, Kind::Probed);
    node.pass(100);
    assert_eq!(node.status(), Status::Probing);
    node.saw(ANN, Kind::Probed);
    node.pass(40);
    assert_eq!(node.status(), Status::Held);
}
