//! Whatever the peer and the network do, the session keeps its word to its caller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::script::{config, endpoints, id, peer_open, raw};
use crate::routes::Written;
use crate::session::{
    Action, Config, ConnectionId, Direction, Event, Restart, Session, State, Stop,
};
use crate::wire::{ErrorCode, Framer, MessageType, Notification, Open};

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop(u8),
    Reconfigure(u16),
    BfdDown,
    Connected(usize),
    Failed(usize),
    Accepted,
    Message(usize, u8),
    Mutated(usize, u8, usize, u8),
    Bytes(usize, Vec<u8>),
    Closed(usize),
    Sent(usize, usize),
    Submit,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..6_usize;
    prop_oneof![
        2 => Just(Step::Start),
        1 => (0..4_u8).prop_map(Step::Stop),
        1 => prop_oneof![Just(90_u16), Just(3), Just(0)].prop_map(Step::Reconfigure),
        1 => Just(Step::BfdDown),
        6 => which().prop_map(Step::Connected),
        1 => which().prop_map(Step::Failed),
        4 => Just(Step::Accepted),
        16 => (which(), 0..9_u8).prop_map(|(which, kind)| Step::Message(which, kind)),
        2 => (which(), 0..9_u8, any::<usize>(), any::<u8>())
            .prop_map(|(which, kind, at, byte)| Step::Mutated(which, kind, at, byte)),
        1 => (which(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(which, bytes)| Step::Bytes(which, bytes)),
        1 => which().prop_map(Step::Closed),
        1 => (which(), 0..5000_usize).prop_map(|(which, left)| Step::Sent(which, left)),
        1 => Just(Step::Submit),
        4 => (0..200_000_u32).prop_map(Step::Pass),
    ]
}

/// Messages that a peer may send, also at the wrong time.
fn message(kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    match kind {
        0..=2 => peer_open().encode(&mut bytes),
        3 => Open {
            id: id(0),
            hold_time: 3,
            ..peer_open()
        }
        .encode(&mut bytes),
        4 | 5 => bytes = raw(4, &[]),
        6 => bytes = raw(2, &[0, 0, 0, 0]),
        7 => bytes = raw(5, &[0, 1, 0, 1]),
        _ => Notification::new(ErrorCode::ADMINISTRATIVE_RESET).encode(&mut bytes),
    }
    bytes
}

/// What the caller knows: it must never be surprised.
struct Caller {
    session: Session,
    now: Instant,
    /// In the order in which they came; with the last message that was written.
    open: Vec<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
    framers: BTreeMap<ConnectionId, Framer>,
    last: BTreeMap<ConnectionId, MessageType>,
    up: bool,
    state: State,
}

impl Caller {
    fn connection(&self, which: usize) -> Option<ConnectionId> {
        let count = self.open.len().max(1);
        self.open.get(which % count).copied()
    }

    fn close(&mut self, connection: ConnectionId) {
        self.open.retain(|open| *open != connection);
        self.gone.insert(connection);
    }

    fn receive(&mut self, which: usize, bytes: &[u8]) {
        if let Some(connection) = self.connection(which) {
            self.session.handle_received(self.now, connection, bytes);
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Start => self.session.start(now),
            Step::Stop(how) => {
                let words = match how {
                    0 => Stop::Silently,
                    1 => Stop::Shutdown("bye".into()),
                    2 => Stop::Deconfigured,
                    _ => Stop::Reset(String::new()),
                };
                self.session.stop(now, &words);
                assert!(self.session.next_timeout().is_none() || how > 2);
            }
            Step::Reconfigure(hold) => {
                let mut config = self.session.config().clone();
                config.timers.hold = hold;
                self.session.reconfigure(now, config);
            }
            Step::BfdDown => self.session.handle_bfd_down(now),
            Step::Connected(which) => {
                if let Some(connection) = self.connection(which) {
                    self.session.handle_connected(now, connection, endpoints());
                }
            }
            Step::Failed(which) => {
                if let Some(connection) = self.connection(which) {
                    self.session.handle_connect_failed(now, connection, "no");
                    self.close(connection);
                }
            }
            Step::Accepted => {
                let connection = self.session.handle_accepted(now, endpoints());
                assert!(!self.gone.contains(&connection), "a number came twice");
                self.open.push(connection);
            }
            Step::Message(which, kind) => self.receive(which, &message(kind)),
            Step::Mutated(which, kind, at, byte) => {
                let mut bytes = message(kind);
                let at = at % bytes.len();
                bytes[at] = byte;
                self.receive(which, &bytes);
            }
            Step::Bytes(which, bytes) => self.receive(which, &bytes),
            Step::Closed(which) => {
                if let Some(connection) = self.connection(which) {
                    self.session.handle_closed(now, connection, None);
                    self.close(connection);
                }
            }
            Step::Sent(which, left) => {
                if let Some(connection) = self.connection(which) {
                    self.session.handle_sent(now, connection, left, left);
                }
            }
            Step::Submit => {
                let sent = self
                    .session
                    .submit(now, raw(2, &[0, 0, 0, 0]), Written::default());
                assert_eq!(sent, self.session.state() == State::Established);
            }
            Step::Pass(ms) => {
                let end = now + Duration::from_millis(ms.into());
                while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
                    self.now = self.now.max(at);
                    self.session.handle_timeout(self.now);
                    let next = self.session.next_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "it is due for ever");
                    self.drain();
                }
                self.now = end;
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(connection) => {
                    assert!(!self.gone.contains(&connection), "a number came twice");
                    self.open.push(connection);
                }
                Action::Write(connection, bytes) => self.written(connection, &bytes),
                Action::Close(connection) => {
                    assert!(self.open.contains(&connection), "it is closed already");
                    self.close(connection);
                }
                Action::Changed(state) => {
                    assert_ne!(state, self.state, "that is no change");
                    self.state = state;
                }
                Action::Event(Event::Up(_)) => {
                    assert!(!std::mem::replace(&mut self.up, true), "it is up already");
                }
                Action::Event(Event::Down(down)) => {
                    assert!(std::mem::replace(&mut self.up, false), "it was not up");
                    assert!(!down.to_string().is_empty());
                }
                Action::Event(_) => {}
            }
        }
        assert_eq!(self.state, self.session.state());
        assert_eq!(self.up, self.state == State::Established);
        assert_eq!(self.up, self.session.negotiated().is_some());
        assert!(self.open.len() <= 3, "{:?}", self.open);
    }

    fn written(&mut self, connection: ConnectionId, bytes: &[u8]) {
        assert!(self.open.contains(&connection), "it is closed");
        let framer = self.framers.entry(connection).or_default();
        framer.push(bytes);
        while let Some(raw) = framer.next().unwrap() {
            let last = self.last.insert(connection, raw.kind);
            let order = match raw.kind {
                // The first word, or after none that the peer has to get first.
                MessageType::Open => last.is_none(),
                MessageType::Keepalive | MessageType::Update | MessageType::RouteRefresh => {
                    last.is_some_and(|last| last != MessageType::Notification)
                }
                MessageType::Notification => last != Some(MessageType::Notification),
            };
            assert!(order, "{:?} after {last:?}", raw.kind);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_session_keeps_its_word_to_its_caller(
        steps in prop::collection::vec(step(), 0..150),
        seed in any::<u64>(),
        higher in any::<bool>(),
        graceful in any::<bool>(),
        direction in prop_oneof![
            Just(Direction::Both), Just(Direction::Dial), Just(Direction::Accept)
        ],
    ) {
        let config = Config {
            direction,
            id: id(if higher { 3 } else { 1 }),
            restart: graceful.then_some(Restart {
                time: 60,
                long_lived: Some(60),
                restarted: Some(Instant::now() + Duration::from_mins(2)),
                forwarding_kept: true,
            }),
            ..config()
        };
        let mut caller = Caller {
            session: Session::new(config, seed),
            now: Instant::now(),
            open: Vec::new(),
            gone: BTreeSet::new(),
            framers: BTreeMap::new(),
            last: BTreeMap::new(),
            up: false,
            state: State::Idle,
        };
        for step in steps {
            caller.take(step);
        }
        // However it was treated: with a good peer it comes up again.
        caller.take(Step::Stop(1));
        prop_assert!(caller.open.is_empty());
        caller.take(Step::Start);
        if direction == Direction::Accept {
            caller.take(Step::Accepted);
        } else {
            caller.take(Step::Connected(0));
        }
        caller.take(Step::Message(0, 0));
        caller.take(Step::Message(0, 4));
        prop_assert!(caller.up);
    }
}
