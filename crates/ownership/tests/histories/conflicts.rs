//! Others that announce what is held here, ours and foreign ones.

use std::sync::Arc;

use herald_model::{Phase, Standing};
use herald_ownership::{Duty, Kind, Status};

use crate::node::*;

#[test]
fn a_foreign_station_that_answers_is_reported_and_left_alone_until_it_is_gone() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.pass_answered_by_stranger(60_000);
    assert_eq!(node.status(), Status::InUse(STRANGER));
    assert_eq!(node.duty(), Some(Duty::Watch));
    assert_eq!(node.announcements(), 0);
    let conflicts = node.machine.take_conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].mac, conflicts[0].held), (STRANGER, false));
    node.pass(5_200);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_foreign_station_is_asked_rarely_after_a_while() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.pass_answered_by_stranger(20_000);
    node.commands.clear();
    node.pass_answered_by_stranger(60_000);
    assert!(node.probes() <= 12, "{}", node.probes());
}

#[test]
fn a_station_that_may_be_that_of_a_candidate_that_was_never_heard_is_missed_soon() {
    let mut node = Node::of_three();
    node.mine(&["new", ME, ANN]);
    node.pass_answered_by_stranger(60_000);
    assert_eq!(node.status(), Status::InUse(STRANGER));
    node.pass(700);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_foreign_station_that_announces_what_is_held_is_reported_once_a_minute_and_not_fought() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    for second in 0..150 {
        node.saw_station(STRANGER, Kind::Announced);
        node.saw_station(STRANGER, Kind::Answered);
        node.pass(1_000);
        assert_eq!(node.status(), Status::Held, "after {second} s");
    }
    assert_eq!(node.commands, []);
    let conflicts = node.machine.take_conflicts();
    assert_eq!(conflicts.len(), 3);
    assert!(conflicts.iter().all(|conflict| conflict.held));
}

#[test]
fn a_foreign_probe_is_no_conflict() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.saw_station(STRANGER, Kind::Probed);
    node.pass(300);
    assert_eq!(node.status(), Status::Held);
    node.saw_station(STRANGER, Kind::Probed);
    assert_eq!(node.machine.take_conflicts(), []);
}

#[test]
fn a_strange_station_may_be_that_of_a_member_that_has_not_told_yet() {
    let mut node = Node::of_three();
    let mut state = node.view.members.get_mut(ANN).unwrap().state.take();
    node.tell();
    node.mine(&[ME, ANN]);
    node.saw_station(STRANGER, Kind::Answered);
    assert_eq!(node.status(), Status::InUse(STRANGER));
    assert_eq!(node.machine.take_conflicts(), []);
    let told = state.as_mut().map(Arc::make_mut);
    told.unwrap().interfaces[0].mac = STRANGER;
    node.view.members.get_mut(ANN).unwrap().state = state;
    node.tell();
    assert_eq!(node.status(), Status::Probing);
    node.saw_station(STRANGER, Kind::Answered);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_member_that_came_back_and_has_not_told_yet_has_the_station_that_it_had() {
    let mut node = Node::of_three();
    node.view.members.get_mut(ANN).unwrap().state = None;
    node.tell();
    node.mine(&[ME, ANN]);
    node.saw(ANN, Kind::Answered);
    assert_eq!(node.status(), held_by(ANN));
    assert_eq!(node.machine.take_conflicts(), []);
}

#[test]
fn own_and_impossible_stations_are_nothing() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.saw(ME, Kind::Announced);
    node.saw_station(herald_model::MacAddress::BROADCAST, Kind::Announced);
    node.saw_station(herald_model::MacAddress([0; 6]), Kind::Announced);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.machine.take_conflicts(), []);
    assert_eq!(node.commands, []);
}

#[test]
fn one_that_comes_before_in_the_order_takes_the_address_by_announcing_it() {
    let mut node = Node::of_three();
    node.take(&[ANN, ME, ZOE]);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), held_by(ANN));
    assert_eq!(node.duty(), Some(Duty::Watch));
}

#[test]
fn one_that_is_cut_off_from_the_group_and_comes_first_is_yielded_to_until_it_is_silent() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    node.saw(ANN, Kind::Announced);
    node.pass_answered_by(ANN, 20_000);
    assert_eq!(node.status(), held_by(ANN));
    node.pass(900);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_comes_after_is_told_at_once_but_not_too_often() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.pass(1_000);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.announcements(), 1);
    for _ in 0..20 {
        node.pass(10);
        node.saw(ANN, Kind::Announced);
    }
    node.pass(1_000);
    assert_eq!(node.status(), Status::Held);
    assert!(node.announcements() <= 4, "{:?}", node.commands);
    assert!(node.announcements() >= 3, "{:?}", node.commands);
}

#[test]
fn two_that_both_hold_that_they_come_first_settle_it_by_name() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    for _ in 0..4 {
        node.pass(100);
        node.saw(ANN, Kind::Announced);
    }
    assert_eq!(node.status(), Status::Held);
    for _ in 0..3 {
        node.pass(100);
        node.saw(ANN, Kind::Announced);
    }
    assert_eq!(node.status(), held_by(ANN));
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    for _ in 0..100 {
        node.pass(100);
        node.saw(ZOE, Kind::Announced);
    }
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn announcements_that_are_far_apart_are_no_contest() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    for _ in 0..20 {
        node.pass(1_100);
        node.saw(ANN, Kind::Announced);
    }
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_a_foreign_station_has_is_not_taken_because_a_member_that_waits_for_it_is_silent() {
    let mut node = Node::of_three();
    node.mine(&[ANN, ME, ZOE]);
    node.pass_answered_by_stranger(5_000);
    // It looks again too, sees the station and waits.
    node.saw(ANN, Kind::Probed);
    assert_eq!(node.status(), held_by(ANN));
    node.pass_answered_by_stranger(60_000);
    assert_eq!(node.status(), Status::InUse(STRANGER));
    assert_eq!(node.announcements(), 0);
    node.pass(5_200);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_a_foreign_station_had_is_not_taken_in_a_minority() {
    let mut node = Node::of_three();
    node.mine(&[ME, ANN, ZOE]);
    node.pass_answered_by_stranger(5_000);
    node.standing(Standing::Minority);
    node.pass(20_000);
    assert_eq!(node.status(), Status::NoMajority);
    node.standing(Standing::Majority);
    node.pass(1_000);
    assert_eq!(node.status(), Status::Held);
}

/// A node that comes first by what it knows, and gave way to `ann`, which knows otherwise.
fn gave_way() -> Node {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    for _ in 0..25 {
        node.pass(100);
        node.saw(ANN, Kind::Announced);
    }
    assert_eq!(node.status(), held_by(ANN));
    node
}

#[test]
fn one_that_gave_way_takes_the_address_when_the_other_hands_it_over() {
    let mut node = gave_way();
    node.pass_answered_by(ANN, 5_000);
    // Who hands over asks again and again whether somebody has taken the address.
    node.saw(ANN, Kind::Probed);
    node.pass_answered_by(ANN, 200);
    node.saw(ANN, Kind::Probed);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_gave_way_takes_nothing_from_one_that_asks_now_and_then() {
    let mut node = gave_way();
    for _ in 0..60 {
        node.pass_answered_by(ANN, 1_000);
        node.saw(ANN, Kind::Probed);
    }
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn what_may_be_a_member_that_nobody_here_has_heard_is_left_to_it_after_a_while() {
    let contested = |node: &mut Node| {
        for _ in 0..12 {
            node.pass(100);
            node.saw_station(STRANGER, Kind::Announced);
        }
        node.status()
    };
    let mut node = Node::of_three();
    node.take(&[ME, ANN, "new"]);
    assert_eq!(contested(&mut node), Status::InUse(STRANGER));
    // All that could have the address are known, so it is foreign.
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    assert_eq!(contested(&mut node), Status::Held);
    assert_eq!(node.announcements(), 0);
}

#[test]
fn so_is_what_this_node_only_keeps() {
    for sticky in [false, true] {
        let mut node = Node::of_three();
        if sticky {
            node = node.sticky();
        } else {
            node.view.me.phase = Phase::Settling;
            node.tell();
        }
        node.take(&[ME, ANN, "new"]);
        node.theirs(ANN);
        assert_eq!(node.status(), Status::Held);
        for _ in 0..12 {
            node.pass(100);
            node.saw_station(STRANGER, Kind::Announced);
        }
        assert_eq!(node.status(), Status::NotOurs);
        // The one that the election gives it may have it now.
        node.pass(60_000);
        assert_eq!(node.status(), Status::NotOurs);
    }
}

#[test]
fn what_was_taken_from_one_that_hears_nobody_is_not_given_back_to_its_announcements() {
    let mut node = Node::of_three();
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    node.saw(ANN, Kind::Announced);
    node.pass(2_000);
    assert_eq!(node.status(), Status::Held);
    for _ in 0..20 {
        node.pass(1_500);
        node.saw(ANN, Kind::Announced);
        assert_eq!(node.status(), Status::Held);
    }
    // It hears after all.
    node.saw(ANN, Kind::Answered);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn what_a_station_has_that_may_be_a_members_is_asked_for_twice_a_second() {
    let mut node = Node::of_three();
    node.view.members.get_mut(ZOE).unwrap().state = None;
    node.view.members.get_mut(ZOE).unwrap().live = false;
    node.tell();
    node.mine(&[ME, ANN]);
    node.pass_answered_by_stranger(30_000);
    assert_eq!(node.status(), Status::InUse(STRANGER));
    node.pass(800);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_is_handed_over_is_left_to_a_station_that_may_be_a_members_and_that_is_reported() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.standing(Standing::Half);
    node.theirs(ANN);
    assert_eq!(node.status(), handing_over(ANN));
    node.saw_station(STRANGER, Kind::Announced);
    assert_eq!(node.status(), Status::NotOurs);
    let conflicts = node.machine.take_conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].mac, conflicts[0].held), (STRANGER, false));
}
