//! `ServiceL2Status` objects: who announces what, for `kubectl get` (compat.md 1.7).
//!
//! The engine says what is wanted and never waits; a later word about a Service replaces an earlier
//! one that is not yet written. The writer makes the API equal to it, one request at a time, so that
//! it does not compete with the controller.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use herald_announce::Interfaces;
use herald_api::annotations::{LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE};
use herald_api::kinds::{
    InterfaceInfo, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus,
};
use herald_model::{NodeName, ServiceKey};
use herald_runtime::backoff::Backoff;
use herald_runtime::events::{Kind, Recorder};
use herald_runtime::supervise::TaskResult;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::subject;
use crate::presence::{in_time, owner};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the status of a Service that this node announces says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where it is announced.
    pub(crate) interfaces: Interfaces,
    /// The Service's UID.
    pub(crate) uid: String,
}

/// Takes what is wanted; cheap to clone. Holds at most one entry for a Service.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<BTreeMap<ServiceKey, Option<Wanted>>>,
    changed: Notify,
    begun: Notify,
}

impl StatusQueue {
    /// This node announces the Service so, or (`None`) not at all.
    pub(crate) fn set(&self, key: &ServiceKey, wanted: Option<Wanted>) {
        self.pending().insert(key.clone(), wanted);
        self.shared.changed.notify_one();
    }

    /// What was set so far is all that this node announces: what the API has beyond that is from an
    /// earlier life.
    pub(crate) fn begin(&self) {
        self.shared.begun.notify_one();
    }

    fn take(&self) -> BTreeMap<ServiceKey, Option<Wanted>> {
        std::mem::take(&mut self.pending())
    }

    /// Gives back what could not be written, unless something newer is there.
    fn put_back(&self, key: ServiceKey, wanted: Option<Wanted>) {
        self.pending().entry(key).or_insert(wanted);
        self.shared.changed.notify_one();
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceKey, Option<Wanted>>> {
        self.shared
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the statuses of a node.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) me: NodeName,
    pub(crate) pod_name: Option<String>,
    pub(crate) queue: StatusQueue,
    pub(crate) events: Recorder,
}

/// An object that exists: its name and interfaces.
type Existing = (String, Vec<InterfaceInfo>);

/// What is known of the API's objects.
#[derive(Debug, Default)]
struct Known {
    /// Ours, by Service.
    own: HashMap<ServiceKey, Vec<Existing>>,
    /// Names of those of other nodes, by Service; only from the first list.
    foreign: HashMap<ServiceKey, Vec<String>>,
}

impl Writer {
    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds.
    pub(crate) async fn run(self, token: CancellationToken) -> TaskResult {
        token.run_until_cancelled(self.write()).await;
        Ok(())
    }

    async fn write(&self) {
        self.queue.shared.begun.notified().await;
        let owner = owner(&self.client, &self.namespace, self.pod_name.as_deref()).await;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut failing = Failing::default();
        let mut known = loop {
            match self.list(&ListParams::default()).await {
                Ok(known) => break known,
                Err(error) => failing.report(&error),
            }
            tokio::time::sleep(backoff.pause()).await;
        };
        // From an earlier life: what is not wanted now.
        let mut todo = self.queue.take();
        for key in known.own.keys() {
            todo.entry(key.clone()).or_insert(None);
        }
        // What others left is in the list just made; later on each Service is looked up.
        let mut listed = true;
        loop {
            for (key, wanted) in todo {
                let written = match &wanted {
                    Some(wanted) => {
                        self.publish(&key, wanted, owner.as_ref(), &mut known, listed)
                            .await
                    }
                    None => self.remove_own(&key, &mut known).await,
                };
                match written {
                    Ok(()) => {
                        failing.over();
                        backoff.reset();
                    }
                    Err(error) => {
                        failing.report(&error);
                        self.queue.put_back(key, wanted);
                        tokio::time::sleep(backoff.pause()).await;
                    }
                }
            }
            listed = false;
            known.foreign.clear();
            self.queue.shared.changed.notified().await;
            todo = self.queue.take();
        }
    }

    /// Makes our object say what is wanted, and takes away those of others.
    async fn publish(
        &self,
        key: &ServiceKey,
        wanted: &Wanted,
        owner: Option<&OwnerReference>,
        known: &mut Known,
        listed: bool,
    ) -> Result<(), String> {
        let foreign = if listed {
            known.foreign.remove(key).unwrap_or_default()
        } else {
            let selector = format!(
                "{LABEL_SERVICE_NAME}={},{LABEL_SERVICE_NAMESPACE}={}",
                key.name(),
                key.namespace()
            );
            let mut found = self.list(&ListParams::default().labels(&selector)).await?;
            found.foreign.remove(key).unwrap_or_default()
        };
        let interfaces = interfaces(&wanted.interfaces);
        let present = known.own.get(key).and_then(|own| own.first()).cloned();
        let kept = if let Some((name, present)) = present {
            if present != interfaces {
                self.set_status(&name, key, &interfaces).await?;
            }
            name
        } else {
            let name = self.create(key, owner, &interfaces).await?;
            self.events.record(
                subject(key, &wanted.uid),
                Kind::Normal,
                "nodeAssigned",
                format!(
                    "announcing from node \"{}\" with protocol \"layer2\"",
                    self.me
                ),
            );
            name
        };
        let own = known
            .own
            .insert(key.clone(), vec![(kept, interfaces)])
            .unwrap_or_default();
        let surplus = own.into_iter().skip(1).map(|(name, _)| name).chain(foreign);
        for name in surplus {
            self.delete(&name).await?;
        }
        Ok(())
    }

    async fn remove_own(&self, key: &ServiceKey, known: &mut Known) -> Result<(), String> {
        while let Some((name, interfaces)) = known.own.get_mut(key).and_then(Vec::pop) {
            if let Err(error) = self.delete(&name).await {
                known
                    .own
                    .entry(key.clone())
                    .or_default()
                    .push((name, interfaces));
                return Err(error);
            }
        }
        known.own.remove(key);
        Ok(())
    }

    async fn create(
        &self,
        key: &ServiceKey,
        owner: Option<&OwnerReference>,
        interfaces: &[InterfaceInfo],
    ) -> Result<String, String> {
        let labels = [
            (LABEL_NODE, self.me.as_str()),
            (LABEL_SERVICE_NAME, key.name()),
            (LABEL_SERVICE_NAMESPACE, key.namespace()),
        ];
        let object = ServiceL2Status {
            metadata: ObjectMeta {
                generate_name: Some("l2-".to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                owner_references: owner.map(|owner| vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: ServiceL2StatusSpec::default(),
            status: None,
        };
        let api = self.api();
        let created = in_time(api.create(&PostParams::default(), &object)).await?;
        let name = created.name_any();
        if let Err(error) = self.set_status(&name, key, interfaces).await {
            // Better none than an empty one; the next attempt makes another.
            let _ = self.delete(&name).await;
            return Err(error);
        }
        Ok(name)
    }

    async fn set_status(
        &self,
        name: &str,
        key: &ServiceKey,
        interfaces: &[InterfaceInfo],
    ) -> Result<(), String> {
        let status = ServiceL2StatusStatus {
            node: self.me.to_string(),
            service_name: key.name().to_owned(),
            service_namespace: key.namespace().to_owned(),
            interfaces: interfaces.to_vec(),
        };
        // A list that is left out of a merge would stay as it was.
        let mut patch = json!({ "status": status });
        patch["status"]["interfaces"] = json!(interfaces);
        let api = self.api();
        let patch = Patch::Merge(&patch);
        in_time(api.patch_status(name, &PatchParams::default(), &patch)).await?;
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        let api = self.api();
        let parameters = DeleteParams::default();
        let request = async {
            match api.delete(name, &parameters).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(|_| ()),
            }
        };
        in_time(request).await
    }

    async fn list(&self, parameters: &ListParams) -> Result<Known, String> {
        let api = self.api();
        let objects = in_time(api.list(parameters)).await?;
        let mut known = Known::default();
        for object in objects {
            let label = |label| object.labels().get(label).map(String::as_str);
            let (Some(namespace), Some(service)) =
                (label(LABEL_SERVICE_NAMESPACE), label(LABEL_SERVICE_NAME))
            else {
                continue;
            };
            let key = ServiceKey::new(namespace, service);
            let name = object.name_any();
            if label(LABEL_NODE) == Some(self.me.as_str()) {
                let interfaces = object.status.unwrap_or_default().interfaces;
                known.own.entry(key).or_default().push((name, interfaces));
            } else {
                known.foreign.entry(key).or_default().push(name);
            }
        }
        Ok(known)
    }

    fn api(&self) -> Api<ServiceL2Status> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The first failure of a row is worth a warning.
#[derive(Debug, Default)]
struct Failing(bool);

impl Failing {
    fn report(&mut self, error: &str) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(error, "cannot write ServiceL2Status objects, trying again");
        }
    }

    fn over(&mut self) {
        self.0 = false;
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

    fn wanted(uid: &str) -> Wanted {
        Wanted {
            interfaces: Interfaces::All,
            uid: uid.to_owned(),
        }
    }

    #[test]
    fn the_last_word_about_a_service_counts() {
        let queue = StatusQueue::default();
        let key = ServiceKey::new("shop", "web");
        queue.set(&key, Some(wanted("1")));
        queue.set(&key, None);
        queue.set(&key, Some(wanted("2")));
        let taken = queue.take();
        assert_eq!(
            taken.into_iter().collect::<Vec<_>>(),
            [(key, Some(wanted("2")))]
        );
        assert!(queue.take().is_empty());
    }

    #[test]
    fn what_failed_does_not_replace_what_came_later() {
        let queue = StatusQueue::default();
        let key = ServiceKey::new("shop", "web");
        queue.set(&key, None);
        queue.put_back(key.clone(), Some(wanted("old")));
        assert_eq!(queue.take().remove(&key), Some(None));
    }

    #[test]
    fn all_interfaces_are_written_as_none() {
        assert_eq!(interfaces(&Interfaces::All), []);
        let named = Interfaces::Named(["eth1".to_owned(), "eth0".to_owned()].into());
        let written: Vec<_> = interfaces(&named).into_iter().map(|i| i.name).collect();
        assert_eq!(written, ["eth0", "eth1"]);
    }
}
