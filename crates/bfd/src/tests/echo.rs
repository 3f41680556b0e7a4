//! Echo packets: when they are sent, what their return and their absence do, and which of the peer's
//! are returned.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::rig::{INTERFACE, PEER, Rig, extremes, fast, ms};
use crate::{
    Cause, ControlPacket, Diagnostic, Discard, ECHO_LEN, ECHO_PORT, Echo, EchoArrival, EchoOff,
    EchoStatus, EventKind, Inbox, Path, RETURNED_TTL, Settings, State, TTL,
};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const PEERS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);

/// Echo at 20 ms, and control packets at 300 ms.
fn echoing() -> Settings {
    Settings {
        echo: Some(ms(20)),
        ..Settings::default()
    }
}

/// The peer's packet while it is up and returns echo packets at this interval at most.
fn takes(rig: &Rig, interval: Duration) -> ControlPacket {
    ControlPacket {
        required_min_echo_rx: u32::try_from(interval.as_micros()).unwrap(),
        ..rig.peer(State::Up)
    }
}

/// A session that is up and whose caller has the sockets, with a peer that takes echo packets.
fn up() -> Rig {
    let mut rig = Rig::up(echoing());
    assert_eq!(rig.sessions.echo_interface(rig.id), Some(INTERFACE));
    open(&mut rig, true);
    rig.hear(&rig.final_()).unwrap();
    rig.hear(&takes(&rig, ms(20))).unwrap();
    rig
}

fn open(rig: &mut Rig, open: bool) {
    let (now, id) = (rig.now, rig.id);
    rig.sessions.set_echo_open(now, id, open).unwrap();
    rig.drain();
}

/// One of ours as it comes back.
const fn back() -> EchoArrival {
    EchoArrival {
        from: OURS,
        to: OURS,
        interface: INTERFACE,
        ttl: RETURNED_TTL,
    }
}

/// One of the peer's.
const fn peers() -> EchoArrival {
    EchoArrival {
        from: PEERS,
        to: PEERS,
        interface: INTERFACE,
        ttl: TTL,
    }
}

impl Rig {
    fn hear_echo(&mut self, arrival: &EchoArrival, payload: &[u8]) -> Result<Echo, Discard> {
        let taken = self.sessions.handle_echo(self.now, arrival, payload);
        self.drain();
        taken
    }

    fn last_echo(&self) -> [u8; ECHO_LEN] {
        self.echoes.last().unwrap().1
    }

    /// Has the next echo packet come back at once.
    fn return_next(&mut self) {
        let sent = self.echoes.len();
        while self.echoes.len() == sent {
            self.run(ms(1));
        }
        let payload = self.last_echo();
        assert_eq!(self.hear_echo(&back(), &payload), Ok(Echo::Ours(self.id)));
    }

    /// Lets the time pass; the peer sends a control packet every 100 ms, and returns all echo packets
    /// at once. One that was sent before is lost.
    fn run_returning(&mut self, time: Duration, packet: &ControlPacket) {
        let end = self.now + time;
        let mut hear = self.now;
        let mut returned = self.echoes.len();
        while self.now < end {
            self.run(ms(1));
            for echo in returned..self.echoes.len() {
                let payload = self.echoes[echo].1;
                let taken = self.hear_echo(&back(), &payload);
                assert_eq!(taken, Ok(Echo::Ours(self.id)));
            }
            returned = self.echoes.len();
            if hear <= self.now {
                self.hear(packet).unwrap();
                hear += ms(100);
            }
        }
    }
}

#[test]
fn echo_packets_are_sent_at_the_slower_interval_less_up_to_a_quarter() {
    assert_eq!((ECHO_PORT, RETURNED_TTL), (3785, 254));
    for (peer, agreed) in [(10, 20), (20, 20), (80, 80)] {
        let mut rig = up();
        let packet = takes(&rig, ms(peer));
        rig.hear(&packet).unwrap();
        rig.run_returning(ms(1000), &packet);
        rig.echoes.clear();
        rig.run_returning(ms(20_000), &packet);
        let times: Vec<_> = rig.echoes.iter().map(|(at, _)| *at).collect();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (least, most) = extremes(&gaps);
        assert!(least >= ms(agreed) * 3 / 4, "{least:?}");
        assert!(most <= ms(agreed) && most > ms(agreed) * 9 / 10, "{most:?}");
        let expected = EchoStatus::On {
            interval: ms(agreed),
            detection_time: ms(agreed * 3),
        };
        assert_eq!(rig.status().echo, Some(expected));
        assert_eq!(rig.state(), State::Up);
    }
}

#[test]
fn nothing_is_sent_to_a_peer_that_takes_none_or_while_the_session_is_not_up() {
    let mut rig = Rig::up(echoing());
    open(&mut rig, true);
    rig.run_hearing(ms(1000), ms(100), &rig.peer(State::Up));
    assert_eq!(
        rig.status().echo,
        Some(EchoStatus::Off(EchoOff::PeerTakesNone))
    );
    assert_eq!(rig.echoes, []);
    rig.hear(&takes(&rig, ms(20))).unwrap();
    assert_eq!(rig.echoes.len(), 1, "at once");
    rig.hear(&rig.peer(State::Up)).unwrap();
    rig.run_hearing(ms(1000), ms(100), &rig.peer(State::Up));
    assert_eq!(rig.echoes.len(), 1);
    let down = ControlPacket {
        state: State::Down,
        ..takes(&rig, ms(20))
    };
    rig.hear(&down).unwrap();
    rig.run_hearing(ms(1000), ms(100), &down);
    assert_eq!(rig.echoes.len(), 1);
    assert_eq!(rig.status().echo, Some(EchoStatus::Off(EchoOff::NotUp)));
}

#[test]
fn without_echo_the_peer_is_told_0_and_nothing_is_sent_or_returned() {
    let mut rig = Rig::up(fast());
    assert_eq!(rig.sessions.echo_interface(rig.id), None);
    open(&mut rig, true);
    rig.run_hearing(ms(1000), ms(40), &takes(&rig, ms(20)));
    assert!(
        rig.sent
            .iter()
            .all(|(_, sent)| sent.required_min_echo_rx == 0)
    );
    assert_eq!(rig.echoes, []);
    assert_eq!(
        rig.hear_echo(&peers(), b"hello"),
        Err(Discard::EchoUnwanted)
    );
    assert_eq!(rig.status().echo, None);
}

#[test]
fn several_hops_and_ipv6_have_no_echo() {
    let far = Path::MultiHop {
        peer: PEER,
        local: None,
    };
    let v6 = Path::SingleHop {
        peer: "fd99:1::2".parse().unwrap(),
        interface: None,
    };
    for path in [far, v6] {
        let mut rig = Rig::on(path, echoing());
        open(&mut rig, true);
        rig.run(ms(3000));
        assert!(
            rig.sent
                .iter()
                .all(|(_, sent)| sent.required_min_echo_rx == 0)
        );
        assert_eq!(rig.sessions.echo_interface(rig.id), None);
        assert_eq!(rig.status().echo, Some(EchoStatus::Off(EchoOff::Path)));
    }
}

#[test]
fn the_peer_is_told_the_interval_once_its_echo_packets_are_returned() {
    let mut rig = Rig::up(echoing());
    assert_eq!(rig.status().echo, Some(EchoStatus::Off(EchoOff::NotOpen)));
    rig.run_hearing(ms(1000), ms(100), &takes(&rig, ms(20)));
    assert!(
        rig.sent
            .iter()
            .all(|(_, sent)| sent.required_min_echo_rx == 0)
    );
    assert_eq!(rig.echoes, []);
    open(&mut rig, true);
    assert_eq!(rig.last_sent().required_min_echo_rx, 20_000);
    assert!(rig.last_sent().poll);
    assert_eq!(rig.hear_echo(&peers(), b"hello"), Ok(Echo::Peers(rig.id)));
}

#[test]
fn the_peers_echo_packets_are_returned_until_it_knows_that_they_are_not() {
    let mut rig = up();
    let (now, id) = (rig.now, rig.id);
    let without = Settings {
        echo: None,
        ..echoing()
    };
    rig.sessions.reconfigure(now, id, without).unwrap();
    rig.drain();
    assert_eq!(rig.last_sent().required_min_echo_rx, 0);
    assert!(rig.last_sent().poll);
    // That packet may be lost.
    assert_eq!(rig.hear_echo(&peers(), b"hello"), Ok(Echo::Peers(id)));
    assert_eq!(rig.sessions.echo_interface(id), Some(INTERFACE));
    rig.hear(&rig.final_()).unwrap();
    assert_eq!(
        rig.hear_echo(&peers(), b"hello"),
        Err(Discard::EchoUnwanted)
    );
    assert_eq!(rig.sessions.echo_interface(id), None);
}

#[test]
fn a_path_whose_echo_stays_away_is_down_after_three_intervals_though_control_packets_go_on() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    rig.run_returning(ms(1000), &packet);
    rig.return_next();
    let returned = rig.now;
    rig.run_hearing(ms(59), ms(10), &packet);
    assert_eq!(rig.state(), State::Up);
    rig.run_hearing(ms(21), ms(1), &packet);
    assert_eq!(rig.state(), State::Down);
    let (at, said) = *rig
        .sent
        .iter()
        .find(|(_, sent)| sent.state == State::Down)
        .unwrap();
    assert!(at - returned <= ms(61), "{:?}", at - returned);
    assert_eq!(said.diagnostic, Diagnostic::EchoFailed);
    let [event] = &rig.events[..] else {
        panic!("{:?}", rig.events)
    };
    let expected = EventKind::Changed {
        from: State::Up,
        to: State::Down,
        cause: Cause::EchoFailed,
    };
    assert_eq!(event.kind, expected);
    assert!(event.path_failed());
    assert_eq!(rig.status().counters.downs, 1);
    // Control packets bring it up again.
    rig.hear(&ControlPacket {
        state: State::Down,
        ..packet
    })
    .unwrap();
    rig.hear(&ControlPacket {
        state: State::Init,
        ..packet
    })
    .unwrap();
    assert_eq!(rig.state(), State::Up);
    assert_eq!(rig.status().diagnostic, Diagnostic::None);
}

#[test]
fn control_packets_are_as_many_as_without_echo_and_their_absence_is_noticed_as_soon() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    rig.run_returning(ms(1000), &packet);
    rig.sent.clear();
    rig.run_returning(ms(10_000), &packet);
    let (_, most) = extremes(&rig.gaps());
    assert!(most <= ms(300), "{most:?}");
    // Something returns the echo packets, but it is not the peer.
    let heard = rig.now;
    let mut returned = rig.echoes.len();
    while rig.state() == State::Up {
        rig.run(ms(1));
        for echo in std::mem::replace(&mut returned, rig.echoes.len())..rig.echoes.len() {
            let payload = rig.echoes[echo].1;
            let _ = rig.hear_echo(&back(), &payload);
        }
    }
    assert!(rig.now - heard <= ms(901), "{:?}", rig.now - heard);
    assert_eq!(rig.status().diagnostic, Diagnostic::DetectionTimeExpired);
}

#[test]
fn a_peer_that_never_returned_one_loses_no_session_and_counts_from_the_first_on() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    rig.run_hearing(ms(5000), ms(100), &packet);
    assert_eq!(rig.state(), State::Up);
    assert_eq!(
        rig.status().echo,
        Some(EchoStatus::Off(EchoOff::Unanswered))
    );
    assert!(rig.echoes.len() > 200, "they go on: {}", rig.echoes.len());
    rig.run_returning(ms(100), &packet);
    assert!(matches!(rig.status().echo, Some(EchoStatus::On { .. })));
    rig.run_hearing(ms(61), ms(10), &packet);
    assert_eq!(rig.status().diagnostic, Diagnostic::EchoFailed);
}

#[test]
fn each_counts_once_and_those_of_others_never() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    rig.run_returning(ms(1000), &packet);
    rig.run(ms(20));
    let good = rig.status().counters;
    assert!(good.echo_received > 45 && good.echo_sent > good.echo_received);
    let payload = rig.last_echo();
    assert_eq!(rig.hear_echo(&back(), &payload), Ok(Echo::Ours(rig.id)));
    let begun = rig.now;
    let mut token = payload;
    token[ECHO_LEN - 1] ^= 1;
    let mut ahead = payload;
    ahead[7] = ahead[7].wrapping_add(1);
    let mut stranger = payload;
    stranger[0] ^= 1;
    let old = rig.echoes[0].1;
    let long = [&payload[..], &[0]].concat();
    let bad: [(&[u8], Discard); 7] = [
        (&payload, Discard::EchoStale),
        (&old, Discard::EchoStale),
        (&token, Discard::EchoStale),
        (&ahead, Discard::EchoStale),
        (&stranger, Discard::EchoUnwanted),
        (&long, Discard::EchoUnwanted),
        (&[], Discard::EchoUnwanted),
    ];
    while rig.state() == State::Up {
        for (bytes, reason) in bad {
            assert_eq!(rig.hear_echo(&back(), bytes), Err(reason));
        }
        rig.hear(&packet).unwrap();
        rig.run(ms(1));
    }
    assert!(rig.now - begun <= ms(61), "{:?}", rig.now - begun);
    assert!(rig.sessions.discards().count(Discard::EchoStale) > 100);
    assert_eq!(rig.status().counters.echo_received, good.echo_received + 1);
}

#[test]
fn only_what_the_peer_sent_just_now_is_returned_and_nothing_twice() {
    let mut rig = up();
    let id = rig.id;
    assert_eq!(rig.hear_echo(&peers(), b"any bytes"), Ok(Echo::Peers(id)));
    let aimed = EchoArrival {
        to: OURS,
        ..peers()
    };
    assert_eq!(rig.hear_echo(&aimed, b"any bytes"), Ok(Echo::Peers(id)));
    let other = Ipv4Addr::new(10, 99, 1, 3);
    for (arrival, reason) in [
        // What was forwarded once is one of ours, or nobody's.
        (
            EchoArrival {
                ttl: 254,
                ..peers()
            },
            Discard::EchoUnwanted,
        ),
        (
            EchoArrival {
                ttl: 253,
                ..peers()
            },
            Discard::Ttl,
        ),
        (
            EchoArrival {
                from: other,
                to: other,
                ..peers()
            },
            Discard::EchoUnwanted,
        ),
        (
            EchoArrival {
                to: other,
                ..peers()
            },
            Discard::EchoUnwanted,
        ),
        (
            EchoArrival {
                interface: INTERFACE + 1,
                ..peers()
            },
            Discard::EchoUnwanted,
        ),
        (EchoArrival { ttl: 255, ..back() }, Discard::EchoUnwanted),
    ] {
        assert_eq!(
            rig.hear_echo(&arrival, b"any bytes"),
            Err(reason),
            "{arrival:?}"
        );
    }
    rig.hear(&rig.peer(State::Down)).unwrap();
    assert_eq!(
        rig.hear_echo(&peers(), b"any bytes"),
        Err(Discard::EchoUnwanted)
    );
}

#[test]
fn no_more_are_returned_than_the_peer_was_told_to_send() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    let mut returned = 0;
    for _ in 0..2000 {
        rig.run(ms(1));
        rig.hear(&packet).unwrap();
        returned += u32::from(rig.hear_echo(&peers(), b"flood").is_ok());
    }
    // 2 s of one in 15 ms, and a burst.
    assert!((133..=133 + 10).contains(&returned), "{returned}");
    assert!(rig.sessions.discards().count(Discard::EchoRate) > 1800);
}

#[test]
fn a_process_that_did_not_run_does_not_take_the_path_as_down_for_that() {
    let mut rig = up();
    let packet = takes(&rig, ms(20));
    rig.run_returning(ms(1000), &packet);
    // It stands still for longer than the echo detection time; what came back meanwhile waits.
    let waiting = rig.last_echo();
    rig.now += ms(200);
    rig.sessions.handle_timeout(rig.now, Inbox::Waiting);
    rig.drain();
    assert_eq!(rig.state(), State::Up);
    let _ = rig.hear_echo(&back(), &waiting);
    rig.sessions.handle_timeout(rig.now, Inbox::Empty);
    assert_eq!(rig.state(), State::Up);
    // Nothing came back, but nothing was sent either.
    rig.run_returning(ms(500), &packet);
    rig.now += ms(200);
    rig.sessions.handle_timeout(rig.now, Inbox::Empty);
    rig.drain();
    assert_eq!(rig.state(), State::Up);
    rig.run_returning(ms(500), &packet);
    assert_eq!(rig.state(), State::Up);
}

#[test]
fn a_shorter_interval_does_not_make_what_was_sent_before_late() {
    let mut rig = up();
    let slow = takes(&rig, ms(1000));
    rig.hear(&slow).unwrap();
    rig.run_returning(ms(3000), &slow);
    rig.run_hearing(ms(700), ms(100), &slow);
    let quick = takes(&rig, ms(20));
    rig.hear(&quick).unwrap();
    rig.run_returning(ms(1000), &quick);
    assert_eq!(rig.state(), State::Up);
}

#[test]
fn an_interval_of_echo_is_between_10_ms_and_a_minute() {
    for (interval, good) in [(9, false), (10, true), (60_000, true), (60_001, false)] {
        let settings = Settings {
            echo: Some(ms(interval)),
            ..Settings::default()
        };
        assert_eq!(settings.check().is_ok(), good, "{interval} ms");
    }
}
