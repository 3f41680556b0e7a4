//! Planned moves: make before break.

use herald_model::{Phase, Standing};
use herald_ownership::{Duty, Kind, Status};

use crate::node::*;

/// A node that hands the address over to `ann`.
fn handing() -> Node {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    node.theirs(ANN);
    assert_eq!(node.status(), handing_over(ANN));
    assert_eq!(node.duty(), Some(Duty::Answer));
    node
}

#[test]
fn the_old_owner_answers_until_the_new_one_announces() {
    let mut node = handing();
    node.pass(150);
    assert_eq!(node.duty(), Some(Duty::Answer));
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), Status::NotOurs);
    assert_eq!(node.duty(), None);
}

#[test]
fn an_announcement_that_came_before_the_news_of_the_new_owner_counts() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), Status::Held);
    node.pass(5);
    node.theirs(ANN);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn an_announcement_of_another_or_of_long_ago_does_not() {
    for (name, before) in [(ZOE, 5), (ANN, 250)] {
        let mut node = Node::of_three();
        node.take(&[ME, ANN, ZOE]);
        node.saw(name, Kind::Announced);
        node.pass(before);
        node.theirs(ANN);
        assert_eq!(node.status(), handing_over(ANN), "{name}");
    }
}

#[test]
fn the_announcement_of_any_member_ends_it() {
    let mut node = handing();
    node.saw(ZOE, Kind::Announced);
    assert_eq!(node.duty(), None);
}

#[test]
fn an_announcement_that_was_lost_is_made_up_for_by_an_answer() {
    let mut node = handing();
    node.pass_answered_by(ZOE, 1_000);
    assert_eq!(node.duty(), Some(Duty::Answer));
    node.pass_answered_by(ANN, 201);
    assert_eq!(node.duty(), None);
}

#[test]
fn the_old_owner_answers_for_ten_seconds_at_most() {
    let mut node = handing();
    node.pass(9_990);
    assert_eq!(node.duty(), Some(Duty::Answer));
    node.pass(20);
    assert_eq!(node.duty(), None);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn the_probe_of_the_new_owner_and_a_strangers_announcement_end_nothing() {
    let mut node = handing();
    node.saw(ANN, Kind::Probed);
    node.saw_station(STRANGER, Kind::Announced);
    node.saw(ME, Kind::Announced);
    assert_eq!(node.duty(), Some(Duty::Answer));
    assert_eq!(node.machine.take_conflicts().len(), 1);
}

#[test]
fn when_the_new_owner_goes_down_the_old_one_has_never_stopped() {
    let mut node = handing();
    node.down(ANN, Standing::Majority);
    assert_eq!(node.duty(), Some(Duty::Answer));
    node.mine(&[ANN, ME, ZOE]);
    assert_eq!(node.duty(), Some(Duty::Announce));
}

#[test]
fn when_the_new_owner_changes_the_time_begins_anew() {
    let mut node = handing();
    node.pass(9_000);
    node.theirs(ZOE);
    assert_eq!(node.status(), handing_over(ZOE));
    node.pass(9_000);
    assert_eq!(node.duty(), Some(Duty::Answer));
}

#[test]
fn an_owner_that_is_not_in_the_group_is_not_waited_for() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.down(ANN, Standing::Majority);
    node.theirs(ANN);
    assert_eq!(node.duty(), None);
}

#[test]
fn a_service_that_is_deleted_meanwhile_is_not_answered_for() {
    let mut node = handing();
    node.claim(None);
    assert_eq!(node.duty(), None);
    assert_eq!(node.machine.next_timeout(), None);
    let mut node = handing();
    node.claim(Some(herald_ownership::Claim::Nobody));
    assert_eq!(node.duty(), None);
}

#[test]
fn one_that_leaves_is_quiet_once_others_have_announced() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    assert!(node.machine.is_quiet());
    node.view.me.phase = Phase::Draining;
    node.tell();
    node.machine.leaving(node.now);
    assert!(!node.machine.is_quiet(), "the others may not know yet");
    node.theirs(ANN);
    assert!(!node.machine.is_quiet());
    node.saw(ANN, Kind::Announced);
    assert!(node.machine.is_quiet());
}

#[test]
fn one_that_leaves_without_a_successor_is_quiet_at_once_and_goes_on_answering() {
    let mut node = Node::of_three();
    node.take(&[ME]);
    node.machine.leaving(node.now);
    assert!(node.machine.is_quiet());
    assert_eq!(node.duty(), Some(Duty::Announce));
    // A successor that is down or leaves too is none.
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    node.down(ANN, Standing::Majority);
    node.phase(ZOE, Phase::Draining);
    node.machine.leaving(node.now);
    assert!(node.machine.is_quiet());
}

#[test]
fn one_that_leaves_waits_ten_seconds_at_most() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.machine.leaving(node.now);
    node.pass(9_990);
    assert!(!node.machine.is_quiet());
    node.pass(20);
    assert!(node.machine.is_quiet());
}

#[test]
fn one_that_leaves_takes_nothing_any_longer() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.machine.leaving(node.now);
    node.mine(&[ME, ANN]);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NotOurs);
    // Not even what it has begun to look for.
    let mut node = Node::of_three();
    node.mine(&[ME, ANN]);
    node.machine.leaving(node.now);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn one_that_lost_carrier_hands_nothing_over_and_takes_nothing_back() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    let interfaces = std::mem::take(&mut node.view.me.interfaces);
    node.tell();
    node.theirs_only(ANN);
    assert_eq!(node.status(), Status::NotOurs);
    node.view.me.interfaces = interfaces;
    node.view.me.phase = Phase::Settling;
    node.tell();
    node.theirs(ANN);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn of_two_that_hand_over_to_a_third_the_one_with_the_lesser_name_goes_on() {
    for (other, status) in [(ANN, Status::NotOurs), (ZOE, handing_over("mid"))] {
        let mut node = Node::of_three();
        node.view.members.insert("mid".into(), member("mid", true));
        node.tell();
        node.take(&[ME, ANN, ZOE]);
        node.theirs("mid");
        node.saw(other, Kind::Answered);
        assert_eq!(node.status(), status);
    }
}

#[test]
fn one_that_ends_leaves_to_whoever_announces_what_nobody_else_should_have() {
    // The other is drained too, so that it takes over only once this one is gone.
    let mut node = Node::of_two();
    node.take(&[ME, ANN]);
    node.phase(ANN, Phase::Draining);
    node.view.me.phase = Phase::Draining;
    node.machine.leaving(node.now);
    node.tell();
    assert_eq!(node.status(), Status::Held);
    assert!(node.machine.is_quiet());
    node.commands.clear();
    node.saw(ANN, Kind::Announced);
    assert_ne!(node.duty(), Some(Duty::Announce));
    assert_eq!(node.announcements(), 0);
}

#[test]
fn one_that_hands_over_stops_for_a_station_that_may_be_a_members() {
    // It has never heard the member that has the address.
    let mut node = handing();
    node.view.members.insert("new".into(), member("new", false));
    node.view.members.get_mut("new").unwrap().state = None;
    node.tell();
    assert_eq!(node.status(), handing_over(ANN));
    node.saw_station(STRANGER, Kind::Answered);
    assert_eq!(node.status(), Status::NotOurs);
    // Where all stations are known, it is foreign.
    let mut node = handing();
    node.saw_station(STRANGER, Kind::Answered);
    assert_eq!(node.status(), handing_over(ANN));
}
