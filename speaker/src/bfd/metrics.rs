//! The metrics of the sessions (compat.md 6.1): under the names of MetalLB's FRR mode, under those of
//! frr-k8s, and one of our own. The names of their counters have no suffix. Two peers of one address
//! share a session.

use std::fmt::{self, Debug};
use std::sync::Arc;

use herald_bfd::{State, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::BfdStatuses;
use crate::series::{self, DEFAULT_VRF, Kind, Labels, Sample, write};

type Metric = series::Metric<Status>;

/// After `metallb_bfd_` and `frrk8s_bfd_`.
const METRICS: [Metric; 8] = [
    Metric {
        name: "session_up",
        help: "BFD session state (1 is up, 0 is down)",
        kind: Kind::Gauge,
        value: |status| u64::from(status.state == State::Up),
    },
    Metric {
        name: "control_packet_input",
        help: "Number of received BFD control packets",
        kind: Kind::Bare,
        value: |status| status.counters.received,
    },
    Metric {
        name: "control_packet_output",
        help: "Number of sent BFD control packets",
        kind: Kind::Bare,
        value: |status| status.counters.sent,
    },
    Metric {
        name: "echo_packet_input",
        help: "Number of BFD echo packets that came back",
        kind: Kind::Bare,
        value: |status| status.counters.echo_received,
    },
    Metric {
        name: "echo_packet_output",
        help: "Number of sent BFD echo packets",
        kind: Kind::Bare,
        value: |status| status.counters.echo_sent,
    },
    Metric {
        name: "session_up_events",
        help: "Number of times that the BFD session came up",
        kind: Kind::Bare,
        value: |status| status.counters.ups,
    },
    Metric {
        name: "session_down_events",
        help: "Number of times that the BFD session went down",
        kind: Kind::Bare,
        value: |status| status.counters.downs,
    },
    Metric {
        name: "zebra_notifications",
        help: "Number of times that BGP was told of the BFD session",
        kind: Kind::Bare,
        value: |status| status.counters.ups + status.counters.downs,
    },
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Registers the metrics of all sessions.
pub fn register_metrics(registry: &mut Registry, statuses: watch::Receiver<Arc<BfdStatuses>>) {
    registry.register_collector(Box::new(Sessions(statuses)));
}

struct Sessions(watch::Receiver<Arc<BfdStatuses>>);

impl Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let statuses = Arc::clone(&self.0.borrow());
        let samples: Vec<_> = statuses
            .peers
            .iter()
            .filter_map(|(name, status)| {
                let labels = Labels {
                    peer: status.peer.to_string(),
                    vrf: status.vrf.as_deref().unwrap_or(DEFAULT_VRF).to_owned(),
                    name: name.clone(),
                };
                Some(Sample {
                    labels,
                    session: status.session.clone()?,
                })
            })
            .collect();
        if samples.is_empty() {
            return Ok(());
        }
        for prefix in ["metallb_bfd_", "frrk8s_bfd_"] {
            for metric in &METRICS {
                write(&mut encoder, prefix, metric, &samples)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "herald_bfd_packets_dropped",
            "BFD packets received that had no consequence",
            None,
            MetricType::Counter,
        )?;
        let discards = statuses.discards.iter();
        let discards = discards.map(|(reason, count)| (reason.name(), count));
        for (reason, count) in discards.chain([("kernel", statuses.kernel_drops)]) {
            let labels = Reason { reason };
            let mut one = family.encode_family(&labels)?;
            one.encode_counter(&count, None::<&Exemplar<Reason, u64>>)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use herald_bfd::{Arrival, Discard, Hops, Path, Sessions as Machine, Settings};

    use super::*;
    use crate::bfd::BfdStatus;

    fn text(statuses: BfdStatuses) -> String {
        let mut registry = Registry::default();
        let (_sender, receiver) = watch::channel(Arc::new(statuses));
        register_metrics(&mut registry, receiver);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text
    }

    #[test]
    fn the_names_are_those_that_tools_expect() {
        let now = Instant::now();
        let peer = IpAddr::from([192, 0, 2, 2]);
        let local = IpAddr::from([192, 0, 2, 1]);
        let path = Path::SingleHop {
            peer,
            interface: None,
        };
        let mut machine = Machine::new([1; 32]);
        let session = machine.add(now, path, Settings::default()).expect("added");
        assert!(
            machine
                .poll_transmit(now + Duration::from_secs(1))
                .is_some()
        );
        let arrival = Arrival {
            hops: Hops::Single,
            from: peer,
            to: local,
            interface: 1,
            ttl: 255,
        };
        let dropped = machine.handle_packet(now, &arrival, b"short");
        assert_eq!(dropped, Err(Discard::Truncated));
        let status = BfdStatus {
            peer,
            local,
            hops: Hops::Single,
            vrf: None,
            session: machine.status(session),
            problem: None,
        };
        let text = text(BfdStatuses {
            peers: [("tor".to_owned(), status)].into(),
            discards: machine.discards().clone(),
            kernel_drops: 7,
        });
        let tor = "{peer=\"192.0.2.2\",vrf=\"default\",name=\"tor\"}";
        for line in [
            format!("metallb_bfd_session_up{tor} 0"),
            format!("metallb_bfd_control_packet_input{tor} 0"),
            format!("metallb_bfd_control_packet_output{tor} 1"),
            format!("metallb_bfd_session_down_events{tor} 0"),
            format!("frrk8s_bfd_session_up{tor} 0"),
            format!("frrk8s_bfd_control_packet_output{tor} 1"),
            "herald_bfd_packets_dropped_total{reason=\"truncated\"} 1".to_owned(),
            "herald_bfd_packets_dropped_total{reason=\"ttl\"} 0".to_owned(),
            "herald_bfd_packets_dropped_total{reason=\"kernel\"} 7".to_owned(),
        ] {
            let found = text.lines().any(|l| l == line);
            assert!(found, "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_node_without_sessions_has_no_series() {
        assert_eq!(text(BfdStatuses::default()), "# EOF\n");
    }
}
