use std::sync::Arc;
use std::time::Duration;

use herald_model::{MacAddress, Member};

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn lan(name: &str) -> LanInterface {
    LanInterface {
        name: name.to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        arp: true,
        ndp: false,
        prefixes: BTreeSet::new(),
        canary: None,
    }
}

fn others(interfaces: &[&str]) -> GroupView {
    let member = Member {
        address: "192.0.2.2:7946".parse().expect("valid"),
        live: true,
        state: Some(Arc::new(MemberState {
            interfaces: interfaces.iter().map(|name| lan(name)).collect(),
            ..MemberState::default()
        })),
    };
    GroupView {
        members: [("other".into(), member)].into(),
        ..GroupView::default()
    }
}

fn names(state: &MemberState) -> Vec<&str> {
    state.interfaces.iter().map(|i| i.name.as_str()).collect()
}

/// A node that has settled, with these interfaces, and when.
fn settled(interfaces: &[&str]) -> (Myself, Instant) {
    let start = Instant::now();
    let mut myself = Myself::new(start, None);
    set(&mut myself, start, interfaces);
    (myself, start + S)
}

fn set(myself: &mut Myself, now: Instant, interfaces: &[&str]) {
    let interfaces: Vec<_> = interfaces.iter().map(|name| lan(name)).collect();
    myself.set_interfaces(now, Some(&interfaces));
}

#[test]
fn a_node_that_starts_settles_for_a_moment_and_longer_if_it_ended_badly() {
    let now = Instant::now();
    let view = GroupView::default();
    let mut fresh = Myself::new(now, None);
    assert_eq!(fresh.state(now, &view).phase, Phase::Settling);
    let due = fresh.next_timeout(now).expect("it settles");
    assert_eq!(due, now + 300 * MS);
    assert_eq!(fresh.state(due, &view).phase, Phase::Ready);
    assert_eq!(fresh.next_timeout(due), None);
    assert!(!fresh.take_comings_changed());

    let mut left = Myself::new(now, Some((Comings::default(), true)));
    assert_eq!(left.state(due, &view).phase, Phase::Ready);

    let mut crashed = Myself::new(now, Some((Comings::default(), false)));
    assert!(crashed.take_comings_changed());
    assert_eq!(crashed.state(now + 1999 * MS, &view).phase, Phase::Settling);
    assert_eq!(crashed.state(now + 2 * S, &view).phase, Phase::Ready);
    let again = Myself::new(now, Some((crashed.comings().clone(), false)));
    assert_eq!(again.next_timeout(now), Some(now + 8 * S));
}

#[test]
fn one_that_was_declared_down_settles_and_one_that_was_only_late_does_not() {
    let view = GroupView::default();
    let (mut myself, now) = settled(&["eth0"]);
    myself.set_fenced(now, false, 7);
    myself.set_fenced(now, true, 7);
    assert_eq!(myself.state(now, &view).phase, Phase::Settling);
    myself.set_fenced(now + S, false, 7);
    assert_eq!(myself.state(now + S, &view).phase, Phase::Ready);
    assert!(!myself.take_comings_changed());
    // It is told of the fence and of the new generation together.
    myself.set_fenced(now + S, true, 8);
    myself.set_fenced(now + S, false, 8);
    assert!(myself.take_comings_changed());
    assert_eq!(myself.state(now + S, &view).phase, Phase::Settling);
    assert_eq!(myself.state(now + 3 * S, &view).phase, Phase::Ready);
}

#[test]
fn one_that_is_drained_is_draining_whatever_else() {
    let view = GroupView::default();
    let (mut myself, now) = settled(&["eth0"]);
    myself.set_draining(true);
    assert_eq!(myself.state(now, &view).phase, Phase::Draining);
    myself.set_fenced(now, true, 1);
    assert_eq!(myself.state(now, &view).phase, Phase::Draining);
    myself.set_fenced(now, false, 1);
    myself.set_draining(false);
    assert_eq!(myself.state(now, &view).phase, Phase::Ready);
}

#[test]
fn one_that_does_not_decide_yet_settles_for_as_long_as_that_takes() {
    let view = GroupView::default();
    let (mut myself, now) = settled(&["eth0"]);
    myself.set_waiting(true);
    assert_eq!(myself.state(now, &view).phase, Phase::Settling);
    assert_eq!(myself.state(now + 9 * S, &view).phase, Phase::Settling);
    myself.set_waiting(false);
    assert_eq!(myself.state(now + 9 * S, &view).phase, Phase::Ready);
}

#[test]
fn the_only_interface_that_comes_back_makes_the_node_settle() {
    let view = others(&["eth0"]);
    let (mut myself, now) = settled(&["eth0"]);
    set(&mut myself, now, &[]);
    assert!(names(&myself.state(now, &view)).is_empty());
    set(&mut myself, now + S, &["eth0"]);
    let state = myself.state(now + S, &view);
    assert_eq!(
        (names(&state), state.phase),
        (vec!["eth0"], Phase::Settling)
    );
    assert_eq!(myself.next_timeout(now + S), Some(now + 3 * S));
    assert_eq!(myself.state(now + 3 * S, &view).phase, Phase::Ready);
}

#[test]
fn one_of_several_that_comes_back_is_told_when_it_has_settled() {
    let view = others(&["eth0", "eth1"]);
    let (mut myself, now) = settled(&["eth0", "eth1"]);
    set(&mut myself, now, &["eth0"]);
    set(&mut myself, now, &["eth0", "eth1"]);
    let state = myself.state(now, &view);
    assert_eq!((names(&state), state.phase), (vec!["eth0"], Phase::Ready));
    let alone = myself.state(now, &others(&["eth0"]));
    assert_eq!(names(&alone), ["eth0", "eth1"], "nobody else has it");
    let state = myself.state(now + 2 * S, &view);
    assert_eq!(names(&state), ["eth0", "eth1"]);
}

#[test]
fn an_interface_that_is_new_counts_at_once() {
    let view = others(&["eth0", "eth1"]);
    let (mut myself, now) = settled(&["eth0"]);
    set(&mut myself, now, &["eth0", "eth1"]);
    let state = myself.state(now, &view);
    assert_eq!((names(&state).len(), state.phase), (2, Phase::Ready));
}

#[test]
fn interfaces_that_never_come_back_do_not_crowd_out_one_that_does() {
    let view = others(&["eth0", "eth1"]);
    let (mut myself, now) = settled(&["eth0", "eth1"]);
    for pod in 0..100 {
        set(&mut myself, now, &["eth0", "eth1", &format!("veth{pod}")]);
    }
    set(&mut myself, now, &["eth0"]);
    set(&mut myself, now, &["eth0", "eth1"]);
    assert_eq!(names(&myself.state(now, &view)), ["eth0"], "it settles");
    assert!(myself.comings().interfaces.len() <= MAX_INTERFACES);
    assert!(myself.gone.len() <= MAX_INTERFACES);
}
