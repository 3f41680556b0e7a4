//! Many sessions, and peers that say very much.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::rig::{Rig, arrival, fast, ms};
use crate::{
    Arrival, ControlPacket, Diagnostic, Hops, Inbox, PACKET_LEN, Path, SessionId, Sessions, State,
    TTL,
};

const MANY: u32 = 1_000;

/// The address of a side's end of a session.
fn address(side: usize, number: u32) -> IpAddr {
    let base = 0x0a00_0000 + u32::try_from(side).unwrap() * 0x1_0000;
    Ipv4Addr::from(base + number).into()
}

/// Two nodes with a thousand sessions with each other, each with addresses of its own.
struct Nodes {
    sides: [Sessions; 2],
    ids: [Vec<SessionId>; 2],
    flying: VecDeque<(usize, Arrival, [u8; PACKET_LEN])>,
    sent: usize,
}

impl Nodes {
    fn new(now: Instant) -> Self {
        let sides = [1, 2].map(|seed| Sessions::new([seed; 32]));
        let mut nodes = Self {
            sides,
            ids: [Vec::new(), Vec::new()],
            flying: VecDeque::new(),
            sent: 0,
        };
        for side in [0, 1] {
            for number in 0..MANY {
                let path = Path::SingleHop {
                    peer: address(1 - side, number),
                    interface: None,
                };
                let id = nodes.sides[side].add(now, path, fast()).unwrap();
                nodes.ids[side].push(id);
            }
        }
        nodes
    }

    fn exchange(&mut self, now: Instant) {
        loop {
            for side in [0, 1] {
                while let Some(transmit) = self.sides[side].poll_transmit(now) {
                    self.sent += 1;
                    let path = self.sides[side].path(transmit.session).unwrap();
                    let IpAddr::V4(peer) = path.peer() else {
                        panic!("{path:?}");
                    };
                    let arrival = Arrival {
                        hops: Hops::Single,
                        from: address(side, u32::from(peer) & 0xffff),
                        to: peer.into(),
                        interface: 3,
                        ttl: TTL,
                    };
                    self.flying.push_back((1 - side, arrival, transmit.payload));
                }
            }
            if self.flying.is_empty() {
                return;
            }
            while let Some((side, arrival, payload)) = self.flying.pop_front() {
                self.sides[side]
                    .handle_packet(now, &arrival, &payload)
                    .unwrap();
            }
        }
    }

    fn up(&self) -> usize {
        let states = [0, 1].into_iter().flat_map(|side| {
            let ids = self.ids[side].iter();
            ids.map(move |id| self.sides[side].status(*id).unwrap().state)
        });
        states.filter(|state| *state == State::Up).count()
    }
}

#[test]
fn a_thousand_sessions_come_up_and_stay_up_with_a_packet_each_45_ms() {
    let start = Instant::now();
    let mut nodes = Nodes::new(start);
    nodes.exchange(start);
    assert_eq!(nodes.up(), 2_000);
    nodes.sent = 0;
    let (mut now, mut calls) = (start, 0_usize);
    let end = start + ms(10_000);
    while now < end {
        let due = nodes.sides.iter().filter_map(Sessions::next_timeout).min();
        now = now.max(due.unwrap());
        for side in &mut nodes.sides {
            if side.next_timeout().is_some_and(|due| due <= now) {
                side.handle_timeout(now, Inbox::Empty);
                calls += 1;
            }
        }
        nodes.exchange(now);
    }
    assert_eq!(nodes.up(), 2_000);
    // 87.5 % of 50 ms on average.
    let expected = 2_000 * 10_000 / 44;
    assert!(
        nodes.sent.abs_diff(expected) < expected / 20,
        "{}",
        nodes.sent
    );
    // Timers of the handshake are still there, once for each session.
    let idle = calls.saturating_sub(nodes.sent);
    assert!(idle <= 2_000, "{idle} calls for nothing");
    for side in &mut nodes.sides {
        let downs = std::iter::from_fn(|| side.poll_event());
        assert_eq!(
            downs.filter(|event| !event.came_up()).count(),
            1_000,
            "Init"
        );
        assert_eq!(side.queued(), 1_000, "one timer each, nothing else");
    }
}

#[test]
fn a_peer_that_says_another_thing_each_time_fills_no_queue() {
    let mut rig = Rig::up(fast());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..100_000 {
        rig.now += ms(1) / 100;
        let packet = ControlPacket {
            diagnostic: Diagnostic::from_wire(rng.random()),
            state: State::Up,
            poll: rng.random(),
            is_final: rng.random(),
            independent: rng.random(),
            demand: rng.random(),
            detect_multiplier: rng.random_range(1..=255),
            my_discriminator: rng.random_range(1..=u32::MAX),
            your_discriminator: rig.id.discriminator(),
            desired_min_tx: rng.random(),
            required_min_rx: rng.random(),
            required_min_echo_rx: rng.random(),
        };
        let (now, bytes) = (rig.now, packet.encode());
        rig.sessions.handle_packet(now, &arrival(), &bytes).unwrap();
        assert!(rig.sessions.queued() <= 2);
    }
}

#[test]
fn a_peer_that_says_anything_at_all_gets_one_packet_for_each_at_most() {
    for seed in 0..200 {
        let mut rig = Rig::new(fast());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..200 {
            rig.run(ms(1) * rng.random_range(0..30));
            let before = rig.sent.len();
            let mut bytes: [u8; PACKET_LEN] = rng.random();
            if rng.random_bool(0.9) {
                let state = State::from_wire(rng.random());
                bytes = rig.peer(state).encode();
                bytes[1] ^= rng.random::<u8>() & 0b0011_1010;
                bytes[2] = rng.random_range(1..5);
            }
            // Most are dropped.
            let _ = rig.hear_bytes(&arrival(), &bytes);
            assert!(rig.sent.len() <= before + 1, "seed {seed}");
        }
    }
}
