//! What packets and timers cost, with 1,000 sessions at 50 ms.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use herald_bfd::{
    Arrival, ControlPacket, Diagnostic, Hops, Inbox, Path, SessionId, Sessions, Settings, State,
    TTL,
};

const SESSIONS: u32 = 1_000;
const INTERVAL: Duration = Duration::from_millis(50);

struct Node {
    sessions: Sessions,
    peers: Vec<(Arrival, [u8; 24])>,
    now: Instant,
    /// How many packets were sent.
    sent: u64,
}

impl Node {
    /// All sessions are up.
    fn new() -> Self {
        let now = Instant::now();
        let mut node = Self {
            sessions: Sessions::new([1; 32]),
            peers: Vec::new(),
            now,
            sent: 0,
        };
        let settings = Settings {
            transmit_interval: INTERVAL,
            receive_interval: INTERVAL,
            ..Settings::default()
        };
        for number in 1..=SESSIONS {
            let peer = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
            let path = Path::SingleHop {
                peer,
                interface: None,
            };
            let id = node
                .sessions
                .add(now, path, settings.clone())
                .expect("each peer is another");
            let arrival = Arrival {
                hops: Hops::Single,
                from: peer,
                to: Ipv4Addr::new(10, 1, 0, 1).into(),
                interface: 3,
                ttl: TTL,
            };
            node.hear(&arrival, &said(id, State::Down, false));
            node.hear(&arrival, &said(id, State::Init, false));
            node.hear(&arrival, &said(id, State::Up, true));
            node.peers.push((arrival, said(id, State::Up, false)));
        }
        node.send();
        node
    }

    fn hear(&mut self, arrival: &Arrival, payload: &[u8]) {
        self.sessions
            .handle_packet(self.now, arrival, payload)
            .expect("the packet is good");
        self.send();
    }

    fn send(&mut self) {
        while let Some(transmit) = self.sessions.poll_transmit(self.now) {
            let _ = black_box(transmit);
            self.sent += 1;
        }
        while self.sessions.poll_event().is_some() {}
    }

    /// Goes on by the time, with timers as a thread that wakes each millisecond would run them, and
    /// each peer heard each 40 ms.
    fn live(&mut self, milliseconds: usize) {
        for millisecond in 0..milliseconds {
            self.now += Duration::from_millis(1);
            for number in (millisecond % 40..self.peers.len()).step_by(40) {
                let (arrival, payload) = self.peers[number];
                self.hear(&arrival, &payload);
            }
            self.sessions.handle_timeout(self.now, Inbox::Empty);
            self.send();
        }
    }

    fn all_up(&self) -> bool {
        let mut states = self.sessions.iter().map(|id| self.sessions.status(id));
        states.all(|status| status.is_some_and(|status| status.state == State::Up))
    }
}

fn said(id: SessionId, state: State, is_final: bool) -> [u8; 24] {
    let packet = ControlPacket {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final,
        independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 1,
        your_discriminator: id.discriminator(),
        desired_min_tx: 50_000,
        required_min_rx: 50_000,
        required_min_echo_rx: 0,
    };
    packet.encode()
}

fn sessions(criterion: &mut Criterion) {
    let mut node = Node::new();
    let mut number = 0;
    criterion.bench_function("a packet received", |bencher| {
        bencher.iter(|| {
            number = (number + 397) % node.peers.len();
            let (arrival, payload) = node.peers[number];
            let taken = node.sessions.handle_packet(node.now, &arrival, &payload);
            black_box(taken).is_ok()
        });
    });

    // What is heard in between is not measured.
    let mut node = Node::new();
    criterion.bench_function("a packet sent by the clock", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let before = node.sent;
            while node.sent - before < times {
                let hear_again = node.now + INTERVAL;
                while let Some(due) = node.sessions.next_timeout().filter(|due| *due < hear_again) {
                    node.now = node.now.max(due);
                    let start = Instant::now();
                    node.sessions.handle_timeout(node.now, Inbox::Empty);
                    node.send();
                    spent += start.elapsed();
                }
                for (arrival, payload) in node.peers.clone() {
                    node.hear(&arrival, &payload);
                }
            }
            spent
        });
    });
    assert!(node.all_up());

    let mut node = Node::new();
    criterion.bench_function("a second of 1,000 sessions", |bencher| {
        bencher.iter(|| node.live(1_000));
    });
    assert!(node.all_up());
}

criterion_group!(benches, sessions);
criterion_main!(benches);
