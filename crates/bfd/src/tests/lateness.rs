//! A process that does not run hears nothing. That says nothing about its peers.

use std::time::Duration;

use super::rig::{FAST, Rig, arrival, fast, ms};
use crate::{Inbox, State};

impl Rig {
    /// The process stands still for so long.
    fn stall(&mut self, time: Duration) {
        self.now += time;
    }

    fn wake(&mut self, inbox: Inbox) {
        self.sessions.handle_timeout(self.now, inbox);
        self.drain();
    }

    fn settled() -> Self {
        let mut rig = Self::up(fast());
        rig.run_hearing(ms(500), FAST, &rig.peer(State::Up));
        rig.sent.clear();
        rig
    }
}

#[test]
fn a_peer_whose_packets_wait_to_be_read_is_not_taken_as_down() {
    for stalled in [151, 200, 1_000, 60_000] {
        let mut rig = Rig::settled();
        rig.stall(ms(stalled));
        rig.wake(Inbox::Waiting);
        assert_eq!(rig.state(), State::Up);
        assert!(rig.sessions.next_timeout().unwrap() <= rig.now + ms(70));
        let packet = rig.peer(State::Up);
        rig.hear(&packet).unwrap();
        rig.wake(Inbox::Empty);
        assert_eq!(rig.state(), State::Up);
        assert_eq!(rig.events, []);
        rig.run(ms(149));
        assert_eq!(rig.state(), State::Up);
        rig.run(ms(1));
        assert_eq!(rig.state(), State::Down);
    }
}

#[test]
fn a_timeout_that_is_on_time_waits_for_packets_that_are_not_read() {
    let mut rig = Rig::settled();
    rig.run(ms(149));
    rig.now += ms(1);
    rig.wake(Inbox::Waiting);
    assert_eq!(rig.state(), State::Up);
    assert!(rig.sessions.next_timeout().unwrap() <= rig.now, "at once");
    rig.wake(Inbox::Empty);
    assert_eq!(rig.state(), State::Down);
}

#[test]
fn others_that_never_stop_to_send_put_off_the_detection_only_once() {
    let mut rig = Rig::settled();
    rig.run(ms(149));
    let mut waited = ms(0);
    while rig.state() == State::Up {
        rig.now += ms(1);
        waited += ms(1);
        let _ = rig.hear_bytes(&arrival(), b"noise");
        rig.wake(Inbox::Waiting);
        assert!(waited <= ms(152), "{waited:?}");
    }
    assert!(waited >= ms(150), "{waited:?}");
}

#[test]
fn after_a_stall_a_silent_peer_has_one_more_interval() {
    let mut rig = Rig::settled();
    rig.stall(ms(400));
    rig.wake(Inbox::Empty);
    assert_eq!(rig.state(), State::Up);
    rig.run(ms(69));
    assert_eq!(rig.state(), State::Up);
    rig.run(ms(2));
    assert_eq!(rig.state(), State::Down);
    assert!(rig.events[0].path_failed());

    // It says something in it.
    let mut rig = Rig::settled();
    rig.stall(ms(400));
    rig.wake(Inbox::Empty);
    rig.run(ms(45));
    rig.hear(&rig.peer(State::Up)).unwrap();
    rig.run(ms(140));
    assert_eq!(rig.state(), State::Up);
    assert_eq!(rig.events, []);
}

#[test]
fn a_stall_before_the_detection_time_is_over_counts_too() {
    let mut rig = Rig::settled();
    rig.run(ms(20));
    rig.stall(ms(125));
    rig.wake(Inbox::Empty);
    rig.run(ms(10));
    assert_eq!(rig.state(), State::Up);
    rig.run(ms(61));
    assert_eq!(rig.state(), State::Down);
}

#[test]
fn a_process_that_is_always_late_still_finds_a_silent_peer_down() {
    let mut rig = Rig::settled();
    let mut waited = ms(0);
    while rig.state() == State::Up {
        rig.stall(ms(100));
        waited += ms(100);
        rig.wake(Inbox::Empty);
        assert!(waited <= ms(400), "{waited:?}");
    }
}

#[test]
fn a_stall_before_the_last_packet_spares_nobody() {
    let mut rig = Rig::settled();
    rig.stall(ms(400));
    rig.wake(Inbox::Waiting);
    rig.run(ms(5));
    rig.hear(&rig.peer(State::Up)).unwrap();
    rig.run(ms(150));
    assert_eq!(rig.state(), State::Down);
}

#[test]
fn what_was_to_be_sent_during_a_stall_is_sent_once() {
    let mut rig = Rig::settled();
    rig.stall(ms(2_000));
    rig.wake(Inbox::Waiting);
    assert_eq!(rig.sent.len(), 1);
    rig.hear(&rig.peer(State::Up)).unwrap();
    rig.run(ms(37));
    assert_eq!(rig.sent.len(), 1);
    rig.run(ms(13));
    assert_eq!(rig.sent.len(), 2);
}

#[test]
fn a_time_that_goes_back_does_no_harm() {
    let mut rig = Rig::settled();
    let before = rig.now;
    rig.run(ms(100));
    rig.now = before;
    rig.hear(&rig.peer(State::Up)).unwrap();
    rig.wake(Inbox::Empty);
    assert_eq!(rig.state(), State::Up);
}
