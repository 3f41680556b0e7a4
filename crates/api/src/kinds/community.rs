//! `Community` (compat.md 1.6).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optional_spec;

/// The names.
#[derive(
    CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    namespaced,
    status = "CommunityStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Names for BGP communities, for use in a BGPAdvertisement."
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct CommunitySpec {
    /// The names and what they stand for. A name may be defined once among all objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityAlias>,
}

optional_spec!(CommunitySpec);

/// A name for a community.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityAlias {
    /// The name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The community: 65535:65281 or large:1:2:3.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// Nothing yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityStatus {}
