//! One session with a scripted peer, in virtual time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::{
    Arrival, ControlPacket, Diagnostic, Discard, ECHO_LEN, Event, Hops, Inbox, Path, SessionId,
    Sessions, Settings, State, Status, TTL,
};

pub(super) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 2));
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1));
pub(super) const INTERFACE: u32 = 3;
pub(super) const PEER_DISCRIMINATOR: u32 = 0xfeed;
pub(super) const FAST: Duration = Duration::from_millis(50);

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// 50 ms, three times.
pub(super) fn fast() -> Settings {
    Settings {
        transmit_interval: FAST,
        receive_interval: FAST,
        ..Settings::default()
    }
}

pub(super) fn single_hop() -> Path {
    Path::SingleHop {
        peer: PEER,
        interface: None,
    }
}

pub(super) fn arrival() -> Arrival {
    Arrival {
        hops: Hops::Single,
        from: PEER,
        to: LOCAL,
        interface: INTERFACE,
        ttl: TTL,
    }
}

pub(super) struct Rig {
    pub(super) sessions: Sessions,
    pub(super) id: SessionId,
    pub(super) now: Instant,
    pub(super) events: Vec<Event>,
    /// All that was sent, and when.
    pub(super) sent: Vec<(Instant, ControlPacket)>,
    /// All echo packets that were sent, and when.
    pub(super) echoes: Vec<(Instant, [u8; ECHO_LEN])>,
}

impl Rig {
    pub(super) fn new(settings: Settings) -> Self {
        Self::on(single_hop(), settings)
    }

    pub(super) fn on(path: Path, settings: Settings) -> Self {
        let now = Instant::now();
        let mut sessions = Sessions::new([7; 32]);
        let id = sessions.add(now, path, settings).unwrap();
        let mut rig = Self {
            sessions,
            id,
            now,
            events: Vec::new(),
            sent: Vec::new(),
            echoes: Vec::new(),
        };
        rig.drain();
        rig
    }

    /// A session that is up, whose peer has the same intervals.
    pub(super) fn up(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.come_up();
        rig
    }

    pub(super) fn come_up(&mut self) {
        let mut hello = self.peer(State::Down);
        hello.your_discriminator = 0;
        self.hear(&hello).unwrap();
        self.hear(&self.peer(State::Up)).unwrap();
        self.hear(&self.final_()).unwrap();
        assert_eq!(self.state(), State::Up);
        assert!(!self.status().polling);
        self.events.clear();
        self.sent.clear();
    }

    /// What a peer with the same settings says in this state.
    pub(super) fn peer(&self, state: State) -> ControlPacket {
        let settings = self.sessions.settings(self.id).unwrap();
        let micros = |interval: Duration| u32::try_from(interval.as_micros()).unwrap();
        ControlPacket {
            diagnostic: Diagnostic::None,
            state,
            poll: false,
            is_final: false,
            independent: false,
            demand: false,
            detect_multiplier: settings.detect_multiplier,
            my_discriminator: PEER_DISCRIMINATOR,
            your_discriminator: self.id.discriminator(),
            desired_min_tx: micros(settings.receive_interval),
            required_min_rx: micros(settings.transmit_interval),
            required_min_echo_rx: 0,
        }
    }

    pub(super) fn final_(&self) -> ControlPacket {
        ControlPacket {
            is_final: true,
            ..self.peer(State::Up)
        }
    }

    pub(super) fn hear(&mut self, packet: &ControlPacket) -> Result<SessionId, Discard> {
        self.hear_bytes(&arrival(), &packet.encode())
    }

    pub(super) fn hear_bytes(
        &mut self,
        arrival: &Arrival,
        payload: &[u8],
    ) -> Result<SessionId, Discard> {
        let taken = self.sessions.handle_packet(self.now, arrival, payload);
        self.drain();
        taken
    }

    pub(super) fn drain(&mut self) {
        while let Some(transmit) = self.sessions.poll_transmit(self.now) {
            assert_eq!(transmit.session, self.id);
            let packet = ControlPacket::parse(&transmit.payload).unwrap();
            self.sent.push((self.now, packet));
        }
        while let Some(echo) = self.sessions.poll_echo(self.now) {
            assert_eq!(echo.session, self.id);
            self.echoes.push((self.now, echo.payload));
        }
        self.events
            .extend(std::iter::from_fn(|| self.sessions.poll_event()));
    }

    /// Lets the time pass, with every timer on time and nothing received.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.sessions.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.sessions.handle_timeout(self.now, Inbox::Empty);
            self.drain();
        }
        self.now = end;
    }

    /// Lets the time pass, with this packet from the peer at this interval.
    pub(super) fn run_hearing(&mut self, time: Duration, every: Duration, packet: &ControlPacket) {
        let end = self.now + time;
        while self.now < end {
            self.run(every.min(end - self.now));
            self.hear(packet).unwrap();
        }
    }

    pub(super) fn state(&self) -> State {
        self.status().state
    }

    pub(super) fn status(&self) -> Status {
        self.sessions.status(self.id).unwrap()
    }

    pub(super) fn last_sent(&self) -> ControlPacket {
        self.sent.last().unwrap().1
    }

    /// The times between the packets that were sent.
    pub(super) fn gaps(&self) -> Vec<Duration> {
        let pairs = self.sent.iter().zip(self.sent.iter().skip(1));
        pairs
            .map(|((earlier, _), (later, _))| *later - *earlier)
            .collect()
    }
}

/// The least and the greatest.
pub(super) fn extremes(gaps: &[Duration]) -> (Duration, Duration) {
    let least = gaps.iter().min().copied().unwrap();
    (least, gaps.iter().max().copied().unwrap())
}
