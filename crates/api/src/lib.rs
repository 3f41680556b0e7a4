//! The Kubernetes surface that controller and speaker share: the kinds of `metallb.io`, the slim
//! views of core objects, annotations, and resources turned into a validated [`config::Config`].

pub mod annotations;
pub mod config;
pub mod conversion;
pub mod crd;
mod duration;
pub mod kinds;
pub mod report;
mod schema;
pub mod slim;

pub use duration::{Duration, DurationError};
pub use kinds::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, ConfigurationState, IPAddressPool,
    L2Advertisement, ServiceBGPStatus, ServiceL2Status,
};
