use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kinds::bgp_peer_v1beta1;
use crate::kinds::{BGPPeer, BGPPeerSpec};

fn old(spec: &Value) -> Value {
    json!({ "apiVersion": OLD, "kind": KIND, "metadata": { "name": "r" }, "spec": spec })
}

fn new(spec: &Value) -> Value {
    json!({ "apiVersion": NEW, "kind": KIND, "metadata": { "name": "r" }, "spec": spec })
}

#[test]
fn what_both_can_say_is_the_same_in_both() {
    let spec = json!({
        "myASN": 1, "peerASN": 4_294_967_295_u32, "peerAddress": "192.0.2.1", "sourceAddress": "192.0.2.9",
        "peerPort": 1179, "holdTime": "9s", "keepaliveTime": "0s", "routerID": "192.0.2.7",
        "nodeSelectors": [{ "matchLabels": { "a": "b" }, "matchExpressions": [
            { "key": "k", "operator": "In", "values": ["v"] }] }],
        "password": "p", "bfdProfile": "f", "ebgpMultiHop": true,
    });
    assert_eq!(bgp_peer(old(&spec), NEW), Ok(new(&spec)));
    assert_eq!(bgp_peer(new(&spec), OLD), Ok(old(&spec)));
    assert_eq!(bgp_peer(new(&spec), NEW), Ok(new(&spec)));
}

#[test]
fn times_that_are_not_said_stay_unsaid_and_the_port_is_the_default() {
    for port in [json!({}), json!({ "peerPort": 0 })] {
        let mut spec = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" });
        if let Some(port) = port.get("peerPort") {
            spec["peerPort"] = port.clone();
        }
        let converted = bgp_peer(old(&spec), NEW).expect("possible");
        let expected =
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "peerPort": 179 });
        assert_eq!(converted, new(&expected));
    }
}

#[test]
fn what_only_the_new_version_can_say_goes_along() {
    let spec = json!({
        "myASN": 1, "dynamicASN": "external", "interface": "eth0", "peerPort": 179,
        "vrf": "red", "passwordSecret": { "name": "s" }, "connectTime": "10s", "localASN": 7,
        "enableGracefulRestart": true, "disableMP": false, "dualStackAddressFamily": true,
    });
    let there = bgp_peer(new(&spec), OLD).expect("possible");
    assert_eq!(
        there["spec"],
        json!({ "myASN": 1, "peerASN": 0, "peerAddress": "", "peerPort": 179 })
    );
    let typed: bgp_peer_v1beta1::BGPPeer =
        serde_json::from_value(there.clone()).expect("a peer of the old version");
    assert_eq!(typed.spec.peer_asn, 0);
    let back = bgp_peer(there.clone(), NEW).expect("possible");
    assert_eq!(back["metadata"], json!({ "name": "r" }));
    let (back, spec): (BGPPeerSpec, BGPPeerSpec) = (
        serde_json::from_value(back["spec"].clone()).expect("a peer"),
        serde_json::from_value(spec).expect("a peer"),
    );
    assert_eq!(back, spec);

    // A client of the old version changes what it knows, and adds an annotation of its own.
    let mut edited = there;
    edited["spec"]["bfdProfile"] = json!("f");
    edited["metadata"]["annotations"]["own"] = json!("x");
    let back = bgp_peer(edited, NEW).expect("possible");
    assert_eq!(back["spec"]["vrf"], "red");
    assert_eq!(back["spec"]["bfdProfile"], "f");
    assert_eq!(back["metadata"]["annotations"], json!({ "own": "x" }));
}

#[test]
fn nothing_but_the_spec_is_touched() {
    let mut peer = new(&json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" }));
    peer["metadata"] = json!({ "name": "r", "uid": "u", "managedFields": [{ "manager": "x" }],
        "annotations": { "a": "b" }, "labels": { "c": "d" } });
    peer["status"] = json!({ "established": "1/1", "conditions": [] });
    let there = bgp_peer(peer.clone(), OLD).expect("possible");
    assert_eq!(there["metadata"], peer["metadata"]);
    assert_eq!(there["status"], peer["status"]);
}

#[test]
fn what_cannot_be_converted_is_named() {
    let error = |object: Value, to: &str| bgp_peer(object, to).expect_err("impossible").to_string();
    assert!(error(json!({ "kind": "Pod" }), NEW).contains("\"Pod\""));
    assert!(error(json!(7), NEW).contains("cannot convert kind"));
    let text = error(old(&json!({})), "metallb.io/v1");
    assert!(
        text.contains("\"r\"") && text.contains("metallb.io/v1\""),
        "{text}"
    );
    assert!(error(old(&json!([])), NEW).contains("spec is not an object"));
    let mut peer = old(&json!({}));
    peer["metadata"] = json!("x");
    assert!(error(peer, NEW).contains("metadata is not an object"));
}

#[test]
fn an_annotation_that_says_nothing_or_too_much_does_no_harm() {
    for text in ["", "x", "[]", "{\"myASN\": 7, \"unknown\": 1}"] {
        let mut peer = old(&json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" }));
        peer["metadata"]["annotations"] = json!({ LEFT_OVER: text });
        let peer = bgp_peer(peer, NEW).expect("possible");
        let expected =
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "peerPort": 179 });
        assert_eq!(peer, new(&expected));
    }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9.:]{1,12}"]
}

fn selectors() -> impl Strategy<Value = Value> {
    let expression = ("[a-z]{1,4}", prop::collection::vec("[a-z]{1,3}", 1..3))
        .prop_map(|(key, values)| json!({ "key": key, "operator": "In", "values": values }));
    let labels = prop::collection::btree_map("[a-z]{1,4}", "[a-z]{0,3}", 1..3);
    let selector =
        (labels, prop::collection::vec(expression, 0..2)).prop_map(|(labels, expressions)| {
            let mut selector = json!({ "matchLabels": labels });
            if !expressions.is_empty() {
                selector["matchExpressions"] = json!(expressions);
            }
            selector
        });
    prop::collection::vec(selector, 0..3).prop_map(Value::from)
}

/// The fields that both versions have.
fn common() -> impl Strategy<Value = Value> {
    let numbers = (any::<u32>(), 1..=16384_u16, any::<bool>());
    let times = option::of((0..100_u32).prop_map(|seconds| format!("{seconds}s")));
    let texts = (words(), words(), words(), words());
    (numbers, times.clone(), times, texts, selectors()).prop_map(
        |((my, port, multi_hop), hold, keepalive, texts, selectors)| {
            let (source, id, password, profile) = texts;
            json!({
                "myASN": my, "peerPort": port, "ebgpMultiHop": multi_hop, "holdTime": hold,
                "keepaliveTime": keepalive, "sourceAddress": source, "routerID": id,
                "password": password, "bfdProfile": profile, "nodeSelectors": selectors,
            })
        },
    )
}

/// The fields of the new version that make it another than the old one.
fn new_spec() -> impl Strategy<Value = Value> {
    let numbers = (option::of(1..=u32::MAX), option::of(1..=u32::MAX));
    let dynamic = option::of(prop_oneof![Just("internal"), Just("external")]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let texts = (words(), words(), words());
    let connect = option::of((1..100_u32).prop_map(|seconds| format!("{seconds}s")));
    let secret = option::of(words().prop_map(|name| json!({ "name": name })));
    (common(), numbers, dynamic, flags, texts, connect, secret).prop_map(
        |(mut spec, (peer, local), dynamic, flags, texts, connect, secret)| {
            let (address, interface, vrf) = texts;
            for (field, value) in [
                ("peerASN", json!(peer)),
                ("localASN", json!(local)),
                ("dynamicASN", json!(dynamic)),
                ("enableGracefulRestart", json!(flags.0)),
                ("disableMP", json!(flags.1)),
                ("dualStackAddressFamily", json!(flags.2)),
                ("peerAddress", json!(address)),
                ("interface", json!(interface)),
                ("vrf", json!(vrf)),
                ("connectTime", json!(connect)),
                ("passwordSecret", json!(secret)),
            ] {
                spec[field] = value;
            }
            spec
        },
    )
}

proptest! {
    /// There and back a peer of the new version is what it was, and in between it is one of the old.
    #[test]
    fn the_new_version_survives_the_old(spec in new_spec()) {
        let peer: BGPPeer = serde_json::from_value(new(&spec)).expect("a peer");
        let written = serde_json::to_value(&peer).expect("plain");
        let there = bgp_peer(written, OLD).expect("possible");
        serde_json::from_value::<bgp_peer_v1beta1::BGPPeer>(there.clone()).expect("of the old version");
        let back = bgp_peer(there, NEW).expect("possible");
        prop_assert_eq!(serde_json::from_value::<BGPPeer>(back).expect("a peer"), peer);
    }

    #[test]
    fn the_old_version_survives_the_new(spec in common(), number: u32, address in words()) {
        let mut spec = spec;
        spec["peerASN"] = json!(number);
        spec["peerAddress"] = json!(address);
        let peer: bgp_peer_v1beta1::BGPPeer = serde_json::from_value(old(&spec)).expect("a peer");
        let written = serde_json::to_value(&peer).expect("plain");
        let there = bgp_peer(written, NEW).expect("possible");
        serde_json::from_value::<BGPPeer>(there.clone()).expect("of the new version");
        let back = bgp_peer(there, OLD).expect("possible");
        prop_assert_eq!(
            serde_json::from_value::<bgp_peer_v1beta1::BGPPeer>(back).expect("a peer"),
            peer
        );
    }
}
