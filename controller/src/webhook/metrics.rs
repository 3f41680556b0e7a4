//! Metrics of the webhooks.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The change may be made; the objects are converted.
    Allowed,
    /// It may not; they cannot be.
    Refused,
    /// There was no answer: the request was wrong, or what is stored could not be read.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// Counters of requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebhookMetrics {
    requests: Family<RequestLabels, Counter>,
}

/// The values that the label `kind` has: what a stranger sends must not make series.
const KINDS: [&str; 8] = [
    "IPAddressPool",
    "L2Advertisement",
    "BGPAdvertisement",
    "BGPPeer",
    "BFDProfile",
    "Community",
    "admission",
    "conversion",
];

impl WebhookMetrics {
    /// New metrics, registered under their names.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "herald_webhook_requests",
            "Requests of the API server to the webhooks",
            metrics.requests.clone(),
        );
        metrics
    }

    /// Counts a request about this kind of object.
    pub(super) fn count(&self, kind: &str, outcome: Outcome) {
        let known = KINDS.into_iter().find(|known| *known == kind);
        let kind = known.unwrap_or("admission");
        let outcome = match outcome {
            Outcome::Allowed => "allowed",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        self.requests
            .get_or_create(&RequestLabels { kind, outcome })
            .inc();
    }
}
