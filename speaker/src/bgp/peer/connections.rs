//! The connections of a session, those that are made and those that are there: moves bytes between
//! them and its machine.

use std::collections::BTreeMap;
use std::time::Instant;

use herald_bgp::session::{ConnectionId, Session};
use herald_netsys::tcp;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use crate::bgp::connection::{Arrived, Connection};
use crate::bgp::listener::Accepted;
use crate::bgp::plan::PeerPlan;
use crate::bgp::transition::Security;

/// How many connections a session may have; those that say their last words count.
const MOST_CONNECTIONS: usize = 8;

/// So many more are told that they are too many (RFC 4486). Those beyond them are reset.
const MOST_TOLD: usize = 4;

/// How an attempt to connect ended.
pub(super) type Dialled = (ConnectionId, Result<TcpStream, herald_netsys::Error>);

/// All that one session has.
pub(super) struct Connections {
    /// The name of the `BGPPeer`, for the log.
    peer: String,
    dials: JoinSet<Dialled>,
    /// With what each connection is made.
    dialling: BTreeMap<ConnectionId, (AbortHandle, Security)>,
    open: BTreeMap<ConnectionId, Connection>,
}

impl Connections {
    pub(super) fn new(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            dials: JoinSet::new(),
            dialling: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// True if none is there; one may be made.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When one of them has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let connections = self.open.values();
        connections.filter_map(Connection::next_timeout).min()
    }

    /// Waits until one can be read, or written if something is to be, or (what it gives) an attempt has
    /// ended. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Option<Dialled> {
        tokio::select! {
            Some(dialled) = self.dials.join_next() => match dialled {
                Ok(dialled) => Some(dialled),
                Err(error) if error.is_panic() => {
                    std::panic::resume_unwind(error.into_panic());
                }
                // It was given up.
                Err(_) => None,
            },
            () = any_ready(&self.open) => None,
        }
    }

    /// Begins to connect, with these options.
    pub(super) fn dial(&mut self, id: ConnectionId, options: tcp::Options, security: Security) {
        let dial = async move { (id, tcp::connect(&options).await) };
        let dial = self.dials.spawn_local(dial);
        self.dialling.insert(id, (dial, security));
    }

    /// An attempt has ended.
    pub(super) fn dialled(
        &mut self,
        now: Instant,
        (id, outcome): Dialled,
        plan: &PeerPlan,
        session: &mut Session,
    ) {
        let Some((_, security)) = self.dialling.remove(&id) else {
            return;
        };
        let opened = outcome
            .and_then(|stream| Connection::open(now, stream, &security, &plan.security()))
            .map_err(|error| plan.explain(&error))
            .and_then(|connection| {
                let endpoints = connection.endpoints().map_err(|error| error.to_string())?;
                Ok((connection, endpoints))
            });
        match opened {
            Ok((connection, endpoints)) => {
                self.open.insert(id, connection);
                session.handle_connected(now, id, endpoints);
            }
            Err(error) => session.handle_connect_failed(now, id, &error),
        }
    }

    /// The peer has connected.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        Accepted { stream, security }: Accepted,
        plan: &PeerPlan,
        session: &mut Session,
    ) {
        let count = self.open.len();
        if count >= MOST_CONNECTIONS + MOST_TOLD {
            let _ = tcp::reset_when_closed(&stream);
            return;
        }
        let connection = match Connection::open(now, stream, &security, &plan.security()) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(peer = self.peer, %error, "a connection of the peer is closed");
                return;
            }
        };
        // Else it is gone already.
        if let Ok(endpoints) = connection.endpoints() {
            let id = if count < MOST_CONNECTIONS {
                session.handle_accepted(now, endpoints)
            } else {
                session.handle_accepted_without_room()
            };
            self.open.insert(id, connection);
        }
    }

    /// To be sent on one of them.
    pub(super) fn write(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.write(bytes);
        }
    }

    /// Gives one up, whether it is there or is made.
    pub(super) fn close(&mut self, now: Instant, id: ConnectionId) {
        if let Some((dial, _)) = self.dialling.remove(&id) {
            dial.abort();
        }
        if let Some(connection) = self.open.get_mut(&id) {
            connection.close(now);
        }
    }

    /// They are to be secured otherwise. The peer of a live connection gets the same change about now.
    pub(super) fn change(&mut self, now: Instant, was: &Security, is: &Security) {
        for connection in self.open.values_mut() {
            let changed = connection.change(now, was, is);
            keeps_what_it_had(&self.peer, changed);
        }
    }

    /// Does what is due on them.
    pub(super) fn tend(&mut self, now: Instant) {
        for connection in self.open.values_mut() {
            keeps_what_it_had(&self.peer, connection.tend(now));
        }
    }

    /// Takes in what arrived.
    pub(super) fn receive(&mut self, now: Instant, session: &mut Session) {
        let mut gone = Vec::new();
        for (id, connection) in &mut self.open {
            if connection.is_closing() {
                continue;
            }
            match connection.read() {
                Some(Arrived::Bytes(bytes)) => session.handle_received(now, *id, &bytes),
                Some(Arrived::End(error)) => {
                    let error = error.map(|error| error.to_string());
                    session.handle_closed(now, *id, error.as_deref());
                    gone.push(*id);
                }
                None => {}
            }
        }
        for id in gone {
            self.open.remove(&id);
        }
    }

    /// Sends what can be sent. On how many connections that changed something.
    pub(super) fn flush(&mut self, now: Instant, session: &mut Session) -> usize {
        let mut broken = Vec::new();
        let mut moved = 0;
        for (id, connection) in &mut self.open {
            let waited = connection.left();
            match connection.flush() {
                Ok(()) if waited > 0 || connection.is_unacknowledged() => {
                    let left = connection.left();
                    moved += usize::from(left < waited);
                    let unacknowledged = connection.unacknowledged();
                    session.handle_sent(now, *id, left, unacknowledged);
                }
                Ok(()) => {}
                Err(error) => broken.push((*id, error)),
            }
        }
        for (id, error) in &broken {
            self.open.remove(id);
            session.handle_closed(now, *id, Some(&error.to_string()));
        }
        moved + broken.len()
    }

    /// Gives up those whose interface or VRF is gone: nothing arrives on them any more, so that
    /// otherwise only the hold timer would end them.
    pub(super) fn review(&mut self, now: Instant, session: &mut Session) {
        let stranded = self
            .open
            .extract_if(.., |_, connection| tcp::is_stranded(connection.stream()));
        for (id, _) in stranded {
            let why = "the interface that it was on is gone";
            session.handle_closed(now, id, Some(why));
        }
    }

    /// Forgets those that have said their last words.
    pub(super) fn drop_closed(&mut self, now: Instant) {
        self.open.retain(|_, connection| !connection.closed(now));
    }
}

fn keeps_what_it_had(peer: &str, changed: Result<(), herald_netsys::Error>) {
    if let Err(error) = changed {
        tracing::error!(peer, %error, "the session keeps what it had");
    }
}

/// Waits until one of them can be read, or written if something is to be.
async fn any_ready(connections: &BTreeMap<ConnectionId, Connection>) {
    if connections.is_empty() {
        return std::future::pending().await;
    }
    let ready = connections
        .values()
        .map(|connection| Box::pin(connection.ready()));
    futures::future::select_all(ready).await;
}
