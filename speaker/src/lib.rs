//! The speaker: watches the cluster, decides what this node announces, drives the wire.
//!
//! ```text
//!   sources ──▶ engine: world ──▶ outcomes ──▶ announcing ──▶ desired ──▶ layer2 driver ──▶ wire
//!                 ▲                                 └───────▶ statuses, events, metrics
//!                 └── interfaces ◀────────────────────────────── layer2 driver (netlink)
//!                         └──▶ presence ──▶ other speakers
//! ```

mod announcing;
mod args;
mod convert;
mod engine;
pub mod layer2;
mod metrics;
mod owner;
mod presence;
mod sources;
pub mod state;
mod status;
pub mod world;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use herald_model::NodeName;
use herald_runtime::health::Readiness;
use herald_runtime::supervise::Supervisor;
use herald_runtime::thread::on_own_thread;
use herald_runtime::{client, events, health, logging};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, mpsc, watch};

pub use args::Args;

use crate::engine::{Engine, Settings};
use crate::layer2::{Driver, DriverIo, Exclude, Lease};
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::status::{StatusQueue, Writer};

/// Runs the speaker until SIGTERM or SIGINT, or until a part of it fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    logging::init(args.common.log_level, args.common.log_format);
    for flag in args.inactive() {
        flag.warn();
    }
    let me = NodeName::from(args.node_name.as_str());
    let client = client::connect(&args.common).await?;
    let namespace = client::namespace(&args.common)?;
    let owner = owner::of_pod(&client, &namespace, args.common.identity());
    let mut registry = Registry::default();
    let mut supervisor = Supervisor::new();
    let readiness = Readiness::new();

    let (desired, desired_here) = watch::channel(Arc::default());
    let (interfaces, interfaces_here) = watch::channel(None);
    let (_commands, commands_here) = mpsc::channel(layer2::COMMANDS);
    let (sightings, _sightings_here) = mpsc::channel(layer2::SIGHTINGS);
    let lease = Lease::default();
    let (problems, problems_here) = watch::channel(None);
    let (exclude, exclude_here) = watch::channel(Exclude::load(&args.l2_exclude_file));
    let statuses = StatusQueue::default();
    let presence_lost = Arc::new(Notify::new());
    let (recorder, sender) = events::recorder(
        client.clone(),
        "metallb-speaker",
        &args.node_name,
        &mut registry,
    );

    let driver_io = DriverIo {
        desired: desired_here,
        exclude: exclude_here,
        commands: commands_here,
        sightings,
        interfaces,
        lease: lease.clone(),
        ready: Some(readiness.block("packet sockets")),
    };
    let refresh = Some(args.gratuitous_arp_interval).filter(|period| !period.is_zero());
    let driver = Driver::new(driver_io, layer2::Metrics::register(&mut registry), refresh);
    let engine_io = engine::Io {
        inputs: sources::start(&mut supervisor, &client, &namespace),
        interfaces: interfaces_here.clone(),
        desired,
        statuses: statuses.clone(),
        events: recorder,
        problems,
        presence_lost: Arc::clone(&presence_lost),
        ready: Some(readiness.block("the stores")),
    };
    let settings = Settings {
        me: me.clone(),
        class: args.common.lb_class.clone(),
        ignore_exclude: args.ignore_exclude_lb,
    };
    let engine = Engine::new(settings, engine_io, Metrics::register(&mut registry, &me));
    let writer = Writer {
        client: client.clone(),
        namespace: namespace.clone(),
        me: me.clone(),
        owner: owner.clone(),
        queue: statuses,
        objects: status::watch(&mut supervisor, &client, &namespace),
    };
    let presence = Presence {
        client,
        namespace,
        me,
        owner,
        interfaces: interfaces_here,
        problems: problems_here,
        lost: presence_lost,
    };

    let token = || supervisor.token();
    let exclude_file: Arc<Path> = args.l2_exclude_file.as_path().into();
    let files = layer2::watch_file(exclude_file, exclude, token());
    let (stop, kept) = (token(), lease.keep(token()));
    let driver = on_own_thread("layer 2", move || async {
        tokio::try_join!(driver.run(stop), kept).map(|_| ())
    });
    let engine = engine.run(token());
    let (writer, presence) = (writer.run(token()), presence.run(token()));
    let events = sender.run(token());
    // The health server is for the node's kubelet only.
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let health = health::serve(local, args.common.health_probe_port, readiness, token());
    let metrics = herald_runtime::metrics::serve(args.common.clone(), registry, token());
    supervisor.spawn("layer 2", driver);
    supervisor.spawn("engine", engine);
    supervisor.spawn("exclude file", files);
    supervisor.spawn("status", writer);
    supervisor.spawn("presence", presence);
    supervisor.spawn("events", events);
    supervisor.spawn("health server", health);
    supervisor.spawn("metrics server", metrics);
    Ok(supervisor.run().await?)
}
