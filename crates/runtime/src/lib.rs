//! What both daemons need around their decisions: flags, logs, the Kubernetes client, watches,
//! leader election, events, the metrics and health servers, and an orderly end.
//!
//! Nothing here decides anything about addresses or announcements.

mod access;
pub mod args;
pub mod argv;
pub mod backoff;
pub mod certificate;
pub mod client;
pub mod configuration_state;
mod connections;
pub mod debug;
pub mod events;
pub mod health;
pub mod https;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod owner;
pub mod supervise;
pub mod thread;
pub mod tls;
pub mod watch;
pub mod writes;

use rustls::crypto::ring;

/// Makes ring the TLS provider of the process. To be called first thing in `main`; later calls
/// change nothing.
pub fn install_crypto_provider() {
    // The only error is that a provider is installed already, which is what is wanted.
    let _ = ring::default_provider().install_default();
}
