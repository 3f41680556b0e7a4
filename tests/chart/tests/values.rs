//! The chart's values, their schema and their description agree.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::fs;

use herald_chart::{chart, readme, values};
use serde_json::Value;

fn schema() -> Value {
    let text = fs::read_to_string(chart().join("values.schema.json")).expect("readable");
    serde_json::from_str(&text).expect("JSON")
}

fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(target) => root.pointer(target.trim_start_matches('#')).expect(target),
        None => schema,
    }
}

/// The paths that the schema allows by name; where it allows any key, the path of that object.
fn allowed(schema: &Value, root: &Value, path: &str, paths: &mut BTreeSet<String>) {
    let schema = resolved(schema, root);
    let Some(properties) = schema["properties"].as_object() else {
        paths.insert(path.to_owned());
        return;
    };
    assert_eq!(
        schema["additionalProperties"],
        Value::Bool(false),
        "{path} takes misspelt keys"
    );
    for (key, schema) in properties {
        let dot = if path.is_empty() { "" } else { "." };
        allowed(schema, root, &format!("{path}{dot}{key}"), paths);
    }
}

#[test]
fn the_schema_has_the_keys_of_the_values_and_no_others() {
    let schema = schema();
    let mut paths = BTreeSet::new();
    allowed(&schema, &schema, "", &mut paths);
    let values = values::parse(&values::text().expect("readable")).expect("valid");
    let leaves = values::leaves(&values);
    let within = |path: &str, other: &str| {
        other == path || other.strip_prefix(path).is_some_and(|r| r.starts_with('.'))
    };
    for path in &paths {
        assert!(
            leaves.iter().any(|leaf| within(path, leaf)),
            "the schema has {path}, values.yaml does not"
        );
    }
    for leaf in &leaves {
        assert!(
            paths.iter().any(|path| within(path, leaf)),
            "values.yaml has {leaf}, the schema does not"
        );
    }
}

#[test]
fn every_value_is_described() {
    let text = values::text().expect("readable");
    let described = values::described(&text).expect("valid");
    for leaf in values::leaves(&values::parse(&text).expect("valid")) {
        let says = |path: &str| leaf == path || leaf.starts_with(&format!("{path}."));
        assert!(
            described.iter().any(|value| says(&value.path)),
            "{leaf} has no comment that begins with \"-- \""
        );
    }
}

#[test]
fn the_readme_is_up_to_date() {
    let found = fs::read_to_string(readme::path()).expect(readme::REMEDY);
    let page = readme::page().expect("valid");
    assert!(
        found == page,
        "charts/herald/README.md is stale: {}",
        readme::REMEDY
    );
}

#[test]
fn the_chart_is_of_the_version_of_the_programs() {
    let text = fs::read_to_string(chart().join("Chart.yaml")).expect("readable");
    let chart = values::parse(&text).expect("YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
