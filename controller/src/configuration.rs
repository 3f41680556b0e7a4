//! The `ConfigurationState` of the controller (compat.md 1.7): whether the pools are used as their
//! objects say. The replica that leads writes it, and its Pod owns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use herald_api::annotations::LABEL_COMPONENT_TYPE;
use herald_api::kinds::ConfigurationState;
use herald_api::report::{Findings, Report};
use herald_runtime::configuration_state::{Identity, Publication, Said, Shown};
use herald_runtime::lease::Leadership;
use herald_runtime::owner;
use herald_runtime::supervise::{Supervisor, TaskResult};
use herald_runtime::watch::{Event, Watch};
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::write::WRITE_TIMEOUT;

/// The name of the object, as in MetalLB.
const NAME: &str = "controller";
const ONLY_IT: &str = "metadata.name=controller";
/// Owns labels and owner.
const MANAGER: &str = "herald-controller";
/// Owns the status, as in MetalLB.
const STATUS_MANAGER: &str = "poolReconciler";
/// The condition about the configuration, as in MetalLB.
const CONDITION: &str = "poolReconcilerValid";
/// How many changes of the one object may wait.
const QUEUE: usize = 16;

/// Starts to say what is found. The object belongs to this Pod while this replica leads.
pub(crate) fn start(
    (client, namespace): (&Client, &str),
    pod: String,
    leadership: Leadership,
    supervisor: &mut Supervisor,
) -> watch::Sender<Option<Findings>> {
    let (findings, findings_here) = watch::channel(None);
    let (said, said_here) = watch::channel(None);
    let (shown, shown_here) = watch::channel(None);
    let (events, events_here) = mpsc::channel(QUEUE);
    let watch = Watch::<ConfigurationState>::namespaced(client, namespace, "configurationstates");
    let watch = watch.fields(ONLY_IT);
    let watch = watch.forward(events, |event| event, supervisor.token());
    let labels = [(LABEL_COMPONENT_TYPE.to_owned(), "controller".to_owned())];
    let publication = Publication {
        client: client.clone(),
        namespace: namespace.to_owned(),
        identity: Identity {
            name: NAME.to_owned(),
            labels: labels.into(),
            manager: MANAGER,
            status_manager: STATUS_MANAGER,
            owner: owner::of_pod(client, namespace, pod),
        },
        said: said_here,
        shown: shown_here,
        leadership,
        patience: WRITE_TIMEOUT,
    };
    let state = State {
        findings: findings_here,
        events: events_here,
        said,
        shown,
    };
    supervisor.spawn("watch configurationstates", watch);
    supervisor.spawn("configuration findings", state.run(supervisor.token()));
    supervisor.spawn("configuration state", publication.run(supervisor.token()));
    findings
}

struct State {
    findings: watch::Receiver<Option<Findings>>,
    events: mpsc::Receiver<Event<ConfigurationState>>,
    said: watch::Sender<Option<Said>>,
    shown: watch::Sender<Shown>,
}

impl State {
    async fn run(mut self, token: CancellationToken) -> TaskResult {
        loop {
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                // The loop that finds is told to end at the same time as this.
                changed = self.findings.changed() => if changed.is_err() {
                    token.cancelled().await;
                } else {
                    let findings = self.findings.borrow_and_update();
                    self.said.send_replace(findings.as_ref().map(said));
                },
                event = self.events.recv() => match event {
                    Some(event) => self.see(event),
                    None => token.cancelled().await,
                },
            }
        }
    }

    fn see(&self, event: Event<ConfigurationState>) {
        let is_it = |object: &ConfigurationState| object.name_any() == NAME;
        match event {
            Event::Restarted { objects, .. } => {
                let object = objects.into_iter().find(is_it);
                self.shown.send_replace(object.map(Arc::new));
            }
            Event::Applied(object) if is_it(&object) => {
                self.shown.send_replace(Some(Arc::new(object)));
            }
            Event::Deleted(name) if name.name == NAME => {
                self.shown.send_replace(None);
            }
            // One that cannot be read is not what it should be: it is written anew.
            Event::Malformed(object) if object.name.name == NAME => {
                self.shown.send_replace(None);
            }
            _ => {}
        }
    }
}

fn said(findings: &Findings) -> Said {
    Said {
        annotations: BTreeMap::new(),
        report: Some(Report::new(CONDITION, findings)),
    }
}
