//! All sessions of the node, and the table that they share.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use herald_announce::bgp::Route;
use herald_bgp::routes::{Path, Table};
use herald_netsys::tcp;
use herald_runtime::supervise::TaskResult;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::listener::{Accepted, Listeners, clashes};
use super::path::Watch;
use super::peer::{Ears, Peer, SharedTable, Situation, Wanted};
use super::plan::PeerPlan;
use super::question::{Question, answer};
use super::queue::RouteQueue;
use super::routes::paths;
use super::status::PeerStatus;
use super::surroundings::Surroundings;
use crate::bfd::Requests;
use crate::channel::send_if_other;

/// How long sessions may take to say goodbye when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many connections of one peer may wait until its session has its turn.
const WAITING: usize = 4;

/// The port of BGP.
const PORT: u16 = 179;

/// The sessions that this node is to have, by the names of their `BGPPeer`s.
pub type Plans = BTreeMap<String, Arc<PeerPlan>>;

/// How the sessions are.
pub type Statuses = BTreeMap<String, PeerStatus>;

/// What the driver is connected to.
#[derive(Debug)]
pub struct DriverIo {
    /// The sessions to have.
    pub plans: watch::Receiver<Arc<Plans>>,
    /// The routes to announce.
    pub routes: RouteQueue,
    /// How the sessions are, once they are known.
    pub statuses: watch::Sender<Arc<Statuses>>,
    /// What others want to know of the routes.
    pub questions: mpsc::Receiver<Question>,
    /// Where paths are given to be watched.
    pub bfd: Requests,
    /// Whatever nobody can guess.
    pub seed: u64,
}

/// The BGP speaker of a node. Belongs on a thread of its own with a current-thread runtime.
#[derive(Debug)]
pub struct Driver {
    io: DriverIo,
    table: SharedTable,
    table_changed: watch::Sender<()>,
    peers: BTreeMap<String, Running>,
    tasks: JoinSet<()>,
    listeners: Listeners,
    surroundings: Surroundings,
    /// Sessions made so far.
    made: u64,
}

/// A session that has a task.
#[derive(Debug)]
struct Running {
    task: Id,
    wanted: watch::Sender<Wanted>,
    situation: watch::Sender<Situation>,
    accepted: mpsc::Sender<Accepted>,
    status: watch::Receiver<PeerStatus>,
}

impl Driver {
    /// A driver without sessions.
    pub fn new(io: DriverIo) -> Self {
        Self {
            surroundings: Surroundings::new(io.seed),
            io,
            table: Rc::new(RefCell::new(Table::new())),
            table_changed: watch::Sender::new(()),
            peers: BTreeMap::new(),
            tasks: JoinSet::new(),
            listeners: Listeners::new(PORT),
            made: 0,
        }
    }

    /// Peers that may connect do so at this port, not at 179.
    #[must_use]
    pub fn listening_at(mut self, port: u16) -> Self {
        self.listeners = Listeners::new(port);
        self
    }

    /// Counts there who connects and is no peer, once it is known [where to
    /// listen](Self::listening_at).
    #[must_use]
    pub fn counting_strangers(mut self, counter: Counter) -> Self {
        self.listeners.count_strangers(counter);
        self
    }

    /// Drives until `token` is cancelled; then the sessions end, so that peers with graceful restart
    /// keep the routes and all others drop them at once; or all of them, if the node
    /// [leaves](RouteQueue::set_leaving).
    pub async fn run(self, token: CancellationToken) -> TaskResult {
        LocalSet::new().run_until(self.drive(&token)).await
    }

    async fn drive(mut self, token: &CancellationToken) -> TaskResult {
        let mut interfaces = self.surroundings.interfaces();
        self.apply();
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                changed = self.io.plans.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.apply();
                }
                () = self.io.routes.changed() => self.route(),
                Some(question) = self.io.questions.recv() => {
                    answer(question, &self.table.borrow());
                    // One who asks and asks again must not hold up the sessions.
                    tokio::task::yield_now().await;
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    let (task, ()) = ended?;
                    if self.peers.values().any(|peer| peer.task == task) {
                        return Err("a BGP session's task has ended by itself".into());
                    }
                }
                accepted = self.listeners.accept() => match accepted {
                    Some((name, accepted)) => self.accepted(&name, accepted),
                    None => self.orient(),
                },
                changed = self.surroundings.changed() => {
                    changed?;
                    self.orient();
                }
                Ok(()) = interfaces.changed() => {
                    self.listeners.review();
                    self.orient();
                }
                () = any_changed(&mut self.peers) => self.publish(),
            }
        }
        let wanted = if self.io.routes.take().leaving {
            Wanted::Ended
        } else {
            Wanted::Paused
        };
        self.listeners.set_guests(Vec::new());
        for peer in self.peers.values() {
            peer.wanted.send_replace(wanted.clone());
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever does not take the last words keeps nobody from ending.
        let _ = tokio::time::timeout(FAREWELL, ended).await;
        Ok(())
    }

    /// Makes the sessions be as planned.
    fn apply(&mut self) {
        let plans = Arc::clone(&self.io.plans.borrow_and_update());
        self.peers.retain(|name, peer| {
            let kept = plans.contains_key(name);
            if !kept {
                peer.wanted.send_replace(Wanted::Gone);
            }
            kept
        });
        for (name, plan) in plans.iter() {
            match self.peers.get(name) {
                Some(peer) => {
                    peer.wanted.send_if_modified(|wanted| {
                        let same = matches!(wanted, Wanted::Running(old) if old == plan);
                        if !same {
                            *wanted = Wanted::Running(Arc::clone(plan));
                        }
                        !same
                    });
                }
                None => self.start(name, plan),
            }
        }
        self.orient();
        self.publish();
    }

    /// Tells the sessions where their peers are, and listens to those that may connect.
    fn orient(&mut self) {
        let plans = self.io.plans.borrow();
        self.surroundings.follow(plans.values().map(|plan| &**plan));
        let mut found = Vec::new();
        for (name, plan) in plans.iter() {
            let place = self.surroundings.place(plan);
            let guest = plan.guest(name, place.as_ref().ok());
            found.push((name, place, guest));
        }
        let guests = found.iter().filter_map(|(.., guest)| guest.clone());
        let mut guests: Vec<_> = guests.collect();
        let clashes = clashes(&guests);
        guests.retain(|guest| !clashes.contains_key(&guest.name));
        self.listeners.set_guests(guests);
        for (name, place, guest) in found {
            let Some(peer) = self.peers.get(name) else {
                continue;
            };
            let deaf = guest.as_ref().and_then(|it| self.listeners.failure(it));
            let (remote, problem) = match place {
                Ok(remote) => {
                    let clash = clashes.get(name).map(String::as_str);
                    (Some(remote), clash.or(deaf).map(str::to_owned))
                }
                Err(problem) => (None, problem),
            };
            let situation = Situation { remote, problem };
            send_if_other(&peer.situation, situation);
        }
    }

    /// A peer has connected.
    fn accepted(&mut self, name: &str, accepted: Accepted) {
        let Some(peer) = self.peers.get(name) else {
            return;
        };
        if let Err(error) = peer.accepted.try_send(accepted) {
            let (TrySendError::Full(accepted) | TrySendError::Closed(accepted)) = error;
            // It connects faster than anybody could answer.
            let _ = tcp::reset_when_closed(&accepted.stream);
        }
    }

    fn start(&mut self, name: &str, plan: &Arc<PeerPlan>) {
        let (wanted, wanted_here) = watch::channel(Wanted::Running(Arc::clone(plan)));
        let (situation, situation_here) = watch::channel(Situation::default());
        let (accepted, accepted_here) = mpsc::channel(WAITING);
        self.made += 1;
        let (peer, status) = Peer::new(
            name,
            Arc::clone(plan),
            Ears {
                wanted: wanted_here,
                situation: situation_here,
                accepted: accepted_here,
                interfaces: self.surroundings.interfaces(),
            },
            (Rc::clone(&self.table), self.table_changed.subscribe()),
            self.io.seed.wrapping_add(self.made),
            Watch::new(name, self.io.bfd.clone()),
        );
        let task = self.tasks.spawn_local(peer.run()).id();
        let running = Running {
            task,
            wanted,
            situation,
            accepted,
            status,
        };
        self.peers.insert(name.to_owned(), running);
    }

    /// Puts the news into the table.
    fn route(&mut self) {
        let waiting = self.io.routes.take();
        let mut table = self.table.borrow_mut();
        // Neighbours mostly have the same route.
        let mut groups = waiting
            .changes
            .chunk_by(|one, other| is_same(one.route.as_ref(), other.route.as_ref()));
        while let Some(same @ [first, ..]) = groups.next() {
            let paths: Vec<Path> = first.route.as_deref().map(paths).unwrap_or_default();
            table.set_all(same.iter().map(|change| change.prefix), &paths);
        }
        if waiting.complete {
            table.set_complete(true);
        }
        drop(table);
        self.table_changed.send_replace(());
    }

    fn publish(&mut self) {
        let peers = self.peers.iter_mut();
        let statuses: Statuses = peers
            .map(|(name, peer)| (name.clone(), peer.status.borrow_and_update().clone()))
            .collect();
        send_if_other(&self.io.statuses, Arc::new(statuses));
    }
}

/// Equal routes are shared, so these are almost all that are equal.
fn is_same(one: Option<&Arc<Route>>, other: Option<&Arc<Route>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

async fn any_changed(peers: &mut BTreeMap<String, Running>) {
    if peers.is_empty() {
        return std::future::pending().await;
    }
    let changed = peers
        .values_mut()
        .map(|peer| Box::pin(peer.status.changed()));
    // One whose task has ended is seen by that.
    let _ = futures::future::select_all(changed).await;
}

#[cfg(test)]
mod tests;
