//! Two connections with one peer: exactly one is kept (RFC 4271 6.8).

use super::script::{Script, config, id, peer_open, secs};
use crate::session::{Config, ConnectionId, Direction, Event, Reason, State};
use crate::wire::{Asn, BgpId, ErrorCode, Families, GracefulRestart, Open};

fn both(own: BgpId) -> Config {
    Config {
        direction: Direction::Both,
        id: own,
        ..config()
    }
}

fn open_with(id: BgpId) -> Open {
    Open { id, ..peer_open() }
}

/// A session of the speaker with this identifier that dialled and was dialled.
fn two(own: BgpId) -> (Script, ConnectionId, ConnectionId) {
    let (mut script, dialled) = Script::connected(both(own));
    let accepted = script.accept();
    script.sent_open(accepted);
    (script, dialled, accepted)
}

/// Asserts that one was closed for the other, and that the other comes up.
#[track_caller]
fn assert_kept(script: &mut Script, kept: ConnectionId, dropped: ConnectionId) {
    script.assert_ended(dropped, ErrorCode::CONNECTION_COLLISION, &[]);
    script.keepalive(kept);
    assert!(!script.is_closed(kept));
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.session.counters().ups, 1);
    let ends: Vec<_> = script
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Down(_) | Event::Failed(_)))
        .collect();
    assert!(ends.is_empty(), "nothing is to tell: {ends:?}");
    script.pass(secs(10));
    assert_eq!(script.dials.len(), 1);
}

#[test]
fn f5_the_higher_identifiers_connection_is_kept_when_both_are_in_open_sent() {
    // The peer has identifier 10.99.1.2. Which OPEN comes first makes no difference.
    for dialled_first in [true, false] {
        for (own, dialled_is_kept) in [(id(3), true), (id(1), false)] {
            let (mut script, dialled, accepted) = two(own);
            let first = if dialled_first { dialled } else { accepted };
            script.open(first, &open_with(id(2)));
            let (kept, dropped) = if dialled_is_kept {
                (dialled, accepted)
            } else {
                (accepted, dialled)
            };
            if first == dropped {
                script.open(kept, &open_with(id(2)));
            }
            assert_kept(&mut script, kept, dropped);
        }
    }
}

#[test]
fn f5_the_higher_identifiers_connection_is_kept_when_one_is_in_open_confirm() {
    for (own, dialled_is_kept) in [(id(3), true), (id(1), false)] {
        let (mut script, dialled) = Script::connected(both(own));
        script.open(dialled, &open_with(id(2)));
        assert_eq!(script.session.state(), State::OpenConfirm);
        let accepted = script.accept();
        assert!(!script.is_closed(accepted) && !script.is_closed(dialled));
        script.open(accepted, &open_with(id(2)));
        if dialled_is_kept {
            assert_kept(&mut script, dialled, accepted);
        } else {
            assert_kept(&mut script, accepted, dialled);
        }
    }
}

#[test]
fn identifiers_are_compared_as_numbers_and_then_the_as_numbers() {
    let cases = [
        (
            BgpId([9, 255, 255, 255].into()),
            BgpId([10, 0, 0, 0].into()),
            false,
        ),
        (
            BgpId([128, 0, 0, 1].into()),
            BgpId([127, 0, 0, 1].into()),
            true,
        ),
        // The peer's AS 65002 is the higher one (RFC 6286).
        (id(1), id(1), false),
    ];
    for (own, theirs, dialled_is_kept) in cases {
        let (mut script, dialled, accepted) = two(own);
        script.open(dialled, &open_with(theirs));
        if dialled_is_kept {
            assert_kept(&mut script, dialled, accepted);
        } else {
            script.open(accepted, &open_with(theirs));
            assert_kept(&mut script, accepted, dialled);
        }
    }
    let config = Config {
        local_as: Asn(65_100),
        ..both(id(1))
    };
    let (mut script, dialled) = Script::connected(config);
    let accepted = script.accept();
    script.open(dialled, &open_with(id(1)));
    assert_kept(&mut script, dialled, accepted);
}

#[test]
fn an_established_connection_is_kept() {
    for own in [id(1), id(3)] {
        let (mut script, first) = Script::connected(both(own));
        script.open(first, &peer_open());
        script.keepalive(first);
        let second = script.accept();
        script.open(second, &peer_open());
        script.assert_ended(second, ErrorCode::CONNECTION_COLLISION, &[]);
        assert!(!script.is_closed(first));
        assert_eq!(script.session.state(), State::Established);
        assert_eq!(script.session.counters().downs, 0);
    }
}

#[test]
fn an_accepted_one_that_is_established_is_kept_too() {
    let mut script = Script::started(Config {
        direction: Direction::Accept,
        ..both(id(1))
    });
    let first = script.accept();
    script.open(first, &peer_open());
    script.keepalive(first);
    for _ in 0..3 {
        let second = script.accept();
        script.open(second, &peer_open());
        script.assert_ended(second, ErrorCode::CONNECTION_COLLISION, &[]);
        assert!(!script.is_closed(first));
    }
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn a_peer_with_graceful_restart_that_connects_again_has_restarted() {
    let mut open = peer_open();
    open.capabilities.graceful_restart = Some(GracefulRestart {
        families: Families::BOTH,
        ..GracefulRestart::default()
    });
    let config = Config {
        restart: Some(crate::session::Restart {
            time: 60,
            long_lived: None,
            restarted: None,
            forwarding_kept: true,
        }),
        ..both(id(1))
    };
    let (mut script, first) = Script::connected(config);
    script.open(first, &open);
    script.keepalive(first);
    let second = script.accept();
    // A connection alone proves nothing.
    assert_eq!(script.session.state(), State::Established);
    assert!(!script.is_closed(first));
    script.open(second, &open);
    assert!(script.is_closed(first));
    assert_eq!(
        script.notifications(first).len(),
        0,
        "it is closed without a word"
    );
    assert_eq!(*script.reason(), Reason::PeerRestarted);
    script.keepalive(second);
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.session.counters().ups, 2);
    script.pass(secs(20));
    assert_eq!(script.dials.len(), 1);
}

#[test]
fn a_newer_connection_of_the_peer_replaces_one_that_said_nothing() {
    let mut script = Script::started(Config {
        direction: Direction::Accept,
        ..both(id(1))
    });
    let first = script.accept();
    let second = script.accept();
    script.assert_ended(first, ErrorCode::CONNECTION_COLLISION, &[]);
    script.open(second, &peer_open());
    script.keepalive(second);
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn a_dial_that_is_not_answered_yet_is_given_up_when_the_other_connection_is_up() {
    // The own identifier is the higher one: the dial would win until then.
    let mut script = Script::started(both(id(3)));
    let (_, dialled) = script.dials[0];
    let accepted = script.accept();
    script.open(accepted, &peer_open());
    assert!(!script.is_closed(dialled));
    script.keepalive(accepted);
    assert!(script.is_closed(dialled));
    assert_eq!(script.session.state(), State::Established);
    // The connection comes up all the same: nothing is said on it.
    let sent = script.sent.len();
    script.connect();
    assert_eq!(script.sent.len(), sent);
}

#[test]
fn the_own_open_is_held_back_while_another_connection_has_the_peers() {
    for breaks in [false, true] {
        let mut script = Script::started(both(id(3)));
        let accepted = script.accept();
        script.open(accepted, &peer_open());
        let sent = script.sent.len();
        let dialled = script.connect();
        assert_eq!(script.sent.len(), sent);
        if breaks {
            script.session.handle_closed(script.now, accepted, None);
            script.drain();
            script.sent_open(dialled);
            script.open(dialled, &peer_open());
            script.keepalive(dialled);
        } else {
            script.keepalive(accepted);
            script.assert_ended(dialled, ErrorCode::CONNECTION_COLLISION, &[]);
        }
        assert_eq!(script.session.state(), State::Established);
        assert_eq!(script.session.counters().ups, 1);
    }
}

#[test]
fn a_dial_that_would_lose_is_given_up_with_the_peers_open() {
    let mut script = Script::started(both(id(1)));
    let (_, dialled) = script.dials[0];
    let accepted = script.accept();
    script.open(accepted, &peer_open());
    assert!(script.is_closed(dialled));
    assert_eq!(script.session.state(), State::OpenConfirm);
}

#[test]
fn when_the_accepted_one_breaks_the_dialled_one_goes_on() {
    let (mut script, dialled, accepted) = two(id(1));
    script.session.handle_closed(script.now, accepted, None);
    script.drain();
    script.open(dialled, &peer_open());
    script.keepalive(dialled);
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn a_collision_that_both_sides_lost_is_tried_again_soon() {
    let (mut script, dialled, accepted) = two(id(3));
    script.open(dialled, &peer_open());
    script.assert_ended(accepted, ErrorCode::CONNECTION_COLLISION, &[]);
    let lost = crate::wire::Notification::new(ErrorCode::CONNECTION_COLLISION);
    script.notify(dialled, &lost);
    assert_eq!(script.session.state(), State::Active);
    assert!(script.until_dial() <= secs(1));
}

#[test]
fn a_peer_that_ended_the_session_may_come_back_at_once() {
    let (mut script, first) = Script::established(both(id(1)), &peer_open());
    let changed = crate::wire::Notification::new(ErrorCode::OTHER_CONFIGURATION_CHANGE);
    script.notify(first, &changed);
    assert_eq!(script.session.state(), State::Idle);
    let second = script.accept();
    script.open(second, &peer_open());
    script.keepalive(second);
    assert_eq!(script.session.state(), State::Established);
    // The wait that is over later touches nothing.
    script.pass(secs(5));
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.dials.len(), 1);
}

#[test]
fn connections_are_refused_when_they_are_not_wanted() {
    let mut stopped = Script::new(both(id(1)));
    let mut dials_only = Script::started(config());
    let (mut after_an_error, connection) = Script::connected(both(id(1)));
    after_an_error.bytes(connection, &[0; 19]);
    assert_eq!(after_an_error.session.state(), State::Idle);
    for script in [&mut stopped, &mut after_an_error] {
        let accepted = script.accept();
        assert!(script.is_closed(accepted));
        assert_eq!(script.notifications(accepted).len(), 0);
    }
    let accepted = dials_only.accept();
    dials_only.assert_ended(accepted, ErrorCode::CONNECTION_REJECTED, &[]);
    assert_eq!(dials_only.session.state(), State::Connect);
}

#[test]
fn rfc_4486_a_connection_too_many_is_told_so_and_the_session_goes_on() {
    let (mut script, connection) = Script::established(both(id(1)), &peer_open());
    let more = script.accept_without_room();
    script.assert_ended(more, ErrorCode::OUT_OF_RESOURCES, &[]);
    let told = script.session.last_sent().map(|told| told.error);
    assert_eq!(told, Some(ErrorCode::OUT_OF_RESOURCES));
    // What comes on it afterwards is nobody's.
    script.open(more, &peer_open());
    script.keepalive(connection);
    assert!(!script.is_closed(connection));
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.session.counters().downs, 0);
}
