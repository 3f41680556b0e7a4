//! Core objects cut down to the fields that Herald reads.
//!
//! A cluster has thousands of Services and slices, and both daemons keep all of them in memory, so
//! what nobody reads is not even parsed. `metadata` is [`ObjectMeta`] because kube's stores ask for
//! it; [`trim`] takes away what is large there and not needed.
//!
//! Every field may be absent. To keep one malformed object from stopping a watch, watch
//! [`kube::core::DeserializeGuard`]`<Service>` rather than `Service`.

use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as corev1;
use k8s_openapi::api::discovery::v1 as discoveryv1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};

use herald_model::Labels;

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "corev1::Service")]
pub struct Service {
    /// Name, namespace, labels, annotations, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the user wants.
    #[serde(default)]
    pub spec: ServiceSpec,
    /// What it has.
    #[serde(default)]
    pub status: ServiceStatus,
}

/// `Service.spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `LoadBalancer` for those that are ours.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Whose load balancer it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// A requested address.
    #[serde(rename = "loadBalancerIP", skip_serializing_if = "Option::is_none")]
    pub load_balancer_ip: Option<String>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<String>,
    /// `IPv4`, `IPv6`, the primary first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_families: Option<Vec<String>>,
    /// The first cluster IP, or `None` as text for a headless Service.
    #[serde(rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// The cluster IPs, one for each family.
    #[serde(rename = "clusterIPs", skip_serializing_if = "Option::is_none")]
    pub cluster_ips: Option<Vec<String>>,
    /// The ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<ServicePort>>,
    /// `Cluster` or `Local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<String>,
    /// The labels of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Labels>,
    /// Endpoints serve whether ready or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_not_ready_addresses: Option<bool>,
}

/// An entry of `Service.spec.ports`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// The name of the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`; absent means TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// `Service.status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// The addresses.
    pub load_balancer: LoadBalancerStatus,
    /// Conditions of all controllers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// `Service.status.loadBalancer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// The addresses, or names, of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<LoadBalancerIngress>>,
}

/// An entry of `Service.status.loadBalancer.ingress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    /// An address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// A name; never written by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `VIP` or `Proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_mode: Option<String>,
}

/// An `EndpointSlice`.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "discoveryv1::EndpointSlice")]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name, namespace, labels, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default)]
    pub address_type: String,
    /// The endpoints; null in the API means none.
    #[serde(default)]
    pub endpoints: Option<Vec<Endpoint>>,
}

impl EndpointSlice {
    /// The label that says which Service of the namespace the slice belongs to.
    pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

    /// The name of the Service that the slice belongs to.
    pub fn service_name(&self) -> Option<&str> {
        let labels = self.metadata.labels.as_ref()?;
        labels.get(Self::SERVICE_LABEL).map(String::as_str)
    }
}

/// An entry of `EndpointSlice.endpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// The addresses of the endpoint.
    pub addresses: Vec<String>,
    /// How it is.
    pub conditions: EndpointConditions,
    /// The node it runs on, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// What it is, usually a Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// `EndpointSlice.endpoints[].targetRef`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// The kind of the object, usually `Pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// `EndpointSlice.endpoints[].conditions` as written; see compat.md 2.4 for absent ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Ready for traffic; absent counts as true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Answers, perhaps while it terminates; absent counts as `ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// On its way out; absent counts as false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "corev1::Node")]
pub struct Node {
    /// Name, labels, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it was given.
    #[serde(default)]
    pub spec: NodeSpec,
    /// How it is.
    #[serde(default)]
    pub status: NodeStatus,
}

impl Node {
    /// True if the node's condition `type_` has the status `True`.
    pub fn has_condition(&self, type_: &str) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
    }

    /// True if the node's kubelet has not been heard for some time (40 s by default), so that nobody
    /// knows how the node is.
    pub fn is_unheard(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
    }

    /// True if the kubelet says that it is about to switch the node off: graceful node shutdown has
    /// no other sign than the text of the condition `Ready`.
    pub fn is_shutting_down(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.any(|condition| {
            condition.type_ == "Ready"
                && condition.status != "True"
                && condition.message.contains("node is shutting down")
        })
    }

    /// True if the node has a taint with this key, whatever its value and effect.
    pub fn has_taint(&self, key: &str) -> bool {
        let mut taints = self.spec.taints.iter().flatten();
        taints.any(|taint| taint.key == key)
    }
}

/// `Node.spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The prefixes of the Pods on the node.
    #[serde(rename = "podCIDRs", skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<Vec<String>>,
    /// The taints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
}

/// An entry of `Node.spec.taints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// What it is about.
    pub key: String,
}

/// `Node.status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// The conditions without their times, which change with every heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<NodeCondition>>,
    /// The addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<NodeAddress>>,
}

/// An entry of `Node.status.conditions` or `Pod.status.conditions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeCondition {
    /// `Ready`, `NetworkUnavailable` and others.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An entry of `Node.status.addresses`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname` and others.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub address: String,
}

/// A Pod, as far as it says whether it lives.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "corev1::Pod")]
pub struct Pod {
    /// Name, namespace, UID, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// How it is.
    #[serde(default)]
    pub status: PodStatus,
}

impl Pod {
    /// True if it says that it is not ready, or somebody says so because its node is silent. One that
    /// says nothing may be.
    pub fn is_not_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status != "True")
    }
}

/// `Pod.status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// The conditions without their times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<NodeCondition>>,
}

/// A Namespace.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "corev1::Namespace")]
pub struct Namespace {
    /// Name, labels, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

/// A Secret, of which nothing but a password is kept.
#[derive(Debug, Clone, Default, PartialEq, Resource, Serialize, Deserialize)]
#[resource(inherit = "corev1::Secret")]
pub struct Secret {
    /// Name, namespace, versions.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is in it, such as [`BASIC_AUTH`](Self::BASIC_AUTH).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// The keys that Herald reads; null in the API means none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub data: SecretData,
}

impl Secret {
    /// The type of those that hold a user name and a password.
    pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
}

/// `Secret.data`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretData {
    /// The password, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretValue>,
}

/// What nobody may read in a log: `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretValue(pub ByteString);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Drops what is large in the metadata of a watched object and read by nobody: managed fields, and
/// the copy of the whole object that `kubectl apply` leaves in an annotation. Owner references and
/// the self link go as well.
///
/// For `WatchStreamExt::modify`, before the object is stored. An object so trimmed must not be
/// written back whole.
pub fn trim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    metadata.self_link = None;
    metadata.owner_references = None;
    metadata.generate_name = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_object_is_read() {
        let service: Service = serde_json::from_value(json!({})).expect("tolerant");
        assert_eq!(service, Service::default());
        let service: Service =
            serde_json::from_value(json!({ "status": { "loadBalancer": {} } })).expect("tolerant");
        assert_eq!(service, Service::default());
        let slice: EndpointSlice =
            serde_json::from_value(json!({ "endpoints": null })).expect("tolerant");
        assert_eq!(slice, EndpointSlice::default());
        let node: Node = serde_json::from_value(json!({ "spec": {} })).expect("tolerant");
        assert_eq!(node, Node::default());
    }

    #[test]
    fn the_fields_of_a_service_have_the_names_of_the_api() {
        let object = json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": {
                "type": "LoadBalancer",
                "loadBalancerClass": "example.com/lb",
                "loadBalancerIP": "192.0.2.1",
                "ipFamilyPolicy": "SingleStack",
                "ipFamilies": ["IPv4"],
                "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
                "externalTrafficPolicy": "Local",
                "selector": { "app": "web" },
                "publishNotReadyAddresses": true,
            },
            "status": {
                "loadBalancer": { "ingress": [{ "ip": "192.0.2.1", "ipMode": "VIP" }] },
                "conditions": [{
                    "type": "herald.io/AddressAssigned", "status": "True", "reason": "Assigned",
                    "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z",
                }],
            },
        });
        let service: Service = serde_json::from_value(object.clone()).expect("valid");
        let written = serde_json::to_value(&service).expect("plain");
        assert_eq!(written, object);
    }

    #[test]
    fn taints_are_found_by_key() {
        let node: Node = serde_json::from_value(json!({
            "spec": { "taints": [
                { "key": "a/b", "effect": "NoSchedule", "timeAdded": "2026-01-02T03:04:05Z" },
                { "key": "c", "value": "d", "effect": "NoExecute" },
            ] },
        }))
        .expect("valid");
        assert!(node.has_taint("a/b") && node.has_taint("c"));
        assert!(!node.has_taint("b") && !node.has_taint("d"));
        assert!(!Node::default().has_taint("a/b"));
    }

    #[test]
    fn of_a_secret_only_the_password_is_kept_and_never_shown() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "router", "namespace": "metallb-system" },
            "type": "kubernetes.io/basic-auth",
            "data": { "username": "bWU=", "password": "aHVudGVyMg==" },
        }))
        .expect("valid");
        let password = secret.data.password.as_ref().expect("it has one");
        assert_eq!(password.0.0, b"hunter2");
        let shown = format!("{secret:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
        let empty: Secret = serde_json::from_value(json!({ "data": null })).expect("tolerant");
        assert_eq!(empty, Secret::default());
    }

    #[test]
    fn a_malformed_object_keeps_its_name_behind_the_guard() {
        let object = json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "ports": "eighty" },
        });
        let guard: DeserializeGuard<Service> = serde_json::from_value(object).expect("guarded");
        assert_eq!(guard.meta().name.as_deref(), Some("web"));
        assert!(guard.0.is_err());
    }

    #[test]
    fn trimming_leaves_what_is_read() {
        let mut service: Service = serde_json::from_value(json!({
            "metadata": {
                "name": "web",
                "managedFields": [{ "manager": "kubectl" }],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "metallb.io/address-pool": "first",
                },
            },
        }))
        .expect("valid");
        trim(&mut service);
        let expected = json!({
            "name": "web",
            "annotations": { "metallb.io/address-pool": "first" },
        });
        let written = serde_json::to_value(&service.metadata).expect("plain");
        assert_eq!(written, expected);
    }
}
