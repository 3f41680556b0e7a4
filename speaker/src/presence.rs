//! What this speaker says of itself to the others and to the user: its `ConfigurationState`
//! (compat.md 1.7), with the annotation `herald.io/interfaces` that lets interfaces take part in
//! the election.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herald_api::annotations::{LABEL_COMPONENT_TYPE, LABEL_NODE_NAME};
use herald_api::kinds::ConfigurationState;
use herald_model::{LanInterface, NodeName};
use herald_runtime::backoff::Backoff;
use herald_runtime::client::REQUEST_TIMEOUT;
use herald_runtime::supervise::TaskResult;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::convert::{INTERFACES, interfaces_text};
use crate::engine::Conflicting;
use crate::layer2::names;
use crate::owner::Owner;

/// Owns labels, annotation and owner.
const MANAGER: &str = "herald-speaker";
/// Owns the status, as in MetalLB.
const STATUS_MANAGER: &str = "configReconciler";

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long changes of conflicts are gathered before they are written: stations on the LAN cause
/// as many of them as they like.
const CONFLICTS_PAUSE: Duration = Duration::from_secs(1);

/// The most that the message of a condition may have is 32,768 characters; the API server refuses
/// a longer one, and with it all that the status says.
const LONGEST_MESSAGE: usize = 30_000;

/// The node of the speaker that the object is of.
pub(crate) fn speaker_node(object: &ConfigurationState) -> Option<NodeName> {
    object
        .labels()
        .get(LABEL_NODE_NAME)
        .map(|name| NodeName::from(name.as_str()))
}

/// Publishes, again whenever something changed.
pub(crate) struct Presence {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) me: NodeName,
    pub(crate) owner: Owner,
    pub(crate) interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    pub(crate) problems: watch::Receiver<Option<Vec<String>>>,
    /// The addresses that foreign stations have.
    pub(crate) conflicts: watch::Receiver<Conflicting>,
    /// Somebody else changed or deleted the object.
    pub(crate) lost: Arc<Notify>,
}

impl Presence {
    /// Runs until `token` is cancelled. A write that fails is repeated until it succeeds.
    pub(crate) async fn run(mut self, token: CancellationToken) -> TaskResult {
        let endless = async {
            let owner = self.owner.clone().await;
            let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let (mut said_interfaces, mut said_problems) = (None, None);
            let mut failing = false;
            // Pauses between writes against somebody who changes the object again and again.
            let mut contest = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let mut contested = Instant::now();
            let mut conditions = Conditions::default();
            loop {
                let interfaces = self.interfaces.borrow_and_update().as_deref().map(names);
                let problems = self.problems.borrow_and_update().clone();
                let conflicts = self.conflicts.borrow_and_update().clone();
                let problems = problems.map(|problems| (problems, conflicts));
                let outcome = async {
                    if interfaces.is_some() && interfaces != said_interfaces {
                        self.say_interfaces(interfaces.as_ref(), owner.as_ref())
                            .await?;
                        said_interfaces = interfaces;
                    }
                    if let Some(problems) = problems
                        && said_interfaces.is_some()
                        && said_problems.as_ref() != Some(&problems)
                    {
                        let (texts, conflicts) = &problems;
                        let status = conditions.status(texts, conflicts, Timestamp::now());
                        self.say_problems(status).await?;
                        said_problems = Some(problems);
                    }
                    Ok::<_, String>(())
                };
                match outcome.await {
                    Ok(()) => {
                        backoff.reset();
                        failing = false;
                        tokio::select! {
                            changed = self.interfaces.changed() => changed?,
                            changed = self.problems.changed() => changed?,
                            changed = self.conflicts.changed() => {
                                changed?;
                                tokio::select! {
                                    () = tokio::time::sleep(CONFLICTS_PAUSE) => {}
                                    changed = self.interfaces.changed() => changed?,
                                }
                            }
                            // Writing what is there already changes nothing, so a late notice
                            // of our own write does no harm.
                            () = self.lost.notified() => {
                                (said_interfaces, said_problems) = (None, None);
                                if contested.elapsed() > LONGEST_PAUSE * 2 {
                                    contest.reset();
                                }
                                contested = Instant::now();
                                tokio::select! {
                                    () = tokio::time::sleep(contest.pause()) => {}
                                    changed = self.interfaces.changed() => changed?,
                                }
                            }
                        }
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(
                                object = self.name(),
                                error,
                                "cannot write the ConfigurationState, trying again; \
                                 other speakers do not see changes of this node's interfaces"
                            );
                        }
                        tokio::time::sleep(backoff.pause()).await;
                    }
                }
            }
        };
        token.run_until_cancelled(endless).await.unwrap_or(Ok(()))
    }

    fn name(&self) -> String {
        format!("speaker-{}", self.me)
    }

    async fn say_interfaces(
        &self,
        interfaces: Option<&BTreeSet<String>>,
        owner: Option<&OwnerReference>,
    ) -> Result<(), String> {
        let names = interfaces.map(interfaces_text).unwrap_or_default();
        let mut object = self.object();
        object["metadata"]["labels"] = json!({
            LABEL_COMPONENT_TYPE: "speaker",
            LABEL_NODE_NAME: self.me.as_str(),
        });
        object["metadata"]["annotations"] = json!({ INTERFACES: names });
        if let Some(owner) = owner {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        object["spec"] = json!({});
        let parameters = PatchParams::apply(MANAGER).force();
        let (api, name, patch) = (self.api(), self.name(), Patch::Apply(&object));
        in_time(api.patch(&name, &parameters, &patch)).await?;
        Ok(())
    }

    async fn say_problems(&self, status: Value) -> Result<(), String> {
        let mut object = self.object();
        object["status"] = status;
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        let (api, name, patch) = (self.api(), self.name(), Patch::Apply(&object));
        in_time(api.patch_status(&name, &parameters, &patch)).await?;
        Ok(())
    }

    fn api(&self) -> Api<ConfigurationState> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": self.name(), "namespace": self.namespace },
        })
    }
}

/// The conditions as they were last written, with the time of their last transition.
#[derive(Debug, Default)]
struct Conditions {
    valid: Option<(bool, Timestamp)>,
    conflict: Option<(bool, Timestamp)>,
}

impl Conditions {
    /// The status that says this. Writing the same again is no transition.
    fn status(&mut self, problems: &[String], conflicts: &Conflicting, now: Timestamp) -> Value {
        let valid = problems.is_empty();
        let summary = message(problems);
        let conflict = !conflicts.is_empty();
        let stations = conflicts.iter();
        let stations: Vec<_> = stations
            .map(|(address, mac)| format!("{address} is used by the station {mac}"))
            .collect();
        json!({
            "result": if valid { "Valid" } else { "Invalid" },
            "errorSummary": summary,
            "conditions": [
                {
                    "type": "configReconcilerValid",
                    "status": truth(valid),
                    "reason": if valid { "Reconciled" } else { "ConfigurationError" },
                    "message": summary,
                    "lastTransitionTime": since(&mut self.valid, valid, now),
                },
                {
                    "type": "herald.io/AddressConflict",
                    "status": truth(conflict),
                    "reason": if conflict { "ForeignStation" } else { "NoConflict" },
                    "message": message(&stations),
                    "lastTransitionTime": since(&mut self.conflict, conflict, now),
                },
            ],
        })
    }
}

/// The lines as one text; of too many the first ones, and how many more there are.
fn message(lines: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if text.len() + line.len() >= LONGEST_MESSAGE {
            let more = lines.len() - index;
            text.extend(["\nand ", &more.to_string(), " more"]);
            break;
        }
        if index > 0 {
            text.push('\n');
        }
        text.push_str(line);
    }
    text
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Since when a condition has this value.
fn since(last: &mut Option<(bool, Timestamp)>, value: bool, now: Timestamp) -> String {
    *last = last.filter(|(was, _)| *was == value);
    let (_, time) = *last.get_or_insert((value, now));
    format!("{time:.0}")
}

/// The result of a request, or that it took too long.
async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use herald_model::MacAddress;

    use super::*;

    #[test]
    fn a_message_is_never_longer_than_the_api_takes() {
        let station = |n: u32| {
            let address = std::net::Ipv4Addr::from(0xc000_0200 + n).into();
            (address, MacAddress([2, 0, 0, 0, 0, 9]))
        };
        let conflicts: Conflicting = (0..5000).map(station).collect();
        let mut conditions = Conditions::default();
        let status = conditions.status(&[], &conflicts, Timestamp::UNIX_EPOCH);
        let message = status["conditions"][1]["message"].as_str().expect("text");
        assert!(message.len() <= 32_768, "{}", message.len());
        let (told, last) = message.rsplit_once('\n').expect("lines");
        let more = 5000 - told.lines().count();
        assert_eq!(last, format!("and {more} more"));
        let long = ["x".repeat(40_000)];
        assert_eq!(super::message(&long), "\nand 1 more");
    }

    #[test]
    fn the_status_has_the_words_that_tools_know() {
        let now = Timestamp::UNIX_EPOCH;
        let mut conditions = Conditions::default();
        let none = Conflicting::new();
        let good = conditions.status(&[], &none, now);
        assert_eq!(good["result"], "Valid");
        assert_eq!(good["conditions"][0]["reason"], "Reconciled");
        assert_eq!(
            good["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:00:00Z"
        );
        let later = now + Duration::from_mins(1);
        let problems = ["pool a".to_owned(), "pool b".to_owned()];
        let bad = conditions.status(&problems, &none, later);
        assert_eq!(bad["result"], "Invalid");
        assert_eq!(bad["errorSummary"], "pool a\npool b");
        assert_eq!(bad["conditions"][0]["status"], "False");
        assert_eq!(bad["conditions"][0]["type"], "configReconcilerValid");
        assert_eq!(
            bad["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:01:00Z"
        );
        let conflict = &bad["conditions"][1];
        assert_eq!(conflict["type"], "herald.io/AddressConflict");
        assert_eq!(conflict["status"], "False");
        assert_eq!(conflict["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let address = "192.0.2.1".parse().expect("valid");
        let station = [(address, MacAddress([2, 0, 0, 0, 0, 9]))].into();
        let used = conditions.status(&[], &station, later);
        let conflict = &used["conditions"][1];
        assert_eq!(conflict["status"], "True");
        assert_eq!(
            conflict["message"],
            "192.0.2.1 is used by the station 02:00:00:00:00:09"
        );
    }
}
