//! `BGPAdvertisement` (compat.md 1.3).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{is_zero, optional_spec};
use crate::schema;

/// Which pools are announced, by which nodes, to which peers, and with which attributes.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    status = "BGPAdvertisementStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Announces the addresses of pools to routers with BGP.",
    printcolumn(
        name = "IPAddressPools",
        type_ = "string",
        json_path = ".spec.ipAddressPools"
    ),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        priority = 10
    )
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(extend("x-kubernetes-validations" = [json!({
    "rule": "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 \
        || ((!has(self.aggregationLength) || self.aggregationLength == 32) \
        && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
    "message": "serviceSelectors and aggregationLength are mutually exclusive, can only be used \
        together with default aggregationLength (32) and aggregationLengthV6 (128)",
})]))]
pub struct BGPAdvertisementSpec {
    /// The prefix length that IPv4 addresses are summarised to.
    #[serde(default = "ipv4_host")]
    #[schemars(range(min = 1))]
    pub aggregation_length: i32,
    /// The prefix length that IPv6 addresses are summarised to.
    #[serde(default = "ipv6_host", rename = "aggregationLengthV6")]
    pub aggregation_length_v6: i32,
    /// The attribute LOCAL_PREF, which goes to peers in the own autonomous system.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub local_pref: u32,
    /// Communities of the routes: 65535:65281, large:1:2:3, or an alias from a Community.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// Names of pools to announce. Without names and without ipAddressPoolSelectors all pools are
    /// announced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pools: Vec<String>,
    /// Labels of pools to announce, beside those in ipAddressPools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Labels of nodes that announce; a node must match one of them. Empty means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Labels of Services to announce; a Service must match one of them. Empty means all Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Names of the BGPPeers to announce to. Empty means all peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

optional_spec!(BGPAdvertisementSpec);

impl Default for BGPAdvertisementSpec {
    fn default() -> Self {
        Self {
            aggregation_length: ipv4_host(),
            aggregation_length_v6: ipv6_host(),
            local_pref: 0,
            communities: Vec::new(),
            ip_address_pools: Vec::new(),
            ip_address_pool_selectors: Vec::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
            peers: Vec::new(),
        }
    }
}

/// Nothing yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BGPAdvertisementStatus {}

fn ipv4_host() -> i32 {
    32
}

fn ipv6_host() -> i32 {
    128
}
