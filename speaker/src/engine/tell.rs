//! What the user is told: logs, events, metrics and status objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use herald_api::config::Problem;
use herald_api::report::Findings;
use herald_model::ServiceKey;
use herald_ownership::{Conflict, Status};
use herald_runtime::events::{Kind, Subject};

use super::Engine;
use crate::announcing::Transition;
use crate::metrics::Protocol;
use crate::status::interfaces;

/// What the user should put right, one text each.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// `None` as long as there is no configuration.
    configuration: Option<Findings>,
    /// Peers that are valid, but that no session can be made for.
    sessions: Vec<String>,
}

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
                self.metrics
                    .announced(Protocol::Layer2, key, &now.addresses);
                let me = &self.settings.me;
                let message = format!("announcing from node \"{me}\" with protocol \"layer2\"");
                self.record(key, Kind::Normal, "nodeAssigned", message);
                self.io
                    .statuses
                    .layer2
                    .set(key, Some(interfaces(&now.interfaces)));
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
                self.metrics
                    .withdrawn(Protocol::Layer2, key, &before.addresses);
                self.metrics
                    .announced(Protocol::Layer2, key, &now.addresses);
                self.io
                    .statuses
                    .layer2
                    .set(key, Some(interfaces(&now.interfaces)));
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
                self.metrics
                    .withdrawn(Protocol::Layer2, key, &before.addresses);
                self.io.statuses.layer2.set(key, None);
            }
            Transition::Withheld(why) => tracing::debug!(
                service = %key,
                protocol = "layer2",
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

    /// Tells of what is newly wrong with objects, once for all speakers. Of pools the controller
    /// tells.
    pub(super) fn tell_new_problems(&self, problems: &[Problem]) {
        for problem in problems.iter().filter(|p| p.kind != "IPAddressPool") {
            if let Some(known) = self.cluster.subject(problem) {
                self.io.events.record_for_all(
                    known.subject.clone(),
                    Kind::Warning,
                    "InvalidConfiguration",
                    problem.to_string(),
                    known.generation,
                );
            }
        }
    }

    /// Publishes what is wrong with the configuration.
    pub(super) fn tell_findings(&mut self, findings: Findings) {
        self.problems.configuration = Some(findings);
        self.publish_problems();
    }

    /// Publishes what stands in the way of BGP sessions.
    pub(super) fn tell_session_problems(&mut self, texts: Vec<String>) {
        self.problems.sessions = texts;
        self.publish_problems();
    }

    fn publish_problems(&self) {
        let Problems {
            configuration: Some(configuration),
            sessions,
        } = &self.problems
        else {
            return;
        };
        let findings = Findings {
            problems: [configuration.problems.as_slice(), sessions].concat(),
            unknown: configuration.unknown.clone(),
        };
        self.io.findings.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&findings);
            if changed {
                for problem in findings.problems.iter().chain(&findings.unknown) {
                    tracing::error!(error = problem, "failed to parse the configuration");
                }
                *current = Some(findings);
            }
            changed
        });
    }

    pub(super) fn record(
        &self,
        key: &ServiceKey,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
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

/// What this node does about addresses from now on, where it is worth a line; of what happens to
/// many at once there is one line, as a network that breaks and heals happens to all of them.
pub(super) fn tell_addresses(news: &[(IpAddr, Status)]) {
    let crowds = crowds(news);
    for (event, addresses) in &crowds {
        let examples = addresses.get(..EXAMPLES).unwrap_or(addresses);
        let addresses = addresses.len();
        if *event == NO_MAJORITY {
            tracing::warn!(
                event,
                addresses,
                ?examples,
                "not taking addresses of speakers that are gone: too few speakers are in the \
                 group; herald_address_state has all of them"
            );
        } else {
            tracing::info!(
                event,
                addresses,
                ?examples,
                "many addresses at once; herald_address_state has all of them"
            );
        }
    }
    for (address, status) in news {
        if event_of(status).is_none_or(|event| !crowds.contains_key(event)) {
            tell_address(*address, status);
        }
    }
}

/// The addresses of each event that too many have for a line each.
fn crowds(news: &[(IpAddr, Status)]) -> BTreeMap<&'static str, Vec<IpAddr>> {
    let mut crowds = BTreeMap::<_, Vec<_>>::new();
    for (address, status) in news {
        if let Some(event) = event_of(status) {
            crowds.entry(event).or_default().push(*address);
        }
    }
    crowds.retain(|_, addresses| addresses.len() > MOST_LINES);
    crowds
}

/// More lines of one kind at once are one.
const MOST_LINES: usize = 20;

/// How many addresses that one names.
const EXAMPLES: usize = 5;

const HANDOVER: &str = "addressHandover";
const HELD_BY: &str = "addressHeldBy";
const NO_MAJORITY: &str = "addressNoMajority";

fn event_of(status: &Status) -> Option<&'static str> {
    match status {
        Status::HandingOver(_) => Some(HANDOVER),
        Status::HeldBy(_) => Some(HELD_BY),
        Status::NoMajority => Some(NO_MAJORITY),
        Status::Held | Status::Probing | Status::InUse(_) | Status::Fenced | Status::NotOurs => {
            None
        }
    }
}

fn tell_address(address: IpAddr, status: &Status) {
    let ip = address;
    match status {
        Status::HandingOver(node) => tracing::info!(
            event = HANDOVER,
            %ip,
            %node,
            "answering on until the new owner announces the address"
        ),
        Status::HeldBy(node) => tracing::info!(
            event = HELD_BY,
            %ip,
            %node,
            "another speaker has the address and keeps it"
        ),
        Status::NoMajority => tracing::warn!(
            event = NO_MAJORITY,
            %ip,
            "not taking the address of a speaker that is gone: too few speakers are in the \
             group to be sure that this node is not the one that is cut off"
        ),
        Status::Held | Status::Probing | Status::InUse(_) | Status::Fenced | Status::NotOurs => {
            tracing::debug!(%ip, ?status, "address");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_many_addresses_at_once_is_one_line_for_each_event() {
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0xc000_0200 + n));
        let mut news: Vec<_> = (0..5000)
            .map(|n| (address(n), Status::NoMajority))
            .collect();
        news.push((address(5000), Status::HeldBy("other".into())));
        news.extend((6000..7000).map(|n| (address(n), Status::Held)));
        let crowds = crowds(&news);
        let told: Vec<_> = crowds.iter().map(|(e, all)| (*e, all.len())).collect();
        assert_eq!(told, [(NO_MAJORITY, 5000)]);
        assert!(super::crowds(&news[..MOST_LINES]).is_empty());
    }
}
