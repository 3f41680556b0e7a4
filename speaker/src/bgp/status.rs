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
pub(super) struct Shared(Arc<Mutex<PeerCounters>>);

impl Shared {
    pub(super) fn set(&self, counters: PeerCounters) {
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
            up: None,
            last_down: None,
            last_failure: None,
            last_sent: None,
            last_received: None,
            counters,
        }
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

    /// The peer's address and port.
    pub fn remote(&self) -> SocketAddr {
        let connected = self.up.as_ref().and_then(|up| up.endpoints);
        connected.map_or(self.plan.connection.remote, |endpoints| endpoints.peer)
    }

    /// Why there is no session, in words; `None` while it is up, or if nothing was tried yet.
    pub fn problem(&self) -> Option<String> {
        if self.is_up() {
            return None;
        }
        let last = self.last_failure.as_ref().or(self.last_down.as_ref());
        last.map(|(_, down)| down.to_string())
    }
}
