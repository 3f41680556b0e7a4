//! The speaker: watches the cluster, decides what this node announces, drives the wire.
//!
//! ```text
//!                             ┌─▶ plans, routes ──▶ bgp driver ──▶ routers
//!   sources ──▶ engine: world ┴▶ claims ──▶ ownership ──▶ tasks ──▶ layer2 driver ──▶ wire
//!   group  ◀──▶   ▲                  └──▶ statuses, events, metrics        │
//!     │           ├── interfaces, sightings ◀──────────────────────────────┤
//!     │           └── presence ──▶ users, other speakers                   │
//!     └───────────── answering lease ──────────────────────────────────────┘
//! ```
//!
//! The group, the engine and the drivers have a thread each: whatever the watches and the writers of
//! statuses have to do, a failover does not wait for them.

mod announcing;
mod args;
pub mod bfd;
pub mod bgp;
mod channel;
mod control;
mod convert;
mod engine;
mod group;
pub mod layer2;
mod metrics;
mod precedence;
mod presence;
mod series;
mod sessions;
mod sources;
pub mod state;
mod status;
pub mod world;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use herald_model::NodeName;
use herald_runtime::configuration_state::Publication;
use herald_runtime::health::Readiness;
use herald_runtime::lease::Leadership;
use herald_runtime::logging::Log;
use herald_runtime::supervise::Supervisor;
use herald_runtime::thread::on_own_thread;
use herald_runtime::writes::ApiWrites;
use herald_runtime::{client, debug, events, health, owner};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

pub use args::{Args, BindAddress, MembershipArgs};
pub use control::{AskError, BgpArgs, ask};

use crate::engine::{Engine, Settings};
use crate::group::Link;
use crate::layer2::{Driver, DriverIo, Exclude, Lease};
use crate::metrics::Metrics;
use crate::presence::Presence;

/// How much longer than the handover and the farewell to routers, which may begin anew while addresses
/// are handed over, the end of the engine may take: the farewell to the group and the last write of the
/// state.
const FINISH: Duration = Duration::from_secs(3);

/// How many questions about routes may wait for the thread of the sessions.
const QUESTIONS: usize = 8;

/// Runs the speaker until SIGTERM or SIGINT, or until a part of it fails. `log` is what its lines go
/// into.
#[expect(clippy::too_many_lines, reason = "one list: what is connected to what")]
pub async fn run(args: Args, log: &Log) -> anyhow::Result<()> {
    for flag in args.inactive() {
        flag.warn();
    }
    let me = NodeName::from(args.node_name.as_str());
    let mut registry = Registry::default();
    let writes = ApiWrites::register(&mut registry);
    let client = client::connect(&args.common, &writes).await?;
    let namespace = client::namespace(&args.common)?;
    let owner = owner::of_pod(&client, &namespace, args.common.identity());
    log.register(&mut registry);
    let mut supervisor = Supervisor::new();
    let readiness = Readiness::new();
    let state::Opened {
        saved,
        journal,
        writer: state_writer,
    } = state::open::<engine::Kept>(args.state_dir.clone(), me.clone()).await;

    let (desired, desired_here) = watch::channel(Arc::default());
    let (interfaces, interfaces_here) = watch::channel(None);
    let (commands, commands_here) = mpsc::channel(layer2::COMMANDS);
    let (sightings, sightings_here) = mpsc::channel(layer2::SIGHTINGS);
    let (findings, findings_here) = watch::channel(None);
    let (conflicts, conflicts_here) = watch::channel(engine::Conflicting::new());
    let (exclude, exclude_here) = watch::channel(Exclude::load(&args.l2_exclude_file));
    let lease = Lease::default();
    let statuses = status::Queues::default();
    let (shown, shown_here) = watch::channel(None);
    let (recorder, sender) = events::recorder(
        client.clone(),
        "metallb-speaker",
        &args.node_name,
        &mut registry,
    );
    let generation = saved
        .as_ref()
        .map_or(1, |saved| saved.generation.saturating_add(1));
    let group = start_group(
        &args,
        &me,
        generation,
        lease.clone(),
        &mut supervisor,
        &mut registry,
    )?;

    let driver_io = DriverIo {
        desired: desired_here,
        exclude: exclude_here,
        commands: commands_here,
        sightings,
        interfaces,
        lease,
        ready: Some(readiness.block("packet sockets")),
    };
    let refresh = Some(args.gratuitous_arp_interval).filter(|period| !period.is_zero());
    let driver = Driver::new(driver_io, layer2::Metrics::register(&mut registry), refresh);
    let (plans, plans_here) = watch::channel(Arc::default());
    let routes = bgp::RouteQueue::default();
    let (sessions, sessions_here) = watch::channel(Arc::default());
    let (paths, paths_here) = start_bfd(&mut supervisor, &mut registry)?;
    let (questions, questions_here) = mpsc::channel(QUESTIONS);
    let bgp_io = bgp::DriverIo {
        plans: plans_here,
        routes: routes.clone(),
        statuses: sessions,
        questions: questions_here,
        bfd: paths,
        seed: group::seed().context("no randomness from the system")?,
    };
    let farewell = args.bgp_shutdown_wait + engine::WITHDRAWAL;
    bgp::register_metrics(&mut registry, sessions_here.clone());
    let strangers = bgp::register_strangers(&mut registry);
    let session_events = sessions::Events {
        client: client.clone(),
        namespace: namespace.clone(),
        me: me.clone(),
        recorder: recorder.clone(),
        statuses: sessions_here.clone(),
    };
    sessions::start(
        &mut supervisor,
        session_events,
        (sessions_here.clone(), paths_here.clone()),
        statuses.sessions.clone(),
    );
    let source = control::Source {
        statuses: sessions_here.clone(),
        paths: paths_here,
        questions,
    };
    let control = control::Server::new(args.state_dir.clone(), source);
    let (asker, questions) = debug::channel();
    let engine_io = engine::Io {
        inputs: sources::start(&mut supervisor, &client, &namespace),
        interfaces: interfaces_here.clone(),
        desired,
        commands,
        sightings: sightings_here,
        group,
        plans,
        routes,
        sessions: sessions_here,
        statuses: statuses.clone(),
        events: recorder,
        findings,
        conflicts,
        shown,
        ready: Some(readiness.block("the stores")),
        questions,
        drain: Some(supervisor.drain(args.handover_limit + farewell + FINISH)),
    };
    let settings = Settings {
        me: me.clone(),
        class: args.common.lb_class.clone(),
        ignore_exclude: args.ignore_exclude_lb,
        handover: args.handover_limit,
        bgp_shutdown_wait: args.bgp_shutdown_wait,
        boot: state::boot(),
    };
    let metrics = Metrics::register(&mut registry, &me);
    let engine = Engine::new(Instant::now(), settings, engine_io, metrics, saved);
    statuses.start(&mut supervisor, &client, &namespace, &me, &owner);
    let (said, said_here) = watch::channel(None);
    let presence = Presence {
        interfaces: interfaces_here,
        findings: findings_here,
        conflicts: conflicts_here,
        said,
    };
    let publication = Publication {
        client: client.clone(),
        namespace,
        identity: presence::identity(&me, owner),
        said: said_here,
        shown: shown_here,
        leadership: Leadership::always(),
        patience: client::REQUEST_TIMEOUT,
    };
    supervisor.spawn("presence", presence.run(supervisor.token()));
    supervisor.spawn("configuration state", publication.run(supervisor.token()));
    supervisor.spawn("events", sender.run(supervisor.token()));
    supervisor.spawn("answers", control.run(supervisor.token()));

    let end = supervisor.token();
    let driver = on_own_thread("layer 2", move || {
        precedence::take("layer 2");
        driver.run(end)
    });
    let end = supervisor.token();
    let port = args.bgp_listen_port;
    let sessions = on_own_thread("bgp", move || {
        bgp::Driver::new(bgp_io)
            .listening_at(port)
            .counting_strangers(strangers)
            .run(end)
    });
    let end = supervisor.token();
    let engine = on_own_thread("engine", move || engine.run(journal, end));
    supervisor.spawn("layer 2", driver);
    supervisor.spawn("bgp", sessions);
    supervisor.spawn("engine", engine);
    let end = supervisor.token();
    supervisor.spawn("state on disk", async move {
        // It is done before all others when the engine has written its last word.
        state_writer.run().await?;
        end.cancelled().await;
        Ok(())
    });
    let file: Arc<Path> = args.l2_exclude_file.as_path().into();
    let files = layer2::watch_file(file, exclude, supervisor.token());
    supervisor.spawn("exclude file", files);
    start_servers(&args, client, readiness, registry, asker, &mut supervisor);
    Ok(supervisor.run().await?)
}

/// Starts the thread that watches the paths of BGP sessions. It ends after theirs.
fn start_bfd(
    supervisor: &mut Supervisor,
    registry: &mut Registry,
) -> anyhow::Result<(bfd::Requests, watch::Receiver<Arc<bfd::BfdStatuses>>)> {
    let (requests, requested) = bfd::requests();
    let (statuses, statuses_here) = watch::channel(Arc::default());
    bfd::register_metrics(registry, statuses_here.clone());
    let io = bfd::DriverIo {
        requests: requested,
        statuses,
        seed: group::random().context("no randomness from the system")?,
    };
    let end = supervisor.token();
    let driver = on_own_thread("bfd", move || bfd::Driver::new(io).run(end));
    supervisor.spawn("bfd", driver);
    Ok((requests, statuses_here))
}

/// Starts what kubelet and Prometheus ask.
fn start_servers(
    args: &Args,
    client: Client,
    readiness: Readiness,
    registry: Registry,
    asker: debug::Asker,
    supervisor: &mut Supervisor,
) {
    // The health server is for the node's kubelet only.
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = args.common.health_probe_port;
    let health = health::serve(local, port, readiness, supervisor.token());
    let common = args.common.clone();
    let debug = debug::serve(common.debug_bind_address, asker, supervisor.token());
    let metrics = herald_runtime::metrics::serve(common, client, registry, supervisor.token());
    supervisor.spawn("health server", health);
    supervisor.spawn("debug server", debug);
    supervisor.spawn("metrics server", metrics);
}

/// Starts the thread of the group, if there is one. If not, nobody can declare this node down, and
/// the lease is renewed as long as the process runs.
fn start_group(
    args: &Args,
    me: &NodeName,
    generation: u64,
    lease: Lease,
    supervisor: &mut Supervisor,
    registry: &mut Registry,
) -> anyhow::Result<Option<Link>> {
    let end = supervisor.token();
    let Some(address) = args.membership.bind() else {
        tracing::warn!(
            event = "membershipOff",
            "no --ml-bindaddr: speakers form no group, so the addresses of a node that dies stay \
             with it until its Node object says so"
        );
        let kept = on_own_thread("lease", move || lease.keep(end));
        supervisor.spawn("lease", kept);
        return Ok(None);
    };
    let (link, link_end) = group::link(generation);
    let directory = args.membership.key_directory().map(Path::to_owned);
    let (keys, keys_here) = watch::channel(group::load_keys(directory.as_deref()));
    let founding = group::Founding {
        me: me.clone(),
        address,
        timers: group::timers(&args.membership)?,
        seed: group::seed().context("no randomness from the system")?,
        generation,
        keys: keys_here,
        lease,
        metrics: group::Metrics::register(registry),
    };
    let group = on_own_thread("group", move || group::run(founding, link_end, end));
    supervisor.spawn("group", group);
    let keys = group::watch_keys(directory, keys, supervisor.token());
    supervisor.spawn("membership keys", keys);
    Ok(Some(link))
}
