use herald_api::kinds;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn object<K: DeserializeOwned>(name: &str, spec: &Value) -> K {
    let raw = json!({ "metadata": { "name": name, "namespace": "herald-system" }, "spec": spec });
    serde_json::from_value(raw).expect("an object")
}

fn pool(addresses: &[&str]) -> kinds::IPAddressPool {
    object("p", &json!({ "addresses": addresses }))
}

fn service(name: &str, address: &str) -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
    }))
    .expect("a Service")
}

/// A pool that is announced by an advertisement of each protocol, on two nodes.
fn stored(l2: &Value, bgp: Option<&Value>) -> Resources {
    let mut stored = Resources::default();
    stored.pools.apply(pool(&["192.0.2.0/28"]));
    stored.l2_advertisements.apply(object("l2", l2));
    if let Some(bgp) = bgp {
        stored.bgp_advertisements.apply(object("bgp", bgp));
        let peer = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1",
                           "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] });
        stored.bgp_peers.apply(object("r", &peer));
    }
    for rack in ["a", "b"] {
        let labels = [("rack".to_owned(), rack.to_owned())];
        stored.nodes.insert(format!("n{rack}"), labels.into());
    }
    stored
}

fn update(old: Object, new: Object) -> Change {
    let (old, new) = (Box::new(old), Box::new(new));
    Change::Update { old, new }
}

fn pool_update(new: kinds::IPAddressPool) -> Change {
    update(Object::Pool(pool(&["192.0.2.0/28"])), Object::Pool(new))
}

fn verdict(change: &Change, stored: &Resources, services: &[Service]) -> Verdict {
    let mut verdict = Verdict::default();
    Effects::of(change, stored, services, "").add_to(&mut verdict, change.object());
    verdict
}

#[test]
fn a_pool_that_keeps_the_addresses_in_use_may_change() {
    let services = [service("a", "192.0.2.3"), service("b", "192.0.2.4")];
    for addresses in [
        &["192.0.2.0/29"][..],
        &["192.0.2.0/24"],
        &["192.0.2.3-192.0.2.4"],
    ] {
        let change = pool_update(pool(addresses));
        let verdict = verdict(&change, &stored(&json!({}), None), &services);
        assert_eq!(verdict, Verdict::default(), "{addresses:?}");
    }
}

#[test]
fn a_pool_that_takes_addresses_from_services_is_refused_unless_that_is_confirmed() {
    let services: Vec<_> = (0..5)
        .map(|number| service(&format!("s{number}"), &format!("192.0.2.{}", number + 6)))
        .collect();
    let mut smaller = pool(&["192.0.2.0/29"]);
    let stored = stored(&json!({}), None);
    let refused = verdict(&pool_update(smaller.clone()), &stored, &services);
    assert_eq!(
        refused.errors,
        [
            "IPAddressPool \"p\": this takes the address from 3 Services: default/s2 (192.0.2.8), \
          default/s3 (192.0.2.9), default/s4 (192.0.2.10); to do it all the same, set the annotation \
          herald.io/allow-address-loss: \"true\" on the IPAddressPool"
        ]
    );
    assert!(refused.warnings.is_empty());

    let confirmed = [(ALLOW_ADDRESS_LOSS.to_owned(), "true".to_owned())];
    smaller.metadata.annotations = Some(confirmed.into());
    let warned = verdict(&pool_update(smaller), &stored, &services);
    assert!(warned.errors.is_empty());
    assert!(warned.warnings[0].contains("from 3 Services"), "{warned:?}");

    let gone = verdict(
        &Change::Delete(Object::Pool(pool(&["192.0.2.0/28"]))),
        &stored,
        &services,
    );
    assert!(
        gone.errors[0].contains("from 5 Services: default/s0"),
        "{gone:?}"
    );
    assert!(
        gone.errors[0].contains("default/s2 (192.0.2.8) and 2 more;"),
        "{gone:?}"
    );
}

#[test]
fn who_may_use_a_pool_counts_as_much_as_what_it_has() {
    let services = [service("a", "192.0.2.3")];
    let stored = stored(&json!({}), None);
    let narrowed = object(
        "p",
        &json!({ "addresses": ["192.0.2.0/28"], "serviceAllocation": { "namespaces": ["other"] } }),
    );
    let refused = verdict(&pool_update(narrowed), &stored, &services);
    assert!(
        refused.errors[0].contains("the Service default/a (192.0.2.3)"),
        "{refused:?}"
    );
    let not_automatic = object(
        "p",
        &json!({ "addresses": ["192.0.2.0/28"], "autoAssign": false }),
    );
    let kept = verdict(&pool_update(not_automatic), &stored, &services);
    assert_eq!(kept, Verdict::default());
}

#[test]
fn services_of_other_classes_and_without_addresses_do_not_count() {
    let mut other = service("a", "192.0.2.9");
    other.spec.load_balancer_class = Some("other".to_owned());
    let mut waiting = service("b", "192.0.2.9");
    waiting.status = herald_api::slim::ServiceStatus::default();
    let foreign = service("c", "203.0.113.1");
    let change = pool_update(pool(&["192.0.2.0/29"]));
    let verdict = verdict(
        &change,
        &stored(&json!({}), None),
        &[other, waiting, foreign],
    );
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn an_address_that_moves_to_another_pool_is_not_lost() {
    let mut stored = stored(&json!({}), None);
    stored
        .pools
        .apply(object("q", &json!({ "addresses": ["192.0.2.128/28"] })));
    let split = pool_update(pool(&["192.0.2.0/29"]));
    let services = [service("a", "192.0.2.9")];
    assert!(!verdict(&split, &stored, &services).errors.is_empty());
    stored
        .pools
        .apply(object("q", &json!({ "addresses": ["192.0.2.8/29"] })));
    // Both are stored while one takes over from the other: the second is not in force yet.
    assert_eq!(verdict(&split, &stored, &services), Verdict::default());
}

#[test]
fn a_selector_that_leaves_a_service_with_no_announcer_is_warned_of() {
    let services = [service("a", "192.0.2.3"), service("b", "192.0.2.4")];
    let everywhere = json!({});
    let l2 = |spec: &Value| Object::L2Advertisement(object("l2", spec));
    let silent = |stored: &Resources, change: &Change| {
        let verdict = verdict(change, stored, &services);
        assert!(verdict.errors.is_empty(), "{verdict:?}");
        verdict.warnings
    };
    for (spec, expected) in [
        (
            json!({ "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] }),
            None,
        ),
        (
            json!({ "nodeSelectors": [{ "matchLabels": { "rack": "c" } }] }),
            Some("2 Services: default/a (192.0.2.3), default/b (192.0.2.4) with no announcer"),
        ),
        (
            json!({ "serviceSelectors": [{ "matchLabels": { "app": "a" } }] }),
            Some("the Service default/b (192.0.2.4) with no announcer"),
        ),
        (json!({ "ipAddressPools": ["other"] }), Some("2 Services")),
    ] {
        let change = update(l2(&everywhere), l2(&spec));
        let told = silent(&stored(&everywhere, None), &change);
        match expected {
            Some(expected) => assert!(told[0].contains(expected), "{spec}: {told:?}"),
            None => assert!(told.is_empty(), "{spec}: {told:?}"),
        }
        // With BGP the addresses are announced still.
        let told = silent(&stored(&everywhere, Some(&json!({}))), &change);
        assert!(told.is_empty(), "{told:?}");
    }
    let gone = Change::Delete(l2(&everywhere));
    assert!(silent(&stored(&everywhere, None), &gone)[0].contains("2 Services"));
}

#[test]
fn bgp_needs_a_peer_on_a_node_of_the_advertisement() {
    let services = [service("a", "192.0.2.3")];
    let nowhere = json!({ "ipAddressPools": ["other"] });
    let bgp = |spec: &Value| Object::BgpAdvertisement(object("bgp", spec));
    let stored = stored(&nowhere, Some(&json!({})));
    for (spec, told) in [
        (json!({ "peers": ["r"] }), false),
        (json!({ "peers": ["other"] }), true),
        (
            json!({ "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] }),
            false,
        ),
        (
            json!({ "nodeSelectors": [{ "matchLabels": { "rack": "b" } }] }),
            true,
        ),
    ] {
        let change = update(bgp(&json!({})), bgp(&spec));
        let verdict = verdict(&change, &stored, &services);
        assert_eq!(!verdict.warnings.is_empty(), told, "{spec}: {verdict:?}");
    }
    let mut peers = stored.bgp_peers.iter();
    let (_, peer) = peers.next().expect("one");
    let gone = Object::BgpPeer(Box::new(peer.expect("readable").clone()));
    let verdict = verdict(&Change::Delete(gone), &stored, &services);
    assert!(verdict.warnings[0].contains("BGPPeer \"r\": this leaves the Service default/a"));
}

#[test]
fn a_peer_whose_password_is_in_a_secret_is_one_like_others() {
    let services = [service("a", "192.0.2.3")];
    let mut stored = stored(&json!({ "ipAddressPools": ["other"] }), Some(&json!({})));
    let peer = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1",
                       "passwordSecret": { "name": "s" } });
    let peer: kinds::BGPPeer = object("r", &peer);
    stored.bgp_peers.apply(peer.clone());
    let all = Object::BgpAdvertisement(object("bgp", &json!({})));
    let none = Object::BgpAdvertisement(object("bgp", &json!({ "peers": ["other"] })));
    for change in [
        update(all, none),
        Change::Delete(Object::BgpPeer(Box::new(peer.clone()))),
    ] {
        let told = verdict(&change, &stored, &services).warnings;
        assert!(told[0].contains("the Service default/a (192.0.2.3) with no announcer"));
    }
    // Another Secret is as good, although nothing is known of it.
    let mut other = peer.clone();
    other.spec.password_secret = Some(kinds::SecretReference {
        name: "t".to_owned(),
        ..kinds::SecretReference::default()
    });
    let change = update(
        Object::BgpPeer(Box::new(peer)),
        Object::BgpPeer(Box::new(other)),
    );
    assert_eq!(verdict(&change, &stored, &services), Verdict::default());
}
