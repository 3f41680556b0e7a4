//! What the user is told: logs, events, metrics and status objects.

use std::net::IpAddr;

use herald_model::ServiceKey;
use herald_ownership::{Conflict, Status};
use herald_runtime::events::{Kind, Subject};

use super::Engine;
use crate::announcing::Transition;

impl Engine {
    /// Looks again at what this node announces of a Service.
    pub(super) fn review(&mut self, key: &ServiceKey) {
        let ownership = &self.ownership;
        let status = |address| ownership.status(address);
        for transition in self.announcing.review(key, status) {
            self.tell(key, transition);
        }
    }

    fn tell(&self, key: &ServiceKey, transition: Transition) {
        match transition {
            Transition::Started(now) => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    protocol = "layer2",
                    "service has IP, announcing"
                );
                self.metrics.announced(key, &now.addresses);
                let me = &self.settings.me;
                let message = format!("announcing from node \"{me}\" with protocol \"layer2\"");
                self.record(key, Kind::Normal, "nodeAssigned", message);
                self.io.statuses.set(key, Some(now.interfaces));
            }
            Transition::Changed { before, now } => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    before = ?before.addresses,
                    protocol = "layer2",
                    "service has IP, announcing"
                );
                self.metrics.withdrawn(key, &before.addresses);
                self.metrics.announced(key, &now.addresses);
                self.io.statuses.set(key, Some(now.interfaces));
            }
            Transition::Stopped { before, why } => {
                tracing::info!(
                    event = "serviceWithdrawn",
                    service = %key,
                    ips = ?before.addresses,
                    protocol = "layer2",
                    reason = why.name(),
                    detail = %why,
                    "withdrawing service announcement"
                );
                self.metrics.withdrawn(key, &before.addresses);
                self.io.statuses.set(key, None);
            }
            Transition::Withheld(why) => tracing::debug!(
                service = %key,
                reason = why.name(),
                detail = %why,
                "service is not announced from this node"
            ),
            Transition::NoInterface => {
                let me = &self.settings.me;
                let (addresses, _) = self.cluster.service_facts(key);
                for address in addresses {
                    let message = format!(
                        "the interfaces specified by LB IP \"{address}\" doesn't exist in \
                         assigned node \"{me}\" with protocol \"layer2\""
                    );
                    self.record(key, Kind::Warning, "announceFailed", message);
                }
            }
        }
    }

    /// A foreign station has an address: said of every Service that it belongs to.
    pub(super) fn tell_conflict(&self, conflict: Conflict) {
        let Conflict { address, mac, held } = conflict;
        let me = &self.settings.me;
        self.metrics.conflict(address);
        let consequence = if held {
            "which announces it all the same"
        } else {
            "which does not announce it as long as that is so"
        };
        let message = format!(
            "{address} is also used by the station {mac} on the LAN, seen from node {me:?}, \
             {consequence}: take it off that station, or out of the IPAddressPool",
            me = me.as_str(),
        );
        tracing::warn!(event = "addressConflict", ip = %address, %mac, held, "{message}");
        for key in self.claims.services_of(address) {
            self.record(key, Kind::Warning, "AddressConflict", message.clone());
        }
    }

    /// Publishes what is wrong with the configuration.
    pub(super) fn tell_problems(&self, texts: Vec<String>) {
        self.io.problems.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&texts);
            if changed {
                for problem in &texts {
                    tracing::error!(error = problem, "failed to parse the configuration");
                }
                *current = Some(texts);
            }
            changed
        });
    }

    fn record(&self, key: &ServiceKey, kind: Kind, reason: &'static str, message: String) {
        let (_, uid) = self.cluster.service_facts(key);
        let subject = Subject {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some(key.namespace().to_owned()),
            name: key.name().to_owned(),
            uid: Some(uid.to_owned()),
        };
        self.io.events.record(subject, kind, reason, message);
    }
}

/// What this node does about an address, where it is worth a line.
pub(super) fn tell_address(address: IpAddr, status: &Status) {
    let ip = address;
    match status {
        Status::HandingOver(node) => tracing::info!(
            event = "addressHandover",
            %ip,
            %node,
            "answering on until the new owner announces the address"
        ),
        Status::HeldBy(node) => tracing::info!(
            event = "addressHeldBy",
            %ip,
            %node,
            "another speaker has the address and keeps it"
        ),
        Status::NoMajority => tracing::warn!(
            event = "addressNoMajority",
            %ip,
            "not taking the address of a speaker that is gone: too few speakers are in the \
             group to be sure that this node is not the one that is cut off"
        ),
        Status::Held | Status::Probing | Status::InUse(_) | Status::Fenced | Status::NotOurs => {
            tracing::debug!(%ip, ?status, "address");
        }
    }
}
