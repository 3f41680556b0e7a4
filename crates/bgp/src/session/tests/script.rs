//! A session against a peer that says what the test says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::session::{
    Action, Config, ConnectionId, Down, Endpoints, Event, Reason, Session, State,
};
use crate::wire::{
    Asn, BgpId, Capabilities, ErrorCode, ExpectedAs, Families, Framer, Message, Notification, Open,
    RouteRefresh,
};

pub(super) const OUR_AS: Asn = Asn(65_001);
pub(super) const PEER_AS: Asn = Asn(65_002);

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn id(last: u8) -> BgpId {
    BgpId(Ipv4Addr::new(10, 99, 1, last))
}

/// A session with AS 65002 of a speaker with identifier 10.99.1.1.
pub(super) fn config() -> Config {
    Config::new(OUR_AS, ExpectedAs::Exactly(PEER_AS), id(1))
}

/// What a router with identifier 10.99.1.2 says.
pub(super) fn peer_open() -> Open {
    Open {
        my_as: PEER_AS,
        hold_time: 90,
        id: id(2),
        capabilities: Capabilities {
            families: Families::BOTH,
            extended_next_hop: false,
            route_refresh: true,
            enhanced_route_refresh: true,
            four_octet_as: true,
            ..Capabilities::default()
        },
    }
}

pub(super) fn endpoints() -> Endpoints {
    Endpoints {
        local: SocketAddr::from(([10, 99, 1, 1], 40_000)),
        peer: SocketAddr::from(([10, 99, 1, 2], 179)),
    }
}

pub(super) struct Script {
    pub(super) session: Session,
    pub(super) start: Instant,
    pub(super) now: Instant,
    /// What the session has sent, and when.
    pub(super) sent: Vec<(Duration, ConnectionId, Message)>,
    pub(super) dials: Vec<(Duration, ConnectionId)>,
    pub(super) closed: Vec<(Duration, ConnectionId)>,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) states: Vec<State>,
    /// The peer takes nothing: what is written waits.
    pub(super) stuck: bool,
    queued: BTreeMap<ConnectionId, usize>,
    framers: BTreeMap<ConnectionId, Framer>,
}

impl Script {
    pub(super) fn new(config: Config) -> Self {
        Self::seeded(config, 7)
    }

    pub(super) fn seeded(config: Config, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            session: Session::new(config, seed),
            start,
            now: start,
            sent: Vec::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            events: Vec::new(),
            states: Vec::new(),
            stuck: false,
            queued: BTreeMap::new(),
            framers: BTreeMap::new(),
        }
    }

    /// A session that is started.
    pub(super) fn started(config: Config) -> Self {
        let mut script = Self::new(config);
        script.session.start(script.now);
        script.drain();
        script
    }

    /// A session whose connection is up; its OPEN is sent.
    pub(super) fn connected(config: Config) -> (Self, ConnectionId) {
        let mut script = Self::started(config);
        let connection = script.connect();
        (script, connection)
    }

    /// A session that is up with a peer that says `open`.
    pub(super) fn established(config: Config, open: &Open) -> (Self, ConnectionId) {
        let (mut script, connection) = Self::connected(config);
        script.open(connection, open);
        script.keepalive(connection);
        assert_eq!(script.session.state(), State::Established);
        (script, connection)
    }

    /// The last dial succeeds.
    pub(super) fn connect(&mut self) -> ConnectionId {
        let (_, connection) = *self.dials.last().unwrap();
        self.session
            .handle_connected(self.now, connection, endpoints());
        self.drain();
        connection
    }

    pub(super) fn accept(&mut self) -> ConnectionId {
        let connection = self.session.handle_accepted(self.now, endpoints());
        self.drain();
        connection
    }

    /// The peer connects once more than the caller keeps connections.
    pub(super) fn accept_without_room(&mut self) -> ConnectionId {
        let connection = self.session.handle_accepted_without_room();
        self.drain();
        connection
    }

    pub(super) fn bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.session.handle_received(self.now, connection, bytes);
        self.drain();
    }

    pub(super) fn open(&mut self, connection: ConnectionId, open: &Open) {
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        self.bytes(connection, &bytes);
    }

    pub(super) fn keepalive(&mut self, connection: ConnectionId) {
        let mut bytes = Vec::new();
        Message::encode_keepalive(&mut bytes);
        self.bytes(connection, &bytes);
    }

    pub(super) fn notify(&mut self, connection: ConnectionId, notification: &Notification) {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        self.bytes(connection, &bytes);
    }

    pub(super) fn refresh(&mut self, connection: ConnectionId, refresh: RouteRefresh) {
        let mut bytes = Vec::new();
        refresh.encode(&mut bytes);
        self.bytes(connection, &bytes);
    }

    /// An UPDATE with nothing in it.
    pub(super) fn update(&mut self, connection: ConnectionId) {
        self.bytes(connection, &raw(2, &[0, 0, 0, 0]));
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Lets time pass until the session dials again, and returns how long that took.
    pub(super) fn until_dial(&mut self) -> Duration {
        let (before, count) = (self.now, self.dials.len());
        while self.dials.len() == count {
            self.now = self.session.next_timeout().expect("it never dials again");
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now - before
    }

    pub(super) fn drain(&mut self) {
        let at = self.now - self.start;
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(connection) => self.dials.push((at, connection)),
                Action::Write(connection, bytes) => self.written(connection, &bytes),
                Action::Close(connection) => self.closed.push((at, connection)),
                Action::Changed(state) => self.states.push(state),
                Action::Event(event) => self.events.push((at, event)),
            }
        }
    }

    fn written(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let framer = self.framers.entry(connection).or_default();
        framer.set_limit(65_535);
        framer.push(bytes);
        while let Some(raw) = framer.next().unwrap() {
            let message = Message::decode(raw).unwrap();
            self.sent.push((self.now - self.start, connection, message));
        }
        let queued = self.queued.entry(connection).or_default();
        *queued += bytes.len();
        if !self.stuck {
            *queued = 0;
        }
        let left = *queued;
        self.session.handle_sent(self.now, connection, left, left);
    }

    /// The NOTIFICATIONs that were sent on a connection.
    pub(super) fn notifications(&self, connection: ConnectionId) -> Vec<&Notification> {
        self.sent
            .iter()
            .filter(|(_, on, _)| *on == connection)
            .filter_map(|(_, _, message)| match message {
                Message::Notification(notification) => Some(notification),
                _ => None,
            })
            .collect()
    }

    /// Asserts that the connection was closed with exactly this NOTIFICATION, once.
    #[track_caller]
    pub(super) fn assert_ended(&self, connection: ConnectionId, error: ErrorCode, data: &[u8]) {
        let expected = Notification::with_data(error, data);
        assert_eq!(self.notifications(connection), [&expected]);
        assert!(self.is_closed(connection));
    }

    pub(super) fn is_closed(&self, connection: ConnectionId) -> bool {
        self.closed.iter().any(|(_, id)| *id == connection)
    }

    /// The OPEN that was sent on a connection.
    pub(super) fn sent_open(&self, connection: ConnectionId) -> &Open {
        self.sent
            .iter()
            .find_map(|(_, on, message)| match message {
                Message::Open(open) if *on == connection => Some(open),
                _ => None,
            })
            .expect("no OPEN was sent")
    }

    pub(super) fn keepalives(&self, connection: ConnectionId) -> Vec<Duration> {
        self.sent
            .iter()
            .filter(|(_, on, message)| *on == connection && *message == Message::Keepalive)
            .map(|(at, ..)| *at)
            .collect()
    }

    /// The bodies of the UPDATEs that were sent.
    pub(super) fn updates(&self) -> Vec<&[u8]> {
        self.sent
            .iter()
            .filter_map(|(_, _, message)| match message {
                Message::Update(body) => Some(&body[..]),
                _ => None,
            })
            .collect()
    }

    /// Why the session or the last attempt ended.
    #[track_caller]
    pub(super) fn reason(&self) -> &Reason {
        let (_, Down { reason, .. }) = self.session.last_down().unwrap();
        reason
    }
}

/// A message byte by byte.
pub(super) fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}
