//! The `ConfigurationState` of a component (compat.md 1.7), written where the API shows another.
//!
//! Labels, annotations and owner have one field manager, the status has MetalLB's. Each object has
//! one writer: a speaker its own, and the replica that leads that of the controller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use herald_api::kinds::{ConfigurationState, ConfigurationStateStatus};
use herald_api::report::Report;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::lease::Leadership;
use crate::owner::Owner;
use crate::supervise::TaskResult;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two writes of a status: what it is about may change as often as anybody likes, as
/// stations on the LAN do.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// The object as a watch shows it; `None` if there is none.
pub type Shown = Option<Arc<ConfigurationState>>;

/// Which object it is, and who writes it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The field manager of labels, annotations and owner.
    pub manager: &'static str,
    /// The field manager of the status.
    pub status_manager: &'static str,
    /// The Pod that it goes with.
    pub owner: Owner,
}

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// `metadata.annotations`; a change is written at once.
    pub annotations: BTreeMap<String, String>,
    /// The status; `None` as long as there is nothing to say. Changes are written once a second.
    pub report: Option<Report>,
}

/// What the object is made from, and written while this process leads.
pub struct Publication {
    /// To write with.
    pub client: Client,
    /// The namespace of the object.
    pub namespace: String,
    /// Which object it is.
    pub identity: Identity,
    /// What is to be said; `None` as long as nothing is.
    pub said: watch::Receiver<Option<Said>>,
    /// What the API shows.
    pub shown: watch::Receiver<Shown>,
    /// Whether this process is the one that writes.
    pub leadership: Leadership,
    /// How long a write may take.
    pub patience: Duration,
}

impl Publication {
    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds, and so is
    /// one that somebody undoes, with growing pauses.
    pub async fn run(mut self, token: CancellationToken) -> TaskResult {
        let endless = async {
            let mut object = Object {
                owner: self.identity.owner.clone().await,
                api: Api::namespaced(self.client.clone(), &self.namespace),
                namespace: self.namespace,
                identity: self.identity,
                patience: self.patience,
                shown: None,
            };
            let mut failures = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let mut failing = false;
            let mut retry = Instant::now();
            let mut status_due = Instant::now();
            let mut contest = Contest::new();
            loop {
                let said = self.said.borrow_and_update().clone();
                let said = said.filter(|_| self.leadership.is_leader());
                let need = object.need(said.as_ref());
                let due = match need {
                    None => None,
                    Some(Need::Description(_)) => Some(retry.max(contest.until)),
                    Some(Need::Status(_)) => Some(retry.max(contest.until).max(status_due)),
                };
                if let (Some(need), Some(due)) = (&need, due)
                    && due <= Instant::now()
                {
                    match object.write(need).await {
                        Ok(()) => {
                            failures.reset();
                            failing = false;
                            if matches!(need, Need::Status(_)) {
                                status_due = Instant::now() + STATUS_PAUSE;
                            }
                        }
                        Err(error) => {
                            if !std::mem::replace(&mut failing, true) {
                                tracing::warn!(
                                    event = "configurationStateFailed",
                                    object = object.identity.name,
                                    error,
                                    "cannot write the ConfigurationState, trying again; check the \
                                     API server and the RBAC of configurationstates (create, \
                                     patch) and configurationstates/status (patch)"
                                );
                            }
                            retry = Instant::now() + failures.pause();
                        }
                    }
                    continue;
                }
                tokio::select! {
                    changed = self.said.changed() => {
                        changed?;
                        contest.until = Instant::now();
                    }
                    changed = self.shown.changed() => {
                        changed?;
                        object.see(self.shown.borrow_and_update().clone());
                        if need.is_none() && object.need(said.as_ref()).is_some() {
                            contest.goes_on();
                        }
                    }
                    _ = self.leadership.changed() => {}
                    () = tokio::time::sleep_until(due.unwrap_or(retry)), if due.is_some() => {}
                }
            }
        };
        token.run_until_cancelled(endless).await.unwrap_or(Ok(()))
    }
}

/// Somebody else changes the object again and again.
struct Contest {
    pauses: Backoff,
    last: Instant,
    /// Nothing is written before.
    until: Instant,
}

impl Contest {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            last: now,
            until: now,
        }
    }

    fn goes_on(&mut self) {
        if self.last.elapsed() > LONGEST_PAUSE * 2 {
            self.pauses.reset();
        }
        self.last = Instant::now();
        self.until = self.last + self.pauses.pause();
    }
}

/// What the API does not show as it should.
#[derive(Debug)]
enum Need {
    /// Labels, owner and these annotations.
    Description(BTreeMap<String, String>),
    Status(ConfigurationStateStatus),
}

struct Object {
    api: Api<ConfigurationState>,
    namespace: String,
    identity: Identity,
    owner: Option<OwnerReference>,
    patience: Duration,
    shown: Shown,
}

impl Object {
    /// Takes in what the watch shows; what is older than the answer to our last write is no news.
    fn see(&mut self, object: Shown) {
        let older = match (&object, &self.shown) {
            (Some(object), Some(known)) => version(object) < version(known),
            _ => false,
        };
        if !older {
            self.shown = object;
        }
    }

    /// What has to be written so that the API shows what is said.
    fn need(&self, said: Option<&Said>) -> Option<Need> {
        let said = said?;
        let Some(shown) = self.shown.as_ref().filter(|shown| {
            contains(shown.labels(), &self.identity.labels)
                && contains(shown.annotations(), &said.annotations)
                && self.owner.as_ref().is_none_or(|owner| {
                    let mut owners = shown.owner_references().iter();
                    owners.any(|known| known.uid == owner.uid)
                })
        }) else {
            return Some(Need::Description(said.annotations.clone()));
        };
        let now = Timestamp::now();
        // Times of the API are whole seconds.
        let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        let report = said.report.as_ref()?;
        report.status(shown.status.as_ref(), &now).map(Need::Status)
    }

    async fn write(&mut self, need: &Need) -> Result<(), String> {
        let Self { identity, .. } = &*self;
        let mut object = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": identity.name, "namespace": self.namespace },
        });
        let written = match need {
            Need::Description(annotations) => {
                object["metadata"]["labels"] = json!(identity.labels);
                if !annotations.is_empty() {
                    object["metadata"]["annotations"] = json!(annotations);
                }
                if let Some(owner) = &self.owner {
                    object["metadata"]["ownerReferences"] = json!([owner]);
                }
                object["spec"] = json!({});
                self.apply(&object, false).await?
            }
            Need::Status(status) => {
                object["status"] = json!(status);
                self.apply(&object, true).await?
            }
        };
        self.shown = written.map(Arc::new);
        Ok(())
    }

    /// The object after the write; `None` if it is gone meanwhile, and has to be made anew.
    async fn apply(
        &self,
        object: &Value,
        status: bool,
    ) -> Result<Option<ConfigurationState>, String> {
        let Identity {
            name,
            manager,
            status_manager,
            ..
        } = &self.identity;
        let manager = if status { status_manager } else { manager };
        let parameters = PatchParams::apply(manager).force();
        let patch = Patch::Apply(object);
        let request = async {
            if status {
                self.api.patch_status(name, &parameters, &patch).await
            } else {
                self.api.patch(name, &parameters, &patch).await
            }
        };
        match tokio::time::timeout(self.patience, request).await {
            Ok(Ok(written)) => Ok(Some(written)),
            Ok(Err(kube::Error::Api(refused))) if status && refused.code == 404 => Ok(None),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("timed out".to_owned()),
        }
    }
}

/// Resource versions of the API are comparable as numbers within one resource.
fn version(object: &ConfigurationState) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

fn contains(all: &BTreeMap<String, String>, some: &BTreeMap<String, String>) -> bool {
    some.iter().all(|(key, value)| all.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
