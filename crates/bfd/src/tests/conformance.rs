//! What RFC 5880 asks for on the wire, case by case.

use std::time::Duration;

use super::rig::{FAST, PEER_DISCRIMINATOR, Rig, extremes, fast, ms};
use crate::{
    Cause, ControlPacket, Diagnostic, Event, EventKind, Hops, SessionId, Settings, State, TTL,
};

fn changed(session: SessionId, from: State, to: State, cause: Cause) -> Event {
    let kind = EventKind::Changed { from, to, cause };
    Event { session, kind }
}

#[test]
fn sends_once_a_second_less_jitter_while_not_up() {
    let mut rig = Rig::new(fast());
    rig.run(ms(200_000));
    assert!(rig.sent.len() > 200);
    let (least, most) = extremes(&rig.gaps());
    assert!(least >= ms(750) && least < ms(760), "{least:?}");
    assert!(most <= ms(1000) && most > ms(990), "{most:?}");
    for (_, packet) in &rig.sent {
        assert_eq!(packet.state, State::Down);
        assert_eq!(packet.desired_min_tx, 1_000_000);
        assert_eq!(packet.required_min_rx, 50_000);
        assert_eq!(packet.your_discriminator, 0);
        assert_ne!(packet.my_discriminator, 0);
    }
}

#[test]
fn never_sends_faster_than_it_was_asked_to_though_not_up() {
    let mut rig = Rig::new(Settings {
        transmit_interval: ms(5_000),
        ..fast()
    });
    rig.run(ms(100_000));
    let (least, most) = extremes(&rig.gaps());
    assert!(least >= ms(3750) && most <= ms(5000), "{least:?} {most:?}");
}

#[test]
fn packets_are_of_version_1_and_24_bytes_with_ttl_255_to_the_right_port() {
    let rig = Rig::new(fast());
    let bytes = rig.last_sent().encode();
    assert_eq!(bytes.len(), 24);
    assert_eq!(bytes[0], 1 << 5);
    assert_eq!(bytes[1], 1 << 6);
    assert_eq!(bytes[2..4], [3, 24]);
    assert_eq!(bytes[4..8], rig.id.discriminator().to_be_bytes());
    assert_eq!(bytes[12..16], 1_000_000_u32.to_be_bytes());
    assert_eq!(bytes[16..20], 50_000_u32.to_be_bytes());
    assert_eq!(bytes[20..24], [0; 4], "no echo is returned");
    assert_eq!(TTL, 255);
    assert_eq!([Hops::Single, Hops::Multi].map(Hops::port), [3784, 4784]);
}

#[test]
fn goes_from_down_by_init_to_up_and_tells_each_at_once() {
    let mut rig = Rig::new(fast());
    rig.run(ms(300));
    let hello = ControlPacket {
        your_discriminator: 0,
        ..rig.peer(State::Down)
    };
    rig.hear(&hello).unwrap();
    assert_eq!(rig.last_sent().state, State::Init);
    assert_eq!(rig.last_sent().your_discriminator, PEER_DISCRIMINATOR);
    assert_eq!(rig.last_sent().desired_min_tx, 1_000_000);
    rig.hear(&rig.peer(State::Init)).unwrap();
    let last = rig.last_sent();
    assert_eq!(last.state, State::Up);
    assert_eq!(last.desired_min_tx, 50_000);
    assert!(last.poll, "the interval is another one now");
    assert_eq!(rig.sent.last().unwrap().0, rig.now);
    let (id, cause) = (rig.id, Cause::Handshake);
    let expected = [
        changed(id, State::Down, State::Init, cause),
        changed(id, State::Init, State::Up, cause),
    ];
    assert_eq!(rig.events, expected);
    assert_eq!(
        rig.events.iter().map(Event::came_up).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(!rig.events.iter().any(Event::path_failed));
    assert_eq!(rig.status().counters.ups, 1);
}

#[test]
fn sends_at_the_agreed_interval_less_up_to_a_quarter() {
    let mut rig = Rig::up(fast());
    rig.run_hearing(ms(60_000), ms(40), &rig.peer(State::Up));
    let gaps = rig.gaps();
    assert!(gaps.len() > 1200);
    let (least, most) = extremes(&gaps);
    assert!(least >= ms(75) / 2 && least < ms(38), "{least:?}");
    assert!(most <= FAST && most > ms(49), "{most:?}");
}

#[test]
fn sends_at_most_at_nine_tenths_of_the_interval_if_no_packet_may_be_missing() {
    let mut rig = Rig::up(Settings {
        detect_multiplier: 1,
        ..fast()
    });
    rig.run_hearing(ms(60_000), ms(40), &rig.peer(State::Up));
    let (least, most) = extremes(&rig.gaps());
    assert!(least >= ms(75) / 2 && least < ms(38), "{least:?}");
    assert!(most <= ms(45) && most > ms(44), "{most:?}");
}

#[test]
fn sends_no_faster_than_the_peer_receives() {
    let mut rig = Rig::up(fast());
    let slow = ControlPacket {
        required_min_rx: 400_000,
        ..rig.peer(State::Up)
    };
    rig.run_hearing(ms(60_000), ms(40), &slow);
    let (least, most) = extremes(&rig.gaps()[1..]);
    assert!(least >= ms(300) && most <= ms(400), "{least:?} {most:?}");
    assert_eq!(rig.status().transmit_interval, Some(ms(400)));
}

#[test]
fn answers_a_poll_at_once_in_every_state() {
    for state in [State::Down, State::Up] {
        let mut rig = if state == State::Up {
            Rig::up(fast())
        } else {
            Rig::new(fast())
        };
        rig.run(ms(10));
        rig.sent.clear();
        let poll = ControlPacket {
            poll: true,
            ..rig.peer(state)
        };
        rig.hear(&poll).unwrap();
        let (at, answer) = *rig.sent.last().unwrap();
        assert_eq!(at, rig.now);
        assert!(answer.is_final && !answer.poll);
        let finals = rig.sent.iter().filter(|(_, packet)| packet.is_final);
        assert_eq!(finals.count(), 1);
    }
}

#[test]
fn an_answer_to_a_poll_carries_no_poll_of_our_own() {
    let mut rig = Rig::up(fast());
    let slower = Settings {
        transmit_interval: ms(200),
        ..fast()
    };
    let (now, id) = (rig.now, rig.id);
    rig.sessions.reconfigure(now, id, slower).unwrap();
    rig.drain();
    assert!(rig.last_sent().poll);
    let poll = ControlPacket {
        poll: true,
        required_min_rx: 50_000,
        ..rig.peer(State::Up)
    };
    rig.hear(&poll).unwrap();
    assert!(rig.last_sent().is_final && !rig.last_sent().poll);
    rig.run(ms(50));
    assert!(rig.last_sent().poll && !rig.last_sent().is_final);
}

#[test]
fn takes_the_path_as_down_three_intervals_after_the_last_packet() {
    let mut rig = Rig::up(fast());
    rig.run_hearing(ms(1_000), FAST, &rig.peer(State::Up));
    rig.run(Duration::from_micros(149_999));
    assert_eq!(rig.state(), State::Up);
    rig.run(Duration::from_micros(1));
    assert_eq!(rig.state(), State::Down);
    let (at, packet) = *rig.sent.last().unwrap();
    assert_eq!(at, rig.now);
    assert_eq!(packet.state, State::Down);
    assert_eq!(packet.diagnostic, Diagnostic::DetectionTimeExpired);
    assert_eq!(packet.desired_min_tx, 1_000_000);
    assert_eq!(
        packet.your_discriminator, 0,
        "the peer is not known any more"
    );
    let cause = Cause::DetectionTimeExpired;
    assert_eq!(rig.events, [changed(rig.id, State::Up, State::Down, cause)]);
    assert!(rig.events[0].path_failed());
    assert_eq!(rig.status().counters.downs, 1);
    assert_eq!(rig.status().peer, None);
}

#[test]
fn the_detection_time_is_made_of_the_peers_multiplier_and_the_slower_interval() {
    for (desired, multiplier, expected) in [
        (50_000, 3, 150),
        (1_000, 3, 150),
        (200_000, 3, 600),
        (50_000, 10, 500),
        (50_000, 1, 50),
    ] {
        let mut rig = Rig::up(fast());
        let packet = ControlPacket {
            desired_min_tx: desired,
            detect_multiplier: multiplier,
            ..rig.peer(State::Up)
        };
        rig.hear(&packet).unwrap();
        assert_eq!(rig.status().detection_time, Some(ms(expected)));
        rig.run(ms(expected - 1));
        assert_eq!(rig.state(), State::Up);
        rig.run(ms(1));
        assert_eq!(rig.state(), State::Down);
    }
}

#[test]
fn a_session_that_was_never_up_does_not_count_as_a_failed_path() {
    let mut rig = Rig::new(fast());
    let hello = ControlPacket {
        your_discriminator: 0,
        ..rig.peer(State::Down)
    };
    rig.hear(&hello).unwrap();
    assert_eq!(rig.state(), State::Init);
    rig.run(ms(10_000));
    assert_eq!(rig.state(), State::Down);
    assert_eq!(rig.events.len(), 2);
    assert!(!rig.events.iter().any(Event::path_failed));
}

#[test]
fn a_peer_that_says_down_takes_the_session_down_at_once_with_its_reason() {
    let mut rig = Rig::up(fast());
    let down = ControlPacket {
        diagnostic: Diagnostic::DetectionTimeExpired,
        ..rig.peer(State::Down)
    };
    rig.hear(&down).unwrap();
    assert_eq!(rig.last_sent().state, State::Down);
    assert_eq!(rig.last_sent().diagnostic, Diagnostic::NeighborSignaledDown);
    let cause = Cause::NeighborSignaledDown(Diagnostic::DetectionTimeExpired);
    assert_eq!(rig.events, [changed(rig.id, State::Up, State::Down, cause)]);
    assert!(rig.events[0].path_failed());
    assert_eq!(
        cause.to_string(),
        "the peer's session is down: control detection time expired"
    );
}

#[test]
fn a_peer_that_restarts_is_known_by_its_address_and_comes_up_again() {
    let mut rig = Rig::up(fast());
    let restarted = ControlPacket {
        my_discriminator: 0xbeef,
        your_discriminator: 0,
        ..rig.peer(State::Down)
    };
    rig.hear(&restarted).unwrap();
    assert_eq!(rig.state(), State::Down);
    assert_eq!(rig.last_sent().your_discriminator, 0xbeef);
    for state in [State::Down, State::Init] {
        let packet = ControlPacket {
            my_discriminator: 0xbeef,
            ..rig.peer(state)
        };
        rig.hear(&packet).unwrap();
    }
    assert_eq!(rig.state(), State::Up);
    assert_eq!(rig.last_sent().your_discriminator, 0xbeef);
}

#[test]
fn a_peer_that_receives_nothing_is_sent_nothing_by_the_clock() {
    let mut rig = Rig::up(fast());
    let deaf = ControlPacket {
        required_min_rx: 0,
        ..rig.peer(State::Up)
    };
    rig.hear(&deaf).unwrap();
    rig.sent.clear();
    rig.run_hearing(ms(10_000), FAST, &deaf);
    assert_eq!(rig.sent, []);
    assert_eq!(rig.state(), State::Up);
    assert_eq!(rig.status().transmit_interval, None);

    // It may still ask, and learns of a change of state.
    rig.hear(&ControlPacket { poll: true, ..deaf }).unwrap();
    assert_eq!(rig.sent.len(), 1);
    rig.run(ms(200));
    assert_eq!(rig.last_sent().state, State::Down);

    // It is heard again, and wants packets.
    let mut rig = Rig::up(fast());
    rig.hear(&deaf).unwrap();
    rig.run(ms(100));
    rig.sent.clear();
    rig.hear(&rig.peer(State::Up)).unwrap();
    assert_eq!(rig.sent.len(), 1, "it has waited for long enough");
    rig.run_hearing(ms(1_000), FAST, &rig.peer(State::Up));
    assert!(rig.sent.len() > 20);
}

#[test]
fn a_peer_that_raises_its_required_interval_without_poll_is_sent_less_at_once() {
    let mut rig = Rig::up(fast());
    rig.run_hearing(ms(500), FAST, &rig.peer(State::Up));
    let slower = ControlPacket {
        required_min_rx: 300_000,
        ..rig.peer(State::Up)
    };
    rig.hear(&slower).unwrap();
    let before = rig.sent.len() - 1;
    rig.run_hearing(ms(20_000), FAST, &slower);
    let gaps = rig.gaps();
    let (least, most) = extremes(&gaps[before..]);
    assert!(least >= ms(225) && most <= ms(300), "{least:?} {most:?}");

    // And sooner again, not only after the long interval is over.
    rig.hear(&rig.peer(State::Up)).unwrap();
    let before = rig.sent.len() - 1;
    rig.run_hearing(ms(1_000), FAST, &rig.peer(State::Up));
    let (_, most) = extremes(&rig.gaps()[before + 1..]);
    assert!(most <= FAST, "{most:?}");
}

#[test]
fn demand_mode_of_the_peer_stops_what_is_sent_while_both_are_up() {
    let mut rig = Rig::up(fast());
    let demand = ControlPacket {
        demand: true,
        ..rig.peer(State::Up)
    };
    rig.hear(&demand).unwrap();
    rig.sent.clear();
    rig.run_hearing(ms(5_000), FAST, &demand);
    assert_eq!(rig.sent, []);
    assert_eq!(rig.state(), State::Up);

    // A Poll sequence is still sent, until it is answered.
    let (now, id) = (rig.now, rig.id);
    let slower = Settings {
        receive_interval: ms(100),
        ..fast()
    };
    rig.sessions.reconfigure(now, id, slower).unwrap();
    rig.run_hearing(ms(500), FAST, &demand);
    assert!(rig.sent.len() > 5);
    assert!(rig.sent.iter().all(|(_, packet)| packet.poll));
    let answer = ControlPacket {
        is_final: true,
        ..demand
    };
    rig.hear(&answer).unwrap();
    rig.sent.clear();
    rig.run_hearing(ms(5_000), FAST, &demand);
    assert_eq!(rig.sent, []);

    // A peer that does not hear us is sent to, whatever it asks for.
    let down = ControlPacket {
        state: State::Down,
        ..demand
    };
    rig.hear(&down).unwrap();
    assert_eq!(rig.last_sent().state, State::Down);
    rig.sent.clear();
    rig.run(ms(2_000));
    assert!(!rig.sent.is_empty());
}

#[test]
fn the_passive_side_waits_to_be_spoken_to_and_falls_silent_with_its_peer() {
    let mut rig = Rig::new(Settings {
        passive: true,
        ..fast()
    });
    rig.run(ms(60_000));
    assert_eq!(rig.sent, []);
    rig.come_up();
    rig.run_hearing(ms(1_000), FAST, &rig.peer(State::Up));
    assert!(rig.sent.len() >= 20);
    rig.run(ms(150));
    assert_eq!(rig.state(), State::Down);
    rig.sent.clear();
    rig.run(ms(60_000));
    assert_eq!(rig.sent, []);
    rig.come_up();
}

#[test]
fn the_c_bit_is_as_the_settings_say() {
    for independent in [false, true] {
        let mut rig = Rig::up(Settings {
            control_plane_independent: independent,
            ..fast()
        });
        rig.run(ms(50));
        assert_eq!(rig.last_sent().independent, independent);
        let flags = rig.last_sent().encode()[1];
        assert_eq!(flags & 0b1000 != 0, independent);
    }
}

#[test]
fn what_the_peer_says_is_in_the_status() {
    let mut rig = Rig::up(fast());
    let packet = ControlPacket {
        independent: true,
        required_min_echo_rx: 50_000,
        detect_multiplier: 5,
        ..rig.peer(State::Up)
    };
    rig.hear(&packet).unwrap();
    let status = rig.status();
    let peer = status.peer.unwrap();
    assert!(peer.control_plane_independent);
    assert_eq!(peer.required_min_echo_rx, FAST);
    assert_eq!(peer.discriminator, PEER_DISCRIMINATOR);
    assert_eq!(status.detection_time, Some(ms(250)));
    assert_eq!(status.counters.received, 4);
    rig.run(ms(50));
    assert_eq!(rig.last_sent().required_min_echo_rx, 0);
}
