//! What a Service's status should say, and the one write that makes it say so.
//!
//! Status, annotation and condition travel in one JSON merge patch of `services/status`; the API
//! server takes annotations through that subresource. The patch carries the resource version it was
//! made from, so a stale one is refused (409) and never undoes anything.

use std::net::IpAddr;

use herald_api::annotations::{CONDITION_ADDRESS_ASSIGNED as CONDITION, IP_ALLOCATED_FROM_POOL};
use herald_api::slim::Service;
use herald_ipam::Assignment;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use crate::request::status_addresses;

/// Where the pool of the addresses is written.
const ALLOCATED_FROM_POOL: &str = IP_ALLOCATED_FROM_POOL.key;

/// The condition's reason where a pool exists and cannot be used.
pub(crate) const UNUSABLE_POOL: &str = "UnusablePool";

/// The condition's reason while another status still shows the address.
const ADDRESS_IN_TRANSFER: &str = "AddressInTransfer";

/// What a Service's status should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Desired {
    /// These addresses.
    Assigned {
        /// What it has.
        assignment: Assignment,
        /// What is wrong all the same: the condition's reason and message.
        remark: Option<(&'static str, String)>,
    },
    /// None, and why: the condition's reason and message.
    Pending {
        /// One word.
        reason: &'static str,
        /// A sentence.
        message: String,
    },
    /// Nothing of ours: the Service is not a load balancer any more.
    Released,
}

impl Desired {
    /// Status, reason and message of the condition; `None`: no condition.
    fn condition(&self) -> Option<(&'static str, &str, String)> {
        match self {
            Self::Assigned { assignment, remark } => Some(match remark {
                Some((reason, message)) => ("True", *reason, message.clone()),
                None => ("True", "Assigned", assigned_message(assignment)),
            }),
            Self::Pending { reason, message } => Some(("False", *reason, message.clone())),
            Self::Released => None,
        }
    }

    /// True if the Service waits for a pool that it named and that is not there, or not usable.
    pub(crate) fn waits_for_named_pool(&self) -> bool {
        matches!(self, Self::Pending { reason, .. } if [UNUSABLE_POOL, "UnknownPool"].contains(reason))
    }

    /// This without some of the addresses; if none is left, `why` is the condition's message.
    pub(crate) fn without(&self, less: &[IpAddr], why: impl FnOnce() -> String) -> Self {
        let mut some = self.clone();
        if let Self::Assigned { assignment, .. } = &mut some {
            assignment.addresses.retain(|ip| !less.contains(ip));
            if assignment.addresses.is_empty() {
                return Self::Pending {
                    reason: ADDRESS_IN_TRANSFER,
                    message: why(),
                };
            }
        }
        some
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Assigned { assignment, .. } => &assignment.addresses,
            _ => &[],
        }
    }

    fn pool(&self) -> Option<&str> {
        match self {
            Self::Assigned { assignment, .. } => Some(&assignment.pool),
            _ => None,
        }
    }
}

fn assigned_message(assignment: &Assignment) -> String {
    let addresses: Vec<_> = assignment
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    format!("{} from pool {}", addresses.join(", "), assignment.pool)
}

/// True if the condition that the API shows is not what `desired` says: the Service's owner is to
/// be told by an event.
pub(crate) fn condition_changes(service: &Service, desired: &Desired) -> bool {
    let shown = condition(service).map(|c| (c.status.as_str(), c.reason.as_str(), &c.message));
    match (shown, desired.condition()) {
        (Some((status, reason, message)), Some(wanted)) => {
            (status, reason, message) != (wanted.0, wanted.1, &wanted.2)
        }
        (None, None) => false,
        _ => true,
    }
}

/// True if the API shows something else than `desired`.
pub(crate) fn differs(service: &Service, desired: &Desired) -> bool {
    allocated_from(service) != desired.pool()
        || ingress_differs(service, desired)
        || condition_changes(service, desired)
}

/// The patch of `services/status` that turns what the API shows into `desired`; `None` if there is
/// nothing to change. Conditions of others stay as they are.
pub(crate) fn patch(service: &Service, desired: &Desired, now: Timestamp) -> Option<Value> {
    let annotation = allocated_from(service);
    let annotation_changes = annotation != desired.pool();
    let ingress_changes = ingress_differs(service, desired);
    let condition_changes = condition_changes(service, desired);
    if !annotation_changes && !ingress_changes && !condition_changes {
        return None;
    }
    let mut patch = json!({"metadata": {"resourceVersion": service.metadata.resource_version}});
    if annotation_changes {
        patch["metadata"]["annotations"] = json!({ALLOCATED_FROM_POOL: desired.pool()});
    }
    if ingress_changes {
        let ingress: Vec<_> = desired
            .addresses()
            .iter()
            .map(|ip| json!({"ip": ip}))
            .collect();
        let ingress = if ingress.is_empty() {
            Value::Null
        } else {
            ingress.into()
        };
        patch["status"]["loadBalancer"] = json!({"ingress": ingress});
    }
    if condition_changes {
        patch["status"]["conditions"] = json!(conditions(service, desired, now));
    }
    Some(patch)
}

/// A merge patch replaces lists whole, so this is the list with everybody's conditions.
fn conditions(service: &Service, desired: &Desired, now: Timestamp) -> Vec<Condition> {
    let all = service.status.conditions.iter().flatten();
    let mut conditions: Vec<_> = all.filter(|c| c.type_ != CONDITION).cloned().collect();
    if let Some((status, reason, message)) = desired.condition() {
        let since = condition(service)
            .filter(|shown| shown.status == status)
            .map_or(Time(now), |shown| shown.last_transition_time.clone());
        conditions.push(Condition {
            type_: CONDITION.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: since,
            observed_generation: None,
        });
    }
    conditions
}

/// The pool that the addresses came from, as the Service says.
pub(crate) fn allocated_from(service: &Service) -> Option<&str> {
    let annotations = service.metadata.annotations.as_ref()?;
    annotations.get(ALLOCATED_FROM_POOL).map(String::as_str)
}

fn condition(service: &Service) -> Option<&Condition> {
    let mut conditions = service.status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == CONDITION)
}

fn ingress_differs(service: &Service, desired: &Desired) -> bool {
    let ingress = service
        .status
        .load_balancer
        .ingress
        .as_deref()
        .unwrap_or_default();
    // `VIP` is what the API server fills in where we write nothing.
    let foreign = ingress.iter().any(|entry| {
        entry.hostname.is_some() || !matches!(entry.ip_mode.as_deref(), None | Some("VIP"))
    });
    foreign
        || ingress.len() != desired.addresses().len()
        || status_addresses(service) != desired.addresses()
}

/// True if the object bears a trace of ours: the annotation or the condition.
pub(crate) fn is_marked(service: &Service) -> bool {
    allocated_from(service).is_some() || condition(service).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Timestamp = Timestamp::UNIX_EPOCH;

    fn now() -> Timestamp {
        Timestamp::from_second(1000).expect("in range")
    }

    fn service(object: Value) -> Service {
        serde_json::from_value(object).expect("a Service")
    }

    fn fresh() -> Service {
        service(
            json!({"metadata": {"name": "web", "namespace": "d", "resourceVersion": "7"},
            "spec": {"type": "LoadBalancer"}}),
        )
    }

    fn assigned(addresses: &[&str]) -> Desired {
        let addresses = addresses
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        Desired::Assigned {
            assignment: Assignment {
                pool: "first".to_owned(),
                addresses,
            },
            remark: None,
        }
    }

    /// What the API server makes of a patch.
    fn apply(service: &Service, patch: &Value) -> Service {
        fn merge(target: &mut Value, patch: &Value) {
            let Value::Object(fields) = patch else {
                *target = patch.clone();
                return;
            };
            if !target.is_object() {
                *target = json!({});
            }
            for (field, value) in fields {
                if value.is_null() {
                    target.as_object_mut().expect("object").remove(field);
                } else {
                    merge(&mut target[field], value);
                }
            }
        }
        let mut object = serde_json::to_value(service).expect("plain");
        merge(&mut object, patch);
        for entry in object["status"]["loadBalancer"]["ingress"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            entry["ipMode"] = json!("VIP");
        }
        tests::service(object)
    }

    #[test]
    fn one_patch_says_all_and_a_second_is_not_needed() {
        let desired = assigned(&["192.0.2.1", "fd00::1"]);
        let patch = patch(&fresh(), &desired, THEN).expect("something to do");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(
            patch["metadata"]["annotations"][ALLOCATED_FROM_POOL],
            "first"
        );
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "192.0.2.1"}, {"ip": "fd00::1"}])
        );
        assert_eq!(patch["status"]["conditions"][0]["reason"], "Assigned");
        let written = apply(&fresh(), &patch);
        assert_eq!(super::patch(&written, &desired, now()), None);
        assert!(is_marked(&written));
    }

    #[test]
    fn only_what_differs_is_written() {
        let written = apply(
            &fresh(),
            &patch(&fresh(), &assigned(&["192.0.2.1"]), THEN).expect("x"),
        );
        let Desired::Assigned { mut assignment, .. } = assigned(&["192.0.2.1"]) else {
            panic!("assigned");
        };
        assignment.pool = "renamed".to_owned();
        let desired = Desired::Assigned {
            assignment,
            remark: None,
        };
        let patch = patch(&written, &desired, now()).expect("the pool changed");
        assert_eq!(
            patch["metadata"]["annotations"][ALLOCATED_FROM_POOL],
            "renamed"
        );
        assert_eq!(patch["status"].get("loadBalancer"), None);
        // The status of the condition is the same, so is its time.
        assert_eq!(
            patch["status"]["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn clearing_takes_addresses_and_annotation_and_keeps_the_conditions_of_others() {
        let mut held = apply(
            &fresh(),
            &patch(&fresh(), &assigned(&["192.0.2.1"]), THEN).expect("x"),
        );
        let mut foreign = held.status.conditions.clone().expect("ours")[0].clone();
        foreign.type_ = "example.com/Other".to_owned();
        held.status
            .conditions
            .as_mut()
            .expect("ours")
            .insert(0, foreign.clone());
        let pending = Desired::Pending {
            reason: "NoPools",
            message: "none".to_owned(),
        };
        let cleared = apply(
            &held,
            &patch(&held, &pending, now()).expect("something to do"),
        );
        assert_eq!(status_addresses(&cleared), Vec::<IpAddr>::new());
        assert_eq!(allocated_from(&cleared), None);
        let conditions = cleared.status.conditions.clone().expect("two");
        assert_eq!(conditions[0], foreign);
        assert_eq!(
            (conditions[1].status.as_str(), conditions[1].reason.as_str()),
            ("False", "NoPools")
        );
        assert_eq!(conditions[1].last_transition_time, Time(now()));
        assert_eq!(patch(&cleared, &pending, now()), None);

        let released = apply(
            &cleared,
            &patch(&cleared, &Desired::Released, now()).expect("x"),
        );
        assert_eq!(released.status.conditions, Some(vec![foreign]));
        assert!(!is_marked(&released));
        assert_eq!(patch(&released, &Desired::Released, now()), None);
    }

    #[test]
    fn what_others_wrote_into_the_ingress_is_replaced() {
        for ingress in [
            json!([{"hostname": "lb.example"}]),
            json!([{"ip": "192.0.2.1", "ipMode": "Proxy"}]),
            json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]),
            json!([{"ip": "192.0.2.1"}, {"ip": "nonsense"}]),
        ] {
            let mut found = fresh();
            found.status = serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}}))
                .expect("a status");
            let patch = patch(&found, &assigned(&["192.0.2.1"]), now()).expect("differs");
            assert_eq!(
                patch["status"]["loadBalancer"]["ingress"],
                json!([{"ip": "192.0.2.1"}])
            );
        }
    }
}
