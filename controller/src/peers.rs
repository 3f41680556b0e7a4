//! The status of each `BGPPeer`: how the sessions of all nodes with the router are.
//!
//! Each speaker says how its own sessions are in `BGPSessionState` objects, which go with its Pod. The
//! replica that leads puts them together. So each object has one writer, however many nodes there are;
//! what a status holds is bounded; and what changes on many nodes at once, because a router went down,
//! is one write. What a speaker said counts as long as its node and its Pod are known to live.

mod detection;
mod lives;
mod summary;

use std::time::Duration;

use herald_api::kinds::{BGPPeer, BGPPeerStatus, BGPSessionState};
use herald_api::slim::{Node, Pod};
use herald_runtime::backoff::Backoff;
use herald_runtime::lease::Leadership;
use herald_runtime::supervise::{Supervisor, TaskResult, next_batch};
use herald_runtime::watch::{Event, Watch};
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::write::WRITE_TIMEOUT;
use summary::Summaries;

/// How many changes may wait.
const QUEUE: usize = 1024;
/// How many of them are taken in at once.
const BATCH: usize = 512;
/// How long changes are gathered before they are written.
const GATHERING: Duration = Duration::from_secs(1);
/// The pause after writes: all speakers see each of them.
const PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What the watches tell.
#[expect(
    clippy::large_enum_variant,
    reason = "the queue is short, and peers are few"
)]
enum Input {
    Peer(Event<BGPPeer>),
    Session(Event<BGPSessionState>),
    Node(Event<Node>),
    Pod(Event<Pod>),
}

/// Writes the statuses while this replica leads.
pub(crate) struct PeerStatuses {
    client: Client,
    namespace: String,
    inputs: mpsc::Receiver<Input>,
}

impl PeerStatuses {
    /// Starts the watches.
    pub(crate) fn new(client: &Client, namespace: &str, supervisor: &mut Supervisor) -> Self {
        let (sender, inputs) = mpsc::channel(QUEUE);
        let peers = Watch::<BGPPeer>::namespaced(client, namespace, "bgppeers");
        let sessions = Watch::<BGPSessionState>::namespaced(client, namespace, "bgpsessionstates");
        let token = supervisor.token();
        supervisor.spawn(
            "watch bgppeers",
            peers.forward(sender.clone(), Input::Peer, token.clone()),
        );
        supervisor.spawn(
            "watch bgpsessionstates",
            sessions.forward(sender.clone(), Input::Session, token.clone()),
        );
        let nodes = Watch::<Node>::cluster(client, "nodes");
        supervisor.spawn(
            "watch nodes",
            nodes.forward(sender.clone(), Input::Node, token.clone()),
        );
        let pods = Watch::<Pod>::namespaced(client, namespace, "pods");
        supervisor.spawn("watch pods", pods.forward(sender, Input::Pod, token));
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            inputs,
        }
    }

    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds.
    pub(crate) async fn run(
        mut self,
        mut leadership: Leadership,
        token: CancellationToken,
    ) -> TaskResult {
        let mut summaries = Summaries::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
        let mut failing = false;
        // When to write at the earliest, if something is to be written.
        let mut due = None;
        let mut paused = Instant::now();
        loop {
            tokio::select! {
                _ = leadership.changed() => {}
                more = next_batch(&mut self.inputs, &mut batch, BATCH, &token) => {
                    if !more? {
                        return Ok(());
                    }
                    for input in batch.drain(..) {
                        match input {
                            Input::Peer(event) => summaries.take_peer(event),
                            Input::Session(event) => summaries.take_session(event),
                            Input::Node(event) => summaries.take_node(event),
                            Input::Pod(event) => summaries.take_pod(event),
                        }
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(paused)), if due.is_some() => {
                    due = None;
                    let written = self.write(&mut summaries, &leadership);
                    let written = token.run_until_cancelled(written).await;
                    summaries.resume();
                    match written {
                        None => return Ok(()),
                        Some(Ok(())) => {
                            failing = false;
                            backoff.reset();
                            paused = Instant::now() + PAUSE;
                        }
                        Some(Err(error)) => {
                            if !std::mem::replace(&mut failing, true) {
                                tracing::warn!(
                                    event = "peerStatusFailed",
                                    error,
                                    "cannot write the status of a BGPPeer, trying again; check the \
                                     API server and the RBAC of bgppeers/status (patch)"
                                );
                            }
                            paused = Instant::now() + backoff.pause();
                        }
                    }
                }
            }
            if leadership.is_leader() && summaries.next(Timestamp::now()).is_some() {
                due.get_or_insert_with(|| (Instant::now() + GATHERING).max(paused));
            } else {
                due = None;
            }
        }
    }

    async fn write(
        &self,
        summaries: &mut Summaries,
        leadership: &Leadership,
    ) -> Result<(), String> {
        let api: Api<BGPPeer> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut refusal = None;
        while leadership.is_leader()
            && let Some((name, status)) = summaries.next(Timestamp::now())
        {
            let patch = Patch::Merge(patch(&status));
            let parameters = PatchParams::default();
            let request = api.patch_status(&name, &parameters, &patch);
            match tokio::time::timeout(WRITE_TIMEOUT, request).await {
                Ok(Ok(_)) => summaries.written(&name, status),
                // The watch is about to say so.
                Ok(Err(Error::Api(refused))) if refused.code == 404 => summaries.gone(&name),
                // It is about this peer, as one that the CRD of today would not allow.
                Ok(Err(Error::Api(refused))) if is_refusal(refused.code) => {
                    summaries.put_off(&name);
                    refusal.get_or_insert_with(|| format!("{name}: {}", refused.message));
                }
                Ok(Err(error)) => return Err(format!("{name}: {error}")),
                Err(_) => return Err(format!("{name}: timed out")),
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

/// The server has looked at the request, and has not too much to do.
fn is_refusal(code: u16) -> bool {
    (400..500).contains(&code) && code != 429
}

/// What is left out of a merge would stay as it was.
fn patch(status: &BGPPeerStatus) -> serde_json::Value {
    json!({ "status": {
        "established": status.established,
        "nodes": status.nodes,
        "conditions": status.conditions,
    }})
}
