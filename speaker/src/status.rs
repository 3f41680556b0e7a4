//! `ServiceL2Status` objects: who announces what, for `kubectl get` (compat.md 1.7).
//!
//! The engine says what is wanted and never waits; a later word about a Service replaces an earlier
//! one that is not yet written. A watch says what there is. The writer makes the one equal to the
//! other, one request at a time, so that it does not compete with the controller, and makes none
//! while all is as it should be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use herald_announce::Interfaces;
use herald_api::annotations::{LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE};
use herald_api::kinds::{
    InterfaceInfo, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus,
};
use herald_model::{NodeName, ServiceKey};
use herald_runtime::client::REQUEST_TIMEOUT;
use herald_runtime::supervise::{Supervisor, TaskResult};
use herald_runtime::watch::{Event, Watch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::owner::Owner;

mod ledger;

use ledger::{Failure, Ledger, Step};

/// How many events of the watch may wait.
const QUEUE: usize = 1024;

/// Takes what is wanted; cheap to clone. Holds at most one entry for a Service.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<BTreeMap<ServiceKey, Option<Interfaces>>>,
    changed: Notify,
    begun: Notify,
}

impl StatusQueue {
    /// This node announces the Service there, or (`None`) not at all.
    pub(crate) fn set(&self, key: &ServiceKey, interfaces: Option<Interfaces>) {
        self.pending().insert(key.clone(), interfaces);
        self.shared.changed.notify_one();
    }

    /// What was set so far is all that this node announces: what the API has beyond that is from an
    /// earlier life.
    pub(crate) fn begin(&self) {
        self.shared.begun.notify_one();
    }

    fn take(&self) -> BTreeMap<ServiceKey, Option<Interfaces>> {
        std::mem::take(&mut self.pending())
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceKey, Option<Interfaces>>> {
        self.shared
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the watch of the objects that the [`Writer`] keeps.
pub(crate) fn watch(
    supervisor: &mut Supervisor,
    client: &Client,
    namespace: &str,
) -> mpsc::Receiver<Event<ServiceL2Status>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let watch = Watch::namespaced(client, namespace, "servicel2statuses").forward(
        sender,
        std::convert::identity,
        supervisor.token(),
    );
    supervisor.spawn("watch servicel2statuses", watch);
    receiver
}

/// Writes the statuses of a node.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) me: NodeName,
    pub(crate) owner: Owner,
    pub(crate) queue: StatusQueue,
    /// The objects of all nodes, from [`watch`].
    pub(crate) objects: mpsc::Receiver<Event<ServiceL2Status>>,
}

impl Writer {
    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds.
    pub(crate) async fn run(mut self, token: CancellationToken) -> TaskResult {
        token.run_until_cancelled(self.write()).await;
        Ok(())
    }

    async fn write(&mut self) {
        let queue = self.queue.clone();
        queue.shared.begun.notified().await;
        let owner = self.owner.clone().await;
        let uid = owner.as_ref().map(|owner| owner.uid.clone());
        let mut ledger = Ledger::new(self.me.clone(), uid);
        let mut failing = Failing::default();
        loop {
            for (key, wanted) in queue.take() {
                let wanted = wanted.as_ref().map(interfaces);
                ledger.want(Instant::now(), key, wanted);
            }
            let due = ledger.next_due();
            tokio::select! {
                () = queue.shared.changed.notified() => {}
                event = self.objects.recv() => match event {
                    Some(event) => ledger.take(Instant::now(), event),
                    // Whoever watches the tasks sees to it.
                    None => return,
                },
                () = until(due), if due.is_some() => {
                    if let Some((key, step)) = ledger.next(Instant::now()) {
                        let done = self.make(&key, &step, owner.as_ref(), &mut ledger).await;
                        match done {
                            Ok(()) => failing.over(),
                            Err(failure) => {
                                failing.report(&key, &failure);
                                ledger.failed(Instant::now(), &key, &step, &failure);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Makes a request and tells the ledger of its success.
    async fn make(
        &self,
        key: &ServiceKey,
        step: &Step,
        owner: Option<&OwnerReference>,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let api: Api<ServiceL2Status> = Api::namespaced(self.client.clone(), &self.namespace);
        let parameters = PatchParams::default();
        let object = match step {
            Step::Create => {
                let object = self.object(key, owner);
                request(api.create(&PostParams::default(), &object)).await?
            }
            Step::Own { name } => {
                let owners: Vec<_> = owner.into_iter().collect();
                let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": owners } }));
                request(api.patch(name, &parameters, &patch)).await?
            }
            Step::Say { name, interfaces } => {
                let status = ServiceL2StatusStatus {
                    node: self.me.to_string(),
                    service_name: key.name().to_owned(),
                    service_namespace: key.namespace().to_owned(),
                    interfaces: interfaces.clone(),
                };
                let mut patch = json!({ "status": status });
                // A list that is left out of a merge would stay as it was.
                patch["status"]["interfaces"] = json!(interfaces);
                request(api.patch_status(name, &parameters, &Patch::Merge(&patch))).await?
            }
            Step::Delete { name } => {
                return match request(api.delete(name, &DeleteParams::default())).await {
                    Ok(_) | Err(Failure::Gone) => {
                        ledger.deleted(name);
                        Ok(())
                    }
                    Err(failure) => Err(failure),
                };
            }
        };
        ledger.changed(&object);
        Ok(())
    }

    fn object(&self, key: &ServiceKey, owner: Option<&OwnerReference>) -> ServiceL2Status {
        let labels = [
            (LABEL_NODE, self.me.as_str()),
            (LABEL_SERVICE_NAME, key.name()),
            (LABEL_SERVICE_NAMESPACE, key.namespace()),
        ];
        ServiceL2Status {
            metadata: ObjectMeta {
                generate_name: Some("l2-".to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                owner_references: owner.map(|owner| vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: ServiceL2StatusSpec::default(),
            status: None,
        }
    }
}

/// The result of a request, sorted by what is to be done about it.
async fn request<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            404 => Failure::Gone,
            429 | 503 => Failure::Unavailable(status.message.clone()),
            _ => Failure::Refused(status.message.clone()),
        }),
        Ok(Err(error)) => Err(Failure::Unavailable(error.to_string())),
        Err(_) => Err(Failure::Unavailable("timed out".to_owned())),
    }
}

/// The first failure of a row is worth a warning.
#[derive(Debug, Default)]
struct Failing(bool);

impl Failing {
    fn report(&mut self, key: &ServiceKey, failure: &Failure) {
        let error = match failure {
            Failure::Gone => "not found",
            Failure::Refused(error) | Failure::Unavailable(error) => error,
        };
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(
                service = %key,
                error,
                "cannot write the ServiceL2Status object, trying again; \
                 the announcement does not depend on it"
            );
        }
    }

    fn over(&mut self) {
        self.0 = false;
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn interfaces(interfaces: &Interfaces) -> Vec<InterfaceInfo> {
    match interfaces {
        Interfaces::All => Vec::new(),
        Interfaces::Named(names) => names
            .iter()
            .map(|name| InterfaceInfo { name: name.clone() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_service_counts() {
        let queue = StatusQueue::default();
        let key = ServiceKey::new("shop", "web");
        let there = Interfaces::Named(["eth0".to_owned()].into());
        queue.set(&key, Some(Interfaces::All));
        queue.set(&key, None);
        queue.set(&key, Some(there.clone()));
        let taken = queue.take();
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), [(key, Some(there))]);
        assert!(queue.take().is_empty());
    }

    #[test]
    fn all_interfaces_are_written_as_none() {
        assert_eq!(interfaces(&Interfaces::All), []);
        let named = Interfaces::Named(["eth1".to_owned(), "eth0".to_owned()].into());
        let written: Vec<_> = interfaces(&named).into_iter().map(|i| i.name).collect();
        assert_eq!(written, ["eth0", "eth1"]);
    }
}
