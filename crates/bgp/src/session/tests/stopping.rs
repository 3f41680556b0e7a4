//! How a session is ended from this side, and how its configuration is changed.

use std::time::Instant;

use super::script::{Script, config, peer_open, secs};
use crate::session::{
    Action, Config, Direction, Event, Reason, Restart, Session, State, Stop, Timers,
};
use crate::wire::{Asn, ErrorCode, ExpectedAs, Families, GracefulRestart, Notification, Open};

/// Both sides have graceful restart, by NOTIFICATION too.
fn graceful() -> (Config, Open) {
    let config = Config {
        restart: Some(Restart {
            time: 120,
            long_lived: None,
            restarted: None,
            forwarding_kept: true,
        }),
        ..config()
    };
    let mut open = peer_open();
    open.capabilities.graceful_restart = Some(GracefulRestart {
        notification: true,
        restart_time: 120,
        families: Families::BOTH,
        ..GracefulRestart::default()
    });
    (config, open)
}

#[test]
fn c1_a_shutdown_is_a_cease_with_a_text() {
    let (mut script, connection) = Script::established(config(), &peer_open());
    let stop = Stop::Shutdown("node is drained".into());
    script.session.stop(script.now, &stop);
    script.drain();
    script.assert_ended(
        connection,
        ErrorCode::ADMINISTRATIVE_SHUTDOWN,
        b"\x0fnode is drained",
    );
    assert_eq!(*script.reason(), Reason::Stopped(stop));
    assert_eq!(script.reason().to_string(), "shut down: node is drained");
    assert!(matches!(script.events.last(), Some((_, Event::Down(_)))));
    script.pass(secs(10_000));
    assert_eq!(script.session.state(), State::Idle);
    assert_eq!(script.dials.len(), 1);
    script.session.start(script.now);
    script.drain();
    assert_eq!(script.dials.len(), 2);
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let (mut script, connection) = Script::established(config(), &peer_open());
    script
        .session
        .stop(script.now, &Stop::Shutdown("ä".repeat(200)));
    script.drain();
    let notification = script.notifications(connection)[0];
    assert_eq!(notification.data.len(), 255);
    assert_eq!(notification.text(), Some("ä".repeat(127)));
}

#[test]
fn stopping_silently_says_nothing() {
    let (config, open) = graceful();
    let (mut script, connection) = Script::established(config, &open);
    script.session.stop(script.now, &Stop::Silently);
    script.drain();
    assert!(script.is_closed(connection));
    assert_eq!(script.notifications(connection).len(), 0);
    assert_eq!(script.session.state(), State::Idle);
}

#[test]
fn with_graceful_restart_a_shutdown_is_a_hard_reset() {
    let (config, open) = graceful();
    for (stop, within) in [
        (
            Stop::Shutdown("bye".into()),
            Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, "bye"),
        ),
        (
            Stop::Deconfigured,
            Notification::new(ErrorCode::PEER_DE_CONFIGURED),
        ),
    ] {
        let (mut script, connection) = Script::established(config.clone(), &open);
        script.session.stop(script.now, &stop);
        script.drain();
        let sent = script.notifications(connection)[0];
        assert_eq!(sent.error, ErrorCode::HARD_RESET);
        assert_eq!(sent.within_hard_reset(), Some(within));
        assert_eq!(script.session.last_sent(), Some(sent));
    }
}

#[test]
fn without_graceful_restart_by_notification_no_hard_reset_is_needed() {
    let (config, mut open) = graceful();
    for n_bit in [false, true] {
        open.capabilities.graceful_restart = n_bit.then_some(GracefulRestart {
            families: Families::BOTH,
            ..GracefulRestart::default()
        });
        let (mut script, connection) = Script::established(config.clone(), &open);
        script.session.stop(script.now, &Stop::Deconfigured);
        script.drain();
        script.assert_ended(connection, ErrorCode::PEER_DE_CONFIGURED, &[]);
    }
}

#[test]
fn a_reset_keeps_the_routes_of_graceful_restart_and_comes_back() {
    let (config, open) = graceful();
    let (mut script, connection) = Script::established(config, &open);
    script
        .session
        .stop(script.now, &Stop::Reset("again".into()));
    script.drain();
    script.assert_ended(connection, ErrorCode::ADMINISTRATIVE_RESET, b"\x05again");
    assert!(script.until_dial() <= secs(1));
}

#[test]
fn a_reset_between_two_attempts_brings_the_next_one_at_once() {
    let (config, _) = graceful();
    let now = Instant::now();
    let mut session = Session::new(config, 1);
    session.start(now);
    let Some(Action::Connect(id)) = session.poll_action() else {
        panic!("no attempt");
    };
    session.handle_connect_failed(now, id, "refused");
    while session.poll_action().is_some() {}
    session.stop(now, &Stop::Reset("again".into()));
    assert_eq!(session.next_timeout(), Some(now));
    session.handle_timeout(now);
    let mut actions = std::iter::from_fn(|| session.poll_action());
    assert!(actions.any(|action| matches!(action, Action::Connect(_))));
}

#[test]
fn bfd_down_ends_a_session_that_is_up_and_no_other() {
    let (mut script, connection) = Script::established(config(), &peer_open());
    script.session.handle_bfd_down(script.now);
    script.drain();
    script.assert_ended(connection, ErrorCode::BFD_DOWN, &[]);
    assert_eq!(*script.reason(), Reason::BfdDown);
    script.until_dial();

    let (mut script, connection) = Script::connected(config());
    script.session.handle_bfd_down(script.now);
    script.drain();
    assert!(!script.is_closed(connection));
}

#[test]
fn the_texts_of_a_peer_that_ends_the_session_are_told() {
    let cease = Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, "maintenance");
    for notification in [cease.clone(), Notification::hard_reset(&cease)] {
        let (mut script, connection) = Script::established(config(), &peer_open());
        script.notify(connection, &notification);
        let words = script.reason().to_string();
        assert!(words.contains("maintenance"), "{words}");
    }
}

#[test]
fn timers_change_without_a_reset_and_what_the_open_says_does_not() {
    let same = [
        Config {
            direction: Direction::Both,
            ..config()
        },
        Config {
            timers: Timers {
                keepalive: Some(secs(5)),
                connect: secs(3),
                dial: secs(3),
                idle: secs(3),
                open: secs(3),
                send_hold: Some(secs(3)),
                calm: secs(3),
                hold: 90,
            },
            ..config()
        },
    ];
    for other in same {
        let (mut script, connection) = Script::established(config(), &peer_open());
        assert!(!script.session.reconfigure(script.now, other.clone()));
        script.drain();
        assert!(!script.is_closed(connection));
        assert_eq!(*script.session.config(), other);
        assert_eq!(script.session.state(), State::Established);
    }

    let others = [
        Config {
            local_as: Asn(65_009),
            ..config()
        },
        Config {
            peer_as: ExpectedAs::External,
            ..config()
        },
        Config {
            id: super::script::id(9),
            ..config()
        },
        Config {
            restart: graceful().0.restart,
            ..config()
        },
        Config {
            timers: Timers {
                hold: 9,
                ..Timers::default()
            },
            ..config()
        },
    ];
    for other in others {
        let (mut script, connection) = Script::established(config(), &peer_open());
        assert!(script.session.reconfigure(script.now, other));
        script.drain();
        script.assert_ended(connection, ErrorCode::OTHER_CONFIGURATION_CHANGE, &[]);
        assert!(script.until_dial() <= secs(1));
    }
}

#[test]
fn a_configuration_that_is_put_right_is_tried_at_once() {
    let mut script = Script::started(config());
    for _ in 0..8 {
        let connection = script.connect();
        let open = Open {
            my_as: Asn(65_003),
            ..peer_open()
        };
        script.open(connection, &open);
        script.until_dial();
    }
    let connection = script.connect();
    script.open(
        connection,
        &Open {
            my_as: Asn(65_003),
            ..peer_open()
        },
    );
    assert_eq!(script.session.state(), State::Idle);
    script.session.reconfigure(
        script.now,
        Config {
            peer_as: ExpectedAs::Exactly(Asn(65_003)),
            ..config()
        },
    );
    assert_eq!(script.until_dial(), secs(0));
}

#[test]
fn one_that_becomes_passive_dials_no_more_and_the_other_way_round() {
    let mut script = Script::started(config());
    let (_, connection) = script.dials[0];
    script
        .session
        .handle_connect_failed(script.now, connection, "no route");
    let passive = Config {
        direction: Direction::Accept,
        ..config()
    };
    assert!(!script.session.reconfigure(script.now, passive));
    script.drain();
    script.pass(secs(100));
    assert_eq!(script.dials.len(), 1);
    assert!(!script.session.reconfigure(script.now, config()));
    assert_eq!(script.until_dial(), secs(0));
}
