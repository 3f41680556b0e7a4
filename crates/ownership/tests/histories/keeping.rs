//! Sticky addresses: they stay where they are.

use herald_model::{Phase, Standing};
use herald_ownership::{Claim, Duty, Kind, Status};

use crate::node::*;

/// A node that keeps the address, which the election gives `ann`.
fn keeping() -> Node {
    let mut node = Node::of_three().sticky();
    node.take(&[ANN, ME, ZOE]);
    node.theirs(ANN);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.duty(), Some(Duty::Announce));
    node
}

/// A node to which the election gives what `zoe` keeps.
fn waiting() -> Node {
    let mut node = Node::of_three().sticky();
    node.mine(&[ME, ANN, ZOE]);
    node.pass_answered_by(ZOE, 5_000);
    assert_eq!(node.status(), held_by(ZOE));
    node
}

#[test]
fn a_holder_keeps_what_the_election_gives_another() {
    let mut node = keeping();
    node.pass(60_000);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.announcements(), 0);
}

#[test]
fn a_holder_that_is_no_candidate_any_longer_hands_over() {
    let mut node = keeping();
    node.theirs_only(ANN);
    assert_eq!(node.status(), handing_over(ANN));
}

#[test]
fn a_holder_that_drains_or_leaves_hands_over() {
    let mut node = keeping();
    node.view.me.phase = Phase::Draining;
    node.tell();
    assert_eq!(node.status(), handing_over(ANN));
    let mut node = keeping();
    node.machine.leaving(node.now);
    assert_eq!(node.status(), handing_over(ANN));
}

#[test]
fn a_holder_yields_to_the_owner_that_took_the_address_all_the_same() {
    let mut node = keeping();
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), Status::NotOurs);
    // Even if it announced it unheard.
    let mut node = keeping();
    node.pass_answered_by(ANN, 1_000);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn of_two_that_keep_what_is_anothers_the_first_by_name_goes_on() {
    let mut node = keeping();
    node.pass(1_000);
    node.saw(ZOE, Kind::Announced);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.announcements(), 1);
    let mut node = keeping();
    node.theirs(ZOE);
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn one_that_comes_back_takes_nothing_from_a_live_holder() {
    let mut node = waiting();
    node.pass_answered_by(ZOE, 60_000);
    assert_eq!(node.status(), held_by(ZOE));
}

#[test]
fn what_another_keeps_is_taken_when_it_dies() {
    let mut node = waiting();
    node.down(ZOE, Standing::Majority);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_another_keeps_is_taken_when_it_answers_six_probes_no_longer() {
    let mut node = waiting();
    node.pass(650);
    assert_eq!(node.status(), held_by(ZOE));
    node.pass(300);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn five_probes_without_an_answer_are_not_enough() {
    let mut node = waiting();
    for _ in 0..20 {
        node.pass(590);
        node.pass_answered_by(ZOE, 400);
        assert_eq!(node.status(), held_by(ZOE));
    }
}

#[test]
fn what_another_keeps_is_taken_when_it_drains_or_is_no_candidate() {
    let mut node = waiting();
    node.phase(ZOE, Phase::Draining);
    assert_eq!(node.status(), Status::Held);
    let mut node = waiting();
    node.mine(&[ME, ANN]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_another_keeps_is_taken_when_the_policy_changes() {
    let mut node = waiting();
    node.failback = herald_ownership::Failback::Revertive;
    node.mine(&[ME, ANN, ZOE]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn the_death_of_one_that_the_election_preferred_moves_nothing_that_another_keeps() {
    let mut node = Node::of_three().sticky();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME, ZOE]);
    assert_eq!(node.status(), Status::Probing);
    node.pass_answered_by(ZOE, 1_000);
    assert_eq!(node.status(), held_by(ZOE));
}

#[test]
fn with_nobody_else_in_the_group_the_address_of_a_dead_owner_is_taken_at_once() {
    let mut node = Node::of_three().sticky();
    node.theirs(ANN);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn a_draining_holder_is_relieved_as_soon_as_it_is_seen_to_be_the_holder() {
    let mut node = Node::of_three().sticky();
    node.theirs(ANN);
    node.phase(ANN, Phase::Draining);
    node.mine(&[ME, ZOE, ANN]);
    assert_eq!(node.status(), Status::Probing);
    node.saw(ANN, Kind::Answered);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_another_keeps_is_not_taken_when_the_one_that_it_was_given_to_goes() {
    let mut node = Node::of_three().sticky();
    // The election gave it to ann, but zoe has it. Now ann can have it no longer.
    node.theirs(ANN);
    node.mine(&[ME, ZOE]);
    assert_eq!(node.status(), Status::Probing);
    node.pass(150);
    node.saw(ZOE, Kind::Answered);
    assert_eq!(node.status(), held_by(ZOE));
}

#[test]
fn what_one_that_was_declared_down_kept_is_taken_when_it_comes_back() {
    let mut node = Node::of_three().sticky();
    node.theirs(ZOE);
    node.down(ZOE, Standing::Majority);
    node.mine(&[ZOE, ME, ANN]);
    assert_eq!(node.status(), Status::Probing);
    // It is only cut off from the group.
    node.saw(ZOE, Kind::Answered);
    assert_eq!(node.status(), held_by(ZOE));
    node.up(ZOE, Standing::Majority);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_one_keeps_that_was_not_met_before_is_not_taken_when_it_is_met() {
    let mut node = Node::of_three().sticky().not_met(ZOE);
    node.mine(&[ME, ANN, ZOE]);
    node.saw(ZOE, Kind::Answered);
    assert_eq!(node.status(), held_by(ZOE));
    node.up(ZOE, Standing::Majority);
    assert_eq!(node.status(), Status::Probing);
    node.pass_answered_by(ZOE, 500);
    assert_eq!(node.status(), held_by(ZOE));
}

#[test]
fn what_was_held_before_a_restart_is_looked_for_first() {
    let mut node = Node::of_three().sticky();
    node.machine.resume([ADDRESS]);
    node.mine(&[ME, ZOE]);
    assert_eq!(node.status(), Status::Probing);
    node.pass_answered_by(ZOE, 100);
    assert_eq!(node.status(), held_by(ZOE));
}

#[test]
fn a_holder_that_is_lost_in_a_minority_is_not_replaced() {
    let mut node = waiting();
    node.down(ZOE, Standing::Minority);
    assert_eq!(node.status(), Status::NoMajority);
    node.up(ZOE, Standing::Majority);
    node.pass_answered_by(ZOE, 500);
    assert_eq!(node.status(), held_by(ZOE));
}

/// A node that settles and has an address that the election gives `ann`, which is ready.
fn settling() -> Node {
    let mut node = Node::of_three();
    node.view.me.phase = Phase::Settling;
    node.tell();
    node.take(&[ME, ANN, ZOE]);
    node.theirs(ANN);
    assert_eq!(node.status(), Status::Held);
    node
}

#[test]
fn one_that_settles_keeps_what_it_has_until_it_is_ready_or_leaves() {
    let mut node = settling();
    node.pass(60_000);
    assert_eq!(node.status(), Status::Held);
    for phase in [Phase::Ready, Phase::Draining] {
        let mut node = settling();
        node.view.me.phase = phase;
        node.tell();
        assert_eq!(node.status(), handing_over(ANN));
    }
    let mut node = settling();
    node.theirs_only(ANN);
    assert_eq!(node.status(), handing_over(ANN));
    let mut node = settling();
    node.saw(ANN, Kind::Announced);
    assert_eq!(node.status(), Status::NotOurs);
}

#[test]
fn what_one_that_settles_has_is_taken_when_it_is_ready_leaves_or_dies() {
    let waiting = || {
        let mut node = Node::of_three();
        node.phase(ANN, Phase::Settling);
        node.theirs(ANN);
        node.mine(&[ME, ZOE, ANN]);
        node.pass_answered_by(ANN, 10_000);
        assert_eq!(node.status(), held_by(ANN));
        node
    };
    for phase in [Phase::Ready, Phase::Draining] {
        let mut node = waiting();
        node.phase(ANN, phase);
        assert_eq!(node.status(), Status::Held);
    }
    let mut node = waiting();
    node.down(ANN, Standing::Majority);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn what_nobody_had_may_be_had_by_one_that_settles() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.claim(Some(Claim::Nobody));
    node.phase(ANN, Phase::Settling);
    node.theirs(ANN);
    node.mine(&[ME, ZOE, ANN]);
    assert_eq!(node.status(), Status::Probing);
    node.pass_answered_by(ANN, 500);
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn one_that_begins_to_settle_has_nothing_any_longer() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    node.pass(200);
    node.phase_and(ANN, Phase::Settling, |node| node.mine(&[ME, ZOE, ANN]));
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_began_to_settle_keeps_what_the_election_gave_it_after_that() {
    for sticky in [false, true] {
        let mut node = Node::of_three();
        if sticky {
            node = node.sticky();
        }
        node.take(&[ME, ANN]);
        node.theirs(ANN);
        node.saw(ANN, Kind::Announced);
        assert_eq!(node.status(), Status::NotOurs);
        // It started anew, and nobody else could have the address then.
        node.phase(ANN, Phase::Settling);
        node.pass(5_000);
        node.mine(&[ME, ANN]);
        assert_eq!(node.status(), Status::Probing);
        node.pass_answered_by(ANN, 500);
        assert_eq!(node.status(), held_by(ANN));
    }
}

#[test]
fn one_that_returns_to_the_group_and_settles_has_nothing_any_longer() {
    let mut node = Node::of_three();
    node.down(ANN, Standing::Half);
    node.theirs(ANN);
    node.mine(&[ANN, ME, ZOE]);
    node.pass_answered_by(ANN, 1_000);
    assert_eq!(node.status(), held_by(ANN));
    node.mine(&[ME, ZOE, ANN]);
    node.view.members.get_mut(ANN).expect("a member").state =
        Some(state(ANN, Phase::Settling).into());
    node.up(ANN, Standing::Majority);
    // It may have settled all the time that it was not in the group.
    assert_eq!(node.status(), Status::Probing);
    node.pass(30);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn one_that_settled_where_it_was_alone_keeps_what_it_is_seen_with_when_it_meets_others() {
    let mut node = Node::of_two().sticky();
    node.down(ANN, Standing::Half);
    node.mine(&[ME, ANN]);
    node.pass_answered_by(ANN, 300);
    assert_eq!(node.status(), held_by(ANN));
    node.view.members.get_mut(ANN).unwrap().state = Some(state(ANN, Phase::Settling).into());
    node.up(ANN, Standing::Majority);
    assert_eq!(node.status(), Status::Probing);
    node.pass_answered_by(ANN, 500);
    assert_eq!(node.status(), held_by(ANN));
}

#[test]
fn what_one_that_settles_keeps_is_asked_for_nine_times_if_it_is_sticky() {
    let mut node = Node::of_two().sticky();
    node.claim(Some(Claim::Nobody));
    node.view.members.get_mut(ANN).unwrap().state = Some(state(ANN, Phase::Settling).into());
    node.tell_with(|node| node.theirs(ANN));
    node.mine(&[ME, ANN]);
    node.pass(1_000);
    assert_eq!(node.status(), Status::Held);
    assert_eq!(node.probes(), 9);
}

#[test]
fn a_sticky_holder_that_starts_anew_before_anybody_missed_it_is_replaced_at_once() {
    let mut node = waiting();
    node.phase(ZOE, Phase::Settling);
    assert_eq!(node.status(), Status::Held);
    // The same while the election gives it the address for a moment.
    let mut node = waiting();
    node.theirs(ZOE);
    node.phase_and(ZOE, Phase::Settling, |node| node.mine(&[ME, ANN, ZOE]));
    assert_eq!(node.status(), Status::Held);
    // Whom this node saw with it before it was fenced need not have it any longer.
    let mut node = waiting();
    node.fenced(true);
    node.phase(ZOE, Phase::Settling);
    node.fenced(false);
    assert_eq!(node.status(), Status::Probing);
}

#[test]
fn a_holder_that_has_not_told_its_state_yet_is_not_passed_over() {
    for sticky in [false, true] {
        let mut node = Node::of_three();
        if sticky {
            node = node.sticky();
        }
        node.theirs(ANN);
        let told = node.view.members.get_mut(ANN).unwrap().state.take();
        node.tell_with(|node| node.mine(&[ME, ZOE]));
        assert_eq!(node.status(), Status::Probing);
        node.saw(ANN, Kind::Answered);
        assert_eq!(node.status(), held_by(ANN));
        // What it tells decides.
        node.view.members.get_mut(ANN).unwrap().state = told;
        node.tell_with(|node| node.mine(&[ME, ZOE]));
        assert_eq!(node.status(), Status::Held);
    }
}
