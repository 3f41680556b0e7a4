//! All of the state, for people who want to know why it is as it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Core, Entry};
use crate::status::Desired;

impl Core {
    /// Pools, Services, and what is about to be done.
    pub(crate) fn describe(&self) -> Value {
        let pools: BTreeMap<_, _> = self
            .usage()
            .map(|(pool, usage, services)| {
                let state = json!({
                    "services": services,
                    "ipv4": { "total": usage.total_ipv4, "inUse": usage.assigned_ipv4 },
                    "ipv6": { "total": usage.total_ipv6, "inUse": usage.assigned_ipv6 },
                });
                (pool, state)
            })
            .collect();
        let services: BTreeMap<_, _> = self
            .services
            .iter()
            .map(|(key, entry)| {
                let mut state = entry.describe();
                state["writeUnderWay"] = self.in_flight.contains_key(key).into();
                (key.to_string(), state)
            })
            .collect();
        json!({
            "acting": self.acting,
            "loadBalancerClass": self.class,
            "pools": pools,
            "unusablePools": self.unusable,
            "services": services,
            "toBeDecided": self.dirty.len(),
            "toBeWritten": self.outbox.len(),
        })
    }
}

impl Entry {
    fn describe(&self) -> Value {
        let ingress = self.object.status.load_balancer.ingress.iter().flatten();
        let shown: Vec<_> = ingress.filter_map(|entry| entry.ip.as_deref()).collect();
        let decision = match &self.desired {
            None => Value::Null,
            Some(Desired::Assigned { assignment, remark }) => json!({
                "pool": assignment.pool,
                "addresses": assignment.addresses,
                "remark": remark.as_ref().map(|(reason, _)| reason),
            }),
            Some(Desired::Pending { reason, message }) => {
                json!({ "pending": reason, "message": message })
            }
            Some(Desired::Released) => json!("released"),
        };
        json!({
            "resourceVersion": self.object.metadata.resource_version,
            "addresses": shown,
            "decision": decision,
            "toBeDecided": self.dirty,
            "toBeWritten": self.queued,
            "perhapsWritten": self.writing,
            "writesFailed": self.failures,
            "timesUndone": self.undone.times,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use herald_ipam::Pool;

    use super::*;

    #[test]
    fn what_a_service_has_or_waits_for_can_be_read() {
        let mut core = Core::new(String::new());
        core.set_pools(vec![Pool {
            name: "a".to_owned(),
            cidrs: vec!["192.0.2.0/32".parse().expect("a prefix")],
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
        }]);
        let service = |name: &str| {
            serde_json::from_value(json!({
                "metadata": { "namespace": "d", "name": name, "uid": name, "resourceVersion": "1" },
                "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"] },
            }))
            .expect("a Service")
        };
        core.begin(vec![service("x"), service("y")], &HashSet::new(), "1");
        core.decide();
        let state = core.describe();
        assert_eq!(state["acting"], true);
        assert_eq!(state["pools"]["a"]["services"], 1);
        let decision = |name: &str| state["services"][name]["decision"].clone();
        assert_eq!(
            decision("d/x"),
            json!({ "pool": "a", "addresses": ["192.0.2.0"], "remark": null })
        );
        assert!(decision("d/y")["pending"].is_string(), "{state:#}");
        assert_eq!(state["services"]["d/x"]["toBeWritten"], true);
    }
}
