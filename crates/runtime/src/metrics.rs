//! The metrics (compat.md 6.1) and their server: path `/metrics`, the `OpenMetrics` text format.

mod process;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

pub use server::serve;

/// The metrics of the client that both daemons have.
#[derive(Debug, Clone, Default)]
pub struct ClientMetrics {
    /// `metallb_k8s_client_updates_total`: objects handled.
    pub updates: Counter,
    /// `metallb_k8s_client_update_errors_total`: objects that could not be handled.
    pub update_errors: Counter,
    /// `metallb_k8s_client_config_loaded_bool`: 1 once a configuration was in force.
    pub config_loaded: Gauge,
    /// `metallb_k8s_client_config_stale_bool`: 1 while something of the configuration is refused.
    pub config_stale: Gauge,
}

impl ClientMetrics {
    /// New metrics, registered under their names.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // The text format adds `_total` to the names of counters.
        registry.register(
            "metallb_k8s_client_updates",
            "Kubernetes objects handled",
            metrics.updates.clone(),
        );
        registry.register(
            "metallb_k8s_client_update_errors",
            "Kubernetes objects that could not be handled",
            metrics.update_errors.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_loaded_bool",
            "1 if a configuration is in force",
            metrics.config_loaded.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_stale_bool",
            "1 if part of the newest configuration is refused and an older one is in force",
            metrics.config_stale.clone(),
        );
        metrics
    }
}

/// A counter whose name is written as registered: the text format would add `_total` to a
/// [`Counter`]'s, and MetalLB has counters without it. Its type in the text is `unknown`.
#[derive(Debug, Clone, Default)]
pub struct BareCounter(Arc<AtomicU64>);

impl BareCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TypedMetric for BareCounter {
    const TYPE: MetricType = MetricType::Unknown;
}

impl EncodeMetric for BareCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// From a millisecond to a minute.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// A histogram of how long something took.
#[derive(Debug, Clone)]
pub struct Seconds(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(BUCKETS))
    }
}

impl Seconds {
    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl TypedMetric for Seconds {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Seconds {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_as_in_the_table() {
        let mut registry = Registry::default();
        let client = ClientMetrics::register(&mut registry);
        client.updates.inc();
        client.config_loaded.set(1);
        let bare = BareCounter::default();
        registry.register("metallb_layer2_requests_received", "requests", bare.clone());
        bare.inc();
        let seconds = Seconds::default();
        registry.register("herald_wait_seconds", "waits", seconds.clone());
        seconds.observe(Duration::from_millis(300));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for line in [
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_update_errors_total 0",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "metallb_layer2_requests_received 1",
            "herald_wait_seconds_bucket{le=\"0.25\"} 0",
            "herald_wait_seconds_bucket{le=\"0.5\"} 1",
            "herald_wait_seconds_count 1",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
