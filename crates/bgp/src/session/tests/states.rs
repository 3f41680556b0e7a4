//! Messages that do not belong into a state, and messages that are wrong.

use super::script::{Script, config, peer_open, raw, secs};
use crate::session::{ConnectionId, Event, Reason, State};
use crate::wire::{ErrorCode, Family, MessageType, Notification, RefreshKind, RouteRefresh};

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
const REFRESH: u8 = 5;

fn in_state(state: State) -> (Script, ConnectionId) {
    let (mut script, connection) = Script::connected(config());
    if state >= State::OpenConfirm {
        script.open(connection, &peer_open());
    }
    if state == State::Established {
        script.keepalive(connection);
    }
    assert_eq!(script.session.state(), state);
    (script, connection)
}

fn message(kind: u8) -> Vec<u8> {
    match kind {
        OPEN => {
            let mut bytes = Vec::new();
            peer_open().encode(&mut bytes);
            bytes
        }
        UPDATE => raw(UPDATE, &[0, 0, 0, 0]),
        REFRESH => raw(REFRESH, &[0, 1, 0, 1]),
        _ => raw(kind, &[]),
    }
}

#[test]
fn f1_to_f4_a_message_that_does_not_belong_into_the_state_ends_it_with_its_type() {
    let cases = [
        (State::OpenSent, UPDATE, ErrorCode::UNEXPECTED_IN_OPEN_SENT),
        (
            State::OpenSent,
            KEEPALIVE,
            ErrorCode::UNEXPECTED_IN_OPEN_SENT,
        ),
        (State::OpenSent, REFRESH, ErrorCode::UNEXPECTED_IN_OPEN_SENT),
        (
            State::OpenConfirm,
            OPEN,
            ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
        ),
        (
            State::OpenConfirm,
            UPDATE,
            ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
        ),
        (
            State::OpenConfirm,
            REFRESH,
            ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
        ),
        (
            State::Established,
            OPEN,
            ErrorCode::UNEXPECTED_IN_ESTABLISHED,
        ),
    ];
    for (state, kind, error) in cases {
        let (mut script, connection) = in_state(state);
        script.bytes(connection, &message(kind));
        script.assert_ended(connection, error, &[kind]);
        assert_eq!(script.session.state(), State::Idle, "{state} {kind}");
        let reason = script.reason();
        assert!(
            matches!(reason, Reason::Unexpected { state: found, .. } if *found == state),
            "{reason}"
        );
    }
}

#[test]
fn the_words_for_it_name_message_and_state() {
    let reason = Reason::Unexpected {
        state: State::OpenSent,
        message: MessageType::RouteRefresh,
    };
    assert_eq!(
        reason.to_string(),
        "the peer sent ROUTE-REFRESH in state OpenSent"
    );
}

#[test]
fn header_errors_end_the_session_in_each_state() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let mut marker = raw(KEEPALIVE, &[]);
        marker[3] = 0;
        let cases = [
            (marker, ErrorCode::CONNECTION_NOT_SYNCHRONIZED, vec![]),
            (
                raw(KEEPALIVE, &[0]),
                ErrorCode::BAD_MESSAGE_LENGTH,
                vec![0, 20],
            ),
            (
                raw(UPDATE, &[0, 0, 0]),
                ErrorCode::BAD_MESSAGE_LENGTH,
                vec![0, 22],
            ),
            (raw(9, &[]), ErrorCode::BAD_MESSAGE_TYPE, vec![9]),
        ];
        for (bytes, error, data) in cases {
            let (mut script, connection) = in_state(state);
            script.bytes(connection, &bytes);
            script.assert_ended(connection, error, &data);
            assert!(matches!(script.reason(), Reason::Malformed(_)));
        }
    }
}

#[test]
fn messages_may_come_byte_by_byte_and_many_at_once() {
    let (mut script, connection) = Script::connected(config());
    for byte in message(OPEN) {
        script.bytes(connection, &[byte]);
    }
    assert_eq!(script.session.state(), State::OpenConfirm);
    let many = [message(KEEPALIVE), message(UPDATE), message(KEEPALIVE)].concat();
    script.bytes(connection, &many.repeat(100));
    assert_eq!(script.session.state(), State::Established);
    let received = script.session.counters().received;
    assert_eq!((received.updates, received.keepalives), (100, 200));
    assert_eq!((received.opens, received.total()), (1, 301));
}

#[test]
fn nothing_is_looked_at_after_the_message_that_ended_the_session() {
    let (mut script, connection) = in_state(State::Established);
    script.bytes(
        connection,
        &[message(OPEN), message(UPDATE), vec![0; 100]].concat(),
    );
    assert_eq!(script.notifications(connection).len(), 1);
    assert_eq!(script.session.counters().received.updates, 0);
}

#[test]
fn f6_after_a_notification_the_session_waits_and_dials_again() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let (mut script, connection) = in_state(state);
        let cease = Notification::with_text(ErrorCode::ADMINISTRATIVE_RESET, "upgrade");
        script.notify(connection, &cease);
        assert!(script.is_closed(connection));
        assert_eq!(
            script.notifications(connection).len(),
            0,
            "none answers one"
        );
        assert_eq!(script.session.state(), State::Idle);
        assert_eq!(script.session.last_received(), Some(&cease));
        assert_eq!(
            script.reason().to_string(),
            "the peer ended the session: administrative reset (6/4): \"upgrade\""
        );
        assert!(script.until_dial() <= secs(1));
    }
}

#[test]
fn a_peer_that_refuses_again_and_again_is_asked_less_and_less() {
    let mut script = Script::started(config());
    let mut waits = Vec::new();
    for _ in 0..10 {
        let connection = script.connect();
        script.notify(connection, &Notification::new(ErrorCode::BAD_PEER_AS));
        waits.push(script.until_dial());
    }
    assert!(waits[0] <= secs(1) && waits[9] >= secs(45) && waits[9] <= secs(60));
    for (index, wait) in waits.iter().enumerate().take(6) {
        let full = secs(1 << index);
        assert!(*wait <= full && *wait >= full.mul_f64(0.75));
    }
}

#[test]
fn a_peer_that_closes_in_each_state_is_dialled_again() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let (mut script, connection) = in_state(state);
        let error = Some("Connection reset by peer");
        script.session.handle_closed(script.now, connection, error);
        script.drain();
        assert!(!script.is_closed(connection), "it is closed already");
        assert_eq!(script.session.state(), State::Active);
        assert_eq!(
            script.reason().to_string(),
            "the connection was lost: Connection reset by peer"
        );
        script.until_dial();
        script.connect();
    }
}

#[test]
fn routes_of_the_peer_are_counted_and_dropped() {
    let (mut script, connection) = in_state(State::Established);
    let attributes = [
        0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea, 0x40, 3, 4, 10, 99, 1, 2,
    ];
    let mut body = vec![0, 4, 24, 192, 0, 2, 0, 20];
    body.extend(attributes);
    body.extend([24, 198, 51, 100, 24, 203, 0, 113]);
    script.bytes(connection, &raw(UPDATE, &body));
    let counters = script.session.counters();
    assert_eq!(counters.announced.ipv4, 2);
    assert_eq!(counters.withdrawn.ipv4, 1);
    assert_eq!(script.session.state(), State::Established);
    script.update(connection);
    assert!(matches!(
        script.events.last(),
        Some((_, Event::EndOfRib(Family::Ipv4Unicast)))
    ));
}

#[test]
fn an_update_that_cannot_be_read_ends_the_session() {
    let (mut script, connection) = in_state(State::Established);
    script.bytes(connection, &raw(UPDATE, &[0, 9, 0, 0]));
    script.assert_ended(connection, ErrorCode::MALFORMED_ATTRIBUTE_LIST, &[]);
}

#[test]
fn r1_r3_r4_only_a_request_for_a_negotiated_family_is_passed_on() {
    let mut open = peer_open();
    open.capabilities.families.ipv6 = false;
    let (mut script, connection) = Script::established(config(), &open);
    script.events.clear();
    let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    script.refresh(connection, RouteRefresh::new(v6, RefreshKind::Request));
    script.refresh(connection, RouteRefresh::new(v4, RefreshKind::Begin));
    script.refresh(connection, RouteRefresh::new(v4, RefreshKind::End));
    script.bytes(connection, &raw(REFRESH, &[0, 1, 77, 1]));
    script.bytes(connection, &raw(REFRESH, &[0, 25, 0, 70]));
    assert_eq!(script.events, []);
    script.refresh(connection, RouteRefresh::new(v4, RefreshKind::Request));
    assert!(matches!(script.events[..], [(_, Event::Refresh(family))] if family == v4));
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn a_refresh_of_the_wrong_length_ends_the_session_with_the_message() {
    let (mut script, connection) = in_state(State::Established);
    let message = raw(REFRESH, &[0, 1, 0, 1, 0]);
    script.bytes(connection, &message);
    script.assert_ended(connection, ErrorCode::INVALID_REFRESH_LENGTH, &message);
}

#[test]
fn what_is_said_of_connections_that_are_gone_is_ignored() {
    let (mut script, connection) = in_state(State::Established);
    script.session.handle_closed(script.now, connection, None);
    script.drain();
    let (sent, events) = (script.sent.len(), script.events.len());
    script.bytes(connection, &message(OPEN));
    script.session.handle_closed(script.now, connection, None);
    script
        .session
        .handle_connect_failed(script.now, connection, "late");
    script.session.handle_sent(script.now, connection, 5, 5);
    script.connect();
    assert_eq!((script.sent.len(), script.events.len()), (sent, events));
}
