//! What happens when owners die and groups fall apart.

use std::time::Duration;

use herald_model::{Phase, Standing};
use herald_ownership::{Command, Duty, Kind, Status};

use crate::node::*;

#[test]
fn with_a_majority_the_address_of_one_that_is_down_is_taken_at_once() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.probes(), 0);
}

#[test]
fn with_half_of_the_group_the_lan_is_asked_first() {
    let mut node = Node::of_two();
    node.theirs(ANN);
    node.down(ANN, Standing::Half);
    node.mine(&[ANN, ME]);
    assert_eq!(node.status(), Status::Probing);
    node.pass(115);
    assert_eq!(node.status(), Status::Probing);
    assert_eq!(node.probes(), 3);
    node.pass(10);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn with_half_of_the_group_one_that_answers_keeps_the_address() {
    let mut node = Node::of_two();
    node.theirs(ANN);
    node.down(ANN, Standing::Half);
    for order in [[ANN, ME], [ME, ANN]] {
        node.mine(&order);
        node.pass_answered_by(ANN, 30_000);
        assert_eq!(node.status(), held_by(ANN));
    }
    node.pass(900);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn in_a_minority_nothing_new_is_taken_and_what_is_held_is_kept() {
    let mut node = Node::of_three();
    let other = "192.0.2.11".parse().unwrap();
    node.take(&[ME]);
    let claim = herald_ownership::Claim::Theirs {
        owner: ANN.into(),
        interfaces: None,
        failback: node.failback,
    };
    node.machine.set_claim(node.now, other, Some(claim));
    node.down(ANN, Standing::Majority);
    node.down(ZOE, Standing::Minority);
    node.mine(&[ANN, ME, ZOE]);
    let claim = herald_ownership::Claim::Mine {
        interfaces: herald_announce::Interfaces::All,
        order: vec![ANN.into(), ME.into()],
        failback: node.failback,
    };
    node.machine.set_claim(node.now, other, Some(claim));
    node.pass(60_000);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.machine.status(other), Status::NoMajority);
    assert_eq!(node.probes(), 0);
    node.up(ZOE, Standing::Majority);
    assert_eq!(node.machine.status(other), Status::Held);
}

#[test]
fn an_address_that_nobody_had_is_not_taken_in_a_minority() {
    let mut node = Node::of_three();
    node.standing(Standing::Minority);
    node.mine(&[ME]);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NoMajority);
    node.standing(Standing::Half);
    assert_eq!(node.status(), Status::Probing);
}

#[test]
fn within_a_minority_an_address_moves_from_one_live_member_to_another() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.pass(200);
    node.down(ZOE, Standing::Minority);
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_a_member_of_the_minority_could_not_take_either_is_not_taken_from_it() {
    let mut node = Node::of_three();
    node.theirs(ZOE);
    node.pass(200);
    node.down(ZOE, Standing::Minority);
    node.theirs(ANN);
    node.mine(&[ME, ANN, ZOE]);
    assert_eq!(node.status(), Status::NoMajority);
    node.up(ZOE, Standing::Majority);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_is_fenced_stops_at_once_and_takes_up_again_what_is_still_its_own() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.fenced(true);
    assert_eq!(node.status(), Status::Fenced);
    assert_eq!(node.duty(), None);
    node.saw(ANN, Kind::Announced);
    node.pass(60_000);
    assert_eq!(node.status(), Status::Fenced);
    assert_eq!(node.commands, []);
    // Others have replaced it, and it may not see them yet.
    node.fenced(false);
    assert_eq!(node.status(), Status::Probing);
    node.pass(30);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_joined_anew_takes_nothing_from_one_that_it_has_not_met_again_before_it_has_asked() {
    for (sticky, probes) in [(false, 3), (true, 9)] {
        let mut node = Node::of_three();
        if sticky {
            node = node.sticky();
        }
        node.theirs(ANN);
        let mut node = node.not_met(ANN);
        node.mine(&[ANN, ME]);
        assert_eq!(node.status(), Status::Probing);
        node.pass(1_000);
        assert_eq!(node.status(), Status::Held);
        assert_eq!(node.probes(), probes);
    }
}

#[test]
fn one_that_was_fenced_but_not_declared_down_takes_at_once_what_one_had_that_is_down() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.fenced(true);
    node.down(ANN, Standing::Majority);
    node.fenced(false);
    node.mine(&[ANN, ME]);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.probes(), 0);
}

#[test]
fn one_that_is_fenced_while_it_hands_over_is_done() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.theirs(ANN);
    node.fenced(true);
    assert_eq!(node.duty(), None);
    node.fenced(false);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NotOurs);
    assert_eq!(node.commands, []);
}

#[test]
fn one_that_was_fenced_and_lost_the_election_takes_nothing() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.fenced(true);
    node.theirs(ANN);
    node.fenced(false);
    node.pass(60_000);
    assert_eq!(node.status(), Status::NotOurs);
    assert_eq!(node.duty(), None);
}

#[test]
fn one_that_took_over_says_so_again_when_the_old_owner_is_back() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    node.pass(20_000);
    assert_eq!(node.announcements(), 0);
    node.up(ANN, Standing::Majority);
    node.pass(2_000);
    assert_eq!(node.announcements(), 3);
    // Others that come back change nothing for this address.
    node.down(ZOE, Standing::Majority);
    node.up(ZOE, Standing::Majority);
    node.pass(2_000);
    assert_eq!(node.announcements(), 3);
}

#[test]
fn one_that_was_cut_off_tells_all_that_it_holds_when_it_sees_the_others_again() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    node.down(ANN, Standing::Majority);
    node.down(ZOE, Standing::Minority);
    node.pass(20_000);
    node.up(ANN, Standing::Majority);
    node.pass(2_000);
    assert_eq!(node.announcements(), 3);
}

#[test]
fn a_claim_that_flaps_never_leaves_the_address_unanswered() {
    let mut node = Node::of_three();
    node.take(&[ME, ANN]);
    for _ in 0..50 {
        node.theirs(ANN);
        assert_eq!(node.duty(), Some(Duty::Answer));
        node.pass(37);
        node.mine(&[ME, ANN]);
        assert_eq!(node.duty(), Some(Duty::Announce));
        node.pass(11);
    }
}

/// A node that took the address from `ann`, which is down.
fn heir() -> Node {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ME, ANN, ZOE]);
    assert_eq!(node.status(), Status::Held);
    node
}

#[test]
fn whether_one_that_is_down_still_answers_is_asked_ever_more_rarely() {
    let mut node = heir();
    node.pass(10_500);
    assert_eq!(node.probes(), 10);
    node.pass(600_000);
    node.commands.clear();
    node.pass(100_000);
    assert_eq!(node.probes(), 10);
    assert_eq!(node.announcements(), 0);
}

#[test]
fn nobody_is_asked_for_when_the_old_owner_is_live_or_gone_from_the_group() {
    let mut node = heir();
    node.up(ANN, Standing::Majority);
    node.pass(60_000);
    assert_eq!(node.probes(), 0);
    let mut node = heir();
    node.view.members.remove(ANN);
    node.tell();
    node.pass(60_000);
    assert_eq!(node.probes(), 0);
}

#[test]
fn one_that_is_down_and_answers_is_told_of_all_that_was_taken_from_it() {
    let mut node = heir();
    let other = "192.0.2.11".parse().unwrap();
    let claim = herald_ownership::Claim::Theirs {
        owner: ANN.into(),
        interfaces: None,
        failback: node.failback,
    };
    node.machine.set_claim(node.now, other, Some(claim));
    let claim = herald_ownership::Claim::Mine {
        interfaces: herald_announce::Interfaces::All,
        order: vec![ME.into(), ANN.into()],
        failback: node.failback,
    };
    node.machine.set_claim(node.now, other, Some(claim));
    node.pass_answered_by(ANN, 1_200);
    assert_eq!(node.status(), Status::Held);
    let mut announced: Vec<_> = node.commands.iter().map(|(_, command)| *command).collect();
    announced.retain(|command| matches!(command, Command::Announce(_)));
    announced.sort();
    announced.dedup();
    assert_eq!(
        announced,
        [Command::Announce(ADDRESS), Command::Announce(other)]
    );
    // It comes before in its own eyes, and so it is with the first one here.
    node.mine(&[ANN, ME, ZOE]);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn a_claim_from_before_the_group_changed_takes_nothing() {
    // One that was cut off held the address, is back, and finds that the election gives it to another.
    let mut node = Node::of_three();
    node.take(&[ME, ANN, ZOE]);
    node.fenced(true);
    node.view.fenced = false;
    node.view.me.phase = Phase::Settling;
    node.view.standing = Standing::Minority;
    node.tell();
    assert_eq!(node.status(), Status::Probing);
    node.view.standing = Standing::Majority;
    node.tell_with(|node| node.theirs(ANN));
    assert_eq!(node.status(), Status::NotOurs);
    assert_eq!(node.announcements(), 0);
}

#[test]
fn what_follows_from_the_group_is_due_at_once() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.mine(&[ME, ANN, ZOE]);
    node.pass(1_000);
    let due = |node: &Node| {
        node.machine
            .next_timeout()
            .is_some_and(|due| due <= node.now)
    };
    assert!(!due(&node));
    node.view.members.get_mut(ANN).unwrap().live = false;
    node.machine.set_group(node.now, &node.view);
    assert!(due(&node));
    node.machine.handle_timeout(node.now);
    assert!(!due(&node));
    // A fence does not wait.
    node.view.fenced = true;
    node.machine.set_group(node.now, &node.view);
    assert_eq!(node.status(), Status::Fenced);
}

#[test]
fn the_quickest_look_lasts_as_long_as_answers_on_the_lan_need() {
    for (answer_time, lasts) in [(0, 30), (4, 30), (20, 90), (500, 120)] {
        let mut node = Node::of_two();
        node.theirs(ANN);
        node.down(ANN, Standing::Half);
        node.mine(&[ANN, ME]);
        node.saw(ANN, Kind::Answered);
        assert_eq!(node.status(), held_by(ANN));
        let answer_time = Duration::from_millis(answer_time);
        node.machine.set_answer_time(answer_time);
        node.up(ANN, Standing::Majority);
        assert_eq!(node.status(), Status::Probing);
        node.pass(lasts - 2);
        assert_eq!(node.status(), Status::Probing, "{answer_time:?}");
        node.pass(4);
        assert_eq!(node.status(), Status::Held, "{answer_time:?}");
    }
}
