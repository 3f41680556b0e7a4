//! `docs/configuration.md` names what there is, and its examples work.
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

use herald_api::config::{Configurator, Objects, Resources};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/configuration.md");
const KEYS: &str = include_str!("../src/annotations.rs");

/// Keys that one component alone knows.
const OF_COMPONENTS: [&str; 3] = [
    "herald.io/AddressConflict",
    "herald.io/bgppeer-v1beta2",
    "herald.io/interfaces",
];

/// The strings in the code, without its comments and tests.
fn keys() -> Vec<&'static str> {
    let (code, _) = KEYS.split_once("#[cfg(test)]").expect("tests come last");
    let lines = code.lines().filter(|line| !line.trim().starts_with("//"));
    let strings = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    strings.collect()
}

#[test]
fn every_annotation_label_and_condition_is_named_and_no_other() {
    let keys = keys();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys
        .iter()
        .filter(|key| !key.starts_with("metallb.universe.tf/"))
    {
        assert!(PAGE.contains(&format!("`{key}`")), "{key} is missing");
    }
    let quoted = PAGE.split('`').skip(1).step_by(2);
    let named = quoted.filter(|text| {
        let domains = ["herald.io/", "metallb.io/", "frrk8s.metallb.io/"];
        domains.iter().any(|domain| text.starts_with(domain))
    });
    for name in named {
        let known = keys.contains(&name) || OF_COMPONENTS.contains(&name);
        assert!(known, "there is no {name}");
    }
}

#[test]
fn the_examples_are_configurations_without_a_problem() {
    fn add<K: Resource + DeserializeOwned>(objects: &mut Objects<K>, raw: Value) {
        objects.apply(serde_json::from_value(raw).expect("an object of its kind"));
    }
    let blocks: Vec<_> = PAGE.split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let (yaml, _) = block.split_once("```").expect("the block ends");
        let mut all = Resources::default();
        for object in yaml.split("---\n") {
            let raw: Value = serde_saphyr::from_str(object).expect("YAML");
            match raw["kind"].as_str().expect("a kind") {
                "IPAddressPool" => add(&mut all.pools, raw),
                "L2Advertisement" => add(&mut all.l2_advertisements, raw),
                "BGPAdvertisement" => add(&mut all.bgp_advertisements, raw),
                "BGPPeer" => add(&mut all.bgp_peers, raw),
                "BFDProfile" => add(&mut all.bfd_profiles, raw),
                "Community" => add(&mut all.communities, raw),
                other => panic!("unknown kind {other}"),
            }
        }
        let (config, problems) = Configurator::default().update(&all);
        assert!(problems.is_empty(), "{problems:#?}");
        assert_eq!(config.pools.len(), 1);
        let announced = config.l2_advertisements.len() + config.bgp_advertisements.len();
        assert_eq!(announced, 1, "the pool is announced");
    }
}
