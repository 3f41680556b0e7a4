//! The CRDs as the files of the chart: shared by the generator and the test that compares.

pub(crate) mod reference;

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// Where the files are.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/herald/crds");

/// The names of the files and what they contain.
pub(crate) fn files() -> BTreeMap<String, String> {
    herald_api::crd::all()
        .into_iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            let mut value = serde_json::to_value(crd).expect("a definition is plain JSON");
            whole_numbers(&mut value);
            let yaml = serde_saphyr::to_string(&value).expect("plain JSON is YAML");
            let yaml = yaml.strip_prefix("---\n").unwrap_or(&yaml).to_owned();
            (name, format!("---\n# Generated from the types in crates/api by `cargo run -p herald-api --example crdgen`.\n{yaml}"))
        })
        .collect()
}

/// Writes the limits of integers without a fraction: 10, not 10.0.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Ok(whole) = format!("{number}").trim_end_matches(".0").parse::<i64>() {
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
