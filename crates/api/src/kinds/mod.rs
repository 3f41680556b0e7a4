//! The nine kinds of the API group `metallb.io`, and one of frr-k8s, one module each (compat.md 1).
//!
//! Field descriptions end up in the CRDs, and so in `kubectl explain`.
#![allow(
    clippy::doc_markdown,
    reason = "field descriptions are plain text for kubectl explain, without markup"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "the columns of a kind have their types in common"
)]
#![allow(
    clippy::struct_excessive_bools,
    reason = "the API has the switches that it has"
)]

mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
pub mod bgp_peer_v1beta1;
mod bgp_session_state;
mod community;
mod configuration_state;
mod ip_address_pool;
mod l2_advertisement;
mod service_bgp_status;
mod service_l2_status;

pub use bfd_profile::{BFDProfile, BFDProfileSpec, BFDProfileStatus};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec, BGPAdvertisementStatus};
pub use bgp_peer::{
    BGPPeer, BGPPeerNode, BGPPeerSpec, BGPPeerStatus, DEFAULT_BGP_PORT, DynamicAsn, SecretReference,
};
pub use bgp_session_state::{BGPSessionState, BGPSessionStateSpec, BGPSessionStateStatus};
pub use community::{Community, CommunityAlias, CommunitySpec, CommunityStatus};
pub use configuration_state::{
    ConfigurationResult, ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus,
};
pub use ip_address_pool::{
    IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation,
};
pub use l2_advertisement::{
    L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodeSelector,
};
pub use service_bgp_status::{ServiceBGPStatus, ServiceBGPStatusSpec, ServiceBGPStatusStatus};
pub use service_l2_status::{
    InterfaceInfo, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus,
};

/// Reads a missing or null `spec` as the default one.
///
/// The root types that kube derives take `spec` as a plain field. serde asks the field's own type
/// about a missing field, as an `Option` would be asked; this answers. The spec derives serde with
/// `#[serde(remote = "Self")]`, which makes what is derived inherent functions.
macro_rules! optional_spec {
    ($spec:ident) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Present($spec);
                impl<'de> serde::Deserialize<'de> for Present {
                    fn deserialize<D: serde::Deserializer<'de>>(
                        deserializer: D,
                    ) -> Result<Self, D::Error> {
                        $spec::deserialize(deserializer).map(Self)
                    }
                }
                let present = Option::<Present>::deserialize(deserializer)?;
                Ok(present.map(|Present(spec)| spec).unwrap_or_default())
            }
        }

        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
}
use optional_spec;

/// True for the value that Go's `omitempty` leaves out.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field over by reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// True for the value that Go's `omitempty` leaves out.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field over by reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_a_spec_has_the_default_one() {
        for object in [
            json!({ "metadata": {} }),
            json!({ "metadata": {}, "spec": null }),
        ] {
            let advertisement: BGPAdvertisement =
                serde_json::from_value(object.clone()).expect("optional");
            assert_eq!(advertisement.spec.aggregation_length, 32);
            assert_eq!(advertisement.spec, BGPAdvertisementSpec::default());
            let guarded: DeserializeGuard<L2Advertisement> =
                serde_json::from_value(object.clone()).expect("guarded");
            assert_eq!(guarded.0.expect("optional"), L2Advertisement::default());
            assert!(serde_json::from_value::<IPAddressPool>(object).is_err());
        }
    }

    #[test]
    fn a_malformed_spec_is_an_error_with_the_name_kept() {
        let object = json!({ "metadata": { "name": "all" }, "spec": { "interfaces": "eth0" } });
        let guarded: DeserializeGuard<L2Advertisement> =
            serde_json::from_value(object).expect("guarded");
        let error = guarded.0.expect_err("interfaces are a list");
        assert_eq!(error.metadata.name.as_deref(), Some("all"));
    }

    #[test]
    fn what_is_written_has_group_version_and_kind_and_nothing_empty() {
        let mut status = ServiceL2Status::new("l2-x", ServiceL2StatusSpec {});
        status.status = Some(ServiceL2StatusStatus {
            node: "n1".to_owned(),
            ..ServiceL2StatusStatus::default()
        });
        assert_eq!(
            serde_json::to_value(status).expect("plain"),
            json!({
                "apiVersion": "metallb.io/v1beta1",
                "kind": "ServiceL2Status",
                "metadata": { "name": "l2-x" },
                "spec": {},
                "status": { "node": "n1" },
            })
        );
        let pool = IPAddressPool::new(
            "p",
            IPAddressPoolSpec {
                addresses: vec!["192.0.2.0/24".to_owned()],
                ..IPAddressPoolSpec::default()
            },
        );
        assert_eq!(
            serde_json::to_value(pool.spec).expect("plain"),
            json!({ "addresses": ["192.0.2.0/24"], "autoAssign": true, "avoidBuggyIPs": false })
        );
    }
}
