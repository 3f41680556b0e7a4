//! Schemas of Kubernetes' own types, which come without one.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// `metav1.LabelSelector`, one.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({});
    if let Value::Object(selector) = label_selector_value() {
        for (key, value) in selector {
            schema.insert(key, value);
        }
    }
    schema
}

/// A list of `metav1.LabelSelector`.
pub(crate) fn label_selectors(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": label_selector_value() })
}

fn label_selector_value() -> Value {
    json!({
        "type": "object",
        "description": "Selects objects by their labels; the empty selector selects all.",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that the object must have with exactly these values.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements of which every one must hold.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "A requirement on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "The key of the label.",
                        },
                        "operator": {
                            "type": "string",
                            "description": "In, NotIn, Exists or DoesNotExist.",
                        },
                        "values": {
                            "type": "array",
                            "description": "The values of In and NotIn; empty for the others.",
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string" },
                        },
                    },
                },
            },
        },
    })
}

/// A list of `metav1.Condition`, one for each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What the condition is about.",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {
                    "type": "string",
                    "description": "True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The generation of the object that the condition speaks of.",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "reason": {
                    "type": "string",
                    "description": "The cause of the last change in one word.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "The cause of the last change for people.",
                    "maxLength": 32768,
                },
            },
        },
    })
}
