//! What happens when nothing happens.

use std::time::Duration;

use super::script::{Script, config, peer_open, secs};
use crate::routes::Written;
use crate::session::{Config, Direction, Event, Reason, State, Timers};
use crate::wire::{ErrorCode, Open};

fn with_hold(hold: u16) -> Config {
    Config {
        timers: Timers {
            hold,
            ..Timers::default()
        },
        ..config()
    }
}

#[test]
fn t1_a_silent_peer_is_dropped_when_the_hold_time_is_over() {
    let (mut script, connection) = Script::established(with_hold(3), &peer_open());
    script.pass(Duration::from_millis(2999));
    assert_eq!(script.session.state(), State::Established);
    script.pass(Duration::from_millis(1));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
    assert_eq!(*script.reason(), Reason::HoldExpired(3));
    assert_eq!(
        script.reason().to_string(),
        "nothing heard from the peer for the hold time of 3 s"
    );
    assert!(matches!(script.events.last(), Some((at, Event::Down(_))) if *at == secs(3)));
    assert_eq!(script.session.counters().downs, 1);
}

#[test]
fn each_message_starts_the_hold_time_anew() {
    let (mut script, connection) = Script::established(with_hold(9), &peer_open());
    for round in 0..20 {
        script.pass(secs(8));
        if round % 2 == 0 {
            script.keepalive(connection);
        } else {
            script.update(connection);
        }
    }
    assert_eq!(script.session.state(), State::Established);
    // Half a message is no sign of life.
    script.pass(secs(8));
    script.bytes(connection, &[0xff; 10]);
    script.pass(secs(1));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
}

#[test]
fn the_hold_time_counts_before_the_first_keepalive_too() {
    let (mut script, connection) = Script::connected(with_hold(9));
    script.open(connection, &peer_open());
    assert_eq!(script.session.state(), State::OpenConfirm);
    script.pass(secs(9));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
}

#[test]
fn t2_keepalives_come_each_third_of_the_hold_time_and_are_spread() {
    let (mut script, connection) = Script::established(with_hold(9), &peer_open());
    for _ in 0..40 {
        script.pass(secs(5));
        script.keepalive(connection);
    }
    let times = script.keepalives(connection);
    let gaps: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    assert!(gaps.len() > 60);
    for gap in &gaps {
        assert!(
            (Duration::from_millis(2250)..=secs(3)).contains(gap),
            "{gap:?}"
        );
    }
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    let spread = most.saturating_sub(*least);
    assert!(spread > Duration::from_millis(500), "{spread:?}");
}

#[test]
fn a_shorter_keepalive_interval_can_be_asked_for() {
    let mut config = with_hold(90);
    config.timers.keepalive = Some(secs(2));
    let (mut script, connection) = Script::established(config, &peer_open());
    script.pass(secs(20));
    let count = script.keepalives(connection).len();
    assert!((11..=14).contains(&count), "{count}");
}

#[test]
fn rfc_4271_keepalives_do_not_follow_each_other_within_a_second() {
    let mut config = with_hold(3);
    config.timers.keepalive = Some(Duration::from_millis(200));
    let (mut script, connection) = Script::established(config, &peer_open());
    for _ in 0..20 {
        script.pass(secs(2));
        script.keepalive(connection);
    }
    let times = script.keepalives(connection);
    assert!(times.len() >= 40, "{}", times.len());
    let close = times.windows(2).find(|pair| pair[1] < pair[0] + secs(1));
    assert_eq!(close, None);
}

#[test]
fn t3_with_a_hold_time_of_0_silence_is_borne_for_ever() {
    let open = Open {
        hold_time: 0,
        ..peer_open()
    };
    let (mut script, connection) = Script::established(with_hold(90), &open);
    script.pass(secs(100_000));
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.keepalives(connection).len(), 1);
}

#[test]
fn with_a_hold_time_of_0_the_first_keepalive_must_come_all_the_same() {
    let open = Open {
        hold_time: 0,
        ..peer_open()
    };
    let (mut script, connection) = Script::connected(with_hold(90));
    script.open(connection, &open);
    script.pass(secs(239));
    assert_eq!(script.session.state(), State::OpenConfirm);
    script.pass(secs(1));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
    assert_eq!(*script.reason(), Reason::NoKeepalive);
}

#[test]
fn a_start_does_not_wait_for_a_peer_that_connected_and_says_nothing() {
    let mut script = Script::new(Config {
        direction: Direction::Both,
        ..config()
    });
    script.session.start(script.now);
    script.drain();
    let (_, dialled) = script.dials[0];
    script
        .session
        .handle_connect_failed(script.now, dialled, "Connection refused");
    script.accept();
    script.session.start(script.now);
    script.drain();
    assert_eq!(script.dials.len(), 2);
}

#[test]
fn routes_are_a_sign_of_life_too() {
    let (mut script, connection) = Script::established(with_hold(90), &peer_open());
    for _ in 0..10 {
        script.pass(secs(20));
        script.keepalive(connection);
        let update = super::script::raw(2, &[0, 0, 0, 0]);
        assert!(
            script
                .session
                .submit(script.now, update, Written::default())
        );
        script.drain();
    }
    assert_eq!(script.keepalives(connection).len(), 1);
}

#[test]
fn a_peer_that_takes_the_connection_and_says_nothing_is_dropped() {
    let mut config = config();
    let (mut script, connection) = Script::connected(config.clone());
    script.pass(secs(239));
    assert_eq!(script.session.state(), State::OpenSent);
    script.pass(secs(1));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
    assert_eq!(*script.reason(), Reason::NoOpen);

    config.timers.open = secs(5);
    let (mut script, connection) = Script::connected(config);
    script.pass(secs(5));
    script.assert_ended(connection, ErrorCode::HOLD_TIMER_EXPIRED, &[]);
}

#[test]
fn a_dial_without_answer_is_given_up_without_a_word() {
    let mut script = Script::started(config());
    let (_, connection) = script.dials[0];
    script.pass(secs(10));
    assert!(script.is_closed(connection));
    assert!(script.sent.is_empty());
    assert_eq!(*script.reason(), Reason::DialTimeout);
    assert_eq!(script.session.state(), State::Active);
    script.until_dial();
    assert_eq!(script.session.state(), State::Connect);
}

#[test]
fn f7_waits_between_dials_double_up_to_the_connect_time_and_are_spread() {
    let mut config = config();
    config.timers.connect = secs(16);
    let mut script = Script::started(config);
    for full in [1, 2, 4, 8, 16, 16, 16] {
        let (_, connection) = *script.dials.last().unwrap();
        script
            .session
            .handle_connect_failed(script.now, connection, "Connection refused");
        script.drain();
        assert_eq!(
            script.reason().to_string(),
            "cannot connect: Connection refused"
        );
        let wait = script.until_dial();
        assert!(
            wait <= secs(full) && wait >= secs(full).mul_f64(0.75),
            "{wait:?}"
        );
    }
    // No connection was there that could have been closed.
    assert!(script.closed.is_empty());
}

#[test]
fn a_connect_time_of_one_second_is_kept() {
    let mut config = config();
    config.timers.connect = secs(1);
    let mut script = Script::started(config);
    for _ in 0..5 {
        let (_, connection) = *script.dials.last().unwrap();
        script
            .session
            .handle_connect_failed(script.now, connection, "Connection refused");
        assert!(script.until_dial() <= secs(1));
    }
}

#[test]
fn a_session_that_was_up_for_long_comes_back_soon_and_one_that_flaps_does_not() {
    let mut waits = Vec::new();
    for up in [1, 1, 1, 1, 1, 60] {
        let (mut script, mut connection) = Script::established(with_hold(0), &peer_open());
        for _ in 0..5 {
            script.pass(secs(up));
            script.session.handle_closed(script.now, connection, None);
            script.drain();
            assert_eq!(*script.reason(), Reason::ClosedByPeer);
            waits.push((up, script.until_dial()));
            connection = script.connect();
            script.open(connection, &peer_open());
            script.keepalive(connection);
        }
    }
    let (_, last_flapping) = waits[4];
    assert!(last_flapping >= secs(12), "{last_flapping:?}");
    for (_, wait) in waits.iter().filter(|(up, _)| *up == 60) {
        assert!(*wait <= secs(1), "{wait:?}");
    }
}

#[test]
fn a_peer_that_takes_nothing_is_dropped() {
    let mut config = with_hold(0);
    for (configured, expected) in [(None, secs(480)), (Some(secs(30)), secs(30))] {
        config.timers.send_hold = configured;
        let (mut script, connection) = Script::established(config.clone(), &peer_open());
        script.pass(secs(1000));
        script.stuck = true;
        let update = super::script::raw(2, &[0, 0, 0, 0]);
        assert!(
            script
                .session
                .submit(script.now, update, Written::default())
        );
        script.drain();
        script.pass(expected.saturating_sub(secs(1)));
        assert_eq!(script.session.state(), State::Established);
        script.pass(secs(1));
        script.assert_ended(connection, ErrorCode::SEND_HOLD_TIMER_EXPIRED, &[]);
        assert_eq!(*script.reason(), Reason::SendHoldExpired);
    }
}

#[test]
fn the_send_hold_time_is_twice_the_hold_time_if_that_is_more() {
    let open = Open {
        hold_time: 600,
        ..peer_open()
    };
    let (mut script, connection) = Script::established(with_hold(600), &open);
    script.stuck = true;
    for _ in 0..6 {
        script.pass(secs(200));
        script.keepalive(connection);
    }
    assert_eq!(script.session.state(), State::Established);
    script.pass(secs(200));
    script.assert_ended(connection, ErrorCode::SEND_HOLD_TIMER_EXPIRED, &[]);
}

#[test]
fn a_peer_that_is_slow_but_takes_something_is_kept() {
    let mut config = with_hold(0);
    config.timers.send_hold = Some(secs(10));
    let (mut script, connection) = Script::established(config, &peer_open());
    script.stuck = true;
    let update = super::script::raw(2, &[0; 4000]);
    assert!(
        script
            .session
            .submit(script.now, update, Written::default())
    );
    script.drain();
    for left in (100..4000).rev().step_by(100) {
        script.pass(secs(9));
        script
            .session
            .handle_sent(script.now, connection, left, left);
    }
    assert_eq!(script.session.state(), State::Established);
    script.session.handle_sent(script.now, connection, 0, 0);
    script.pass(secs(1000));
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn what_the_system_takes_is_not_sent_until_the_peer_acknowledges_it() {
    let mut config = with_hold(0);
    config.timers.send_hold = Some(secs(10));
    let (mut script, connection) = Script::established(config, &peer_open());
    script.stuck = true;
    let update = super::script::raw(2, &[0; 4000]);
    assert!(
        script
            .session
            .submit(script.now, update, Written::default())
    );
    script.drain();
    let sent = |script: &mut Script, unacknowledged| {
        let now = script.now;
        script
            .session
            .handle_sent(now, connection, 0, unacknowledged);
    };
    // It counts when the peer took something last, not how often that is looked at.
    sent(&mut script, 3000);
    script.pass(secs(9));
    sent(&mut script, 2000);
    for _ in 0..9 {
        script.pass(secs(1));
        sent(&mut script, 2000);
    }
    assert_eq!(script.session.state(), State::Established);
    script.pass(secs(1));
    script.assert_ended(connection, ErrorCode::SEND_HOLD_TIMER_EXPIRED, &[]);
}

#[test]
fn nobody_dials_who_is_to_be_dialled() {
    let mut script = Script::started(Config {
        direction: Direction::Accept,
        ..config()
    });
    script.pass(secs(1000));
    assert!(script.dials.is_empty());
    assert_eq!(script.session.state(), State::Active);
    let connection = script.accept();
    script.open(connection, &peer_open());
    script.keepalive(connection);
    assert_eq!(script.session.state(), State::Established);
    script.session.handle_closed(script.now, connection, None);
    script.drain();
    script.pass(secs(1000));
    assert!(script.dials.is_empty());
    assert_eq!(script.session.state(), State::Active);
}
