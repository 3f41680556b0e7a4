//! The CRDs of the chart in a real API server: what it accepts, refuses and fills in.
//!
//! `tests/cases/*.yaml` have the objects; see [`Case`] for what can be said about one.
#![allow(clippy::tests_outside_test_module, reason = "the whole file is tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

mod control_plane;

use control_plane::ControlPlane;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");
const NAMESPACE: &str = "default";

/// One object and what the API server makes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: String,
    /// `v1beta1` if absent.
    version: Option<String>,
    spec: Option<Value>,
    /// Written through the status subresource once the object is there.
    status: Option<Value>,
    /// A part of the message that refuses the object or its status; absent if they are accepted.
    error: Option<String>,
    /// All of the spec that the API server stored, with its defaults.
    stored: Option<Value>,
    /// All of the status that the API server stored.
    stored_status: Option<Value>,
    /// Merge patches tried one after the other on the accepted object.
    #[serde(default)]
    then: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    spec: Option<Value>,
    status: Option<Value>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    version: Option<String>,
    spec: Option<Value>,
    status: Option<Value>,
    /// Name, type, priority and value of every column in order; the value of `Age` varies and is
    /// left out.
    columns: Vec<(String, String, i64, Option<Value>)>,
}

#[tokio::test]
#[ignore = "needs the test control plane: run by make test"]
async fn the_api_server_keeps_the_rules_of_every_kind() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    install(&client).await;
    let mut failures = Vec::new();
    let mut count = 0;
    for case in read::<Case>("objects") {
        count += 1;
        if let Err(failure) = check(&client, &case).await {
            failures.push(format!("{} {:?}: {failure}", case.kind, case.name));
        }
    }
    for columns in read::<Row>("columns") {
        count += 1;
        if let Err(failure) = check_columns(&client, &columns).await {
            failures.push(format!("columns of {}: {failure}", columns.kind));
        }
    }
    if let Err(failure) = check_deprecation(&client).await {
        failures.push(failure);
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The cases of all files whose names begin with `prefix`.
fn read<T: for<'de> Deserialize<'de>>(prefix: &str) -> Vec<T> {
    let folder = Path::new(TESTS).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a folder of cases")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(prefix))
    });
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("readable");
        let parsed: Result<Vec<T>, _> =
            serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()));
        cases.extend(parsed.expect("a list of cases"));
    }
    cases
}

/// Installs the files of the chart and waits until the kinds are served.
async fn install(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let folder = Path::new(TESTS).join("../../charts/herald/crds");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("a chart") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("readable");
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).expect("a CRD");
        let created = crds.create(&PostParams::default(), &crd).await;
        names.push(created.expect("accepted").name_any());
    }
    assert_eq!(names.len(), 10);
    for name in names {
        let established = await_condition(crds.clone(), &name, is_crd_established());
        let waited = tokio::time::timeout(Duration::from_secs(30), established).await;
        let crd = waited.expect("in time").expect("watched").expect("there");
        let conditions = crd.status.and_then(|status| status.conditions);
        for condition in conditions.unwrap_or_default() {
            assert_ne!(
                (condition.type_.as_str(), condition.status.as_str()),
                ("NonStructuralSchema", "True"),
                "{name}: {:?}",
                condition.message
            );
        }
    }
}

fn api(client: &Client, kind: &str, version: Option<&str>) -> (Api<DynamicObject>, ApiResource) {
    let version = version.unwrap_or("v1beta1");
    let plural = match kind {
        "Community" => "communities".to_owned(),
        kind if kind.ends_with("Status") => format!("{}es", kind.to_lowercase()),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("metallb.io", version, kind),
        &plural,
    );
    let api = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    (api, resource)
}

fn object(resource: &ApiResource, spec: Option<&Value>) -> DynamicObject {
    let mut object = DynamicObject::new("", resource);
    object.metadata.name = None;
    object.metadata.generate_name = Some("case-".to_owned());
    object.data = match spec {
        Some(spec) => json!({ "spec": spec }),
        None => json!({}),
    };
    object
}

/// Creates the object and then, if there is one, its status.
async fn create(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    spec: Option<&Value>,
    status: Option<&Value>,
) -> Result<DynamicObject, String> {
    let created = api
        .create(&PostParams::default(), &object(resource, spec))
        .await
        .map_err(message)?;
    match status {
        None => Ok(created),
        Some(status) => {
            let patch = Patch::Merge(json!({ "status": status }));
            api.patch_status(&created.name_any(), &PatchParams::default(), &patch)
                .await
                .map_err(message)
        }
    }
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}

async fn check(client: &Client, case: &Case) -> Result<(), String> {
    let (api, resource) = api(client, &case.kind, case.version.as_deref());
    let created = create(&api, &resource, case.spec.as_ref(), case.status.as_ref()).await;
    expect(&created, case.error.as_deref())?;
    let Ok(created) = created else {
        return Ok(());
    };
    for (part, expected) in [("spec", &case.stored), ("status", &case.stored_status)] {
        if let Some(expected) = expected
            && created.data[part] != *expected
        {
            return Err(format!("the stored {part} is {}", created.data[part]));
        }
    }
    for change in &case.then {
        let (name, parameters) = (created.name_any(), PatchParams::default());
        let changed = match (&change.spec, &change.status) {
            (Some(spec), None) => {
                let patch = Patch::Merge(json!({ "spec": spec }));
                api.patch(&name, &parameters, &patch).await
            }
            (None, Some(status)) => {
                let patch = Patch::Merge(json!({ "status": status }));
                api.patch_status(&name, &parameters, &patch).await
            }
            _ => return Err("a change is of the spec or of the status".to_owned()),
        };
        let changed = changed.map_err(message);
        expect(&changed, change.error.as_deref())?;
    }
    Ok(())
}

fn expect<T>(result: &Result<T, String>, error: Option<&str>) -> Result<(), String> {
    match (result, error) {
        (Ok(_), None) => Ok(()),
        (Err(found), Some(part)) if found.contains(part) => Ok(()),
        (Err(found), Some(part)) => Err(format!("{part:?} is not in {found:?}")),
        (Err(found), None) => Err(format!("refused: {found}")),
        (Ok(_), Some(part)) => Err(format!("accepted instead of refused with {part:?}")),
    }
}

async fn check_columns(client: &Client, case: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table {
        column_definitions: Vec<Column>,
        rows: Vec<Cells>,
    }
    #[derive(Deserialize)]
    struct Column {
        name: String,
        r#type: String,
        priority: i64,
    }
    #[derive(Deserialize)]
    struct Cells {
        cells: Vec<Value>,
    }

    let (api, resource) = api(client, &case.kind, case.version.as_deref());
    let created = create(&api, &resource, case.spec.as_ref(), case.status.as_ref()).await?;
    let uri = format!("{}/{}", api.resource_url(), created.name_any());
    let request = http::Request::get(uri)
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let table: Table = client
        .request(request)
        .await
        .map_err(|error| error.to_string())?;
    let cells = &table.rows.first().ok_or("no row")?.cells;
    let columns = table.column_definitions.iter().zip(cells);
    let found: Vec<_> = columns
        .filter(|(column, _)| column.name != "Name")
        .map(|(column, cell)| {
            let value = (column.name != "Age").then(|| cell.clone());
            (
                column.name.clone(),
                column.r#type.clone(),
                column.priority,
                value,
            )
        })
        .collect();
    if found == case.columns {
        Ok(())
    } else {
        Err(format!("found {found:?}"))
    }
}

/// The old version of `BGPPeer` still works and says that it is deprecated.
async fn check_deprecation(client: &Client) -> Result<(), String> {
    let body = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BGPPeer",
        "metadata": { "generateName": "old-" },
        "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1" },
    });
    let (api, _) = api(client, "BGPPeer", None);
    let request = http::Request::post(api.resource_url())
        .header("Content-Type", "application/json")
        .body(body.to_string().into_bytes().into())
        .map_err(|error| error.to_string())?;
    let response = client
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let headers: BTreeMap<_, _> = response
        .headers()
        .iter()
        .map(|(k, v)| (k.as_str(), v))
        .collect();
    let warning = headers.get("warning").and_then(|value| value.to_str().ok());
    if warning.is_some_and(|text| text.contains("v1beta1 is deprecated, please use v1beta2")) {
        Ok(())
    } else {
        Err(format!("BGPPeer v1beta1: the warning is {warning:?}"))
    }
}
