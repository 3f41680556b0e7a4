//! All sessions of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_bfd::{
    Echo, EchoArrival, Event, EventKind, Inbox, Path, SessionId, Sessions, Settings, State,
};
use herald_runtime::supervise::TaskResult;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::echo::EchoReceivers;
use super::line::Line;
use super::receivers::{Receivers, Wanted};
use super::request::{Request, Requested};
use super::{BfdStatus, BfdStatuses};
use crate::precedence;

/// How old counters may be for those who ask.
const REFRESH: Duration = Duration::from_secs(1);

/// How long BGP may take to end before BFD does.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the peers are told that the sessions are down on purpose, at most.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the driver is connected to.
#[derive(Debug)]
pub struct DriverIo {
    /// What is to be watched.
    pub requests: Requested,
    /// How the sessions are.
    pub statuses: watch::Sender<Arc<BfdStatuses>>,
    /// Whatever nobody can guess: it keeps others from ending sessions.
    pub seed: [u8; 32],
}

/// The BFD speaker of a node. Belongs on a thread of its own with a current-thread runtime.
#[derive(Debug)]
pub struct Driver {
    io: DriverIo,
    sessions: Sessions,
    lines: BTreeMap<SessionId, Line>,
    receivers: Receivers,
    echo_receivers: EchoReceivers,
    /// Paths that no session is possible for.
    refused: BTreeMap<String, (Request, String)>,
    /// When the statuses are told anew.
    refresh: Option<Instant>,
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// BGP has until then.
    Ending(Instant),
    /// The peers are told until then.
    Leaving(Instant),
}

impl Driver {
    /// A driver without sessions.
    pub fn new(io: DriverIo) -> Self {
        Self {
            sessions: Sessions::new(io.seed),
            io,
            lines: BTreeMap::new(),
            receivers: Receivers::default(),
            echo_receivers: EchoReceivers::default(),
            refused: BTreeMap::new(),
            refresh: None,
        }
    }

    /// Drives until `token` is cancelled and all that make requests are gone; then the peers are told
    /// that the sessions end on purpose.
    pub async fn run(mut self, token: CancellationToken) -> TaskResult {
        precedence::take("BFD");
        let mut phase = Phase::Running;
        let mut closed = false;
        self.apply(Instant::now());
        loop {
            if self.turn() == Inbox::Waiting {
                // Only a flood gets here. It must not have all of a processor.
                tokio::time::sleep(precedence::REST).await;
            }
            let now = Instant::now();
            phase = match phase {
                Phase::Ending(until) if closed || until <= now => {
                    self.sessions.retire_all(now);
                    self.transmit(now);
                    Phase::Leaving(now + FAREWELL)
                }
                Phase::Leaving(until) if self.sessions.is_empty() || until <= now => break,
                phase => phase,
            };
            let end = match phase {
                Phase::Running => None,
                Phase::Ending(until) | Phase::Leaving(until) => Some(until),
            };
            let due = self.due().into_iter().chain(end).min();
            tokio::select! {
                () = token.cancelled(), if phase == Phase::Running => {
                    phase = Phase::Ending(Instant::now() + PATIENCE);
                }
                changed = self.io.requests.0.changed(), if !closed => match changed {
                    Ok(()) => self.apply(Instant::now()),
                    Err(_) => closed = true,
                },
                () = self.receivers.readable() => {}
                () = self.echo_receivers.readable() => {}
                () = until(due) => {}
            }
        }
        Ok(())
    }

    /// When there is something to do without anything happening.
    fn due(&self) -> Option<Instant> {
        let lines = self.lines.values().filter_map(Line::retry_at).min();
        let times = [
            self.sessions.next_timeout(),
            self.receivers.retry_at(),
            self.echo_receivers.retry_at(),
            lines,
            self.refresh,
        ];
        times.into_iter().flatten().min()
    }

    /// Does what is due and takes in what arrived, in the order that lateness costs least: peers wait
    /// for what is to be sent, and who is silent is known only when all is read. Whether it is.
    fn turn(&mut self) -> Inbox {
        let now = Instant::now();
        self.sessions.handle_timeout(now, Inbox::Waiting);
        self.transmit(now);
        let sessions = &mut self.sessions;
        let mut inbox = self.receivers.receive(now, |arrival, packet| {
            // What is dropped is counted.
            let _ = sessions.handle_packet(now, arrival, packet);
        });
        if self.receive_echo(now) == Inbox::Waiting {
            inbox = Inbox::Waiting;
        }
        let now = Instant::now();
        self.sessions.handle_timeout(now, inbox);
        self.transmit(now);
        let mut news = false;
        while let Some(event) = self.sessions.poll_event() {
            self.happened(event);
            news = true;
        }
        self.receivers.retry(now);
        for line in self.lines.values_mut() {
            line.retry(now);
        }
        let refresh = self.refresh.is_some_and(|at| at <= now);
        if refresh {
            self.receivers.review(now);
            for line in self.lines.values_mut() {
                line.review(now);
            }
        }
        if news || refresh || self.echo_receivers.retry_at().is_some_and(|at| at <= now) {
            self.open_echo(now);
        }
        if news || refresh {
            self.publish(now);
        }
        inbox
    }

    /// Takes in the echo packets that arrived, and sends those of peers back. Whether that was all.
    fn receive_echo(&mut self, now: Instant) -> Inbox {
        let (sessions, lines) = (&mut self.sessions, &self.lines);
        self.echo_receivers.receive(now, |interface, packet| {
            let arrival = EchoArrival {
                from: *packet.from.ip(),
                to: *packet.to.ip(),
                interface,
                ttl: packet.ttl,
            };
            // What is dropped is counted.
            if let Ok(Echo::Peers(id)) = sessions.handle_echo(now, &arrival, packet.payload)
                && let Some(line) = lines.get(&id)
            {
                line.pass_echo(&packet.returned());
            }
        })
    }

    /// Has the sockets for echo packets open that sessions need, and tells them which are.
    fn open_echo(&mut self, now: Instant) {
        let interface = |id: &SessionId| self.sessions.echo_interface(*id);
        let wanted = self.lines.keys().filter_map(interface).collect();
        self.echo_receivers.want(now, &wanted);
        for (id, line) in &mut self.lines {
            let interface = self.sessions.echo_interface(*id);
            let hears = interface.is_some_and(|it| self.echo_receivers.hears(it));
            let open = line.want_echo(hears);
            // It is there as long as its line.
            let _ = self.sessions.set_echo_open(now, *id, open);
        }
        self.transmit(now);
    }

    fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.sessions.poll_transmit(now) {
            if let Some(line) = self.lines.get_mut(&transmit.session) {
                line.send(&transmit.payload);
            }
        }
        while let Some(echo) = self.sessions.poll_echo(now) {
            if let Some(line) = self.lines.get(&echo.session) {
                line.send_echo(&echo.payload);
            }
        }
    }

    fn happened(&mut self, event: Event) {
        let id = event.session;
        let (from, to, cause) = match event.kind {
            EventKind::Changed { from, to, cause } => (from, to, cause),
            EventKind::Retired => {
                self.lines.remove(&id);
                self.open_receivers(Instant::now());
                return;
            }
        };
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let (peer, address) = (line.names(), line.path().peer());
        if event.path_failed() {
            for user in line.users.values() {
                user.tell();
            }
            tracing::warn!(event = "bfdDown", peer, %address, reason = %cause, "BFD session down");
        } else if event.came_up() {
            tracing::info!(event = "bfdUp", peer, %address, "BFD session up");
        } else if from == State::Up {
            tracing::info!(event = "bfdDown", peer, %address, reason = %cause, "BFD session down");
        } else {
            tracing::debug!(peer, %address, %to, reason = %cause, "BFD session");
        }
    }

    /// Makes the sessions be as they are wanted.
    fn apply(&mut self, now: Instant) {
        let wanted = self.io.requests.0.borrow_and_update().clone();
        // Peers of one address share a session, as the peer can't tell theirs apart; the first by name
        // says how it is.
        let mut paths: BTreeMap<Path, Vec<(&String, &Request)>> = BTreeMap::new();
        for (name, request) in &wanted {
            paths.entry(request.path).or_default().push((name, request));
        }
        for (id, line) in &mut self.lines {
            let served = paths
                .get(&line.path())
                .and_then(|users| chosen(users, line));
            if served.is_none() {
                line.users.clear();
                // It is gone already if it was retired before.
                let _ = self.sessions.retire(now, *id);
            }
        }
        // A session of the same path takes the place of one that is retired.
        self.transmit(now);
        let before = std::mem::take(&mut self.refused);
        for users in paths.values() {
            let (Some((_, first)), Some(request)) = (users.first(), self.request(users)) else {
                continue;
            };
            // The profile is that of the first, whosever address the session has.
            let settings = first.settings.clone();
            let (users, others): (Vec<_>, Vec<_>) = users
                .iter()
                .copied()
                .partition(|(_, other)| other.vrf == request.vrf);
            // It is another path, and packets do not say which of the two they came on.
            let elsewhere = "another peer of this address, in another VRF, is watched by BFD: one of \
                             the two has to go without";
            self.refuse(&before, &others, elsewhere);
            match self.session(now, request.path, settings) {
                Ok(id) => {
                    let line = self.lines.entry(id);
                    let line = line.or_insert_with(|| Line::open(now, request));
                    let users = users.into_iter();
                    line.users = users
                        .map(|(name, request)| (name.clone(), request.failed.clone()))
                        .collect();
                }
                Err(error) => self.refuse(&before, &users, &error),
            }
        }
        self.open_receivers(now);
        self.open_echo(now);
        self.publish(now);
    }

    /// No session is possible for these, of which `before` were told already.
    fn refuse(
        &mut self,
        before: &BTreeMap<String, (Request, String)>,
        users: &[(&String, &Request)],
        error: &str,
    ) {
        for (name, request) in users {
            let refused = ((*request).clone(), error.to_owned());
            if before.get(*name) != Some(&refused) {
                tracing::error!(peer = name, error, "no BFD session");
            }
            self.refused.insert((*name).clone(), refused);
        }
    }

    /// The one of the users of a path whose socket its session has, or else is to have.
    fn request<'a>(&self, users: &[(&'a String, &'a Request)]) -> Option<&'a Request> {
        let (_, first) = users.first()?;
        let line = self.sessions.find(first.path);
        let line = line.and_then(|id| self.lines.get(&id));
        line.and_then(|line| chosen(users, line)).or(Some(first))
    }

    /// The session of the path, with these settings.
    fn session(
        &mut self,
        now: Instant,
        path: Path,
        settings: Settings,
    ) -> Result<SessionId, String> {
        let Some(id) = self.sessions.find(path) else {
            let added = self.sessions.add(now, path, settings);
            return added.map_err(|error| error.to_string());
        };
        if self.sessions.settings(id) == Some(&settings) {
            return Ok(id);
        }
        let changed = self.sessions.reconfigure(now, id, settings);
        changed.map(|()| id).map_err(|error| error.to_string())
    }

    fn open_receivers(&mut self, now: Instant) {
        let mut wanted = Wanted::new();
        for (id, line) in &self.lines {
            let settings = self.sessions.settings(*id);
            let least = settings.map_or(u8::MAX, |settings| line.path().least_ttl(settings));
            let of_kind = wanted.entry(line.kind()).or_insert(least);
            *of_kind = least.min(*of_kind);
        }
        self.receivers.want(now, wanted);
    }

    fn publish(&mut self, now: Instant) {
        let mut statuses = BfdStatuses {
            discards: self.sessions.discards().clone(),
            kernel_drops: self.receivers.dropped(),
            ..BfdStatuses::default()
        };
        for (id, line) in &mut self.lines {
            let session = self.sessions.status(*id);
            line.tell_echo(session.as_ref().and_then(|session| session.echo));
            let status = BfdStatus {
                peer: line.path().peer(),
                local: line.local(),
                hops: line.path().hops(),
                vrf: line.vrf().map(str::to_owned),
                session,
                problem: self
                    .receivers
                    .problem(&line.kind())
                    .or_else(|| line.problem()),
            };
            let users = line.users.keys();
            statuses
                .peers
                .extend(users.map(|name| (name.clone(), status.clone())));
        }
        for (name, (request, problem)) in &self.refused {
            let status = BfdStatus {
                peer: request.path.peer(),
                local: request.local,
                hops: request.path.hops(),
                vrf: request.vrf.clone(),
                session: None,
                problem: Some(problem.clone()),
            };
            statuses.peers.insert(name.clone(), status);
        }
        self.io.statuses.send_replace(Arc::new(statuses));
        self.refresh = (!self.lines.is_empty()).then(|| now + REFRESH);
    }
}

/// The first of these that is served by the socket of a session which is there: it goes on as long as
/// anybody uses it, whatever becomes of the address of another. They have to be in the VRF of the first.
fn chosen<'a>(users: &[(&'a String, &'a Request)], line: &Line) -> Option<&'a Request> {
    let (_, first) = users.first()?;
    let mut of_vrf = users.iter().filter(|(_, it)| it.vrf == first.vrf);
    let (_, served) = of_vrf.find(|(_, request)| line.serves(request))?;
    Some(served)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bfd::{PathFailed, requests};

    type Told = watch::Receiver<Arc<BfdStatuses>>;

    fn driver(requests: Requested) -> (Driver, Told) {
        let (statuses, told) = watch::channel(Arc::default());
        let io = DriverIo {
            requests,
            statuses,
            seed: [1; 32],
        };
        (Driver::new(io), told)
    }

    fn request(local: u8, vrf: Option<&str>) -> Request {
        Request {
            path: Path::SingleHop {
                peer: [127, 0, 0, 9].into(),
                interface: None,
            },
            local: [127, 0, 0, local].into(),
            vrf: vrf.map(str::to_owned),
            settings: Settings::default(),
            failed: PathFailed::default(),
        }
    }

    /// The sessions that have not ended, and who uses them.
    fn users(driver: &Driver) -> Vec<(SessionId, String)> {
        let lines = driver.lines.iter();
        let used = lines.filter(|(_, line)| !line.users.is_empty());
        used.map(|(id, line)| (*id, line.names())).collect()
    }

    #[tokio::test]
    async fn a_session_goes_on_while_one_of_two_peers_gets_another_source_address() {
        let (wanted, requests_here) = requests();
        let (mut driver, _told) = driver(requests_here);
        wanted.set("a", Some(request(1, None)));
        wanted.set("b", Some(request(1, None)));
        driver.apply(Instant::now());
        let before = users(&driver);
        assert!(
            matches!(&before[..], [(_, names)] if names == "a, b"),
            "{before:?}"
        );
        // First it goes, and then it is there with another address.
        for (of_a, names) in [(None, "b"), (Some(request(2, None)), "a, b")] {
            wanted.set("a", of_a);
            driver.apply(Instant::now());
            assert_eq!(users(&driver), [(before[0].0, names.to_owned())]);
        }
        // With the last that has the address, the session goes.
        wanted.set("b", Some(request(2, None)));
        driver.apply(Instant::now());
        let after = users(&driver);
        assert!(
            matches!(&after[..], [(id, _)] if *id != before[0].0),
            "{after:?}"
        );
    }

    #[tokio::test]
    async fn one_address_in_two_vrfs_is_not_taken_for_one_path() {
        let (wanted, requests_here) = requests();
        wanted.set("a", Some(request(1, None)));
        wanted.set("b", Some(request(1, Some("red"))));
        wanted.set("c", Some(request(1, None)));
        let (mut driver, told) = driver(requests_here);
        driver.apply(Instant::now());
        let users: Vec<_> = driver.lines.values().map(Line::names).collect();
        assert_eq!(users, ["a, c"]);
        let told = Arc::clone(&told.borrow());
        assert!(told.peers.get("c").is_some_and(|it| it.session.is_some()));
        let other = told.peers.get("b").expect("told");
        assert!(other.session.is_none());
        let problem = other.problem.as_deref().unwrap_or_default();
        assert!(problem.contains("in another VRF"), "{problem}");
    }
}
