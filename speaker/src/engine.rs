//! The loop: inputs into the world, the world into claims, claims into ownership, ownership to the
//! driver and the API; beside it, the world into routes, and those to the sessions with routers.
//!
//! ```text
//!   watches ──▶ Cluster ─▶ outcomes ─▶ Claims ─▶ Ownership ─▶ tasks, commands ──▶ driver
//!   group   ──▶ (world)                 sightings ──▶ │
//!     ▲               │                               └─▶ Announcing ─▶ statuses, events, metrics
//!     │               └─▶ announcements ─▶ Routes, Planner ─▶ BGP sessions
//!     └─── Myself ◀── interfaces, drain, LanWatch ◀── sightings
//! ```
//!
//! Nothing is decided before every store is complete or, if the API does not answer, what the disk
//! has is taken up; and before the interfaces are known and others in the group have had time to
//! tell. After that a broken watch changes nothing, so losing the API changes nothing on the wire.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_api::report::Findings;
use herald_membership::{Comings, Myself};
use herald_model::{GroupView, LanInterface, MemberState, NodeName, Phase, Standing};
use herald_ownership::{Command, LanWatch, Limits, Ownership, Sighting, Standpoint, not_heard};
use herald_runtime::configuration_state::Shown;
use herald_runtime::debug::Questions;
use herald_runtime::events::Recorder;
use herald_runtime::health::Block;
use herald_runtime::supervise::{Drain, TaskResult, next_batch};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::announcing::Announcing;
use crate::bgp;
use crate::group::Link;
use crate::layer2::{Desired, names};
use crate::metrics::Metrics;
use crate::sources::Input;
use crate::state::{Journal, Saved};
use crate::status;
use crate::world;

mod addresses;
mod changes;
mod claims;
mod conflicts;
mod describe;
mod ending;
mod inputs;
mod leaving;
mod routes;
mod sessions;
mod start;
mod subjects;
mod tell;

use changes::Changes;
use claims::Claims;
use conflicts::Conflicts;
use inputs::Cluster;
use leaving::Leaving;
use routes::Routes;
use sessions::Planner;
use start::Start;
use tell::Problems;

pub(crate) use conflicts::Conflicting;
pub(crate) use leaving::WITHDRAWAL;

/// How many inputs are taken in before outcomes are looked at.
const BATCH: usize = 512;

/// What is kept on disk.
pub(crate) type Kept = Saved<world::Saved, Comings>;

/// What the engine is connected to.
pub(crate) struct Io {
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// The interfaces of this node, from the driver.
    pub(crate) interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    pub(crate) desired: watch::Sender<Arc<Desired>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) sightings: mpsc::Receiver<Sighting>,
    /// The group, if speakers form one.
    pub(crate) group: Option<Link>,
    pub(crate) statuses: status::Queues,
    pub(crate) events: Recorder,
    /// The BGP sessions that this node is to have.
    pub(crate) plans: watch::Sender<Arc<bgp::Plans>>,
    /// What they are to announce.
    pub(crate) routes: bgp::RouteQueue,
    /// How they are.
    pub(crate) sessions: watch::Receiver<Arc<bgp::Statuses>>,
    /// What is wrong with the configuration; `None` as long as there is none.
    pub(crate) findings: watch::Sender<Option<Findings>>,
    /// The addresses that foreign stations have.
    pub(crate) conflicts: watch::Sender<Conflicting>,
    /// The `ConfigurationState` of this speaker as the API shows it.
    pub(crate) shown: watch::Sender<Shown>,
    /// Dropped when the engine has begun to decide.
    pub(crate) ready: Option<Block>,
    /// What is asked of all this.
    pub(crate) questions: Questions,
    /// What has to be done before the process ends as planned.
    pub(crate) drain: Option<Drain>,
}

/// What the flags say.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) me: NodeName,
    pub(crate) class: String,
    pub(crate) ignore_exclude: bool,
    /// How long to wait for others to take over before the process ends as planned.
    pub(crate) handover: Duration,
    /// How long routers have to find other paths before the process ends as planned.
    pub(crate) bgp_shutdown_wait: Duration,
    /// Which boot of the node this is, if the kernel tells.
    pub(crate) boot: Option<String>,
}

/// The speaker's state.
pub(crate) struct Engine {
    settings: Settings,
    io: Io,
    metrics: Metrics,
    cluster: Cluster,
    start: Start,
    myself: Myself,
    claims: Claims,
    ownership: Ownership,
    lan: LanWatch,
    announcing: Announcing,
    routes: Routes,
    planner: Planner,
    problems: Problems,
    /// Since when the node is drained.
    shut_since: Option<Instant>,
    /// How far the farewell to routers is, once the process is to end as planned.
    leaving: Option<Leaving>,
    conflicts: Conflicts,
    /// The group as it was last looked at, with what this node tells at present.
    standpoint: Standpoint,
    /// The addresses that this node answers for.
    held: BTreeSet<IpAddr>,
    changes: Changes,
    /// The tasks of ownership and of the watch of the LAN that `desired` was made from.
    applied: (Arc<Desired>, Arc<Desired>),
    /// Commands that the driver has no room for yet.
    commands: Vec<Command>,
    /// When to end at the latest, once the process is to end as planned.
    end: Option<Instant>,
    unsaved: Unsaved,
}

/// Whether there is something that the disk does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Unsaved {
    #[default]
    Nothing,
    /// To be written when it is time.
    Something,
    /// To be written at once.
    Urgent,
}

impl Engine {
    /// An engine that knows what the speaker before it left on disk.
    pub(crate) fn new(
        now: Instant,
        settings: Settings,
        io: Io,
        metrics: Metrics,
        saved: Option<Kept>,
    ) -> Self {
        let me = settings.me.clone();
        let shown = io.shown.clone();
        let mut cluster = Cluster::new(settings.clone(), metrics.client.clone(), shown);
        let limits = match io.group {
            Some(_) => Limits::default(),
            // Nobody can tell a speaker's station from a foreign one, so the LAN is not asked, and
            // what the election says is taken at once.
            None => Limits {
                probes: 0,
                probe_pause: Duration::ZERO,
                look_pause: Duration::ZERO,
                ..Limits::default()
            },
        };
        let mut ownership = Ownership::new(me.clone(), limits);
        let generation = if let Some(group) = &io.group {
            *group.generation.borrow()
        } else {
            ownership.set_group(now, &alone());
            0
        };
        let mut comings = None;
        let mut earlier = None;
        if let Some(saved) = &saved {
            let same_boot = saved.boot.is_some() && saved.boot == settings.boot;
            earlier = Some(bgp::EarlierLife::before(now, same_boot));
            cluster.expect(&saved.world, saved.members.keys().cloned());
            ownership.resume(saved.held.iter().copied());
            comings = Some((saved.damping.clone(), saved.left_cleanly));
        }
        Self {
            claims: Claims::new(me.clone(), io.group.is_some()),
            lan: LanWatch::new(me.clone()),
            announcing: Announcing::new(me.clone()),
            routes: Routes::new(io.routes.clone(), saved.is_some()),
            planner: Planner::new(me, io.plans.clone(), earlier),
            problems: Problems::default(),
            shut_since: None,
            leaving: None,
            myself: Myself::new(now, comings),
            start: Start::new(now, saved),
            conflicts: Conflicts::default(),
            settings,
            io,
            metrics,
            cluster,
            ownership,
            standpoint: Standpoint::new(generation),
            held: BTreeSet::new(),
            changes: Changes::default(),
            applied: (Arc::default(), Arc::default()),
            commands: Vec::new(),
            end: None,
            // The next one must see that this one did not end in order, should it not.
            unsaved: Unsaved::Urgent,
        }
    }

    /// Runs until `token` is cancelled.
    pub(crate) async fn run(self, journal: Journal<Kept>, token: CancellationToken) -> TaskResult {
        let ended = self.follow(journal, &token).await;
        // The others end at that time too, and the channels to them with them.
        if token.is_cancelled() { Ok(()) } else { ended }
    }

    async fn follow(mut self, mut journal: Journal<Kept>, token: &CancellationToken) -> TaskResult {
        let mut batch = Vec::with_capacity(BATCH);
        let mut sightings = Vec::with_capacity(BATCH);
        loop {
            let now = Instant::now();
            self.settle(now);
            for command in std::mem::take(&mut self.commands) {
                self.io.commands.send(command).await?;
            }
            self.settle_routers(now);
            match std::mem::take(&mut self.unsaved) {
                Unsaved::Nothing => {}
                Unsaved::Something => journal.changed(),
                Unsaved::Urgent => journal.changed_urgently(),
            }
            if self.is_over(Instant::now()) {
                self.finish(journal).await;
                token.cancelled().await;
                return Ok(());
            }
            let due = self.next_timeout(now);
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                more = next_batch(&mut self.io.inputs, &mut batch, BATCH, token) => {
                    if !more? {
                        return Ok(());
                    }
                    for input in batch.drain(..) {
                        self.cluster.take(input);
                    }
                    self.unsaved(Unsaved::Something);
                }
                changed = self.io.interfaces.changed() => changed?,
                changed = group_changed(&mut self.io.group) => changed?,
                more = next_batch(&mut self.io.sightings, &mut sightings, BATCH, token) => {
                    if !more? {
                        return Ok(());
                    }
                    let now = Instant::now();
                    for sighting in sightings.drain(..) {
                        self.saw(now, sighting);
                    }
                }
                Some(answer) = self.io.questions.next() => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.describe());
                }
                () = begun(self.io.drain.as_ref()), if self.end.is_none() => self.drain(Instant::now()),
                () = journal.due(), if self.start.may_save() => journal.put(self.kept(false)),
                () = until(due), if due.is_some() => {}
            }
        }
    }

    /// Brings everything but the routers up to date with what is known and what time it is.
    fn settle(&mut self, now: Instant) {
        self.settle_myself(now);
        let begun = self.start.has_begun();
        if !self.begins(now) {
            return;
        }
        if !begun {
            // It can be given something from now on.
            self.settle_myself(now);
        }
        if let Some((findings, new)) = self.cluster.configure() {
            self.tell_new_problems(&new);
            self.tell_findings(findings);
        }
        let mut touched = BTreeSet::new();
        for (key, outcome) in self.cluster.world.take_outcomes() {
            let (addresses, _) = self.cluster.service_facts(&key);
            self.announcing.decided(&key, addresses, &outcome);
            // What there is at the start is not new.
            let is_new = |address: &&IpAddr| begun && !self.claims.has(**address);
            let new: Vec<_> = addresses.iter().filter(is_new).copied().collect();
            for (address, claim) in self.claims.settle(&key, addresses, &outcome) {
                let new = new.contains(&address);
                self.changes.claimed(now, address, new, claim.as_ref());
                self.ownership.set_claim(now, address, claim);
            }
            touched.insert(key);
        }
        self.standpoint.tell_return(now, &mut self.ownership);
        // What is due is decided knowing all that was seen until now.
        while let Ok(sighting) = self.io.sightings.try_recv() {
            self.saw(now, sighting);
        }
        self.ownership.handle_timeout(now);
        if self.io.group.is_some() {
            self.lan.handle_timeout(now);
        }
        self.settle_addresses(now, &mut touched);
        for key in touched {
            self.review(&key);
        }
        self.commands.extend(self.ownership.take_commands());
        self.commands.extend(self.lan.take_commands());
        self.publish_tasks();
        if let Some(group) = &self.io.group {
            group.set_settled(self.standpoint.generation());
        }
    }

    /// Brings the routers up to date. Not before the driver of layer 2 knows what it has to do: a
    /// failover must not wait for as many routes as there may be.
    fn settle_routers(&mut self, now: Instant) {
        if !self.start.has_begun() {
            return;
        }
        self.settle_routes(now);
        self.changes.end_round();
        self.settle_leaving(now);
        if self.io.ready.take().is_some() {
            self.io.statuses.layer2.begin();
            self.io.statuses.bgp.begin();
            tracing::info!("announcing begins");
        }
    }

    /// What this node is, tells, and sees of the others.
    fn settle_myself(&mut self, now: Instant) {
        let me = &self.settings.me;
        let interfaces = self.io.interfaces.borrow_and_update().clone();
        self.cluster.set_own(interfaces.as_deref().map(names));
        let Some(group) = &mut self.io.group else {
            return;
        };
        let view = Arc::clone(&group.view.borrow_and_update());
        let peers_changed = self.cluster.take_peers_changed();
        if peers_changed {
            group.set_nodes(self.cluster.nodes().clone());
        }
        if peers_changed || !self.standpoint.has_seen(&view) {
            let live = view.members.iter().filter(|(_, member)| member.live);
            let mut roster = self.cluster.speakers().clone();
            roster.extend(live.map(|(name, _)| name.clone()));
            group.set_roster(roster);
        }
        let generation = *group.generation.borrow_and_update();
        let drained = self
            .cluster
            .world
            .node(me)
            .is_some_and(|node| node.draining);
        let myself = &mut self.myself;
        myself.set_fenced(now, view.fenced, generation);
        myself.set_interfaces(now, interfaces.as_deref());
        myself.set_draining(drained || self.end.is_some() || self.start.is_lost(now));
        myself.set_waiting(!self.start.has_begun());
        myself.set_unheard(self.lan.unheard());
        let state = myself.state(now, &view);
        let comings_changed = myself.take_comings_changed();
        // The thread of the group tells the others meanwhile.
        group.set_state(state.clone());
        if comings_changed || self.standpoint.generation() != generation {
            self.unsaved(Unsaved::Urgent);
        }
        if !self.standpoint.follow(view, generation, state) {
            return;
        }
        let (me, view) = (&self.settings.me, self.standpoint.view());
        self.cluster.world.set_group(me, view);
        self.cluster.world.set_not_heard(not_heard(me, view));
        self.lan.set_group(now, view);
        self.standpoint.tell(now, &mut self.ownership);
        self.unsaved(Unsaved::Something);
    }

    fn unsaved(&mut self, what: Unsaved) {
        self.unsaved = self.unsaved.max(what);
    }

    /// When something is due that no input causes, after all that was due at `now` was done.
    fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let begun = self.start.has_begun();
        let machines = [
            self.ownership.next_timeout(),
            self.lan.next_timeout(),
            self.routes.next_timeout(),
        ];
        machines
            .into_iter()
            .filter(|_| begun)
            .chain([
                self.myself.next_timeout(now),
                self.conflicts.next_timeout(),
                self.start.next_timeout(now),
                self.leaving.as_ref().and_then(|l| l.next_timeout(now)),
                self.end.filter(|end| *end > now),
            ])
            .flatten()
            .min()
    }
}

/// The group of a speaker that belongs to none. It is ready: one that settles keeps what the
/// election gives another.
fn alone() -> GroupView {
    GroupView {
        me: MemberState {
            phase: Phase::Ready,
            ..MemberState::default()
        },
        standing: Standing::Majority,
        ..GroupView::default()
    }
}

async fn group_changed(group: &mut Option<Link>) -> Result<(), watch::error::RecvError> {
    match group {
        Some(group) => group.changed().await,
        None => std::future::pending().await,
    }
}

async fn begun(drain: Option<&Drain>) {
    match drain {
        Some(drain) => drain.begun().await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
