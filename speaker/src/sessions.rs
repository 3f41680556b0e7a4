//! What the user is told of the BGP sessions of this node: events, and objects of the API.

use std::sync::Arc;
use std::time::Instant;

use herald_runtime::supervise::Supervisor;
use tokio::sync::watch;

use crate::bfd::BfdStatuses;
use crate::bgp::Statuses;
use crate::status::{Sessions, StatusQueue};

mod credit;
mod events;
mod news;
mod objects;

pub(crate) use events::Events;
use objects::Objects;

/// Starts to tell of the sessions with these statuses, and of their paths: `events` and what objects
/// are to say.
pub(crate) fn start(
    supervisor: &mut Supervisor,
    events: Events,
    (statuses, paths): (
        watch::Receiver<Arc<Statuses>>,
        watch::Receiver<Arc<BfdStatuses>>,
    ),
    states: StatusQueue<Sessions>,
) {
    let objects = Objects::new(statuses, paths, states);
    supervisor.spawn("session events", events.run(supervisor.token()));
    supervisor.spawn("session objects", objects.run(supervisor.token()));
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
