//! Objects of the API turned into what decisions are made from. What cannot be read is left out and
//! named in a log.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_announce::{Failback, Service, TrafficPolicy};
use herald_api::annotations::{
    ALLOW_SHARED_IP, DRAIN, DRAIN_TAINTS, FAILBACK, LABEL_EXCLUDE_NODE, TAINT_OUT_OF_SERVICE,
    TAINT_SHUTDOWN,
};
use herald_api::slim;
use herald_model::{Cidr, Labels, NodeName, ServiceKey};

use crate::world::{EndpointFacts, NodeFacts, ServiceFacts, SliceKey};

/// Present with any value: the Service may share its addresses (compat.md 4.1).
const SHARING: [&str; 2] = [ALLOW_SHARED_IP.key, ALLOW_SHARED_IP.deprecated_key];

/// The key of an object that has a namespace and a name.
pub(crate) fn service_key(service: &slim::Service) -> ServiceKey {
    let meta = &service.metadata;
    ServiceKey::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// What a Service says, or `None` if it is not of type `LoadBalancer` or of another class than
/// `class` (compat.md 2.1: empty means those without a class).
pub(crate) fn service(object: &slim::Service, class: &str) -> Option<ServiceFacts> {
    let spec = &object.spec;
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return None;
    }
    let wanted = (!class.is_empty()).then_some(class);
    if spec.load_balancer_class.as_deref() != wanted {
        return None;
    }
    let key = service_key(object);
    let ingress = object.status.load_balancer.ingress.iter().flatten();
    let mut addresses: Vec<IpAddr> = Vec::new();
    for entry in ingress {
        if let Some(Ok(address)) = entry.ip.as_deref().map(str::parse) {
            addresses.push(address);
        } else {
            // compat.md 2.1: an entry without an address withdraws the Service.
            tracing::error!(
                service = %key,
                field = "status.loadBalancer.ingress",
                ip = entry.ip,
                hostname = entry.hostname,
                reason = "invalidIP",
                "not an IP address: the Service is not announced"
            );
            addresses.clear();
            break;
        }
    }
    let traffic_policy = match spec.external_traffic_policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let annotations = object.metadata.annotations.as_ref();
    Some(ServiceFacts {
        service: Service {
            labels: object.metadata.labels.clone().unwrap_or_default(),
            addresses,
            traffic_policy,
            allows_sharing: annotations
                .is_some_and(|a| SHARING.iter().any(|key| a.contains_key(*key))),
            publish_not_ready: spec.publish_not_ready_addresses == Some(true),
            failback: failback(&key, annotations.and_then(|a| a.get(FAILBACK))),
            endpoints: Vec::new(),
            key,
        },
        uid: object.metadata.uid.clone().unwrap_or_default(),
    })
}

/// What the annotation of a Service says; the default counts if it says nothing that is known.
fn failback(service: &ServiceKey, text: Option<&String>) -> Option<Failback> {
    let read = text?.parse::<Failback>();
    let logged = read.inspect_err(|error| {
        tracing::error!(
            %service,
            field = format!("metadata.annotations[{FAILBACK}]"),
            %error,
            reason = "invalidFailback",
            "the annotation is ignored until it is corrected"
        );
    });
    logged.ok()
}

/// The key of a slice.
pub(crate) fn slice_key(slice: &slim::EndpointSlice) -> SliceKey {
    (
        slice
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
            .into(),
        slice.metadata.name.as_deref().unwrap_or_default().into(),
    )
}

/// The Service that a slice belongs to, with the slice's endpoints as the node `me` sees them; `None`
/// if it names none.
pub(crate) fn slice(
    object: &slim::EndpointSlice,
    me: &NodeName,
) -> Option<(ServiceKey, Vec<EndpointFacts>)> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let service = ServiceKey::new(namespace, object.service_name()?);
    let endpoints = object.endpoints.iter().flatten().map(|endpoint| {
        let node = endpoint
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let ready = endpoint.conditions.ready.unwrap_or(true);
        EndpointFacts {
            node: node.map(NodeName::from),
            addresses: match node {
                Some(node) if node != me.as_str() => Vec::new(),
                _ => endpoint
                    .addresses
                    .iter()
                    .filter_map(|a| a.parse().ok())
                    .collect(),
            },
            ready,
            serving: endpoint.conditions.serving.unwrap_or(ready),
            terminating: endpoint.conditions.terminating.unwrap_or(false),
        }
    });
    Some((service, endpoints.collect()))
}

/// What a node says.
pub(crate) fn node(object: &slim::Node, ignore_exclude: bool) -> NodeFacts {
    let labels: Labels = object.metadata.labels.clone().unwrap_or_default();
    let addresses = object.status.addresses.iter().flatten();
    let pod_cidrs = object.spec.pod_cidrs.iter().flatten();
    NodeFacts {
        network_unavailable: object.has_condition("NetworkUnavailable"),
        excluded: !ignore_exclude && labels.contains_key(LABEL_EXCLUDE_NODE),
        out_of_service: object.has_taint(TAINT_OUT_OF_SERVICE),
        draining: labels.contains_key(DRAIN)
            || DRAIN_TAINTS.iter().any(|taint| object.has_taint(taint)),
        shutting_down: object.is_shutting_down() || object.has_taint(TAINT_SHUTDOWN),
        addresses: addresses
            .clone()
            .filter_map(|a| a.address.parse().ok())
            .collect(),
        internal: addresses
            .filter(|a| a.type_ == "InternalIP")
            .find_map(|a| a.address.parse().ok()),
        pod_cidrs: pod_cidrs.filter_map(|c| c.parse::<Cidr>().ok()).collect(),
        labels,
    }
}

/// The interfaces that a speaker says it announces on, from the annotation
/// [`INTERFACES`]; an empty one means none.
pub(crate) fn interfaces(text: &str) -> BTreeSet<String> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| name.replace("%2C", ",").replace("%25", "%"))
        .collect()
}

/// The text that [`interfaces`] reads as `names`. A name may contain a comma, which is written as
/// `%2C`, and `%` as `%25`; never white space.
pub(crate) fn interfaces_text(names: &BTreeSet<String>) -> String {
    let names = names
        .iter()
        .map(|name| name.replace('%', "%25").replace(',', "%2C"));
    names.collect::<Vec<_>>().join(",")
}

/// The annotation of a speaker's `ConfigurationState` that lists its interfaces.
pub(crate) const INTERFACES: &str = "herald.io/interfaces";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slim_service(spec: &Value, status: &Value) -> slim::Service {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": spec,
            "status": status,
        }))
        .expect("valid")
    }

    fn ingress(entries: &Value) -> Value {
        json!({ "loadBalancer": { "ingress": entries } })
    }

    #[test]
    fn type_and_class_decide_whose_a_service_is() {
        let cases = [
            (json!({ "type": "LoadBalancer" }), "", true),
            (json!({ "type": "LoadBalancer" }), "mine", false),
            (
                json!({ "type": "LoadBalancer", "loadBalancerClass": "mine" }),
                "",
                false,
            ),
            (
                json!({ "type": "LoadBalancer", "loadBalancerClass": "mine" }),
                "mine",
                true,
            ),
            (json!({ "type": "ClusterIP" }), "", false),
            (json!({}), "", false),
        ];
        for (spec, class, ours) in cases {
            let object = slim_service(&spec, &json!({}));
            assert_eq!(service(&object, class).is_some(), ours, "{spec} {class:?}");
        }
    }

    #[test]
    fn addresses_keep_their_order_and_a_hostname_withdraws_all() {
        let spec = json!({ "type": "LoadBalancer" });
        let two = ingress(&json!([{ "ip": "2001:db8::1" }, { "ip": "192.0.2.1" }]));
        let facts = service(&slim_service(&spec, &two), "").expect("ours");
        let text: Vec<_> = facts
            .service
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(text, ["2001:db8::1", "192.0.2.1"]);
        for entry in [
            json!({ "hostname": "lb.example" }),
            json!({ "ip": "192.0.2.300" }),
        ] {
            let status = ingress(&json!([{ "ip": "192.0.2.1" }, entry]));
            let facts = service(&slim_service(&spec, &status), "").expect("ours");
            assert!(facts.service.addresses.is_empty(), "{entry}");
        }
    }

    #[test]
    fn sharing_is_allowed_by_the_presence_of_either_annotation() {
        for annotation in SHARING {
            let mut object = slim_service(&json!({ "type": "LoadBalancer" }), &json!({}));
            object.metadata.annotations = Some([(annotation.to_owned(), String::new())].into());
            assert!(service(&object, "").expect("ours").service.allows_sharing);
        }
    }

    #[test]
    fn absent_conditions_count_as_ready() {
        let object: slim::EndpointSlice = serde_json::from_value(json!({
            "metadata": {
                "name": "web-1", "namespace": "shop",
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["10.0.0.1"], "nodeName": "n1" },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false } },
                { "addresses": ["10.0.0.3"], "nodeName": "n1",
                  "conditions": { "ready": false, "serving": true, "terminating": true } },
            ],
        }))
        .expect("valid");
        let (key, endpoints) = slice(&object, &"n2".into()).expect("labelled");
        assert_eq!(key.to_string(), "shop/web");
        let flags: Vec<_> = endpoints
            .iter()
            .map(|e| (e.ready, e.serving, e.terminating, e.addresses.len()))
            .collect();
        assert_eq!(
            flags,
            [
                (true, true, false, 0),
                (false, false, false, 1),
                (false, true, true, 0)
            ]
        );
    }

    #[test]
    fn own_endpoints_can_be_told_apart() {
        let object: slim::EndpointSlice = serde_json::from_value(json!({
            "metadata": {
                "name": "web-1", "namespace": "shop",
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["10.0.0.1"], "nodeName": "n1" },
                { "addresses": ["10.0.0.2"], "nodeName": "n2" },
            ],
        }))
        .expect("valid");
        let (_, endpoints) = slice(&object, &"n1".into()).expect("labelled");
        let known: Vec<_> = endpoints.iter().map(|e| e.addresses.len()).collect();
        assert_eq!(known, [1, 0]);
    }

    #[test]
    fn a_node_is_excluded_by_its_label_unless_that_is_ignored() {
        let object: slim::Node = serde_json::from_value(json!({
            "metadata": { "name": "n1", "labels": { LABEL_EXCLUDE_NODE: "" } },
            "spec": { "podCIDRs": ["10.244.1.0/24", "junk"] },
            "status": {
                "conditions": [{ "type": "NetworkUnavailable", "status": "True" }],
                "addresses": [
                    { "type": "Hostname", "address": "n1" },
                    { "type": "ExternalIP", "address": "192.0.2.1" },
                    { "type": "InternalIP", "address": "2001:db8::11" },
                    { "type": "InternalIP", "address": "192.0.2.11" },
                ],
            },
        }))
        .expect("valid");
        let facts = node(&object, false);
        assert!(facts.excluded && facts.network_unavailable);
        assert_eq!((facts.addresses.len(), facts.pod_cidrs.len()), (3, 1));
        assert_eq!(facts.internal, Some([192, 0, 2, 11].into()));
        assert!(!node(&object, true).excluded);
    }

    #[test]
    fn a_node_is_drained_by_label_taint_or_shutdown_but_not_by_a_cordon() {
        let node_with = |labels: Value, spec: Value| {
            let metadata = json!({ "name": "n1", "labels": labels });
            let object = json!({ "metadata": metadata, "spec": spec });
            let facts = node(&serde_json::from_value(object).expect("valid"), false);
            (facts.draining, facts.out_of_service)
        };
        let tainted = |key: &str| {
            let taint = json!({ "key": key, "effect": "NoSchedule" });
            node_with(json!({}), json!({ "taints": [taint] }))
        };
        let label = json!({ "herald.io/drain": "" });
        assert_eq!(node_with(label, json!({})), (true, false));
        for taint in [
            "herald.io/drain",
            "ToBeDeletedByClusterAutoscaler",
            "karpenter.sh/disrupted",
        ] {
            assert_eq!(tainted(taint), (true, false), "{taint}");
        }
        // This one is over when the node is back.
        let switched_off: slim::Node = serde_json::from_value(json!({
            "metadata": { "name": "n1" },
            "spec": { "taints": [{ "key": "node.cloudprovider.kubernetes.io/shutdown" }] },
        }))
        .expect("valid");
        let facts = node(&switched_off, false);
        assert!(facts.shutting_down && !facts.draining);
        assert_eq!(tainted("node.kubernetes.io/out-of-service"), (false, true));
        for taint in [
            "node.kubernetes.io/unschedulable",
            "node.kubernetes.io/not-ready",
        ] {
            assert_eq!(tainted(taint), (false, false), "{taint}");
        }
        let said = |status: &str, message: &str| {
            let ready = json!({ "type": "Ready", "status": status, "message": message });
            let object = json!({
                "metadata": { "name": "n1" }, "status": { "conditions": [ready] },
            });
            let facts = node(&serde_json::from_value(object).expect("valid"), false);
            assert!(!facts.draining);
            facts.shutting_down
        };
        assert!(said(
            "False",
            "[container runtime is down, node is shutting down]"
        ));
        assert!(!said("False", "container runtime is down"));
        assert!(!said("True", "kubelet is posting ready status"));
        let cordoned = json!({ "unschedulable": true });
        assert_eq!(node_with(json!({}), cordoned), (false, false));
    }

    #[test]
    fn a_service_says_by_annotation_whether_its_addresses_go_back() {
        let said = |value: &str| {
            let mut object = slim_service(&json!({ "type": "LoadBalancer" }), &json!({}));
            let annotation = ("herald.io/failback".to_owned(), value.to_owned());
            object.metadata.annotations = Some([annotation].into());
            service(&object, "").expect("ours").service.failback
        };
        assert_eq!(said("sticky"), Some(Failback::Sticky));
        assert_eq!(said("revertive"), Some(Failback::Revertive));
        assert_eq!(said("never"), None);
    }

    #[test]
    fn interfaces_are_separated_by_commas() {
        assert_eq!(
            interfaces("eth0, eth1,"),
            ["eth0".to_owned(), "eth1".to_owned()].into()
        );
        assert!(interfaces("").is_empty());
        let odd: BTreeSet<_> = ["a,b", "c", "d%2C", "%"].map(str::to_owned).into();
        assert_eq!(interfaces_text(&odd), "%25,a%2Cb,c,d%252C");
        assert_eq!(interfaces(&interfaces_text(&odd)), odd);
    }
}
