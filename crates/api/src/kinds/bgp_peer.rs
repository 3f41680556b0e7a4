//! `BGPPeer` in the version that is stored, v1beta2 (compat.md 1.4).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::is_false;
use crate::{Duration, schema};

/// The router and the session with it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    storage = true,
    status = "BGPPeerStatus",
    derive = "PartialEq",
    doc = "A router that nodes have a BGP session with.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(
        name = "Multi Hops",
        type_ = "string",
        json_path = ".spec.ebgpMultiHop"
    ),
    printcolumn(
        name = "Established",
        type_ = "string",
        json_path = ".status.established"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// The number of the autonomous system on our side of the session.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub my_asn: u32,
    /// The number of the autonomous system on the peer's side of the session.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub peer_asn: Option<u32>,
    /// The number that the peer sees instead of myASN.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub local_asn: Option<u32>,
    /// Takes the peer's number from the session instead of peerASN: internal accepts only our own,
    /// external only others.
    #[serde(
        default,
        rename = "dynamicASN",
        skip_serializing_if = "Option::is_none"
    )]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The address of the peer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_address: String,
    /// The interface that the peer is on, for a session without configured addresses.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The own address of the session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// The port that the peer listens on.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1, max = 16384))]
    pub peer_port: u16,
    /// How long the session lives without a message from the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<Duration>,
    /// How often a message is sent to keep the session alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// How long to wait before a connection is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        json!({
            "rule": "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
            "message": "connect time should be between 1 seconds to 65535",
        }),
        json!({
            "rule": "duration(self).getMilliseconds() % 1000 == 0",
            "message": "connect time should contain a whole number of seconds",
        }),
    ]))]
    pub connect_time: Option<Duration>,
    /// The BGP identifier of the nodes in this session, written like an IPv4 address.
    #[serde(default, rename = "routerID", skip_serializing_if = "String::is_empty")]
    pub router_id: String,
    /// Labels of nodes that have the session; a node must match one of them. Empty means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// The password of the session (TCP MD5). Better kept in a Secret, see passwordSecret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// A Secret of type kubernetes.io/basic-auth with the password of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// The name of the BFDProfile that watches the path to the peer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// Keeps the routes at the peer while our side restarts. Cannot be changed later.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(extend("x-kubernetes-validations" = [json!({
        "rule": "self == oldSelf",
        "message": "EnableGracefulRestart cannot be changed after creation",
    })]))]
    pub enable_graceful_restart: bool,
    /// True if the peer of an eBGP session is more than one hop away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ebgp_multi_hop: bool,
    /// The VRF that the session is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// Deprecated and without effect.
    #[serde(default, rename = "disableMP")]
    pub disable_mp: bool,
    /// Announces both address families over the one session.
    #[serde(default)]
    pub dual_stack_address_family: bool,
}

/// What the number of the peer's autonomous system must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// The same as ours.
    Internal,
    /// Any other than ours.
    External,
}

/// A Secret by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// The name of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Without effect: the Secret is looked for in the namespace of the BGPPeer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// How the sessions of all nodes with the router are. Written by the controller from the
/// BGPSessionState objects of the speakers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BGPPeerStatus {
    /// How many nodes have a session that is up, of how many that are to have one: 2/3.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub established: String,
    /// The nodes, those without a session first; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<BGPPeerNode>,
    /// herald.io/Established is True if all sessions are up, False if not, Unknown if no node is to
    /// have one. herald.io/FastFailureDetection is True if routers drop a dead node's routes by BFD,
    /// False if that may take longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How the session of a node with the router is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BGPPeerNode {
    /// The name of the node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Established, Active while there is no session, Unknown while nothing is heard of the node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why there is no session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The port that BGP listens on (RFC 4271, section 8.2.1).
pub const DEFAULT_BGP_PORT: u16 = 179;

fn bgp_port() -> u16 {
    DEFAULT_BGP_PORT
}
