//! What the group counts.

use std::time::Instant;

use herald_model::{GroupView, Standing};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::said::Said;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    known: Gauge,
    live: Gauge,
    standing: Gauge,
    fenced: Gauge,
    fencings: Counter,
    datagrams: Family<Direction, Counter>,
    bytes: Family<Direction, Counter>,
    not_sent: Counter,
    problems: Family<ProblemLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    kind: &'static str,
}

const IN: Direction = Direction { direction: "in" };
const OUT: Direction = Direction { direction: "out" };

impl Metrics {
    /// New metrics, registered under their names.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut register = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        register(
            "herald_group_members_known",
            "Speakers that this one knows of, itself included",
            &metrics.known,
        );
        register(
            "herald_group_members_live",
            "Speakers that are in the group now, this one included",
            &metrics.live,
        );
        register(
            "herald_group_standing",
            "How many of the speakers are in the group: 0 less than half, 1 half, 2 more than half",
            &metrics.standing,
        );
        register(
            "herald_group_fenced",
            "1 while this speaker answers for nothing because others may have declared it down",
            &metrics.fenced,
        );
        registry.register(
            "herald_group_fencings",
            "How often this speaker was fenced",
            metrics.fencings.clone(),
        );
        registry.register(
            "herald_group_datagrams",
            "Datagrams of the speakers' group",
            metrics.datagrams.clone(),
        );
        registry.register(
            "herald_group_bytes",
            "Bytes of datagrams of the speakers' group, without UDP and IP headers",
            metrics.bytes.clone(),
        );
        registry.register(
            "herald_group_datagrams_not_sent",
            "Datagrams that the kernel did not take",
            metrics.not_sent.clone(),
        );
        registry.register(
            "herald_group_problems",
            "Datagrams that were not taken and members that were not believed, by what was wrong",
            metrics.problems.clone(),
        );
        metrics
    }

    pub(super) fn received(&self, bytes: usize) {
        self.datagrams.get_or_create(&IN).inc();
        self.bytes.get_or_create(&IN).inc_by(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.datagrams.get_or_create(&OUT).inc();
        self.bytes.get_or_create(&OUT).inc_by(bytes as u64);
    }

    pub(super) fn not_sent(&self) {
        self.not_sent.inc();
    }

    pub(super) fn fenced(&self) {
        self.fencings.inc();
    }

    /// Counts a problem of this kind; `said` decides whether it is worth a line in the log.
    pub(super) fn problem(&self, now: Instant, kind: &'static str, said: &mut Said) -> Option<u64> {
        self.problems.get_or_create(&ProblemLabels { kind }).inc();
        said.say(now, kind)
    }

    pub(super) fn view(&self, view: &GroupView) {
        let live = view.members.values().filter(|member| member.live).count();
        self.known.set(gauge(view.members.len() + 1));
        self.live.set(gauge(live + 1));
        self.fenced.set(i64::from(view.fenced));
        self.standing.set(match view.standing {
            Standing::Minority => 0,
            Standing::Half => 1,
            Standing::Majority => 2,
        });
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
