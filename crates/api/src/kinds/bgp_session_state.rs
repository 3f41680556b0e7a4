//! `BGPSessionState`, of frr-k8s (compat.md 5.3): tools made for it read how sessions are from it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optional_spec;

/// Empty: the object only reports.
#[derive(
    CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "BGPSessionState",
    plural = "bgpsessionstates",
    namespaced,
    status = "BGPSessionStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Says how the session of a node with a router is.",
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Peer", type_ = "string", json_path = ".status.peer"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".status.vrf"),
    printcolumn(name = "BGP", type_ = "string", json_path = ".status.bgpStatus"),
    printcolumn(name = "BFD", type_ = "string", json_path = ".status.bfdStatus")
)]
#[serde(remote = "Self")]
pub struct BGPSessionStateSpec {}

optional_spec!(BGPSessionStateSpec);

/// How a session is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPSessionStateStatus {
    /// Established, or Active while there is no session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bgp_status: String,
    /// up, down, or N/A if the path is not watched by BFD.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bfd_status: String,
    /// The node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The address of the router; an IPv6 one in full length with dashes for colons.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// The VRF that the session is in; empty if in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// Why there is no session; empty if there is one. Not in frr-k8s's own objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
