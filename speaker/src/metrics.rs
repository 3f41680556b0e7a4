//! The speaker's metrics (compat.md 6.1); those of the wire are the driver's.

use std::net::IpAddr;

use herald_model::{NodeName, ServiceKey};
use herald_runtime::metrics::ClientMetrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the speaker counts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Of the client.
    pub(crate) client: ClientMetrics,
    announced: Family<AnnouncedLabels, Gauge>,
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnnouncedLabels {
    service: String,
    protocol: &'static str,
    node: String,
    ip: String,
}

impl Metrics {
    /// New metrics, registered under their names.
    pub(crate) fn register(registry: &mut Registry, node: &NodeName) -> Self {
        let client = ClientMetrics::register(registry);
        let announced = Family::default();
        registry.register(
            "metallb_speaker_announced",
            "Services announced from this node: 1 for each address",
            announced.clone(),
        );
        Self {
            client,
            announced,
            node: node.to_string(),
        }
    }

    /// The Service is announced at these addresses.
    pub(crate) fn announced(&self, service: &ServiceKey, addresses: &[IpAddr]) {
        for address in addresses {
            self.announced
                .get_or_create(&self.labels(service, *address))
                .set(1);
        }
    }

    /// The Service is no longer announced at these addresses: the series end.
    pub(crate) fn withdrawn(&self, service: &ServiceKey, addresses: &[IpAddr]) {
        for address in addresses {
            self.announced.remove(&self.labels(service, *address));
        }
    }

    fn labels(&self, service: &ServiceKey, address: IpAddr) -> AnnouncedLabels {
        AnnouncedLabels {
            service: service.to_string(),
            protocol: "layer2",
            node: self.node.clone(),
            ip: address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_lasts_as_long_as_the_announcement() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, &"n1".into());
        let service = ServiceKey::new("shop", "web");
        let addresses = ["192.0.2.1".parse().expect("valid")];
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).expect("encodes");
            text
        };
        metrics.announced(&service, &addresses);
        let line = "metallb_speaker_announced{service=\"shop/web\",protocol=\"layer2\",\
                    node=\"n1\",ip=\"192.0.2.1\"} 1";
        assert!(text(&registry).contains(line), "{}", text(&registry));
        metrics.withdrawn(&service, &addresses);
        assert!(!text(&registry).contains("shop/web"));
    }
}
