//! Events about sessions that come up, go down or fail, on the `BGPPeer`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use herald_api::kinds::BGPPeer;
use herald_model::NodeName;
use herald_runtime::client::REQUEST_TIMEOUT;
use herald_runtime::events::{Recorder, Subject};
use herald_runtime::supervise::TaskResult;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::news::{News, Report};
use super::until;
use crate::bgp::Statuses;

/// Records the events of a node.
pub(crate) struct Events {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) me: NodeName,
    pub(crate) recorder: Recorder,
    pub(crate) statuses: watch::Receiver<Arc<Statuses>>,
}

impl Events {
    /// Runs until `token` is cancelled. What the sessions do at the end of the process is not told.
    pub(crate) async fn run(mut self, token: CancellationToken) -> TaskResult {
        token
            .run_until_cancelled(self.watch())
            .await
            .unwrap_or(Ok(()))
    }

    async fn watch(&mut self) -> TaskResult {
        let mut news = News::default();
        let mut uids = BTreeMap::new();
        loop {
            let statuses = Arc::clone(&self.statuses.borrow_and_update());
            uids.retain(|name, _| statuses.contains_key(name));
            for report in news.look(Instant::now(), self.me.as_str(), &statuses) {
                self.record(report, &mut uids).await;
            }
            let due = news.next_timeout(Instant::now(), &statuses);
            tokio::select! {
                changed = self.statuses.changed() => changed?,
                () = until(due) => {}
            }
        }
    }

    async fn record(&self, report: Report, uids: &mut BTreeMap<String, String>) {
        let name = report.peer;
        if !uids.contains_key(&name) {
            let api: Api<BGPPeer> = Api::namespaced(self.client.clone(), &self.namespace);
            let found = tokio::time::timeout(REQUEST_TIMEOUT, api.get_metadata(&name)).await;
            // Without it the event is there, but `kubectl describe` does not find it.
            if let Ok(Ok(peer)) = found
                && let Some(uid) = peer.uid()
            {
                uids.insert(name.clone(), uid);
            }
        }
        let subject = Subject {
            api_version: "metallb.io/v1beta2".to_owned(),
            kind: "BGPPeer".to_owned(),
            namespace: Some(self.namespace.clone()),
            uid: uids.get(&name).cloned(),
            name,
        };
        self.recorder
            .record(subject, report.kind, report.reason, report.message);
    }
}
