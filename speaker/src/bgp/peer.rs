//! One session: moves time and routes between its [connections](connections), its machine and the
//! table, and tells how it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use herald_api::config::bgp::PeerEndpoint;
use herald_bgp::routes::{Addresses, Feed, Table};
use herald_bgp::session::{Action, Down, Event, Session, State, Stop};
use herald_bgp::wire::Family;
use herald_netsys::tcp::{self, Hops};
use tokio::sync::{mpsc, watch};

use super::listener::Accepted;
use super::next_hops::{Interfaces, next_hops};
use super::path::Watch;
use super::plan::{PeerPlan, Remote};
use super::status::{PeerCounters, PeerStatus, Shared, Up};

mod connections;

use connections::Connections;

/// What is wanted of a session.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// It is to be like this.
    Running(Arc<PeerPlan>),
    /// There is to be none any longer.
    Gone,
    /// The process ends, and perhaps another one takes its place.
    Paused,
    /// The process ends, and nobody takes its place.
    Ended,
}

/// What the driver finds out for a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Situation {
    /// Where the peer is, if that is known.
    pub(super) remote: Option<Remote>,
    /// What keeps the session from coming up, in words.
    pub(super) problem: Option<String>,
}

/// What a session is told.
pub(super) struct Ears {
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) situation: watch::Receiver<Situation>,
    /// Connections that the peer has made.
    pub(super) accepted: mpsc::Receiver<Accepted>,
    /// The interfaces of this node.
    pub(super) interfaces: watch::Receiver<Option<Interfaces>>,
}

/// The table of all sessions of the thread.
pub(super) type SharedTable = Rc<RefCell<Table>>;

pub(super) struct Peer {
    name: String,
    ears: Ears,
    plan: Arc<PeerPlan>,
    /// Where the peer is; without this the session is not started.
    remote: Option<Remote>,
    /// What keeps the session from coming up on this side.
    problem: Option<String>,
    table: SharedTable,
    /// Told when there is something new in the table.
    table_changed: watch::Receiver<()>,
    session: Session,
    feed: Feed,
    connections: Connections,
    /// BFD beside the session.
    path: Watch,
    /// It has been told to end.
    stopping: bool,
    /// The last failure that was logged: the next of the same words says nothing new.
    said: Option<String>,
    last_down: Option<(Instant, Down)>,
    /// Since the session was up last.
    last_failure: Option<(Instant, Down)>,
    status: watch::Sender<PeerStatus>,
    counters: Shared,
    /// Something has happened that the status does not say yet.
    news: bool,
}

impl Peer {
    pub(super) fn new(
        name: &str,
        plan: Arc<PeerPlan>,
        ears: Ears,
        (table, table_changed): (SharedTable, watch::Receiver<()>),
        seed: u64,
        path: Watch,
    ) -> (Self, watch::Receiver<PeerStatus>) {
        let counters = Shared::default();
        let status = PeerStatus::new(Instant::now(), Arc::clone(&plan), counters.clone());
        let (status, told) = watch::channel(status);
        let peer = Self {
            name: name.to_owned(),
            ears,
            session: Session::new(plan.session.clone(), seed),
            plan,
            remote: None,
            problem: None,
            table,
            table_changed,
            feed: Feed::new(name),
            connections: Connections::new(name),
            path,
            stopping: false,
            said: None,
            last_down: None,
            last_failure: None,
            status,
            counters,
            news: true,
        };
        (peer, told)
    }

    /// Runs until it is told to stop, and its last words are sent.
    pub(super) async fn run(mut self) {
        loop {
            if self
                .session
                .next_timeout()
                .is_some_and(|due| due <= Instant::now())
            {
                // Whoever was held up must first see what has arrived meanwhile.
                tokio::task::yield_now().await;
            }
            self.settle(Instant::now());
            // The others have their turn, however much there is to do here.
            tokio::task::consume_budget().await;
            if self.stopping && self.connections.is_empty() {
                break;
            }
            let due = self.session.next_timeout().into_iter();
            let due = due.chain(self.connections.next_timeout()).min();
            tokio::select! {
                changed = self.ears.wanted.changed(), if !self.stopping => match changed {
                    Ok(()) => self.want(Instant::now()),
                    // Nobody wants anything any longer.
                    Err(_) => break,
                },
                // Of a peer that is to go this one is closed, too: that is no end before its time.
                Ok(()) = self.ears.situation.changed(), if !self.stopping => {}
                changed = self.ears.interfaces.changed(), if !self.stopping => match changed {
                    Ok(()) => {
                        self.review_addresses(false);
                        self.connections.review(Instant::now(), &mut self.session);
                    }
                    Err(_) => break,
                },
                Some(accepted) = self.ears.accepted.recv() => {
                    self.accepted(Instant::now(), accepted);
                }
                changed = self.table_changed.changed() => if changed.is_err() {
                    break;
                },
                dialled = self.connections.changed() => {
                    if let Some(dialled) = dialled {
                        let now = Instant::now();
                        self.connections.dialled(now, dialled, &self.plan, &mut self.session);
                    }
                }
                () = self.path.failed() => self.session.handle_bfd_down(Instant::now()),
                () = until(due) => {}
            }
        }
        self.feed.close(&mut self.table.borrow_mut());
    }

    /// Takes up what is wanted now.
    fn want(&mut self, now: Instant) {
        let wanted = self.ears.wanted.borrow_and_update().clone();
        let plan = match wanted {
            Wanted::Gone => {
                self.path.end();
                return self.stop(now, &Stop::Deconfigured);
            }
            // With graceful restart the peer keeps the routes for the next process.
            Wanted::Paused if self.keeps_routes() => {
                return self.stop(now, &Stop::Silently);
            }
            Wanted::Paused | Wanted::Ended => {
                return self.stop(now, &Stop::Shutdown("the speaker of this node ends".into()));
            }
            Wanted::Running(plan) => plan,
        };
        let before = std::mem::replace(&mut self.plan, Arc::clone(&plan));
        let (old, new) = (before.as_ref(), plan.as_ref());
        self.news = true;
        self.session.reconfigure(now, new.session.clone());
        self.turn(now);
        let way = |plan: &PeerPlan| {
            (
                plan.endpoint.clone(),
                plan.port,
                plan.source,
                plan.vrf.clone(),
            )
        };
        let moved = way(old) != way(new);
        let (was, is) = (old.security(), new.security());
        let secured = was != is;
        let state = self.session.state();
        let talks = matches!(
            state,
            State::OpenSent | State::OpenConfirm | State::Established
        );
        if moved || secured && !talks {
            // Nobody comes back to the old address: what is left there must not be kept. An attempt
            // that is under way has the old options.
            self.remote = self.ears.situation.borrow().remote.clone();
            self.begin_anew(now);
            return;
        }
        if before.bfd != plan.bfd {
            self.path.update(&plan);
        }
        if secured {
            self.connections.change(now, &was, &is);
        }
    }

    /// Turns to where the peer is now. A session that is up is the best sign that the peer is where
    /// it was when that is not known any longer, or when its link has another router.
    fn turn(&mut self, now: Instant) {
        let Situation { remote, problem } = self.ears.situation.borrow_and_update().clone();
        if problem != self.problem {
            self.news = true;
            self.problem = problem;
            if let Some(problem) = self.problem.clone() {
                self.complain(problem);
            }
        }
        if self.stopping || remote == self.remote {
            return;
        }
        let learned = matches!(self.plan.endpoint, PeerEndpoint::Interface(_));
        if self.session.state() == State::Established && (remote.is_none() || learned) {
            return;
        }
        self.remote = remote;
        self.news = true;
        self.begin_anew(now);
    }

    fn begin_anew(&mut self, now: Instant) {
        self.path.end();
        self.session.stop(now, &Stop::Deconfigured);
        if self.remote.is_some() {
            self.session.start(now);
        }
    }

    /// The peer has connected.
    fn accepted(&mut self, now: Instant, accepted: Accepted) {
        if self.stopping {
            let _ = tcp::reset_when_closed(&accepted.stream);
            return;
        }
        self.connections
            .accepted(now, accepted, &self.plan, &mut self.session);
    }

    /// True if the peer may have routes that it keeps when the connection closes.
    fn keeps_routes(&self) -> bool {
        let asked = self.plan.session.restart.is_some();
        let agreed = self.session.negotiated();
        asked && agreed.is_none_or(|agreed| agreed.graceful_restart.is_some())
    }

    fn stop(&mut self, now: Instant, stop: &Stop) {
        self.stopping = true;
        self.session.stop(now, stop);
    }

    /// Takes in what arrived, does what is due, and carries out what follows.
    fn settle(&mut self, now: Instant) {
        self.turn(now);
        self.connections.tend(now);
        self.connections.receive(now, &mut self.session);
        if self.session.next_timeout().is_some_and(|due| due <= now) {
            // What the peer has taken meanwhile counts.
            self.connections.flush(now, &mut self.session);
            self.session.handle_timeout(now);
        }
        loop {
            self.obey(now);
            let mut table = self.table.borrow_mut();
            self.feed.fill(now, &mut self.session, &mut table);
            drop(table);
            if self.obey(now) + self.connections.flush(now, &mut self.session) == 0 {
                break;
            }
        }
        self.connections.drop_closed(now);
        self.tell(now);
    }

    /// Carries out what the session wants. How much that was.
    fn obey(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some(action) = self.session.poll_action() {
            count += 1;
            self.news |= !matches!(action, Action::Write(..));
            match action {
                Action::Connect(id) => {
                    let Some(remote) = &self.remote else {
                        // It has been stopped, and says so next.
                        continue;
                    };
                    let options = self.plan.options(remote);
                    self.connections.dial(id, options, self.plan.security());
                }
                Action::Write(id, bytes) => self.connections.write(id, bytes),
                Action::Close(id) => self.connections.close(now, id),
                Action::Changed(state) => {
                    tracing::debug!(peer = self.name, %state, "BGP session");
                }
                Action::Event(event) => self.happened(now, &event),
            }
        }
        count
    }

    /// Takes up the own addresses that routes may have as next hops beside that of the session. While
    /// its own address is not to be found, as when a network is set up anew, a session keeps what it
    /// had; one that has just come up has nothing.
    fn review_addresses(&mut self, up_just_now: bool) {
        let interfaces = self.ears.interfaces.borrow_and_update();
        let Some(endpoints) = self.session.endpoints() else {
            return;
        };
        let interfaces = interfaces.as_deref().unwrap_or_default();
        let vrf = self.plan.vrf().map(String::as_str);
        let near = is_on_link(self.plan.hops);
        let found = next_hops(interfaces, endpoints, vrf, near);
        if let Some(addresses) = found.or_else(|| up_just_now.then(Addresses::default)) {
            self.feed
                .set_addresses(addresses, &mut self.table.borrow_mut());
        }
    }

    fn happened(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::Up(_)) {
            self.review_addresses(true);
            self.path.up(&self.plan, self.session.endpoints());
        }
        self.feed
            .handle_event(event, &self.session, &mut self.table.borrow_mut());
        let peer = self.name.as_str();
        match event {
            Event::Up(negotiated) => {
                self.said = None;
                self.last_failure = None;
                tracing::info!(
                    event = "sessionUp",
                    peer,
                    asn = %negotiated.peer_as,
                    id = %negotiated.peer_id,
                    hold = negotiated.hold_time,
                    "BGP session established"
                );
            }
            Event::Down(down) => {
                tracing::warn!(event = "sessionDown", peer, reason = %down, "BGP session down");
                self.last_down = Some((now, down.clone()));
            }
            Event::Failed(down) => {
                self.last_failure = Some((now, down.clone()));
                self.complain(down.to_string());
            }
            Event::Malformed(problem) => {
                tracing::warn!(
                    event = "sessionMalformed",
                    peer,
                    %problem,
                    "the peer's UPDATE"
                );
            }
            Event::Refresh(_) | Event::EndOfRib(_) => {}
        }
    }

    /// There is no session, for this reason.
    fn complain(&mut self, reason: String) {
        if self.session.state() != State::Established && self.said.as_ref() != Some(&reason) {
            let peer = self.name.as_str();
            tracing::warn!(event = "sessionFailed", peer, reason, "no BGP session");
            self.said = Some(reason);
        }
    }

    fn tell(&mut self, now: Instant) {
        let counters = self.count();
        self.counters.set(counters);
        if !std::mem::take(&mut self.news) {
            return;
        }
        let session = &self.session;
        self.status.send_if_modified(|status| {
            let before = status.clone();
            status.state = session.state();
            status.plan = Arc::clone(&self.plan);
            status.place = self
                .remote
                .as_ref()
                .map(|remote| self.plan.options(remote).remote);
            status.obstacle.clone_from(&self.problem);
            status.up = session.negotiated().map(|negotiated| Up {
                endpoints: session.endpoints(),
                negotiated: Arc::clone(negotiated),
            });
            if let Some(up) = session.up_since() {
                status.since = up;
            } else if before.is_up() {
                status.since = now;
            }
            status.last_down.clone_from(&self.last_down);
            status.last_failure.clone_from(&self.last_failure);
            status.last_sent = session.last_sent().cloned();
            status.last_received = session.last_received().cloned();
            *status != before
        });
    }

    fn count(&self) -> PeerCounters {
        let table = self.table.borrow();
        let mut counters = PeerCounters {
            session: *self.session.counters(),
            ..PeerCounters::default()
        };
        if let Some(outbound) = self.feed.outbound() {
            for family in Family::ALL {
                *counters.told.get_mut(family) = table.told(outbound, family);
                counters.wanted += table.wanted(outbound, family);
            }
            counters.waiting = table.waiting(outbound);
        } else {
            counters.wanted = table.meant_for(&self.name, self.plan.session.families);
        }
        counters
    }
}

/// The peer is on the same link for sure.
fn is_on_link(hops: Hops) -> bool {
    match hops {
        Hops::Limit(hops) | Hops::Within(hops) => hops.get() == 1,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
