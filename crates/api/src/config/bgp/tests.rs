use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::*;
use crate::annotations::{
    BGP_AS_PATH_PREPEND, BGP_LINK_BANDWIDTH, BGP_LOCAL_HOST_ROUTES, BGP_MAX_NODES, BGP_MED,
};
use crate::config::tests::cases;
use crate::config::{Config, Configurator};
use crate::kinds;
use herald_announce::bgp::Peers;

#[test]
fn every_rule_finds_what_it_is_for_and_nothing_else() {
    cases::run(include_str!("cases.yaml"));
}

fn pool(name: &str, address: &str) -> kinds::IPAddressPool {
    let spec = serde_json::from_value(json!({ "addresses": [address] }));
    kinds::IPAddressPool::new(name, spec.expect("valid"))
}

fn advertisement(name: &str, spec: Value) -> kinds::BGPAdvertisement {
    kinds::BGPAdvertisement::new(name, serde_json::from_value(spec).expect("valid"))
}

/// A peer with the least that it needs and what `spec` adds.
fn peer(name: &str, spec: &Value) -> kinds::BGPPeer {
    let mut whole = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" });
    for (key, value) in spec.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    kinds::BGPPeer::new(name, serde_json::from_value(whole).expect("valid"))
}

fn configured(resources: &Resources) -> Config {
    let (config, problems) = Configurator::default().update(resources);
    assert_eq!(problems, []);
    config
}

#[test]
fn what_an_advertisement_says_is_what_is_announced() {
    let mut resources = Resources::default();
    resources.pools.apply(pool("p", "192.0.2.0/24"));
    let spec = json!({
        "aggregationLength": 26,
        "aggregationLengthV6": 64,
        "localPref": 200,
        "communities": ["tenant", "no-export", "65000:1"],
        "peers": ["tor-a", "tor-b"],
        "nodeSelectors": [{ "matchLabels": { "rack": "a" } }],
        "serviceSelectors": [{ "matchLabels": { "app": "web" } }],
    });
    let mut object = advertisement("a", spec);
    let said = [
        (BGP_MED, "20"),
        (BGP_AS_PATH_PREPEND, "3"),
        (BGP_LINK_BANDWIDTH, "true"),
        (BGP_LOCAL_HOST_ROUTES, "true"),
        (BGP_MAX_NODES, "2"),
    ];
    let said = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
    object.metadata.annotations = Some(said.into());
    resources.bgp_advertisements.apply(object);
    let names = json!({ "communities": [{ "name": "tenant", "value": "large:1:2:3" }] });
    let names = kinds::Community::new("c", serde_json::from_value(names).expect("valid"));
    resources.communities.apply(names);

    let config = configured(&resources);
    let [found] = config.bgp_advertisements_of("p") else {
        panic!("{config:?}");
    };
    let communities = found.communities.iter().map(ToString::to_string);
    assert_eq!(
        communities.collect::<Vec<_>>(),
        ["65000:1", "65535:65281", "large:1:2:3"]
    );
    let expected = Advertisement {
        name: "a".to_owned(),
        node_selectors: found.node_selectors.clone(),
        service_selectors: found.service_selectors.clone(),
        communities: found.communities.clone(),
        peers: Peers::Named(["tor-a".to_owned(), "tor-b".to_owned()].into()),
        aggregation_length: 26,
        aggregation_length_v6: 64,
        local_pref: Some(200),
        med: Some(20),
        prepend: 3,
        link_bandwidth: true,
        local_host_routes: true,
        max_nodes: NonZeroU32::new(2),
    };
    assert_eq!(*found, expected);
    assert_eq!(found.node_selectors.len(), 1);
    assert_eq!(found.service_selectors.len(), 1);
}

#[test]
fn an_advertisement_that_says_nothing_announces_hosts_to_everybody() {
    let mut resources = Resources::default();
    resources.pools.apply(pool("p", "192.0.2.0/24"));
    resources
        .bgp_advertisements
        .apply(advertisement("a", json!({})));
    let config = configured(&resources);
    let found = &config.bgp_advertisements_of("p")[0];
    let expected = Advertisement {
        name: "a".to_owned(),
        node_selectors: Vec::new(),
        service_selectors: Vec::new(),
        communities: [].into(),
        peers: Peers::All,
        aggregation_length: 32,
        aggregation_length_v6: 128,
        local_pref: None,
        med: None,
        prepend: 0,
        link_bandwidth: false,
        local_host_routes: false,
        max_nodes: None,
    };
    assert_eq!(*found, expected);
    assert_eq!(config.bgp_advertisements_of("q"), []);
}

#[test]
fn an_alias_comes_before_the_name_that_everybody_knows() {
    let mut resources = Resources::default();
    resources.pools.apply(pool("p", "192.0.2.0/24"));
    let names = json!({ "communities": [{ "name": "blackhole", "value": "65000:666" }] });
    let names = kinds::Community::new("c", serde_json::from_value(names).expect("valid"));
    resources.communities.apply(names);
    let object = advertisement("a", json!({ "communities": ["blackhole"] }));
    resources.bgp_advertisements.apply(object);
    let config = configured(&resources);
    let communities = &config.bgp_advertisements_of("p")[0].communities;
    let texts: Vec<_> = communities.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["65000:666"]);
}

#[test]
fn a_peer_without_more_has_the_defaults() {
    let mut resources = Resources::default();
    resources.bgp_peers.apply(peer("p", &json!({})));
    let config = configured(&resources);
    let found = &config.bgp_peers[0];
    assert_eq!(found.port, 179);
    assert_eq!(found.timers, Timers::default());
    assert_eq!(found.timers.connect.as_secs(), 10);
    assert_eq!(found.connection, Connection::Outbound);
    assert_eq!((found.ttl_security, &found.bfd), (None, &None));
    assert_eq!(found.password, None);
    assert!(!found.is_internal());
}

#[test]
fn only_what_was_agreed_on_needs_a_new_session() {
    let mut resources = Resources::default();
    for name in ["fast", "slow"] {
        let spec = kinds::BFDProfileSpec::default();
        resources
            .bfd_profiles
            .apply(kinds::BFDProfile::new(name, spec));
    }
    let mut configured = |spec: &Value| {
        resources.bgp_peers.apply(peer("p", spec));
        configured(&resources).bgp_peers.swap_remove(0)
    };
    let before = configured(&json!({ "bfdProfile": "fast", "password": "x" }));
    assert!(before.keeps_session(&before));
    for (kept, change) in [
        (true, json!({ "bfdProfile": "slow" })),
        (true, json!({ "password": "y" })),
        (true, json!({ "ebgpMultiHop": true })),
        (true, json!({ "connectTime": "3s" })),
        (true, json!({ "holdTime": "90s", "keepaliveTime": "5s" })),
        (
            true,
            json!({ "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] }),
        ),
        (false, json!({ "holdTime": "9s" })),
        (false, json!({ "myASN": 3 })),
        (false, json!({ "peerASN": 3 })),
        (false, json!({ "localASN": 3 })),
        (false, json!({ "peerAddress": "192.0.2.2" })),
        (false, json!({ "peerPort": 1179 })),
        (false, json!({ "sourceAddress": "192.0.2.7" })),
        (false, json!({ "routerID": "192.0.2.7" })),
        (false, json!({ "vrf": "red" })),
        (false, json!({ "enableGracefulRestart": true })),
        (false, json!({ "dualStackAddressFamily": true })),
    ] {
        let after = configured(&change);
        assert_eq!(before.keeps_session(&after), kept, "{change}");
        assert_eq!(after.keeps_session(&before), kept, "{change} undone");
    }
}

#[test]
fn a_peer_keeps_its_password_and_its_profile_when_their_objects_go() {
    let mut configurator = Configurator::default();
    let mut resources = Resources::default();
    let object = peer(
        "p",
        &json!({ "bfdProfile": "fast", "passwordSecret": { "name": "s" } }),
    );
    resources.bgp_peers.apply(object);
    let profile = json!({ "receiveInterval": 50 });
    let profile = kinds::BFDProfile::new("fast", serde_json::from_value(profile).expect("valid"));
    resources.bfd_profiles.apply(profile);
    let secret = |password: &[u8]| PasswordSecret::new("kubernetes.io/basic-auth", Some(password));
    let secrets = &mut resources.password_secrets;
    secrets.insert("s".to_owned(), secret(b"old"));
    let key = |config: &Config| {
        let password = config.bgp_peers[0].password.clone();
        password.map(|password| password.as_bytes().to_vec())
    };
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(key(&config).as_deref(), Some(&b"old"[..]));

    let secrets = &mut resources.password_secrets;
    secrets.insert("s".to_owned(), secret(b"new"));
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(key(&config).as_deref(), Some(&b"new"[..]));

    resources.password_secrets.clear();
    resources.bfd_profiles.remove("fast");
    let (kept, problems) = configurator.update(&resources);
    assert_eq!(kept, config);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].consequence, Consequence::LastGood);
}

#[test]
fn echo_is_off_where_it_is_not_possible() {
    let mut resources = Resources::default();
    let profile = json!({ "echoMode": true });
    let profile = kinds::BFDProfile::new("echo", serde_json::from_value(profile).expect("valid"));
    resources.bfd_profiles.apply(profile);
    resources
        .bgp_peers
        .apply(peer("p", &json!({ "bfdProfile": "echo" })));
    resources.pools.apply(pool("v4", "192.0.2.0/24"));
    resources
        .bgp_advertisements
        .apply(advertisement("a", json!({})));
    let echo = |config: &Config| {
        let bfd = config.bgp_peers[0].bfd.as_ref();
        bfd.map(|bfd| bfd.profile.echo_mode)
    };
    let mut configurator = Configurator::default();
    let (config, problems) = configurator.update(&resources);
    assert_eq!((echo(&config), problems), (Some(true), vec![]));

    resources.pools.apply(pool("v6", "2001:db8::/64"));
    let (config, problems) = configurator.update(&resources);
    assert_eq!(echo(&config), Some(false));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].consequence, Consequence::FieldIgnored);

    resources.pools.remove("v6");
    let (config, problems) = configurator.update(&resources);
    assert_eq!((echo(&config), problems), (Some(true), vec![]));
}

#[test]
fn a_conflict_harms_the_newcomer_only_and_ends_with_its_cause() {
    let mut configurator = Configurator::default();
    let mut resources = Resources::default();
    resources.pools.apply(pool("p", "192.0.2.0/24"));
    let old = advertisement("z", json!({ "localPref": 100 }));
    resources.bgp_advertisements.apply(old);
    let (first, _) = configurator.update(&resources);

    let new = advertisement("a", json!({ "localPref": 200 }));
    resources.bgp_advertisements.apply(new);
    let (config, problems) = configurator.update(&resources);
    assert_eq!(config, first);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].name.as_str(), problems[0].consequence),
        ("a", Consequence::Unused)
    );

    // The nodes become known, and no node has both.
    let rack = |name: &str, rack: &str| {
        let labels = [("rack".to_owned(), rack.to_owned())].into();
        (name.to_owned(), labels)
    };
    let selecting = |name: &str, preference: u32, rack: &str| {
        advertisement(
            name,
            json!({
                "localPref": preference,
                "nodeSelectors": [{ "matchLabels": { "rack": rack } }],
            }),
        )
    };
    resources.bgp_advertisements.apply(selecting("z", 100, "x"));
    resources.bgp_advertisements.apply(selecting("a", 200, "y"));
    resources.nodes = [rack("one", "x"), rack("two", "y")].into();
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(config.bgp_advertisements_of("p").len(), 2);
}

/// The API server hands an object of the old version out as one of the new, with the same fields.
#[test]
fn a_peer_of_the_old_version_means_what_it_meant() {
    use crate::kinds::bgp_peer_v1beta1::{BGPPeerSpec, MatchExpression, NodeSelector};

    let old = BGPPeerSpec {
        my_asn: 64512,
        peer_asn: 64513,
        peer_address: "192.0.2.1".to_owned(),
        source_address: "192.0.2.7".to_owned(),
        peer_port: Some(0),
        router_id: "192.0.2.9".to_owned(),
        node_selectors: vec![NodeSelector {
            match_labels: [("rack".to_owned(), "a".to_owned())].into(),
            match_expressions: vec![MatchExpression {
                key: "zone".to_owned(),
                operator: "In".to_owned(),
                values: vec!["x".to_owned(), "y".to_owned()],
            }],
        }],
        password: "hunter2".to_owned(),
        bfd_profile: "fast".to_owned(),
        ebgp_multi_hop: true,
        ..BGPPeerSpec::default()
    };
    let spec = serde_json::to_value(old).expect("plain");
    let object = kinds::BGPPeer::new("p", serde_json::from_value(spec).expect("the same fields"));
    let mut resources = Resources::default();
    resources.bgp_peers.apply(object);
    let profile = kinds::BFDProfile::new("fast", kinds::BFDProfileSpec::default());
    resources.bfd_profiles.apply(profile);

    let config = configured(&resources);
    let found = &config.bgp_peers[0];
    let address = |text: &str| text.parse().expect(text);
    assert_eq!(
        (found.my_asn, found.peer_asn),
        (64512, PeerAsn::Number(64513))
    );
    assert_eq!(found.endpoint, PeerEndpoint::Address(address("192.0.2.1")));
    assert_eq!(found.source_address, Some(address("192.0.2.7")));
    assert_eq!(found.port, 179);
    assert_eq!(found.timers, Timers::default());
    assert_eq!(found.router_id, "192.0.2.9".parse().ok());
    let password = found.password.as_ref().map(Password::as_bytes);
    assert_eq!(password, Some(&b"hunter2"[..]));
    assert!(found.ebgp_multi_hop);
    assert_eq!(
        found.bfd.as_ref().map(|bfd| bfd.name.as_str()),
        Some("fast")
    );
    let labels = |zone: &str| {
        let pairs = [("rack", "a"), ("zone", zone)];
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    };
    assert!(found.node_selectors[0].matches(&labels("y")));
    assert!(!found.node_selectors[0].matches(&labels("z")));
}
