//! What this speaker says of itself to the others and to the user: its `ConfigurationState`
//! (compat.md 1.7), with the annotation `herald.io/interfaces` that lets interfaces take part in
//! the election.

use std::time::Duration;

use herald_api::annotations::{LABEL_COMPONENT_TYPE, LABEL_NODE_NAME};
use herald_api::kinds::ConfigurationState;
use herald_api::report::{Aspect, Findings, Report, message};
use herald_model::{LanInterface, NodeName};
use herald_runtime::configuration_state::{Identity, Said};
use herald_runtime::owner::Owner;
use herald_runtime::supervise::TaskResult;
use kube::ResourceExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::convert::{INTERFACES, interfaces_text};
use crate::engine::Conflicting;
use crate::layer2::names;

/// Owns labels, annotation and owner.
const MANAGER: &str = "herald-speaker";
/// Owns the status, as in MetalLB.
const STATUS_MANAGER: &str = "configReconciler";
/// The condition about the configuration, as in MetalLB.
const CONDITION: &str = "configReconcilerValid";

/// How long a speaker that starts waits for what the API has not told yet, before it says that it does
/// not know.
const SETTLING: Duration = Duration::from_secs(10);

/// The node of the speaker that the object is of.
pub(crate) fn speaker_node(object: &ConfigurationState) -> Option<NodeName> {
    object
        .labels()
        .get(LABEL_NODE_NAME)
        .map(|name| NodeName::from(name.as_str()))
}

/// The object of the speaker on a node.
pub(crate) fn identity(me: &NodeName, owner: Owner) -> Identity {
    let labels = [
        (LABEL_COMPONENT_TYPE.to_owned(), "speaker".to_owned()),
        (LABEL_NODE_NAME.to_owned(), me.to_string()),
    ];
    Identity {
        name: format!("speaker-{me}"),
        labels: labels.into(),
        manager: MANAGER,
        status_manager: STATUS_MANAGER,
        owner,
    }
}

/// Puts together what is to be said, again whenever something changed.
pub(crate) struct Presence {
    pub(crate) interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    pub(crate) findings: watch::Receiver<Option<Findings>>,
    /// The addresses that foreign stations have.
    pub(crate) conflicts: watch::Receiver<Conflicting>,
    pub(crate) said: watch::Sender<Option<Said>>,
}

impl Presence {
    /// Runs until `token` is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) -> TaskResult {
        let endless = async {
            let settled = tokio::time::sleep(SETTLING);
            tokio::pin!(settled);
            loop {
                let said = self.said(settled.is_elapsed());
                self.said.send_if_modified(|current| {
                    let changed = *current != said;
                    *current = said;
                    changed
                });
                tokio::select! {
                    changed = self.interfaces.changed() => changed?,
                    changed = self.findings.changed() => changed?,
                    changed = self.conflicts.changed() => changed?,
                    () = &mut settled, if !settled.is_elapsed() => {}
                }
            }
        };
        token.run_until_cancelled(endless).await.unwrap_or(Ok(()))
    }

    /// Nothing as long as the interfaces are not known: without them the others would take this
    /// node for one with any. No status before all is known or should be: of one that starts, what the
    /// API shows stays.
    fn said(&mut self, settled: bool) -> Option<Said> {
        let interfaces = self.interfaces.borrow_and_update();
        let interfaces = interfaces.as_deref().map(names);
        let findings = self.findings.borrow_and_update();
        let conflicts = self.conflicts.borrow_and_update();
        let telling = findings
            .as_ref()
            .filter(|findings| settled || findings.unknown.is_empty());
        let report = telling.map(|findings| {
            let report = Report::new(CONDITION, findings);
            report.with(conflict(&conflicts))
        });
        Some(Said {
            annotations: [(INTERFACES.to_owned(), interfaces_text(&interfaces?))].into(),
            report,
        })
    }
}

fn conflict(conflicts: &Conflicting) -> Aspect {
    let (status, reason) = if conflicts.is_empty() {
        ("False", "NoConflict")
    } else {
        ("True", "ForeignStation")
    };
    let stations = conflicts.iter();
    let stations: Vec<_> = stations
        .map(|(address, mac)| format!("{address} is used by the station {mac}"))
        .collect();
    Aspect {
        kind: "herald.io/AddressConflict",
        status,
        reason,
        message: message(stations.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use herald_model::MacAddress;

    use super::*;

    #[test]
    fn a_conflict_has_a_line_for_each_address() {
        let none = conflict(&Conflicting::new());
        assert_eq!((none.status, none.reason), ("False", "NoConflict"));
        assert_eq!(none.message, "");
        let address = "192.0.2.1".parse().expect("valid");
        let used = conflict(&[(address, MacAddress([2, 0, 0, 0, 0, 9]))].into());
        assert_eq!((used.status, used.reason), ("True", "ForeignStation"));
        assert_eq!(
            used.message,
            "192.0.2.1 is used by the station 02:00:00:00:00:09"
        );
    }

    #[test]
    fn nothing_is_said_before_the_interfaces_are_known() {
        let (interfaces, interfaces_here) = watch::channel(None);
        let (findings, findings_here) = watch::channel(Some(Findings::default()));
        let mut presence = Presence {
            interfaces: interfaces_here,
            findings: findings_here,
            conflicts: watch::channel(Conflicting::new()).1,
            said: watch::channel(None).0,
        };
        assert_eq!(presence.said(false), None);
        interfaces.send_replace(Some(Vec::new()));
        let said = presence.said(false).expect("the interfaces are known");
        assert_eq!(said.annotations[INTERFACES], "");
        assert!(said.report.is_some());
        findings.send_replace(None);
        assert_eq!(presence.said(false).expect("known").report, None);
        // What is told late is not what is never told.
        findings.send_replace(Some(Findings {
            problems: Vec::new(),
            unknown: vec!["no peers".to_owned()],
        }));
        assert_eq!(presence.said(false).expect("known").report, None);
        assert!(presence.said(true).expect("known").report.is_some());
    }
}
