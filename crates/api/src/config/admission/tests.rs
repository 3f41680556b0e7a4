use std::collections::BTreeMap;

use herald_model::Labels;
use kube::core::ObjectMeta;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::config::tests::cases;
use crate::kinds;

const NAMESPACE: &str = "herald-system";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    stored: Vec<cases::Object>,
    #[serde(default)]
    nodes: BTreeMap<String, Labels>,
    #[serde(default)]
    secrets: cases::Secrets,
    create: Option<New>,
    update: Option<New>,
    delete: Option<New>,
    /// Of every expected error, in order, the parts that its text must contain.
    #[serde(default)]
    errors: Vec<Vec<String>>,
    #[serde(default)]
    warnings: Vec<Vec<String>>,
    /// Of every problem that there is if the change is made unasked, where that is not what errors
    /// and warnings say.
    found: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    kind: String,
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    deleting: bool,
    spec: Option<Value>,
}

fn readable<K: DeserializeOwned>(raw: Value) -> K {
    serde_json::from_value(raw).expect("an object")
}

impl New {
    fn object(self) -> Object {
        let mut raw = json!({ "metadata": {
            "name": self.name,
            "namespace": self.namespace.as_deref().unwrap_or(NAMESPACE),
            "finalizers": self.finalizers,
        }});
        if !self.annotations.is_empty() {
            raw["metadata"]["annotations"] = json!(self.annotations);
        }
        if self.deleting {
            raw["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if let Some(spec) = self.spec {
            raw["spec"] = spec;
        }
        match self.kind.as_str() {
            "IPAddressPool" => Object::Pool(readable(raw)),
            "L2Advertisement" => Object::L2Advertisement(readable(raw)),
            "BGPAdvertisement" => Object::BgpAdvertisement(readable(raw)),
            "BGPPeer" => Object::BgpPeer(readable(raw)),
            "BFDProfile" => Object::BfdProfile(readable(raw)),
            "Community" => Object::Community(readable(raw)),
            other => panic!("unknown kind {other}"),
        }
    }
}

/// The stored object of the kind and name of `new`.
fn stored_as(stored: &Resources, new: &Object) -> Object {
    fn find<K: kube::Resource + Clone>(objects: &crate::config::Objects<K>, name: &str) -> K {
        let mut named = objects.iter().filter(|(known, _)| *known == name);
        let (_, object) = named.next().expect("stored");
        let mut object = object.expect("readable").clone();
        object.meta_mut().namespace = Some(NAMESPACE.to_owned());
        object
    }
    let name = new.name();
    match new {
        Object::Pool(_) => Object::Pool(find(&stored.pools, &name)),
        Object::L2Advertisement(_) => {
            Object::L2Advertisement(find(&stored.l2_advertisements, &name))
        }
        Object::BgpAdvertisement(_) => {
            Object::BgpAdvertisement(find(&stored.bgp_advertisements, &name))
        }
        Object::BgpPeer(_) => Object::BgpPeer(Box::new(find(&stored.bgp_peers, &name))),
        Object::BfdProfile(_) => Object::BfdProfile(find(&stored.bfd_profiles, &name)),
        Object::Community(_) => Object::Community(find(&stored.communities, &name)),
    }
}

fn expect(case: &str, what: &str, texts: &[String], expected: &[Vec<String>]) {
    assert_eq!(texts.len(), expected.len(), "{case}: {what} {texts:#?}");
    for (text, parts) in texts.iter().zip(expected) {
        for part in parts {
            assert!(text.contains(part), "{case}: {part:?} is not in {text:?}");
        }
    }
}

#[test]
fn every_rule_refuses_what_it_is_for_and_nothing_else() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("cases.yaml")).expect("valid cases");
    assert!(!cases.is_empty());
    for case in cases {
        let stored = Resources {
            nodes: case.nodes,
            password_secrets: cases::passwords(case.secrets),
            ..cases::resources(&case.stored)
        };
        let change = match (case.create, case.update, case.delete) {
            (Some(new), None, None) => Change::Create(new.object()),
            (None, Some(new), None) => {
                let new = Box::new(new.object());
                let old = Box::new(stored_as(&stored, &new));
                Change::Update { old, new }
            }
            (None, None, Some(old)) => Change::Delete(old.object()),
            _ => panic!("{}: one of create, update, delete", case.name),
        };
        let verdict = review(&stored, NAMESPACE, &change);
        expect(&case.name, "errors", &verdict.errors, &case.errors);
        expect(&case.name, "warnings", &verdict.warnings, &case.warnings);
        // Elsewhere nobody reads it.
        if change.object().meta().namespace.as_deref() == Some(NAMESPACE) {
            let mut configurator = Configurator::default();
            configurator.update(&stored);
            let (_, problems) = configurator.update(&change.applied_to(&stored));
            let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let said = || [case.errors.as_slice(), &case.warnings].concat();
            let found = case.found.clone().unwrap_or_else(said);
            expect(&case.name, "found", &texts, &found);
        }
    }
}

fn pool(name: &str, entry: String) -> kinds::IPAddressPool {
    kinds::IPAddressPool {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: kinds::IPAddressPoolSpec {
            addresses: vec![entry],
            ..kinds::IPAddressPoolSpec::default()
        },
        status: None,
    }
}

proptest! {
    /// One truth: what is let in one after another is a configuration without problems, and what is
    /// refused would have been one with.
    #[test]
    fn what_is_let_in_has_no_problem_later(edits in prop::collection::vec((0..4_u8, 0..16_u8, 26..=32_u8), 1..12)) {
        let mut stored = Resources::default();
        for (number, at, length) in edits {
            let new = pool(&format!("p{number}"), format!("192.0.2.{}/{length}", at * 16));
            let known = stored.pools.iter().find(|(name, _)| *name == new.name_any());
            let old = known.and_then(|(_, old)| old.ok().cloned());
            let change = match old {
                Some(old) => Change::Update { old: Box::new(Object::Pool(old)), new: Box::new(Object::Pool(new)) },
                None => Change::Create(Object::Pool(new)),
            };
            let verdict = review(&stored, NAMESPACE, &change);
            let after = change.applied_to(&stored);
            let (_, problems) = Configurator::default().update(&after);
            prop_assert_eq!(verdict.errors.is_empty(), problems.is_empty(), "{:?} {:?}", verdict, problems);
            if verdict.errors.is_empty() {
                stored = after;
            }
        }
    }
}
