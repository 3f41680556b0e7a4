//! Status objects: what this node does, for `kubectl get` (compat.md 1.7).
//!
//! Whoever knows what is to be said never waits; a later word about the same replaces an earlier one
//! that is not yet written. A watch says what there is. The writer makes the one equal to the other,
//! one request at a time, so that it does not compete with the controller, and makes none while all
//! is as it should be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use herald_announce::Interfaces;
use herald_api::kinds::InterfaceInfo;
use herald_model::NodeName;
use herald_runtime::client::REQUEST_TIMEOUT;
use herald_runtime::owner::Owner;
use herald_runtime::supervise::{Supervisor, TaskResult};
use herald_runtime::watch::{Event, Watch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

mod kind;
mod ledger;
mod service;
mod session;

use kind::Kind;
use ledger::{Failure, Ledger, Step};
use service::{Bgp, Layer2};
pub(crate) use session::{SessionKey, SessionWords, Sessions, label as session_label};

/// How many events of the watch may wait.
const QUEUE: usize = 1024;

/// Takes what is to be said; cheap to clone. Holds at most one entry for each subject.
#[derive(Debug, Clone)]
pub(crate) struct StatusQueue<K: Kind> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K: Kind> {
    pending: Mutex<Pending<K>>,
    changed: Notify,
    begun: Notify,
}

/// What is to be said, or (`None`) no longer.
pub(crate) type Pending<K> = BTreeMap<<K as Kind>::Subject, Option<<K as Kind>::Content>>;

impl<K: Kind> Default for StatusQueue<K> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                pending: Mutex::default(),
                changed: Notify::new(),
                begun: Notify::new(),
            }),
        }
    }
}

impl<K: Kind> StatusQueue<K> {
    /// This is to be said of it, or (`None`) nothing.
    pub(crate) fn set(&self, subject: &K::Subject, content: Option<K::Content>) {
        self.pending().insert(subject.clone(), content);
        self.shared.changed.notify_one();
    }

    /// What was set so far is all that this node has to say: what the API has beyond that is from an
    /// earlier life.
    pub(crate) fn begin(&self) {
        self.shared.begun.notify_one();
    }

    /// What was said since the last call.
    pub(crate) fn take(&self) -> Pending<K> {
        std::mem::take(&mut self.pending())
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending<K>> {
        self.shared
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be said of all kinds; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queues {
    pub(crate) layer2: StatusQueue<Layer2>,
    pub(crate) bgp: StatusQueue<Bgp>,
    pub(crate) sessions: StatusQueue<Sessions>,
}

impl Queues {
    /// Starts what writes it.
    pub(crate) fn start(
        &self,
        supervisor: &mut Supervisor,
        client: &Client,
        namespace: &str,
        me: &NodeName,
        owner: &Owner,
    ) {
        let to = (client, namespace, me, owner);
        write(supervisor, to, self.layer2.clone());
        write(supervisor, to, self.bgp.clone());
        write(supervisor, to, self.sessions.clone());
    }
}

fn write<K: Kind>(
    supervisor: &mut Supervisor,
    (client, namespace, me, owner): (&Client, &str, &NodeName, &Owner),
    queue: StatusQueue<K>,
) {
    let writer = Writer {
        client: client.clone(),
        namespace: namespace.to_owned(),
        me: me.clone(),
        owner: owner.clone(),
        queue,
        objects: watch::<K>(supervisor, client, namespace, me),
    };
    supervisor.spawn(K::PLURAL, writer.run(supervisor.token()));
}

/// Starts the watch of the objects that the [`Writer`] keeps.
fn watch<K: Kind>(
    supervisor: &mut Supervisor,
    client: &Client,
    namespace: &str,
    me: &NodeName,
) -> mpsc::Receiver<Event<K::Object>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut watch = Watch::namespaced(client, namespace, K::PLURAL);
    if !K::EXCLUSIVE {
        // Those of other nodes are nothing to us.
        watch = watch.labels(&format!("{}={me}", K::NODE_LABEL));
    }
    let watch = watch.forward(sender, std::convert::identity, supervisor.token());
    supervisor.spawn("watch of status objects", watch);
    receiver
}

/// Writes the statuses of a node of one kind.
struct Writer<K: Kind> {
    client: Client,
    namespace: String,
    me: NodeName,
    owner: Owner,
    queue: StatusQueue<K>,
    /// What there is.
    objects: mpsc::Receiver<Event<K::Object>>,
}

impl<K: Kind> Writer<K> {
    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds.
    async fn run(mut self, token: CancellationToken) -> TaskResult {
        token.run_until_cancelled(self.write()).await;
        Ok(())
    }

    async fn write(&mut self) {
        let queue = self.queue.clone();
        queue.shared.begun.notified().await;
        let owner = self.owner.clone().await;
        let uid = owner.as_ref().map(|owner| owner.uid.clone());
        let mut ledger = Ledger::<K>::new(self.me.clone(), uid);
        let mut failing = Failing::default();
        loop {
            for (key, wanted) in queue.take() {
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
                                failing.report::<K>(&key, &failure);
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
        key: &K::Subject,
        step: &Step<K::Content>,
        owner: Option<&OwnerReference>,
        ledger: &mut Ledger<K>,
    ) -> Result<(), Failure> {
        let api: Api<K::Object> = Api::namespaced(self.client.clone(), &self.namespace);
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
            Step::Say { name, content } => {
                let patch = json!({ "status": K::status(&self.me, key, content) });
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

    fn object(&self, key: &K::Subject, owner: Option<&OwnerReference>) -> K::Object {
        let mut object = K::object(&self.me, key);
        let metadata = object.meta_mut();
        metadata.namespace = Some(self.namespace.clone());
        metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
        object
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
    fn report<K: Kind>(&mut self, key: &K::Subject, failure: &Failure) {
        let error = match failure {
            Failure::Gone => "not found",
            Failure::Refused(error) | Failure::Unavailable(error) => error,
        };
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(
                about = %key,
                error,
                "cannot write the {} object, trying again; no announcement depends on it",
                K::KIND
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

/// How the objects say it.
pub(crate) fn interfaces(interfaces: &Interfaces) -> Vec<InterfaceInfo> {
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
    use herald_model::ServiceKey;

    use super::*;

    #[test]
    fn the_last_word_about_a_service_counts() {
        let queue = StatusQueue::<Bgp>::default();
        let key = ServiceKey::new("shop", "web");
        let there = vec!["tor".to_owned()];
        queue.set(&key, Some(Vec::new()));
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
