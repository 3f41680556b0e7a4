//! The controller: watches, allocates, writes status.
//!
//! ```text
//! watches ─▶ run ─▶ core (services, allocator) ─▶ writes ─▶ services/status
//!   pools, namespaces ─▶ pools ──┘      └─▶ events, configuration (`ConfigurationState`)
//! ```
//! [`core`] and what it uses ([`request`], [`status`], [`notes`]) are plain functions of what they
//! are told; [`run`] is the one task that owns them and everything around them.

pub mod args;
mod configuration;
mod core;
mod fresh;
mod metrics;
mod notes;
mod peers;
mod pools;
mod request;
mod retries;
mod run;
mod secret;
mod sources;
mod status;
mod webhook;
mod write;

pub use args::ControllerArgs;
pub use run::run;
