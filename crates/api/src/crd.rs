//! The `CustomResourceDefinition`s of all kinds, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::kinds;

/// The definitions of all ten kinds, in the order of their names.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut peers = kinds::BGPPeer::crd();
    // The older version comes first, as in every list of versions by age.
    peers
        .spec
        .versions
        .splice(..0, kinds::bgp_peer_v1beta1::BGPPeer::crd().spec.versions);
    [
        kinds::BFDProfile::crd(),
        kinds::BGPAdvertisement::crd(),
        peers,
        kinds::BGPSessionState::crd(),
        kinds::Community::crd(),
        kinds::ConfigurationState::crd(),
        kinds::IPAddressPool::crd(),
        kinds::L2Advertisement::crd(),
        kinds::ServiceBGPStatus::crd(),
        kinds::ServiceL2Status::crd(),
    ]
    .map(as_kubernetes_writes_it)
    .into()
}

/// Turns what schemars says about Rust types into what Kubernetes knows.
fn as_kubernetes_writes_it(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is plain JSON");
    // A release of MetalLB's chart owns these definitions, and would take all objects along when it goes
    // (docs/migrate-from-metallb.md).
    value["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    let required_spec = value["spec"]["names"]["kind"] == "IPAddressPool";
    if let Some(versions) = value["spec"]["versions"].as_array_mut() {
        for version in versions {
            let schema = &mut version["schema"]["openAPIV3Schema"];
            clean(schema);
            if !required_spec && let Some(root) = schema.as_object_mut() {
                root.remove("required");
            }
        }
    }
    serde_json::from_value(value).expect("still a definition")
}

/// Cleans one schema and all inside it:
/// - titles go: they are names of Rust types;
/// - `nullable` goes: the API server then drops nulls, which means the same as leaving out;
/// - formats of unsigned integers become those of Kubernetes; 16 bits have none.
fn clean(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("nullable");
    fields.remove("title");
    match fields.get("format").and_then(Value::as_str) {
        Some("uint32") => {
            fields.insert("format".to_owned(), "int32".into());
        }
        Some("uint16" | "") => {
            fields.remove("format");
        }
        _ => {}
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            clean(inner);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
}
