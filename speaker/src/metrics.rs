//! The speaker's metrics (compat.md 6.1); those of the wire are the driver's.

use std::net::IpAddr;
use std::time::Duration;

use herald_model::{NodeName, ServiceKey};
use herald_ownership::Status;
use herald_runtime::metrics::{ClientMetrics, Seconds};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the speaker counts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Of the client.
    pub(crate) client: ClientMetrics,
    announced: Family<AnnouncedLabels, Gauge>,
    addresses: Family<AddressLabels, Gauge>,
    conflicts: Family<ConflictLabels, Counter>,
    owner_changes: Family<OwnerLabels, Counter>,
    announce_time: Family<ProtocolLabels, Seconds>,
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AddressLabels {
    ip: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConflictLabels {
    ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OwnerLabels {
    change: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: &'static str,
}

/// The states of an address that its series can have.
const STATES: [&str; 7] = [
    "held",
    "probing",
    "handing_over",
    "held_by",
    "in_use",
    "no_majority",
    "fenced",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnnouncedLabels {
    service: String,
    protocol: &'static str,
    node: String,
    ip: String,
}

/// How a Service is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// By ARP and NDP.
    Layer2,
    /// By routes.
    Bgp,
}

impl Protocol {
    /// As MetalLB writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Layer2 => "layer2",
            Self::Bgp => "bgp",
        }
    }
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
        let addresses = Family::default();
        registry.register(
            "herald_address_state",
            "Addresses that this node has to do with: 1 in the state that each is in",
            addresses.clone(),
        );
        let conflicts = Family::default();
        registry.register(
            "herald_address_conflicts",
            "How often a station that is no speaker was found to use an address of ours; at most \
             once a minute for each address",
            conflicts.clone(),
        );
        let owner_changes = Family::default();
        registry.register(
            "herald_address_owner_changes",
            "How often this node came to have an address on layer 2, or lost it, and why",
            owner_changes.clone(),
        );
        let announce_time = Family::default();
        registry.register(
            "herald_address_announced_seconds",
            "Time from when a new address was first seen until this node announced it",
            announce_time.clone(),
        );
        Self {
            client,
            announced,
            addresses,
            conflicts,
            owner_changes,
            announce_time,
            node: node.to_string(),
        }
    }

    /// The Service is announced at these addresses.
    pub(crate) fn announced(&self, protocol: Protocol, service: &ServiceKey, ips: &[IpAddr]) {
        for address in ips {
            self.announced
                .get_or_create(&self.labels(protocol, service, *address))
                .set(1);
        }
    }

    /// The Service is no longer announced at these addresses: the series end.
    pub(crate) fn withdrawn(&self, protocol: Protocol, service: &ServiceKey, ips: &[IpAddr]) {
        for address in ips {
            self.announced
                .remove(&self.labels(protocol, service, *address));
        }
    }

    /// The status of an address is this from now on.
    pub(crate) fn address(&self, address: IpAddr, status: &Status) {
        let ip = address.to_string();
        let [
            held,
            probing,
            handing_over,
            held_by,
            in_use,
            no_majority,
            fenced,
        ] = STATES;
        let state = match status {
            Status::Held => Some(held),
            Status::Probing => Some(probing),
            Status::HandingOver(_) => Some(handing_over),
            Status::HeldBy(_) => Some(held_by),
            Status::InUse(_) => Some(in_use),
            Status::NoMajority => Some(no_majority),
            Status::Fenced => Some(fenced),
            Status::NotOurs => None,
        };
        for other in STATES.into_iter().filter(|other| Some(*other) != state) {
            let ip = ip.clone();
            self.addresses.remove(&AddressLabels { ip, state: other });
        }
        if let Some(state) = state {
            self.addresses
                .get_or_create(&AddressLabels { ip, state })
                .set(1);
        }
    }

    /// A foreign station was found to use the address.
    pub(crate) fn conflict(&self, address: IpAddr) {
        let ip = address.to_string();
        self.conflicts.get_or_create(&ConflictLabels { ip }).inc();
    }

    /// This node has an address on layer 2 from now on.
    pub(crate) fn gained(&self, cause: &'static str) {
        let change = "gained";
        let labels = OwnerLabels { change, cause };
        self.owner_changes.get_or_create(&labels).inc();
    }

    /// This node no longer has an address on layer 2.
    pub(crate) fn lost(&self, cause: &'static str) {
        let change = "lost";
        let labels = OwnerLabels { change, cause };
        self.owner_changes.get_or_create(&labels).inc();
    }

    /// A new address is announced, so long after it was first seen.
    pub(crate) fn announced_after(&self, protocol: Protocol, took: Duration) {
        let protocol = protocol.name();
        let labels = ProtocolLabels { protocol };
        self.announce_time.get_or_create(&labels).observe(took);
    }

    fn labels(&self, protocol: Protocol, service: &ServiceKey, address: IpAddr) -> AnnouncedLabels {
        AnnouncedLabels {
            service: service.to_string(),
            protocol: protocol.name(),
            node: self.node.clone(),
            ip: address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_one_state_at_a_time() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, &"n1".into());
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).expect("encodes");
            text
        };
        let address = "192.0.2.1".parse().expect("valid");
        metrics.address(address, &Status::Probing);
        metrics.address(address, &Status::Held);
        metrics.conflict(address);
        let written = text(&registry);
        let line = "herald_address_state{ip=\"192.0.2.1\",state=\"held\"} 1";
        assert!(written.contains(line), "{written}");
        assert!(!written.contains("probing"), "{written}");
        let line = "herald_address_conflicts_total{ip=\"192.0.2.1\"} 1";
        assert!(written.contains(line), "{written}");
        metrics.address(address, &Status::NotOurs);
        assert!(!text(&registry).contains("herald_address_state{"));
    }

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
        metrics.announced(Protocol::Layer2, &service, &addresses);
        let line = "metallb_speaker_announced{service=\"shop/web\",protocol=\"layer2\",\
                    node=\"n1\",ip=\"192.0.2.1\"} 1";
        assert!(text(&registry).contains(line), "{}", text(&registry));
        metrics.withdrawn(Protocol::Layer2, &service, &addresses);
        assert!(!text(&registry).contains("shop/web"));
    }
}
