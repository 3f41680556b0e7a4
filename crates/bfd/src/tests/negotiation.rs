//! Intervals that change while a session is up (RFC 5880 6.8.3): with a Poll sequence, and without
//! a word to BGP.

use std::time::Duration;

use super::rig::{FAST, Rig, extremes, fast, ms};
use crate::{ControlPacket, Settings, State};

fn reconfigured(transmit: Duration, receive: Duration) -> Rig {
    let mut rig = Rig::up(fast());
    rig.run_hearing(ms(500), FAST, &rig.peer(State::Up));
    rig.sent.clear();
    change(&mut rig, transmit, receive);
    rig
}

fn change(rig: &mut Rig, transmit: Duration, receive: Duration) {
    let settings = Settings {
        transmit_interval: transmit,
        receive_interval: receive,
        ..fast()
    };
    let (now, id) = (rig.now, rig.id);
    rig.sessions.reconfigure(now, id, settings).unwrap();
    rig.drain();
}

/// The peer as it was before the change, which it may have confirmed.
fn unchanged(rig: &Rig, is_final: bool) -> ControlPacket {
    ControlPacket {
        is_final,
        desired_min_tx: 50_000,
        required_min_rx: 50_000,
        ..rig.peer(State::Up)
    }
}

#[test]
fn a_longer_transmit_interval_is_used_only_after_the_peer_confirmed_it() {
    let mut rig = reconfigured(ms(300), FAST);
    let poll = rig.last_sent();
    assert!(poll.poll, "told at once");
    assert_eq!(poll.desired_min_tx, 300_000);
    rig.run_hearing(ms(2_000), FAST, &unchanged(&rig, false));
    assert!(rig.sent.iter().all(|(_, packet)| packet.poll));
    let (_, most) = extremes(&rig.gaps());
    assert!(most <= FAST, "{most:?}");
    assert!(rig.status().polling);

    rig.hear(&unchanged(&rig, true)).unwrap();
    assert!(!rig.status().polling);
    // The one that was on its way still goes.
    rig.run(ms(50));
    rig.hear(&unchanged(&rig, false)).unwrap();
    rig.sent.clear();
    rig.run_hearing(ms(5_000), FAST, &unchanged(&rig, false));
    assert!(rig.sent.iter().all(|(_, packet)| !packet.poll));
    let (least, most) = extremes(&rig.gaps());
    assert!(least >= ms(225) && most <= ms(300), "{least:?} {most:?}");
    assert_eq!(rig.events, []);
}

#[test]
fn a_shorter_transmit_interval_is_used_at_once() {
    let mut rig = Rig::up(Settings {
        transmit_interval: ms(300),
        ..fast()
    });
    change(&mut rig, FAST, FAST);
    assert!(rig.last_sent().poll);
    let fast_peer = unchanged(&rig, false);
    rig.run_hearing(ms(1_000), FAST, &fast_peer);
    let (_, most) = extremes(&rig.gaps()[1..]);
    assert!(most <= FAST, "{most:?}");
    assert_eq!(rig.events, []);
}

#[test]
fn a_shorter_receive_interval_is_awaited_only_after_the_peer_confirmed_it() {
    let slow = Settings {
        receive_interval: ms(300),
        ..fast()
    };
    let mut rig = Rig::up(slow);
    change(&mut rig, FAST, FAST);
    assert_eq!(rig.last_sent().required_min_rx, 50_000);
    assert_eq!(rig.status().detection_time, Some(ms(900)));
    rig.run(ms(280));
    rig.hear(&unchanged(&rig, false)).unwrap();
    assert_eq!(rig.status().detection_time, Some(ms(900)));
    rig.hear(&unchanged(&rig, true)).unwrap();
    assert_eq!(rig.status().detection_time, Some(ms(150)));
    assert_eq!(rig.events, []);
}

#[test]
fn a_longer_receive_interval_is_awaited_at_once() {
    let rig = reconfigured(FAST, ms(300));
    assert!(rig.last_sent().poll);
    assert_eq!(rig.status().detection_time, Some(ms(900)));
}

#[test]
fn the_same_settings_again_change_nothing_and_do_not_restart_the_detection() {
    let mut rig = Rig::up(fast());
    rig.run(ms(100));
    rig.sent.clear();
    change(&mut rig, FAST, FAST);
    assert_eq!(rig.sent, []);
    rig.run(ms(50));
    assert_eq!(rig.state(), State::Down);
}

#[test]
fn a_change_counts_from_the_last_packet_not_from_now() {
    let mut rig = Rig::up(fast());
    rig.run(ms(100));
    change(&mut rig, FAST, ms(100));
    rig.run(ms(199));
    assert_eq!(rig.state(), State::Up);
    rig.run(ms(1));
    assert_eq!(rig.state(), State::Down);
}

#[test]
fn the_multiplier_is_told_at_once_without_a_poll() {
    let mut rig = Rig::up(fast());
    let more = Settings {
        detect_multiplier: 5,
        ..fast()
    };
    let (now, id) = (rig.now, rig.id);
    rig.sessions.reconfigure(now, id, more).unwrap();
    rig.drain();
    assert_eq!(rig.last_sent().detect_multiplier, 5);
    assert!(!rig.last_sent().poll);
}

#[test]
fn a_change_during_a_poll_waits_for_its_end() {
    let mut rig = reconfigured(ms(300), FAST);
    change(&mut rig, ms(600), FAST);
    rig.run(ms(20));
    assert_eq!(rig.last_sent().desired_min_tx, 300_000);
    rig.hear(&unchanged(&rig, true)).unwrap();
    let next = rig.last_sent();
    assert!(next.poll);
    assert_eq!(next.desired_min_tx, 600_000);
    rig.hear(&unchanged(&rig, true)).unwrap();
    assert!(!rig.status().polling);
    rig.run(ms(50));
    assert_eq!(rig.status().transmit_interval, Some(ms(600)));
}

#[test]
fn a_late_answer_to_an_earlier_poll_does_not_confirm_a_new_one() {
    let mut rig = reconfigured(ms(300), FAST);
    // The answers take longer than the interval: three packets with P are on their way.
    rig.run_hearing(ms(110), ms(40), &unchanged(&rig, false));
    let polls = rig.sent.iter().filter(|(_, packet)| packet.poll).count();
    assert!(polls >= 3);
    rig.hear(&unchanged(&rig, true)).unwrap();
    change(&mut rig, ms(600), FAST);
    assert_eq!(rig.last_sent().desired_min_tx, 300_000);
    for _ in 1..polls {
        assert!(!rig.status().polling);
        rig.hear(&unchanged(&rig, true)).unwrap();
    }
    assert!(rig.status().polling);
    assert_eq!(rig.last_sent().desired_min_tx, 600_000);
}

#[test]
fn answers_that_were_lost_hold_up_a_new_poll_only_for_a_detection_time() {
    let mut rig = reconfigured(ms(60), FAST);
    rig.run_hearing(ms(110), ms(40), &unchanged(&rig, false));
    rig.hear(&unchanged(&rig, true)).unwrap();
    change(&mut rig, ms(100), FAST);
    assert!(!rig.status().polling);
    rig.run_hearing(ms(250), ms(40), &unchanged(&rig, false));
    assert!(rig.status().polling);
    assert_eq!(rig.last_sent().desired_min_tx, 100_000);
}

#[test]
fn a_final_that_was_not_asked_for_confirms_nothing() {
    let mut rig = Rig::up(fast());
    rig.hear(&rig.final_()).unwrap();
    rig.hear(&rig.final_()).unwrap();
    change(&mut rig, ms(300), FAST);
    assert!(rig.status().polling);
    assert_eq!(rig.status().transmit_interval, Some(FAST));
}

#[test]
fn settings_that_change_while_the_session_is_down_are_told_without_a_poll() {
    let mut rig = Rig::new(fast());
    change(&mut rig, ms(100), ms(200));
    assert_eq!(rig.last_sent().required_min_rx, 200_000);
    assert_eq!(rig.last_sent().desired_min_tx, 1_000_000);
    assert!(!rig.last_sent().poll);
    let mut rig_up = rig;
    rig_up.hear(&rig_up.peer(State::Init)).unwrap();
    assert_eq!(rig_up.last_sent().desired_min_tx, 100_000);
    assert!(rig_up.last_sent().poll);
}
