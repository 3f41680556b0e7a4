//! The CRD files of the chart are those that the types give.
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

use std::collections::BTreeMap;
use std::fs;

mod crd_yaml;

const REMEDY: &str = "regenerate with: cargo run -p herald-api --example crdgen";

#[test]
fn the_files_of_the_chart_are_up_to_date() {
    let expected = crd_yaml::files();
    assert_eq!(expected.len(), 10);
    let entries = fs::read_dir(crd_yaml::FOLDER).expect(REMEDY);
    let found: BTreeMap<String, String> = entries
        .map(|entry| {
            let entry = entry.expect("readable folder");
            let name = entry.file_name().into_string().expect("UTF-8 name");
            (
                name,
                fs::read_to_string(entry.path()).expect("readable file"),
            )
        })
        .collect();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&found),
        names(&expected),
        "{REMEDY}; remove what is too much"
    );
    for (name, text) in &expected {
        assert!(found[name] == *text, "{name} is stale: {REMEDY}");
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let found = fs::read_to_string(crd_yaml::reference::PAGE).expect(REMEDY);
    assert!(
        found == crd_yaml::reference::page(),
        "docs/api-reference.md is stale: {REMEDY}"
    );
}
