//! The reference of all fields as one Markdown page.

use std::fmt::Write as _;

use serde_json::Value;

/// Where the page is.
pub(crate) const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api-reference.md");

const HEAD: &str = "\
# API reference

<!-- Generated from the types in crates/api by `cargo run -p herald-api --example crdgen`. -->

The kinds of the API group `metallb.io`, and `BGPSessionState` of the group `frrk8s.metallb.io`, in the
form of frr-k8s. All are namespaced and read from Herald's own namespace only. A field without a default may be left out unless it is marked as required. What the API server
checks by itself is under *default and limits*; the rest is checked by controller and speaker, which
report a bad object and go on with its last good version.
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for crd in herald_api::crd::all() {
        let crd = serde_json::to_value(crd).expect("a definition is plain JSON");
        for version in list(&crd["spec"]["versions"]) {
            section(&mut page, &crd, version);
        }
    }
    page
}

fn section(page: &mut String, crd: &Value, version: &Value) {
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut write = |line: String| {
        page.push_str(&line);
        page.push('\n');
    };
    write(format!(
        "\n## {} {}\n",
        text(&crd["spec"]["names"]["kind"]),
        text(&version["name"])
    ));
    write(text(&schema["description"]).to_owned());
    if version["deprecated"] == true {
        write(format!(
            "Deprecated: {}.",
            text(&version["deprecationWarning"])
        ));
    }
    let columns: Vec<_> = list(&version["additionalPrinterColumns"])
        .iter()
        .map(|column| text(&column["name"]))
        .collect();
    if !columns.is_empty() {
        write(format!(
            "\nColumns of `kubectl get`: {}.",
            columns.join(", ")
        ));
    }
    for rule in list(&schema["properties"]["spec"]["x-kubernetes-validations"]) {
        write(format!("\nRule: {}.", text(&rule["message"])));
    }
    let mut rows = String::new();
    fields(&mut rows, "", schema);
    if !rows.is_empty() {
        write("\n| field | type | default and limits | meaning |\n|---|---|---|---|".to_owned());
        write(rows.trim_end().to_owned());
    }
}

/// A row for every field in the object `schema`, whose own path is `path`.
fn fields(rows: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let (type_, inner) = type_of(field);
        if path.contains('.') {
            let required = list(&schema["required"]).iter().any(|r| text(r) == name);
            let meaning = text(&field["description"]).replace('\n', " ");
            // Writing to a String cannot fail.
            let _ = writeln!(
                rows,
                "| `{path}` | {type_} | {} | {meaning} |",
                limits(field, required)
            );
        }
        if let Some((suffix, inner)) = inner {
            fields(rows, &format!("{path}{suffix}"), inner);
        }
    }
}

/// The name of a type, and what the fields inside it hang on.
fn type_of(field: &Value) -> (String, Option<(&'static str, &Value)>) {
    if field["properties"]["matchExpressions"].is_object() {
        return ("label selector".to_owned(), None);
    }
    match text(&field["type"]) {
        "array" if field["items"]["properties"]["lastTransitionTime"].is_object() => {
            ("list of conditions".to_owned(), None)
        }
        "array" => {
            let (type_, inner) = type_of(&field["items"]);
            (
                format!("list of {type_}s"),
                inner.map(|(_, inner)| ("[]", inner)),
            )
        }
        "object" if field["additionalProperties"].is_object() => ("map of texts".to_owned(), None),
        "object" => ("object".to_owned(), Some(("", field))),
        "string" => ("text".to_owned(), None),
        "boolean" => ("switch".to_owned(), None),
        "integer" => ("number".to_owned(), None),
        other => (other.to_owned(), None),
    }
}

fn limits(field: &Value, required: bool) -> String {
    let mut parts = Vec::new();
    if required {
        parts.push("required".to_owned());
    }
    if !field["default"].is_null() {
        parts.push(format!("default {}", field["default"]));
    }
    let number = |value: &Value| value.as_f64().map(|number| number.to_string());
    match (number(&field["minimum"]), number(&field["maximum"])) {
        (Some(low), Some(high)) => parts.push(format!("{low} to {high}")),
        (Some(low), None) => parts.push(format!("at least {low}")),
        _ => {}
    }
    let values: Vec<_> = list(&field["enum"]).iter().map(text).collect();
    if !values.is_empty() {
        parts.push(values.join(" or "));
    }
    for rule in list(&field["x-kubernetes-validations"]) {
        parts.push(text(&rule["message"]).to_owned());
    }
    parts.join("; ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
