//! What a session is like, for those who ask.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use herald_bgp::session::{Counters, Down, Endpoints, State};
use herald_bgp::wire::{Family, Negotiated, Notification, PerFamily};

use super::plan::PeerPlan;

/// What a session is like. Published when something in it changes, except for the counters, which
/// are read when they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStatus {
    /// Where the session is.
    pub state: State,
    /// When it came up; if it is not up, when it went down or was made.
    pub since: Instant,
    /// What it is made with.
    pub plan: Arc<PeerPlan>,
    /// Where the peer is, once that is known.
    pub place: Option<SocketAddr>,
    /// What keeps the session from coming up on this side, in words.
    pub obstacle: Option<String>,
    /// What holds while it is up.
    pub up: Option<Up>,
    /// The last end of a session that was up, and when that was.
    pub last_down: Option<(Instant, Down)>,
    /// The last attempt that came to nothing since the session was up, and when that was.
    pub last_failure: Option<(Instant, Down)>,
    /// The last NOTIFICATION that the peer was sent.
    pub last_sent: Option<Notification>,
    /// The last NOTIFICATION that the peer has sent.
    pub last_received: Option<Notification>,
    counters: Shared,
}

/// What two sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// The addresses of the connection.
    pub endpoints: Option<Endpoints>,
    /// What the two OPENs allow.
    pub negotiated: Arc<Negotiated>,
}

/// What is counted of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// By the session itself.
    pub session: Counters,
    /// How many prefixes the peer has been told.
    pub told: PerFamily<usize>,
    /// How many prefixes the peer is to have; also if the session is not up.
    pub wanted: usize,
    /// How many prefixes wait to be announced, announced otherwise or withdrawn.
    pub waiting: usize,
}

impl PeerCounters {
    /// How many prefixes of both families the peer has been told.
    pub fn told(&self) -> usize {
        Family::ALL
            .iter()
            .map(|family| *self.told.get(*family))
            .sum()
    }
}

/// Counters between the session's thread and those who read them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<PeerCounters>>);

impl Shared {
    pub(crate) fn set(&self, counters: PeerCounters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}

/// That they count is no news.
impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PeerStatus {
    /// Of a session that was just made.
    pub(super) fn new(now: Instant, plan: Arc<PeerPlan>, counters: Shared) -> Self {
        Self {
            state: State::Idle,
            since: now,
            plan,
            place: None,
            obstacle: None,
            up: None,
            last_down: None,
            last_failure: None,
            last_sent: None,
            last_received: None,
            counters,
        }
    }

    /// True if the session is up and the peer keeps the routes when its connection closes
    /// (RFC 4724).
    pub fn keeps_routes(&self) -> bool {
        let up = self.up.as_ref();
        up.is_some_and(|up| up.negotiated.graceful_restart.is_some())
    }

    /// True if routes are exchanged.
    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// What the session has counted so far.
    pub fn counters(&self) -> PeerCounters {
        *self
            .counters
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer's address and port, as far as they are known.
    pub fn remote(&self) -> Option<SocketAddr> {
        let connected = self.up.as_ref().and_then(|up| up.endpoints);
        connected.map(|endpoints| endpoints.peer).or(self.place)
    }

    /// Where the peer is: address and port, or what the configuration says while they are not known.
    pub fn peer(&self) -> String {
        let remote = self.remote().map(|remote| remote.to_string());
        remote.unwrap_or_else(|| self.plan.endpoint.to_string())
    }

    /// Where the peer is: the address without a port, or what the configuration says while it is not
    /// known.
    pub fn host(&self) -> String {
        let remote = self.remote().map(|remote| remote.ip().to_string());
        remote.unwrap_or_else(|| self.plan.endpoint.to_string())
    }

    /// Why there is no session, in words; `None` while it is up, or if nothing was tried yet.
    pub fn problem(&self) -> Option<String> {
        if self.is_up() {
            return None;
        }
        let last_down = || self.last_down.as_ref().map(|(_, down)| down.to_string());
        self.failure().or_else(last_down)
    }

    /// What keeps the session from coming up, on this side or in the last attempt, in words; `None`
    /// while it is up, or if no attempt has failed since.
    pub fn failure(&self) -> Option<String> {
        if self.is_up() {
            return None;
        }
        let last = self.last_failure.as_ref();
        let attempt = || last.map(|(_, down)| down.to_string());
        self.obstacle.clone().or_else(attempt)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Statuses for tests.

    use herald_api::config::bgp::PeerEndpoint;
    use herald_bgp::session::{Config, Reason};
    use herald_bgp::wire::{Asn, BgpId, ErrorCode, ExpectedAs, Families};
    use herald_netsys::tcp::Hops;

    use super::*;

    fn plan(remote: SocketAddr) -> PeerPlan {
        let id = BgpId([192, 0, 2, 1].into());
        PeerPlan {
            session: Config::new(Asn(65_001), ExpectedAs::Exactly(Asn(65_002)), id),
            endpoint: PeerEndpoint::Address(remote.ip()),
            port: remote.port(),
            source: None,
            vrf: String::new(),
            hops: Hops::ONE,
            password: None,
            bfd: None,
        }
    }

    /// The session with `remote`, which has never been up.
    pub(crate) fn down(remote: &str) -> (PeerStatus, Shared) {
        let remote = remote.parse().expect("an address and a port");
        let counters = Shared::default();
        let plan = Arc::new(plan(remote));
        let mut status = PeerStatus::new(Instant::now(), plan, counters.clone());
        status.place = Some(remote);
        (status, counters)
    }

    /// The session with `remote`, which is up.
    pub(crate) fn up(remote: &str) -> (PeerStatus, Shared) {
        let (mut status, counters) = down(remote);
        status.state = State::Established;
        let peer: SocketAddr = remote.parse().expect("an address and a port");
        let local = match peer {
            SocketAddr::V4(_) => "192.0.2.1:40000",
            SocketAddr::V6(_) => "[2001:db8::1]:40000",
        };
        status.up = Some(Up {
            endpoints: Some(Endpoints {
                local: local.parse().expect("an address and a port"),
                peer,
            }),
            negotiated: Arc::new(Negotiated {
                local_as: Asn(65_001),
                peer_as: Asn(65_002),
                peer_id: BgpId([192, 0, 2, 2].into()),
                hold_time: 90,
                families: Families::BOTH,
                extended_next_hop: false,
                four_octet_as: true,
                route_refresh: true,
                enhanced_route_refresh: true,
                message_limit: 4096,
                graceful_restart: None,
                notification_restart: false,
                long_lived_graceful_restart: None,
                peer_role: None,
            }),
        });
        (status, counters)
    }

    /// The end of a session by the peer, who says why.
    pub(crate) fn shut_down(words: &str) -> Down {
        let notification = Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, words);
        Down {
            reason: Reason::Notified(notification),
            state: State::Established,
            notification: None,
        }
    }

    /// An attempt to connect that failed.
    pub(crate) fn refused() -> Down {
        Down {
            reason: Reason::ConnectFailed("Connection refused (os error 111)".to_owned()),
            state: State::Connect,
            notification: None,
        }
    }
}
