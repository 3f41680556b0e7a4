//! The routers' configurations and the peers that lead to them.

use std::fmt::Write as _;

use herald_interop::Config;
use herald_lab::{Lab, NAMESPACE};
use serde_json::{Value, json};

/// The autonomous system of the nodes, and of BIRD.
pub const OWN_AS: u32 = 65001;
/// The autonomous system of FRR.
pub const FRR_AS: u32 = 65100;

/// FRR's address on the LAN.
pub const FRR: &str = "192.168.0.1";
/// BIRD's addresses on the LAN.
pub const BIRD: [&str; 2] = ["192.168.0.2", "fd10::2"];

/// FRR with a session for each node, which the node begins, and which carries both families. BFD
/// watches it if the node asks for that.
pub fn frr(lab: &Lab, password: Option<&str>) -> Config {
    let mut bgpd = format!(
        "bgp community-list standard GSHUT seq 5 permit 65535:0\n\
         route-map IN permit 10\n match community GSHUT\n set local-preference 0\n\
         route-map IN permit 20\n\
         route-map OUT deny 10\n\
         router bgp {FRR_AS}\n bgp router-id {FRR}\n bgp bestpath as-path multipath-relax\n \
         bgp graceful-restart\n no bgp default ipv4-unicast\n"
    );
    let peers = lab.nodes().iter().map(|node| node.lan.v4);
    for peer in peers.clone() {
        // Writing to a text cannot fail.
        let _ = write!(
            bgpd,
            " neighbor {peer} remote-as {OWN_AS}\n neighbor {peer} passive\n \
             neighbor {peer} bfd\n neighbor {peer} bfd profile fast\n"
        );
        if let Some(password) = password {
            let _ = writeln!(bgpd, " neighbor {peer} password {password}");
        }
    }
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(bgpd, " address-family {family} unicast\n  maximum-paths 16");
        for peer in peers.clone() {
            let _ = write!(
                bgpd,
                "  neighbor {peer} activate\n  neighbor {peer} route-map IN in\n  \
                 neighbor {peer} route-map OUT out\n"
            );
        }
        bgpd.push_str(" exit-address-family\n");
    }
    Config::frr(bgpd)
}

/// BIRD in the nodes' own autonomous system, with two sessions for each node, one of each family.
pub fn bird(lab: &Lab) -> Config {
    let mut text = format!(
        "router id {};\nlog stderr all;\nprotocol device {{}}\n\
         protocol kernel {{ ipv4 {{ export all; }}; merge paths on limit 16; }}\n\
         protocol kernel {{ ipv6 {{ export all; }}; merge paths on limit 16; }}\n\
         protocol bfd {{ interface \"lan0\" {{ min rx interval 50 ms; min tx interval 50 ms;\n  \
         multiplier 3; }}; }}\n\
         template bgp node {{ local as {OWN_AS}; direct; passive on; bfd on;\n  \
         error wait time 1, 2; }}\n",
        BIRD[0],
    );
    for node in lab.nodes() {
        let (name, [v4, v6]) = (&node.name, node.lan.both());
        let _ = write!(
            text,
            "protocol bgp {name}v4 from node {{ neighbor {v4} as {OWN_AS};\n  \
             ipv4 {{ import all; export none; }}; }}\n\
             protocol bgp {name}v6 from node {{ neighbor {v6} as {OWN_AS};\n  \
             ipv6 {{ import all; export none; }}; }}\n"
        );
    }
    Config::Bird(text)
}

/// The spec of a `BGPPeer` for [`frr`].
pub fn to_frr() -> Value {
    json!({
        "myASN": OWN_AS, "peerASN": FRR_AS, "peerAddress": FRR, "dualStackAddressFamily": true,
        "connectTime": "1s",
    })
}

/// The spec of a `BGPPeer` for one of the sessions of [`bird`].
pub fn to_bird(address: &str) -> Value {
    json!({"myASN": OWN_AS, "peerASN": OWN_AS, "peerAddress": address, "connectTime": "1s"})
}

/// An object with some fields more, or others.
#[must_use]
pub fn with(mut object: Value, fields: Value) -> Value {
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

/// A `BGPPeer` of this name and spec.
pub fn peer(name: &str, spec: Value) -> Value {
    object("v1beta2", "BGPPeer", name, spec)
}

/// A `BGPAdvertisement` of this name and spec.
pub fn advertisement(name: &str, spec: Value) -> Value {
    object("v1beta1", "BGPAdvertisement", name, spec)
}

/// An object of the group `metallb.io`.
pub fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
    });
    object["spec"] = spec;
    object
}

/// An object with these annotations.
#[must_use]
pub fn annotated(mut object: Value, annotations: Value) -> Value {
    object["metadata"]["annotations"] = annotations;
    object
}
