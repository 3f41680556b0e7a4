//! Counters of the wire (compat.md 6.1).

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use herald_runtime::metrics::BareCounter;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
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
        metrics
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
}

fn label(address: IpAddr) -> AddressLabel {
    AddressLabel {
        ip: Address(address),
    }
}
