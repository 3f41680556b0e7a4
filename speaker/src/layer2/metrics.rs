//! Counters of the wire (compat.md 6.1).

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use herald_ownership::Kind;
use herald_runtime::metrics::BareCounter;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What happened on the wire, by address. A look-up allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// `metallb_layer2_requests_received`: requests for one of our addresses.
    pub(super) requests: Family<AddressLabel, BareCounter>,
    /// `metallb_layer2_responses_sent`: answers.
    pub(super) responses: Family<AddressLabel, BareCounter>,
    /// `metallb_layer2_gratuitous_sent`: frames sent unasked.
    pub(super) gratuitous: Family<AddressLabel, BareCounter>,
    /// `herald_layer2_sightings_total`: what other stations said about our addresses.
    pub(super) sightings: Family<KindLabel, Counter>,
    /// `herald_layer2_sightings_dropped_total`: those for which there was no room.
    pub(super) sightings_dropped: Counter,
    /// `herald_layer2_probes_sent_total`: questions whether anybody has an address.
    pub(super) probes: Counter,
    /// `herald_layer2_answers_refused_total`: requests not answered for want of a valid lease.
    pub(super) refused: Counter,
}

/// The label `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

/// The label `ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AddressLabel {
    pub(super) ip: Address,
}

/// An address as the value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Address(pub(super) IpAddr);

impl EncodeLabelValue for Address {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{}", self.0)
    }
}

impl Metrics {
    /// New counters, registered under their names, which have no `_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "metallb_layer2_requests_received",
            "ARP requests and neighbor solicitations received for own addresses",
            metrics.requests.clone(),
        );
        registry.register(
            "metallb_layer2_responses_sent",
            "ARP replies and neighbor advertisements sent as answers",
            metrics.responses.clone(),
        );
        registry.register(
            "metallb_layer2_gratuitous_sent",
            "Gratuitous ARP frames and unsolicited neighbor advertisements sent",
            metrics.gratuitous.clone(),
        );
        registry.register(
            "herald_layer2_sightings",
            "Frames in which other stations announced, answered for, or probed an own address",
            metrics.sightings.clone(),
        );
        registry.register(
            "herald_layer2_sightings_dropped",
            "Sightings lost because too many came at once",
            metrics.sightings_dropped.clone(),
        );
        registry.register(
            "herald_layer2_probes_sent",
            "ARP probes and duplicate address detections sent before taking an address",
            metrics.probes.clone(),
        );
        registry.register(
            "herald_layer2_answers_refused",
            "Requests not answered because this node might no longer own the address",
            metrics.refused.clone(),
        );
        metrics
    }

    pub(super) fn sighting(&self, kind: Kind) {
        let kind = match kind {
            Kind::Announced => "announced",
            Kind::Answered => "answered",
            Kind::Probed => "probed",
        };
        self.sightings.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn request(&self, address: IpAddr) {
        self.requests.get_or_create(&label(address)).inc();
    }

    pub(super) fn response(&self, address: IpAddr) {
        self.responses.get_or_create(&label(address)).inc();
    }

    pub(super) fn gratuitous(&self, address: IpAddr) {
        self.gratuitous.get_or_create(&label(address)).inc();
    }

    /// The address is no longer announced from this node: its series end, so that there are not
    /// ever more of them.
    pub(super) fn forget(&self, address: IpAddr) {
        let label = label(address);
        self.requests.remove(&label);
        self.responses.remove(&label);
        self.gratuitous.remove(&label);
    }
}

fn label(address: IpAddr) -> AddressLabel {
    AddressLabel {
        ip: Address(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_an_address_end_with_it() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).expect("encodes");
            text
        };
        let [stays, goes] = ["192.0.2.1", "2001:db8::1"].map(|a| a.parse().expect("valid"));
        for address in [stays, goes] {
            metrics.request(address);
            metrics.response(address);
            metrics.gratuitous(address);
        }
        assert_eq!(text(&registry).matches("2001:db8::1").count(), 3);
        metrics.forget(goes);
        let text = text(&registry);
        assert!(!text.contains("2001:db8::1"), "{text}");
        assert_eq!(text.matches("192.0.2.1").count(), 3);
    }
}
