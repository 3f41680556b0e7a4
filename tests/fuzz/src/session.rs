//! A peer of a BGP session that may say anything at any time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use herald_bgp::routes::{Feed, Path, Table};
use herald_bgp::session::{Action, Config, ConnectionId, Direction, Endpoints, Session, State};
use herald_bgp::wire::{Asn, BgpId, EXTENDED_LIMIT, ExpectedAs, Framer, Message, MessageType};
use herald_model::Cidr;

use crate::bgp::open_of;

/// The first byte says how far the session is and how the peer's bytes are cut, the others are what
/// the peer sends. Whatever that is: nothing is said on a connection that is closed nor after a
/// NOTIFICATION, and a good peer gets a session again.
pub(crate) fn peer(bytes: &[u8]) {
    let Some((how, stream)) = bytes.split_first() else {
        return;
    };
    let mut caller = Caller::new();
    let connection = caller.connect();
    if how & 1 != 0 {
        caller.open(connection);
    }
    if how & 3 == 3 {
        caller.keepalive(connection);
    }
    for piece in stream.chunks(1 + usize::from(how >> 2) * 16) {
        caller.receive(connection, piece);
    }
    if how & 0x80 != 0 {
        caller.pass(Duration::from_secs(100));
    }
    caller.close_all();
    caller.pass(Duration::from_secs(100));
    caller.close_all();
    caller.session.start(caller.now);
    caller.drain();
    let connection = caller.connect();
    caller.open(connection);
    caller.keepalive(connection);
    assert_eq!(caller.session.state(), State::Established);
}

struct Caller {
    session: Session,
    feed: Feed,
    table: Table,
    now: Instant,
    dialled: Vec<ConnectionId>,
    /// The connections that there are, with what was said on them.
    open: BTreeMap<ConnectionId, (Framer, Option<MessageType>)>,
}

impl Caller {
    fn new() -> Self {
        let mut config = Config::new(
            Asn(65_001),
            ExpectedAs::External,
            BgpId([10, 0, 0, 1].into()),
        );
        config.direction = Direction::Both;
        let mut table = Table::new();
        for last in 0..20 {
            let prefix = Cidr::new([192, 0, 2, last].into(), 32).expect("a prefix");
            table.set(prefix, &[Path::default()]);
        }
        table.set_complete(true);
        let now = Instant::now();
        let mut caller = Self {
            session: Session::new(config, 1),
            feed: Feed::new("peer"),
            table,
            now,
            dialled: Vec::new(),
            open: BTreeMap::new(),
        };
        caller.session.start(now);
        caller.drain();
        caller
    }

    /// The last connection that was asked for is there.
    fn connect(&mut self) -> ConnectionId {
        let connection = *self.dialled.last().expect("it dials when it is started");
        let endpoints = Endpoints {
            local: SocketAddr::from(([10, 0, 0, 1], 40_000)),
            peer: SocketAddr::from(([10, 0, 0, 2], 179)),
        };
        self.session
            .handle_connected(self.now, connection, endpoints);
        self.drain();
        connection
    }

    fn open(&mut self, connection: ConnectionId) {
        let mut bytes = Vec::new();
        open_of(65_002, 2, true).encode(&mut bytes);
        self.receive(connection, &bytes);
    }

    fn keepalive(&mut self, connection: ConnectionId) {
        let mut bytes = Vec::new();
        Message::encode_keepalive(&mut bytes);
        self.receive(connection, &bytes);
    }

    fn receive(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.session.handle_received(self.now, connection, bytes);
        self.drain();
    }

    fn close_all(&mut self) {
        for connection in std::mem::take(&mut self.open).into_keys() {
            self.session.handle_closed(self.now, connection, None);
        }
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            let next = self.session.next_timeout();
            assert!(next.is_none_or(|at| at > self.now), "it is due for ever");
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        self.feed.fill(self.now, &mut self.session, &mut self.table);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(connection) => {
                    self.dialled.push(connection);
                    let mut framer = Framer::new();
                    framer.set_limit(EXTENDED_LIMIT);
                    self.open.insert(connection, (framer, None));
                }
                Action::Write(connection, bytes) => {
                    self.said(connection, &bytes);
                    self.session.handle_sent(self.now, connection, 0, 0);
                }
                Action::Close(connection) => {
                    self.open.remove(&connection).expect("it is open");
                }
                Action::Changed(_) => {}
                Action::Event(event) => {
                    self.feed
                        .handle_event(&event, &self.session, &mut self.table);
                    self.feed.fill(self.now, &mut self.session, &mut self.table);
                }
            }
        }
    }

    fn said(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let (framer, last) = self.open.get_mut(&connection).expect("it is open");
        framer.push(bytes);
        while let Some(raw) = framer.next().expect("a right header") {
            let before = last.replace(raw.kind);
            assert_ne!(before, Some(MessageType::Notification), "the last word");
            assert_eq!(before.is_none(), raw.kind == MessageType::Open);
            Message::decode(raw).expect("a right message");
        }
    }
}
