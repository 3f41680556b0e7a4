//! Numbers of each session with a router, for Prometheus: what BGP and BFD have in common.
//!
//! They are read when they are asked for, so that a session that ends leaves no series behind.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

/// What routers and tools call the VRF that is none.
pub(crate) const DEFAULT_VRF: &str = "default";

/// A number of each session of the kind `S`.
pub(crate) struct Metric<S> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value: fn(&S) -> u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Gauge,
    /// Its name gets the suffix `_total`.
    Counter,
    /// A counter whose name is as it is.
    Bare,
}

/// Which session. Two of them may have the same address, but not the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) peer: String,
    pub(crate) vrf: String,
    pub(crate) name: String,
}

/// A session at the time of asking.
pub(crate) struct Sample<S> {
    pub(crate) labels: Labels,
    pub(crate) session: S,
}

/// Writes a metric of all sessions; nothing if there are none.
pub(crate) fn write<S>(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    metric: &Metric<S>,
    samples: &[Sample<S>],
) -> fmt::Result {
    if samples.is_empty() {
        return Ok(());
    }
    let kind = match metric.kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Bare => MetricType::Unknown,
    };
    let name = format!("{prefix}{}", metric.name);
    let mut family = encoder.encode_descriptor(&name, metric.help, None, kind)?;
    for sample in samples {
        let value = (metric.value)(&sample.session);
        let mut one = family.encode_family(&sample.labels)?;
        match metric.kind {
            Kind::Counter => one.encode_counter(&value, None::<&Exemplar<Labels, u64>>)?,
            Kind::Gauge | Kind::Bare => one.encode_gauge(&value)?,
        }
    }
    Ok(())
}
