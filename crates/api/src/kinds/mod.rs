//! The nine kinds of the API group `metallb.io`, one module each (compat.md 1).
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
mod community;
mod configuration_state;
mod ip_address_pool;
mod l2_advertisement;
mod service_bgp_status;
mod service_l2_status;

pub use bfd_profile::{BFDProfile, BFDProfileSpec, BFDProfileStatus};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec, BGPAdvertisementStatus};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, BGPPeerStatus, DynamicAsn, SecretReference};
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
