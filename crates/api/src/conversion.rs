//! `BGPPeer` from one version to the other.
//!
//! v1beta1 has no words for much of v1beta2. What it cannot say goes along in the annotation
//! [`LEFT_OVER`], so that a client of the old version that reads, edits and writes a peer loses nothing
//! of it. Only the spec differs; everything else of an object is left as it is, as the API server
//! demands.

use serde_json::{Map, Value};

use crate::kinds::DEFAULT_BGP_PORT;

/// The annotation of a `BGPPeer` in v1beta1 that has the fields of v1beta2 that v1beta1 does not have.
pub const LEFT_OVER: &str = "herald.io/bgppeer-v1beta2";

/// The version with fewer fields.
const OLD: &str = "metallb.io/v1beta1";
/// The version that is stored.
const NEW: &str = "metallb.io/v1beta2";
const KIND: &str = "BGPPeer";

/// The fields that only v1beta2 has.
const ONLY_NEW: [&str; 9] = [
    "connectTime",
    "disableMP",
    "dualStackAddressFamily",
    "dynamicASN",
    "enableGracefulRestart",
    "interface",
    "localASN",
    "passwordSecret",
    "vrf",
];

/// Why an object cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// Not a `BGPPeer`.
    #[error("cannot convert kind {0:?}: only BGPPeer has two versions")]
    Kind(String),
    /// Not one of the two versions.
    #[error("cannot convert BGPPeer {name:?} from {from:?} to {to:?}: use {OLD} and {NEW}")]
    Version {
        /// `metadata.name`.
        name: String,
        /// The version it is in.
        from: String,
        /// The version it is wanted in.
        to: String,
    },
    /// A part that is not an object.
    #[error("cannot convert BGPPeer {name:?}: {field} is not an object")]
    NotAnObject {
        /// `metadata.name`.
        name: String,
        /// The part.
        field: &'static str,
    },
}

/// The `BGPPeer` in the version `to`, as in `metallb.io/v1beta2`.
pub fn bgp_peer(mut peer: Value, to: &str) -> Result<Value, ConversionError> {
    let text = |field: &str| {
        let value = peer.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (kind, from) = (text("kind"), text("apiVersion"));
    let name = peer.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    if kind != KIND {
        return Err(ConversionError::Kind(kind));
    }
    let forwards = match (from.as_str(), to) {
        (OLD, NEW) => true,
        (NEW, OLD) => false,
        (OLD, OLD) | (NEW, NEW) => return Ok(peer),
        _ => {
            let to = to.to_owned();
            return Err(ConversionError::Version { name, from, to });
        }
    };
    let not_an_object = |field| {
        let name = name.clone();
        ConversionError::NotAnObject { name, field }
    };
    let root = peer.as_object_mut().ok_or_else(|| not_an_object("it"))?;
    let mut metadata = taken(root, "metadata").ok_or_else(|| not_an_object("metadata"))?;
    let mut spec = taken(root, "spec").ok_or_else(|| not_an_object("spec"))?;
    if forwards {
        to_new(&mut spec, &mut metadata);
    } else {
        to_old(&mut spec, &mut metadata);
    }
    root.insert("apiVersion".to_owned(), to.into());
    root.insert("metadata".to_owned(), metadata.into());
    root.insert("spec".to_owned(), spec.into());
    Ok(peer)
}

fn taken(object: &mut Map<String, Value>, field: &str) -> Option<Map<String, Value>> {
    match object.remove(field) {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::Object(inner)) => Some(inner),
        Some(_) => None,
    }
}

fn to_new(spec: &mut Map<String, Value>, metadata: &mut Map<String, Value>) {
    if let Some(left_over) = take_left_over(metadata) {
        for (field, value) in left_over {
            if ONLY_NEW.contains(&field.as_str()) {
                spec.insert(field, value);
            }
        }
    }
    // The old version must have these; the new one leaves them out.
    if spec.get("peerASN").and_then(Value::as_u64) == Some(0) {
        spec.remove("peerASN");
    }
    if spec.get("peerAddress").and_then(Value::as_str) == Some("") {
        spec.remove("peerAddress");
    }
    // 0 meant the default, which the new version writes out.
    let port = spec.get("peerPort").and_then(Value::as_u64);
    if port.unwrap_or_default() == 0 {
        spec.insert("peerPort".to_owned(), DEFAULT_BGP_PORT.into());
    }
}

fn to_old(spec: &mut Map<String, Value>, metadata: &mut Map<String, Value>) {
    let mut left_over = Map::new();
    for field in ONLY_NEW {
        let value = spec.remove(field);
        let said = value.filter(|value| !is_default(value));
        left_over.extend(said.map(|value| (field.to_owned(), value)));
    }
    for (field, nothing) in [
        ("peerASN", Value::from(0)),
        ("peerAddress", Value::from("")),
    ] {
        spec.entry(field).or_insert(nothing);
    }
    // Whatever it says, it is not about this object any more.
    take_left_over(metadata);
    if left_over.is_empty() {
        return;
    }
    let annotations = metadata
        .entry("annotations")
        .or_insert_with(|| Map::new().into());
    if annotations.is_null() {
        *annotations = Map::new().into();
    }
    if let Some(annotations) = annotations.as_object_mut() {
        let text = Value::Object(left_over).to_string();
        annotations.insert(LEFT_OVER.to_owned(), text.into());
    }
}

/// True for what means the same as leaving the field out.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Removes the annotation; what cannot be read of it is nothing.
fn take_left_over(metadata: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(LEFT_OVER)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

#[cfg(test)]
mod tests;
