use std::collections::BTreeSet;

use kube::core::ObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};

use herald_announce::Failback;

use super::*;
use crate::annotations::FAILBACK;

use cases::{Object, resources};

pub(super) mod cases;

#[test]
fn every_rule_finds_what_it_is_for_and_nothing_else() {
    cases::run(include_str!("cases.yaml"));
}

fn pool(name: &str, addresses: &[&str]) -> kinds::IPAddressPool {
    kinds::IPAddressPool {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: kinds::IPAddressPoolSpec {
            addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
            ..kinds::IPAddressPoolSpec::default()
        },
        status: None,
    }
}

fn with_pools(pools: impl IntoIterator<Item = kinds::IPAddressPool>) -> Resources {
    Resources {
        pools: pools.into_iter().collect(),
        ..Resources::default()
    }
}

fn cidrs(config: &Config, name: &str) -> Vec<String> {
    let pool = config.pool(name).expect(name);
    pool.cidrs.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bad_edit_keeps_the_last_good_version_until_it_is_corrected_or_deleted() {
    let mut configurator = Configurator::default();
    let mut resources = with_pools([pool("a", &["192.0.2.0/24"]), pool("b", &["10.0.0.0/24"])]);
    let (first, problems) = configurator.update(&resources);
    assert_eq!(problems, []);

    resources.pools.apply(pool("a", &["192.0.2.0/99"]));
    let (config, problems) = configurator.update(&resources);
    assert_eq!(config, first);
    assert_eq!(problems[0].consequence, Consequence::LastGood);
    assert!(
        problems[0]
            .to_string()
            .ends_with("its last good version stays in use until it is corrected")
    );

    resources
        .pools
        .malformed("a", "spec.addresses: expected a list");
    let (config, problems) = configurator.update(&resources);
    assert_eq!(config, first);
    assert_eq!(problems.len(), 1);

    resources.pools.apply(pool("a", &["198.51.100.0/24"]));
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(cidrs(&config, "a"), ["198.51.100.0/24"]);

    resources
        .pools
        .malformed("a", "spec.addresses: expected a list");
    resources.pools.remove("a");
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(config.pool("a"), None);
}

#[test]
fn of_two_pools_that_come_to_overlap_the_one_that_was_good_stays() {
    let mut configurator = Configurator::default();
    let mut resources = with_pools([pool("b", &["192.0.2.0/24"]), pool("c", &["10.0.0.0/24"])]);
    configurator.update(&resources);

    // A new pool, and a change of an old one.
    resources.pools.apply(pool("a", &["192.0.2.0/28"]));
    resources.pools.apply(pool("c", &["192.0.2.128/25"]));
    let (config, problems) = configurator.update(&resources);
    let names: Vec<_> = problems
        .iter()
        .map(|p| (p.name.as_str(), p.consequence))
        .collect();
    assert_eq!(
        names,
        [("a", Consequence::Unused), ("c", Consequence::LastGood)]
    );
    assert_eq!(cidrs(&config, "b"), ["192.0.2.0/24"]);
    assert_eq!(cidrs(&config, "c"), ["10.0.0.0/24"]);

    // Once the way is free both go on.
    resources.pools.remove("b");
    let (config, problems) = configurator.update(&resources);
    assert_eq!(problems, []);
    assert_eq!(cidrs(&config, "a"), ["192.0.2.0/28"]);
    assert_eq!(cidrs(&config, "c"), ["192.0.2.128/25"]);
}

#[test]
fn two_pools_may_swap_their_addresses_in_one_update() {
    let mut configurator = Configurator::default();
    configurator.update(&with_pools([
        pool("a", &["192.0.2.0/24"]),
        pool("b", &["10.0.0.0/24"]),
    ]));
    let swapped = with_pools([pool("a", &["10.0.0.0/24"]), pool("b", &["192.0.2.0/24"])]);
    let (config, problems) = configurator.update(&swapped);
    assert_eq!(problems, []);
    assert_eq!(cidrs(&config, "a"), ["10.0.0.0/24"]);
}

#[test]
fn a_pool_that_falls_back_takes_its_addresses_from_a_new_one() {
    let mut configurator = Configurator::default();
    let mut resources = with_pools([pool("a", &["192.0.2.0/24"]), pool("b", &["10.0.0.0/24"])]);
    configurator.update(&resources);
    resources.pools.apply(pool("b", &["192.0.2.0/28"]));
    resources.pools.apply(pool("c", &["10.0.0.0/28"]));
    let (config, problems) = configurator.update(&resources);
    let names: Vec<_> = problems.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(cidrs(&config, "b"), ["10.0.0.0/24"]);
    assert_eq!(config.pool("c"), None);
}

#[test]
fn the_pool_of_an_address_is_found() {
    let resources = with_pools([
        pool("a", &["192.0.2.10-192.0.2.20", "2001:db8::/64"]),
        pool("b", &["192.0.2.0/29", "198.51.100.0/24"]),
    ]);
    let (config, _) = Configurator::default().update(&resources);
    let of = |address: &str| {
        let pool = config.pool_of(address.parse().expect("an address"));
        pool.map(|pool| pool.name.as_str())
    };
    for (address, expected) in [
        ("192.0.2.0", Some("b")),
        ("192.0.2.7", Some("b")),
        ("192.0.2.8", None),
        ("192.0.2.9", None),
        ("192.0.2.10", Some("a")),
        ("192.0.2.20", Some("a")),
        ("192.0.2.21", None),
        ("198.51.100.255", Some("b")),
        ("198.51.101.0", None),
        ("0.0.0.0", None),
        ("255.255.255.255", None),
        ("::", None),
        ("2001:db8::ffff", Some("a")),
        ("2001:db8:0:1::", None),
    ] {
        assert_eq!(of(address), expected, "{address}");
    }
}

fn labelled(mut pool: kinds::IPAddressPool, key: &str, value: &str) -> kinds::IPAddressPool {
    pool.metadata.labels = Some([(key.to_owned(), value.to_owned())].into());
    pool
}

fn l2(name: &str, spec: Value) -> kinds::L2Advertisement {
    kinds::L2Advertisement::new(name, serde_json::from_value(spec).expect("valid"))
}

#[test]
fn an_advertisement_covers_the_pools_it_names_and_selects_or_else_all() {
    let mut resources = with_pools([
        labelled(pool("a", &["10.0.0.0/24"]), "zone", "x"),
        pool("b", &["10.0.1.0/24"]),
        pool("c", &["10.0.2.0/24"]),
    ]);
    resources.l2_advertisements = [
        l2("all", json!({})),
        l2(
            "both",
            json!({
                "ipAddressPools": ["b", "no-such-pool"],
                "ipAddressPoolSelectors": [{ "matchLabels": { "zone": "x" } }],
                "interfaces": ["eth1"],
            }),
        ),
        l2(
            "none",
            json!({ "ipAddressPoolSelectors": [{ "matchLabels": { "zone": "y" } }] }),
        ),
    ]
    .into_iter()
    .collect();
    let (config, problems) = Configurator::default().update(&resources);
    assert_eq!(problems, []);
    let names = |pool: &str| {
        let advertisements = config.l2_advertisements_of(pool).iter();
        advertisements.map(|a| a.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names("a"), ["all", "both"]);
    assert_eq!(names("b"), ["all", "both"]);
    assert_eq!(names("c"), ["all"]);
    assert_eq!(
        config.l2_advertisements_of("a")[1].interfaces,
        BTreeSet::from(["eth1".to_owned()])
    );
}

#[test]
fn an_advertisement_says_by_annotation_whether_addresses_go_back() {
    let annotated = |value: &str| {
        let mut object = l2("a", json!({ "interfaces": ["eth1"] }));
        object.metadata.annotations = Some([(FAILBACK.to_owned(), value.to_owned())].into());
        let mut resources = with_pools([pool("a", &["10.0.0.0/24"])]);
        resources.l2_advertisements = [object].into_iter().collect();
        Configurator::default().update(&resources)
    };
    for (value, failback) in [
        ("sticky", Failback::Sticky),
        ("revertive", Failback::Revertive),
    ] {
        let (config, problems) = annotated(value);
        assert_eq!(problems, []);
        assert_eq!(config.l2_advertisements_of("a")[0].failback, Some(failback));
    }
    // What cannot be understood is told, and the rest is used.
    let (config, problems) = annotated("Sticky");
    let advertisement = &config.l2_advertisements_of("a")[0];
    assert_eq!(advertisement.failback, None);
    assert_eq!(advertisement.interfaces.len(), 1);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "L2Advertisement \"a\", field metadata.annotations[herald.io/failback]: unknown failback \
          policy \"Sticky\": use revertive or sticky; the field is ignored until it is corrected"
        ]
    );
}

#[test]
fn namespaces_are_resolved_and_selecting_none_lets_none_in() {
    let resolved = |allocation: Value, namespaces: &[(&str, &str)]| {
        let mut pool = pool("a", &["10.0.0.0/24"]);
        pool.spec.service_allocation = serde_json::from_value(allocation).expect("valid");
        let mut resources = with_pools([pool]);
        resources.namespaces = namespaces
            .iter()
            .map(|(name, team)| {
                let labels = Labels::from([("team".to_owned(), (*team).to_owned())]);
                ((*name).to_owned(), labels)
            })
            .collect();
        let (config, problems) = Configurator::default().update(&resources);
        assert_eq!(problems, []);
        let allocation = config.pools[0].allocation.clone().expect("pinned");
        allocation.namespaces.map(Vec::from_iter)
    };
    let names = |names: &[&str]| Some(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
    let selector = json!({ "namespaceSelectors": [{ "matchLabels": { "team": "red" } }] });
    let both = json!({
        "namespaces": ["fixed"],
        "namespaceSelectors": [{ "matchLabels": { "team": "red" } }],
    });
    let cluster = [("one", "red"), ("two", "blue"), ("three", "red")];
    assert_eq!(resolved(json!({}), &cluster), None);
    assert_eq!(resolved(json!({ "priority": 5 }), &cluster), None);
    assert_eq!(
        resolved(json!({ "namespaces": ["two"] }), &cluster),
        names(&["two"])
    );
    assert_eq!(
        resolved(selector.clone(), &cluster),
        names(&["one", "three"])
    );
    assert_eq!(resolved(both, &cluster), names(&["fixed", "one", "three"]));
    assert_eq!(resolved(selector, &[("two", "blue")]), names(&[]));
}

#[test]
fn timers_complete_each_other() {
    let timers = |spec: Value| {
        let mut resources = Resources::default();
        let mut whole = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" });
        for (key, value) in spec.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        let spec = serde_json::from_value(whole).expect("valid");
        resources.bgp_peers.apply(kinds::BGPPeer::new("p", spec));
        let (config, problems) = Configurator::default().update(&resources);
        assert_eq!(problems, []);
        let timers = config.bgp_peers[0].timers;
        (timers.hold.as_secs(), timers.keepalive.as_secs())
    };
    assert_eq!(timers(json!({})), (90, 30));
    assert_eq!(timers(json!({ "holdTime": "9s" })), (9, 3));
    assert_eq!(timers(json!({ "keepaliveTime": "20s" })), (60, 20));
    assert_eq!(timers(json!({ "holdTime": "0s" })), (0, 0));
    assert_eq!(
        timers(json!({ "holdTime": "30s", "keepaliveTime": "0s" })),
        (30, 10)
    );
    assert_eq!(
        timers(json!({ "holdTime": "10.9s", "keepaliveTime": "3s" })),
        (10, 3)
    );
}

#[test]
fn a_selector_that_cannot_be_used_names_its_field() {
    let selector = serde_json::from_value(json!({
        "matchExpressions": [{ "key": "zone", "operator": "Like", "values": ["x"] }],
    }));
    let error = label_selector("spec.nodeSelectors[2]", &selector.expect("readable"));
    let text = error.expect_err("no such operator").to_string();
    assert!(text.starts_with("invalid label selector in spec.nodeSelectors[2]: unknown operator"));
}

/// Addresses of which many overlap and some are invalid.
fn addresses() -> impl Strategy<Value = Vec<String>> {
    let entry = prop_oneof![
        (0_u8..8, 24_u8..34).prop_map(|(third, length)| format!("10.0.{third}.0/{length}")),
        (0_u8..40, 0_u8..40).prop_map(|(first, last)| format!("10.0.1.{first}-10.0.1.{last}")),
        (0_u16..4, 60_u8..130).prop_map(|(group, length)| format!("2001:db8:{group}::/{length}")),
        "\\PC{0,12}",
    ];
    prop::collection::vec(entry, 0..3)
}

#[derive(Debug, Clone)]
enum Step {
    Apply(usize, Vec<String>, i64),
    Malformed(usize),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        6 => (0_usize..5, addresses(), 0_i64..3).prop_map(|(i, a, age)| Step::Apply(i, a, age)),
        1 => (0_usize..5).prop_map(Step::Malformed),
        1 => (0_usize..5).prop_map(Step::Remove),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..12)
}

fn take(resources: &mut Resources, step: &Step) {
    let name = |index: &usize| format!("pool-{index}");
    match step {
        Step::Apply(index, addresses, age) => {
            let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
            let mut pool = pool(&name(index), &texts);
            let created = format!("2026-01-0{}T00:00:00Z", age + 1);
            pool.metadata.creation_timestamp =
                Some(serde_json::from_value(json!(created)).expect("a time"));
            resources.pools.apply(pool);
        }
        Step::Malformed(index) => resources.pools.malformed(name(index), "broken"),
        Step::Remove(index) => resources.pools.remove(&name(index)),
    }
}

/// One good object or more of every kind, and what a bad edit may make of its spec.
fn good_objects() -> Vec<Object> {
    let text = r#"
- {kind: IPAddressPool, name: a, spec: {addresses: [192.0.2.0/24]}}
- {kind: IPAddressPool, name: b, spec: {addresses: ["2001:db8::/64"], autoAssign: false}}
- {kind: L2Advertisement, name: a, spec: {ipAddressPools: [a]}}
- {kind: L2Advertisement, name: b, spec: {interfaces: [eth0]}}
- {kind: Community, name: a, spec: {communities: [{name: x, value: "1:2"}]}}
- {kind: BGPAdvertisement, name: a, spec: {communities: [x]}}
- {kind: BGPAdvertisement, name: b, spec: {ipAddressPools: [b]}}
- {kind: BFDProfile, name: a, spec: {receiveInterval: 50}}
- {kind: BGPPeer, name: a, spec: {myASN: 1, peerASN: 2, interface: e, bfdProfile: a}}
- {kind: BGPPeer, name: b, spec: {myASN: 1, peerASN: 2, interface: f}}
"#;
    serde_saphyr::from_str(text).expect("valid")
}

fn bad_specs() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!("text"),
        json!({
            "addresses": ["192.0.2.0/24", "192.0.2.0/24"],
            "ipAddressPools": ["a", "a"],
            "communities": [{ "name": "x", "value": "y" }],
            "receiveInterval": 1,
            "myASN": 0,
        }),
        json!({
            "addresses": 1,
            "ipAddressPools": 1,
            "communities": 1,
            "receiveInterval": "1",
            "myASN": "x",
        }),
        json!({
            "addresses": ["\u{0}-\u{1f600}"],
            "nodeSelectors": [{ "matchExpressions": [{ "key": "", "operator": "" }] }],
            "communities": ["large:::"],
            "minimumTtl": 4_294_967_295_u32,
            "myASN": 1,
            "holdTime": "-9223372036854775808ns",
        }),
    ])
}

proptest! {
    #[test]
    fn bad_edits_of_any_objects_change_nothing(
        edits in prop::collection::btree_map(0_usize..10, bad_specs(), 1..5),
    ) {
        let mut configurator = Configurator::default();
        let mut objects = good_objects();
        let (before, problems) = configurator.update(&resources(&objects));
        prop_assert_eq!(problems, []);
        for (index, spec) in &edits {
            objects[*index].spec = Some(spec.clone());
        }
        let (after, problems) = configurator.update(&resources(&objects));
        prop_assert_eq!(after, before);
        prop_assert!(problems.iter().all(|p| p.consequence == Consequence::LastGood));
        let found: BTreeSet<_> = problems.iter().map(|p| (p.kind, p.name.as_str())).collect();
        let edited = edits.keys().map(|index| &objects[*index]);
        prop_assert_eq!(found, edited.map(|o| (o.kind.as_str(), o.name.as_str())).collect());
    }

    #[test]
    fn no_history_panics_and_pools_never_overlap_nor_lose_what_they_had(history in steps()) {
        let mut resources = Resources::default();
        let mut configurator = Configurator::default();
        let mut before = Config::default();
        let mut bad_before = BTreeSet::new();
        for steps in &history {
            let mut touched = BTreeSet::new();
            for step in steps {
                take(&mut resources, step);
                let (Step::Apply(index, ..) | Step::Malformed(index) | Step::Remove(index)) = step;
                touched.insert(format!("pool-{index}"));
            }
            let (config, problems) = configurator.update(&resources);

            let all: Vec<_> = config.pools.iter().flat_map(|pool| &pool.cidrs).collect();
            for (index, a) in all.iter().enumerate() {
                for b in &all[index + 1..] {
                    prop_assert!(!a.overlaps(**b), "{a} overlaps {b}");
                }
            }
            let bad: BTreeSet<_> = problems.iter().map(|problem| problem.name.clone()).collect();
            for pool in &before.pools {
                // One that was bad may have become good because another gave way.
                let unchanged =
                    !touched.contains(&pool.name) && !bad_before.contains(&pool.name);
                let present = resources.pools.iter().any(|(name, _)| name == pool.name);
                if present && (unchanged || bad.contains(&pool.name)) {
                    prop_assert_eq!(config.pool(&pool.name), Some(pool));
                }
            }
            // A problem is reported for exactly those that are not used as they are.
            for (name, object) in resources.pools.iter() {
                if !bad.contains(name) {
                    let pool = config.pool(name);
                    prop_assert!(pool.is_some() && object.is_ok(), "{name}");
                }
            }
            // The same again changes nothing.
            let again = configurator.update(&resources);
            prop_assert_eq!(&again.0, &config);
            before = config;
            bad_before = bad;
        }
    }
}
