//! Configurations from tables.

use std::collections::BTreeMap;

use herald_model::Labels;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::bgp::PasswordSecret;
use crate::config::{Configurator, Objects, Resources};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    objects: Vec<Object>,
    /// The known nodes with their labels.
    #[serde(default)]
    nodes: BTreeMap<String, Labels>,
    #[serde(default)]
    secrets: Secrets,
    /// Of every expected problem, in order, the parts that its text must contain.
    #[serde(default)]
    problems: Vec<Vec<String>>,
    /// The names of the pools in use.
    pools: Option<Vec<String>>,
    /// The names of the BGP advertisements of some pool.
    advertisements: Option<Vec<String>>,
    /// The names of the peers in use.
    peers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Object {
    pub(in crate::config) kind: String,
    pub(in crate::config) name: String,
    created: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    pub(in crate::config) spec: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Secret {
    r#type: String,
    password: Option<String>,
}

/// The Secrets of a case, by name.
pub(in crate::config) type Secrets = BTreeMap<String, Secret>;

/// What a speaker takes of them.
pub(in crate::config) fn passwords(secrets: Secrets) -> BTreeMap<String, PasswordSecret> {
    let password = |secret: Secret| {
        let password = secret.password.as_deref();
        PasswordSecret::new(secret.r#type, password.map(str::as_bytes))
    };
    let secrets = secrets.into_iter();
    secrets.map(|(name, s)| (name, password(s))).collect()
}

/// The objects as a watch of an empty cluster would tell them.
pub(in crate::config) fn resources(objects: &[Object]) -> Resources {
    fn add<K: kube::Resource + DeserializeOwned>(objects: &mut Objects<K>, object: &Object) {
        let mut raw = json!({ "metadata": { "name": object.name } });
        if let Some(created) = &object.created {
            raw["metadata"]["creationTimestamp"] = json!(created);
        }
        if let Some(annotations) = &object.annotations {
            raw["metadata"]["annotations"] = json!(annotations);
        }
        if let Some(spec) = &object.spec {
            raw["spec"] = spec.clone();
        }
        match serde_json::from_value(raw) {
            Ok(readable) => objects.apply(readable),
            Err(error) => objects.malformed(&object.name, error.to_string()),
        }
    }
    let mut all = Resources::default();
    for object in objects {
        match object.kind.as_str() {
            "IPAddressPool" => add(&mut all.pools, object),
            "L2Advertisement" => add(&mut all.l2_advertisements, object),
            "BGPAdvertisement" => add(&mut all.bgp_advertisements, object),
            "BGPPeer" => add(&mut all.bgp_peers, object),
            "BFDProfile" => add(&mut all.bfd_profiles, object),
            "Community" => add(&mut all.communities, object),
            other => panic!("unknown kind {other}"),
        }
    }
    all
}

/// Applies the objects of each case of the table to an empty configurator.
pub(in crate::config) fn run(table: &str) {
    let cases: Vec<Case> = serde_saphyr::from_str(table).expect("valid cases");
    assert!(!cases.is_empty());
    for case in cases {
        check(case);
    }
}

fn check(case: Case) {
    let resources = Resources {
        nodes: case.nodes,
        password_secrets: passwords(case.secrets),
        ..resources(&case.objects)
    };
    let (config, problems) = Configurator::default().update(&resources);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let name = &case.name;
    assert_eq!(texts.len(), case.problems.len(), "{name}: {texts:#?}");
    for (text, parts) in texts.iter().zip(&case.problems) {
        for part in parts {
            assert!(text.contains(part), "{name}: {part:?} is not in {text:?}");
        }
    }
    let names = |expected: Option<Vec<String>>, names: Vec<&String>| {
        if let Some(expected) = expected {
            assert_eq!(names, expected.iter().collect::<Vec<_>>(), "{name}");
        }
    };
    names(case.pools, config.pools.iter().map(|p| &p.name).collect());
    names(
        case.peers,
        config.bgp_peers.iter().map(|p| &p.name).collect(),
    );
    let advertisements = config.bgp_advertisements.values().flatten();
    let mut advertisements: Vec<_> = advertisements.map(|a| &a.name).collect();
    advertisements.sort();
    advertisements.dedup();
    names(case.advertisements, advertisements);
}
