//! The metrics of the sessions (compat.md 5.3 and 6.1): under the names of MetalLB's native and FRR
//! modes, under those of frr-k8s, and some of our own.

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::driver::Statuses;
use super::status::{PeerCounters, PeerStatus};
use crate::series::{self, DEFAULT_VRF, Kind, Labels, Sample, write};

/// A session at the time of asking.
struct Session {
    status: PeerStatus,
    counters: PeerCounters,
}

type Metric = series::Metric<Session>;

/// What MetalLB and frr-k8s both have, after `metallb_bgp_` and `frrk8s_bgp_`.
const SHARED: [Metric; 12] = [
    Metric {
        name: "session_up",
        help: "BGP session state (1 is up, 0 is down)",
        kind: Kind::Gauge,
        value: |session| u64::from(session.status.is_up()),
    },
    Metric {
        name: "announced_prefixes_total",
        help: "Number of prefixes currently being advertised on the BGP session",
        kind: Kind::Gauge,
        value: |session| session.counters.told() as u64,
    },
    Metric {
        name: "updates",
        help: "Number of BGP UPDATE messages sent",
        kind: Kind::Counter,
        value: |session| session.counters.session.sent.updates,
    },
    Metric {
        name: "updates_total_received",
        help: "Number of BGP UPDATE messages received",
        kind: Kind::Bare,
        value: |session| session.counters.session.received.updates,
    },
    Metric {
        name: "opens_sent",
        help: "Number of BGP OPEN messages sent",
        kind: Kind::Bare,
        value: |session| session.counters.session.sent.opens,
    },
    Metric {
        name: "opens_received",
        help: "Number of BGP OPEN messages received",
        kind: Kind::Bare,
        value: |session| session.counters.session.received.opens,
    },
    Metric {
        name: "notifications_sent",
        help: "Number of BGP NOTIFICATION messages sent",
        kind: Kind::Bare,
        value: |session| session.counters.session.sent.notifications,
    },
    Metric {
        name: "keepalives_sent",
        help: "Number of BGP KEEPALIVE messages sent",
        kind: Kind::Bare,
        value: |session| session.counters.session.sent.keepalives,
    },
    Metric {
        name: "keepalives_received",
        help: "Number of BGP KEEPALIVE messages received",
        kind: Kind::Bare,
        value: |session| session.counters.session.received.keepalives,
    },
    Metric {
        name: "route_refresh_sent",
        help: "Number of BGP ROUTE-REFRESH messages sent",
        kind: Kind::Bare,
        value: |session| session.counters.session.sent.refreshes,
    },
    Metric {
        name: "total_sent",
        help: "Number of BGP messages sent",
        kind: Kind::Bare,
        value: |session| session.counters.session.sent.total(),
    },
    Metric {
        name: "total_received",
        help: "Number of BGP messages received",
        kind: Kind::Bare,
        value: |session| session.counters.session.received.total(),
    },
];

/// What only MetalLB has.
const METALLB: [Metric; 1] = [Metric {
    name: "pending_prefixes_total",
    help: "Number of prefixes that should be advertised on the BGP session",
    kind: Kind::Gauge,
    value: |session| session.counters.wanted as u64,
}];

/// What neither of them has, after `herald_bgp_`.
const OWN: [Metric; 9] = [
    Metric {
        name: "prefixes_waiting",
        help: "Prefixes that wait to be announced, announced otherwise or withdrawn",
        kind: Kind::Gauge,
        value: |session| session.counters.waiting as u64,
    },
    Metric {
        name: "sessions_established",
        help: "How often the session came up",
        kind: Kind::Counter,
        value: |session| session.counters.session.ups,
    },
    Metric {
        name: "sessions_lost",
        help: "How often the session went down",
        kind: Kind::Counter,
        value: |session| session.counters.session.downs,
    },
    Metric {
        name: "connects",
        help: "Attempts to connect to the peer",
        kind: Kind::Counter,
        value: |session| session.counters.session.dials,
    },
    Metric {
        name: "notifications_received",
        help: "NOTIFICATION messages received",
        kind: Kind::Counter,
        value: |session| session.counters.session.received.notifications,
    },
    Metric {
        name: "refreshes_received",
        help: "ROUTE-REFRESH messages received",
        kind: Kind::Counter,
        value: |session| session.counters.session.received.refreshes,
    },
    Metric {
        name: "prefixes_received",
        help: "Prefixes that the peer announced; they are not taken",
        kind: Kind::Counter,
        value: |session| {
            let announced = session.counters.session.announced;
            announced.ipv4 + announced.ipv6
        },
    },
    Metric {
        name: "updates_treated_as_withdrawal",
        help: "UPDATE messages of the peer that were wrong and did not end the session (RFC 7606)",
        kind: Kind::Counter,
        value: |session| session.counters.session.treated_as_withdrawal,
    },
    Metric {
        name: "malformed_attributes",
        help: "Path attributes of the peer that were wrong and did not end the session (RFC 7606)",
        kind: Kind::Counter,
        value: |session| session.counters.session.malformed_attributes,
    },
];

/// Who connects to the node and is no peer; the registry adds `_total`.
const STRANGERS: &str = "herald_bgp_strangers_refused";

/// Registers the number of those who connect to the node and are no peers; they are counted in what it
/// gives.
pub fn register_strangers(registry: &mut Registry) -> Counter {
    let counter = Counter::default();
    let help = "Connections to the BGP port that were closed because no peer may make them";
    registry.register(STRANGERS, help, counter.clone());
    counter
}

/// Registers the metrics of all sessions.
pub fn register_metrics(registry: &mut Registry, statuses: watch::Receiver<Arc<Statuses>>) {
    registry.register_collector(Box::new(Sessions(statuses)));
}

struct Sessions(watch::Receiver<Arc<Statuses>>);

impl Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let statuses = Arc::clone(&self.0.borrow());
        // The one has the port beside the address, the other has not.
        let mut with_port: Vec<_> = statuses
            .iter()
            .map(|(name, status)| Sample {
                labels: Labels {
                    peer: status.peer(),
                    vrf: vrf(status),
                    name: name.clone(),
                },
                session: Session {
                    counters: status.counters(),
                    status: status.clone(),
                },
            })
            .collect();
        for metric in SHARED.iter().chain(&METALLB) {
            write(&mut encoder, "metallb_bgp_", metric, &with_port)?;
        }
        for metric in &OWN {
            write(&mut encoder, "herald_bgp_", metric, &with_port)?;
        }
        for sample in &mut with_port {
            sample.labels.peer = sample.session.status.host();
        }
        for metric in &SHARED {
            write(&mut encoder, "frrk8s_bgp_", metric, &with_port)?;
        }
        Ok(())
    }
}

fn vrf(status: &PeerStatus) -> String {
    let vrf = &status.plan.vrf;
    if vrf.is_empty() { DEFAULT_VRF } else { vrf }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::status::testing;

    fn text(statuses: Statuses) -> String {
        let mut registry = Registry::default();
        let (_sender, receiver) = watch::channel(Arc::new(statuses));
        register_metrics(&mut registry, receiver);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text
    }

    #[test]
    fn the_names_are_those_that_tools_expect() {
        let (up, counters) = testing::up("192.0.2.2:179");
        counters.set({
            let mut counters = PeerCounters::default();
            counters.session.sent.updates = 7;
            counters.session.sent.opens = 2;
            counters.session.downs = 1;
            counters.told.ipv4 = 3;
            counters.told.ipv6 = 1;
            counters.wanted = 5;
            counters
        });
        let (mut down, _) = testing::down("[2001:db8::2]:1790");
        Arc::make_mut(&mut down.plan).vrf = "red".to_owned();
        let text = text([("tor".to_owned(), up), ("far".to_owned(), down)].into());
        let tor = "{peer=\"192.0.2.2:179\",vrf=\"default\",name=\"tor\"}";
        let far = "{peer=\"[2001:db8::2]:1790\",vrf=\"red\",name=\"far\"}";
        let without_port = "{peer=\"192.0.2.2\",vrf=\"default\",name=\"tor\"}";
        for line in [
            format!("metallb_bgp_session_up{tor} 1"),
            format!("metallb_bgp_session_up{far} 0"),
            format!("metallb_bgp_updates_total{tor} 7"),
            format!("metallb_bgp_announced_prefixes_total{tor} 4"),
            format!("metallb_bgp_pending_prefixes_total{tor} 5"),
            format!("metallb_bgp_opens_sent{tor} 2"),
            format!("metallb_bgp_total_sent{tor} 9"),
            format!("herald_bgp_sessions_lost_total{tor} 1"),
            format!("frrk8s_bgp_session_up{without_port} 1"),
            format!("frrk8s_bgp_updates_total{without_port} 7"),
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
        for name in [
            "opens_received",
            "notifications_sent",
            "updates_total_received",
            "keepalives_sent",
            "keepalives_received",
            "route_refresh_sent",
            "total_received",
        ] {
            assert!(text.contains(&format!("\nmetallb_bgp_{name}{{")), "{name}");
        }
    }

    #[test]
    fn the_documents_name_every_metric() {
        let page = include_str!("../../../docs/metrics.md");
        let total = |metric: &Metric| match metric.kind {
            Kind::Counter => format!("{}_total", metric.name),
            Kind::Gauge | Kind::Bare => metric.name.to_owned(),
        };
        let shared = SHARED.iter().chain(&METALLB);
        let names = shared
            .map(|metric| format!("metallb_bgp_{}", total(metric)))
            .chain(
                OWN.iter()
                    .map(|metric| format!("herald_bgp_{}", total(metric))),
            );
        for name in names.chain([format!("{STRANGERS}_total")]) {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not documented"
            );
        }
    }

    #[test]
    fn a_session_that_is_gone_has_no_series() {
        assert!(!text(Statuses::new()).contains("bgp"));
    }
}
