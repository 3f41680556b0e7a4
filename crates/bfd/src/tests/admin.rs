//! Sessions that are held down on purpose, by either side (RFC 5880 6.8.16, RFC 5882 4.2).

use super::rig::{FAST, Rig, arrival, fast, ms, single_hop};
use crate::{Cause, ControlPacket, Diagnostic, Discard, Event, EventKind, Inbox, Sessions, State};

#[test]
fn a_peer_in_admin_down_takes_the_session_down_at_once_but_the_path_did_not_fail() {
    let mut rig = Rig::up(fast());
    let admin_down = ControlPacket {
        diagnostic: Diagnostic::AdministrativelyDown,
        ..rig.peer(State::AdminDown)
    };
    rig.hear(&admin_down).unwrap();
    assert_eq!(rig.state(), State::Down);
    assert_eq!(rig.last_sent().diagnostic, Diagnostic::NeighborSignaledDown);
    let [event] = rig.events[..] else {
        panic!("{:?}", rig.events);
    };
    let EventKind::Changed { cause, .. } = event.kind else {
        panic!("{event:?}");
    };
    assert_eq!(cause, Cause::PeerAdminDown);
    assert!(!event.path_failed());

    // Nor when it then falls silent, or begins anew.
    rig.run(ms(10_000));
    assert_eq!(rig.events.len(), 1);
    rig.come_up();
}

#[test]
fn a_peer_that_was_in_admin_down_may_come_back_with_a_new_discriminator() {
    let mut rig = Rig::up(fast());
    rig.hear(&rig.peer(State::AdminDown)).unwrap();
    let hello = ControlPacket {
        my_discriminator: 0xbeef,
        your_discriminator: 0,
        ..rig.peer(State::Down)
    };
    rig.hear(&hello).unwrap();
    assert_eq!(rig.state(), State::Init);
    assert_eq!(rig.last_sent().your_discriminator, 0xbeef);
}

#[test]
fn a_retired_session_tells_the_peer_for_its_detection_time_and_is_gone() {
    let mut rig = Rig::up(fast());
    rig.run_hearing(ms(500), FAST, &rig.peer(State::Up));
    rig.sent.clear();
    let (start, id) = (rig.now, rig.id);
    rig.sessions.retire_all(start);
    rig.drain();
    assert_eq!(rig.sent.len(), 1, "told at once");
    assert!(!rig.events.iter().any(Event::path_failed));
    rig.run(ms(149));
    assert!(!rig.sessions.is_empty());
    assert!(rig.sent.len() >= 3, "a lost packet is no failure");
    for (_, packet) in &rig.sent {
        assert_eq!(packet.state, State::AdminDown);
        assert_eq!(packet.diagnostic, Diagnostic::AdministrativelyDown);
        assert_eq!(packet.desired_min_tx, 1_000_000);
    }
    rig.run(ms(1));
    assert!(rig.sessions.is_empty());
    assert_eq!(rig.sessions.next_timeout(), None);
    let last = rig.events.last().unwrap();
    assert_eq!((last.session, last.kind), (id, EventKind::Retired));
    assert!(rig.sessions.retire(rig.now, id).is_err());
}

#[test]
fn the_word_that_ends_a_session_is_no_failure_at_the_peer_though_two_of_three_are_lost() {
    let mut ours = Rig::up(fast());
    let mut peers = Rig::up(fast());
    let (now, id) = (ours.now, ours.id);
    ours.sent.clear();
    ours.sessions.retire(now, id).unwrap();
    ours.drain();
    ours.run(ms(120));
    let (at, packet) = ours.sent[2];
    peers.hear(&peers.peer(State::Up)).unwrap();
    peers.run(at - now);
    let heard = ControlPacket {
        your_discriminator: peers.id.discriminator(),
        ..packet
    };
    peers.hear(&heard).unwrap();
    peers.run(ms(60_000));
    assert_eq!(peers.events.len(), 1);
    assert!(!peers.events[0].path_failed());
}

#[test]
fn a_retired_session_that_was_not_up_says_one_word_and_is_gone() {
    let mut rig = Rig::new(fast());
    rig.run(ms(100));
    rig.sent.clear();
    let (now, id) = (rig.now, rig.id);
    rig.sessions.retire(now, id).unwrap();
    rig.drain();
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.last_sent().state, State::AdminDown);
    assert!(rig.sessions.is_empty());
}

#[test]
fn a_path_whose_session_retires_can_have_a_new_one_at_once() {
    let mut rig = Rig::up(fast());
    let (now, id) = (rig.now, rig.id);
    assert!(rig.sessions.add(now, single_hop(), fast()).is_err());
    rig.sessions.retire(now, id).unwrap();
    let new = rig.sessions.add(now, single_hop(), fast()).unwrap();
    assert_ne!(new, id);
    assert_eq!(rig.sessions.len(), 1);
    rig.id = new;
    rig.drain();
    assert!(
        rig.events
            .iter()
            .any(|event| event.session == id && event.kind == EventKind::Retired)
    );
    rig.come_up();
}

#[test]
fn a_disabled_session_tells_its_peer_hears_nothing_and_can_be_enabled_again() {
    let mut rig = Rig::up(fast());
    let (now, id) = (rig.now, rig.id);
    rig.sessions.disable(now, id).unwrap();
    rig.sessions.disable(now, id).unwrap();
    rig.drain();
    assert_eq!(rig.state(), State::AdminDown);
    assert_eq!(rig.status().diagnostic, Diagnostic::AdministrativelyDown);
    for state in State::ALL {
        let poll = ControlPacket {
            poll: true,
            ..rig.peer(state)
        };
        assert_eq!(rig.hear(&poll), Err(Discard::AdminDown));
        assert_eq!(rig.state(), State::AdminDown);
    }
    assert!(!rig.sent.iter().any(|(_, packet)| packet.is_final));
    rig.run(ms(150));
    rig.sent.clear();
    rig.run_hearing_dropped(ms(10_000));
    assert_eq!(rig.sent, [], "the peer was told");
    assert!(!rig.sessions.is_empty());

    rig.sessions.enable(rig.now, id).unwrap();
    rig.drain();
    assert_eq!(rig.last_sent().state, State::Down);
    assert_eq!(rig.last_sent().diagnostic, Diagnostic::None);
    rig.come_up();
}

impl Rig {
    fn run_hearing_dropped(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        while self.now < end {
            self.run(ms(1_000));
            assert_eq!(self.hear(&self.peer(State::Down)), Err(Discard::AdminDown));
        }
    }
}

#[test]
fn a_thousand_sessions_are_retired_together() {
    let mut sessions = Sessions::new([1; 32]);
    let now = std::time::Instant::now();
    for n in 0..1000_u32 {
        let path = crate::Path::SingleHop {
            peer: std::net::Ipv4Addr::from(0x0a00_0001 + n).into(),
            interface: None,
        };
        sessions.add(now, path, fast()).unwrap();
    }
    sessions.retire_all(now);
    let sent = std::iter::from_fn(|| sessions.poll_transmit(now)).count();
    assert_eq!(sent, 1000);
    sessions.handle_timeout(now, Inbox::Empty);
    assert!(sessions.is_empty());
    assert_eq!(
        sessions.handle_packet(now, &arrival(), &[0; 24]),
        Err(Discard::Version)
    );
}
