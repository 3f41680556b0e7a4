//! All that this node has decided and why, for people who want to know.

use std::collections::{BTreeMap, BTreeSet};

use herald_api::report::Findings;
use herald_model::Standing;
use herald_ownership::Status;
use serde_json::{Value, json};

use super::Engine;

impl Engine {
    /// The group, the addresses, the Services and the sessions as this node sees them. Keys and
    /// passwords are not part of it.
    pub(super) fn describe(&self) -> Value {
        let addresses: BTreeMap<_, _> = self
            .claims
            .addresses()
            .map(|address| {
                let services = self.claims.services_of(address);
                let services: Vec<_> = services.map(ToString::to_string).collect();
                let status = status(&self.ownership.status(address));
                (address, json!({ "status": status, "services": services }))
            })
            .collect();
        let announced: BTreeSet<_> = self.announcing.known().chain(self.routes.known()).collect();
        let services: BTreeMap<_, _> = announced
            .into_iter()
            .map(|key| {
                let (addresses, uid) = self.cluster.service_facts(key);
                let state = json!({
                    "uid": uid,
                    "addresses": addresses,
                    "layer2": self.announcing.describe(key),
                    "bgp": self.routes.describe(key),
                });
                (key.to_string(), state)
            })
            .collect();
        let sessions = self.io.sessions.borrow();
        let sessions: BTreeMap<_, _> = sessions
            .iter()
            .map(|(name, status)| {
                let state = json!({
                    "peer": status.peer(),
                    "state": status.state.to_string(),
                    "obstacle": status.obstacle,
                });
                (name, state)
            })
            .collect();
        let conflicts = self.conflicts.current().iter();
        let conflicts: BTreeMap<_, _> = conflicts
            .map(|(address, mac)| (address, mac.to_string()))
            .collect();
        let findings = self.io.findings.borrow();
        let problems = findings.as_ref().map(|findings| {
            let Findings { problems, unknown } = findings;
            problems.iter().chain(unknown).collect::<Vec<_>>()
        });
        json!({
            "node": self.settings.me.as_str(),
            "begun": self.start.has_begun(),
            "ending": self.end.is_some(),
            "group": self.describe_group(),
            "addresses": addresses,
            "services": services,
            "sessions": sessions,
            "conflicts": conflicts,
            "problems": problems,
        })
    }

    /// `null` without a group.
    fn describe_group(&self) -> Value {
        if self.io.group.is_none() {
            return Value::Null;
        }
        let view = self.standpoint.view();
        let standing = match view.standing {
            Standing::Minority => "minority",
            Standing::Half => "half",
            Standing::Majority => "majority",
        };
        let members: BTreeMap<_, _> = view
            .members
            .iter()
            .map(|(name, member)| {
                let phase = member.state.as_ref().map(|state| state.phase);
                let state =
                    json!({ "live": member.live, "address": member.address, "phase": phase });
                (name.as_str(), state)
            })
            .collect();
        json!({
            "standing": standing,
            "fenced": view.fenced,
            "generation": self.standpoint.generation(),
            "phase": view.me.phase,
            "members": members,
        })
    }
}

/// What is done about an address, with who is in the way.
fn status(status: &Status) -> Value {
    match status {
        Status::Held => json!("held"),
        Status::Probing => json!("probing"),
        Status::HandingOver(node) => json!({ "handingOver": node.as_str() }),
        Status::HeldBy(node) => json!({ "heldBy": node.as_str() }),
        Status::InUse(mac) => json!({ "inUse": mac.to_string() }),
        Status::NoMajority => json!("noMajority"),
        Status::Fenced => json!("fenced"),
        Status::NotOurs => json!("notOurs"),
    }
}
