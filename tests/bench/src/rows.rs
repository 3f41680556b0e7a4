//! The rows of the table: Herald's figure, what it is compared with, and the target.

use crate::args::Plan;
use crate::contestant::Contestant::{Herald, Peer};
use crate::figures::{Figures, Metric, Unit};
use crate::stats::median;

/// What a ratio has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Target {
    /// Whether a ratio is as it has to be.
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }

    /// As the table has it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit:.2}"),
            Self::AtLeast(limit) => format!("≥ {limit:.2}"),
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Herald's figure.
    pub(crate) herald: String,
    /// The figure beside it; whose it is, unless it is MetalLB's.
    pub(crate) beside: String,
    /// Herald's divided by the other.
    pub(crate) ratio: f64,
    /// What the ratio has to be, if anything.
    pub(crate) target: Option<Target>,
}

/// The rows for which there are figures.
pub(crate) fn rows(plan: &Plan, figures: &Figures) -> Vec<Row> {
    let (all, few) = (plan.services, plan.few);
    let mut rows = vec![
        beside_peer(
            figures,
            Metric::Allocation,
            format!("{all} Services pending, controller starts: all have their address"),
            Some(Target::AtMost(1.0 / 6.0)),
        ),
        beside_writer(plan, figures),
    ];
    for (metric, name, target) in [
        (Metric::ManyP50, "median", Some(Target::AtMost(0.5))),
        (Metric::ManyP99, "p99", Some(Target::AtMost(0.5))),
        (Metric::ManyVisible, "median since it is visible", None),
    ] {
        let what = format!("one more Service beside {all}, create to address: {name}");
        rows.push(beside_peer(figures, metric, what, target));
    }
    for (metric, name) in [
        (Metric::FewP50, "median"),
        (Metric::FewP99, "p99"),
        (Metric::FewVisible, "median since it is visible"),
    ] {
        let what = format!("one more Service beside {few}, create to address: {name}");
        rows.push(beside_peer(figures, metric, what, None));
    }
    let whole = [Metric::ManyP50, Metric::FewP50];
    let target = Some(Target::AtMost(1.5));
    rows.push(growth(plan, figures, whole, "median", target));
    let since = [Metric::ManyVisible, Metric::FewVisible];
    let name = "median since it is visible";
    rows.push(growth(plan, figures, since, name, None));
    let third = Some(Target::AtMost(1.0 / 3.0));
    for (metric, what, target) in [
        (
            Metric::ControllerMemory,
            "controller, resident memory",
            third,
        ),
        (
            Metric::ControllerPeak,
            "controller, the most it ever had resident",
            None,
        ),
        (Metric::SpeakerMemory, "speaker, resident memory", third),
        (
            Metric::SpeakerPeak,
            "speaker, the most it ever had resident",
            None,
        ),
        (
            Metric::Announced,
            "speaker starts: every address has answered",
            None,
        ),
    ] {
        let what = format!("{what}, {all} Services");
        rows.push(beside_peer(figures, metric, what, target));
    }
    for &rate in &plan.rates {
        for (metric, what) in [
            (Metric::ArpP50(rate), "answer, median"),
            (Metric::ArpP99(rate), "answer, p99"),
            (Metric::ArpAnswered(rate), "requests answered"),
            (Metric::ArpCpu(rate), "speaker's CPU per answer"),
        ] {
            let what = format!("ARP at {rate} requests/s: {what}");
            rows.push(beside_peer(figures, metric, what, None));
        }
    }
    rows.push(beside_peer(
        figures,
        Metric::ForeignCpu,
        format!(
            "ARP at {} requests/s for addresses of others: speaker's CPU, of one core",
            plan.foreign_rate
        ),
        Some(Target::AtMost(0.1)),
    ));
    rows.push(beside_peer(
        figures,
        Metric::IdleCpu,
        "nothing happens: speaker's CPU, of one core".to_owned(),
        None,
    ));
    rows.into_iter().flatten().collect()
}

fn beside_peer(
    figures: &Figures,
    metric: Metric,
    what: String,
    target: Option<Target>,
) -> Option<Row> {
    let herald = figures.median(metric, Herald)?;
    let peer = figures.median(metric, Peer)?;
    let unit = metric.unit();
    Some(Row {
        what,
        herald: unit.text(herald),
        beside: unit.text(peer),
        ratio: herald / peer,
        target,
    })
}

/// The rate of the same writes, made by a client that has nothing else to do.
fn beside_writer(plan: &Plan, figures: &Figures) -> Option<Row> {
    let took = figures.median(Metric::Allocation, Herald)?;
    let writer = median(figures.writer())?;
    let count = u32::try_from(plan.services).ok()?;
    let rate = f64::from(count) / took;
    Some(Row {
        what: "the same as a rate, beside a plain concurrent status writer".to_owned(),
        herald: Unit::PerSecond.text(rate),
        beside: format!("{} (plain writer)", Unit::PerSecond.text(writer)),
        ratio: rate / writer,
        target: Some(Target::AtLeast(0.6)),
    })
}

/// Herald beside itself: what the number of Services costs one Service.
fn growth(
    plan: &Plan,
    figures: &Figures,
    [many, few]: [Metric; 2],
    name: &str,
    target: Option<Target>,
) -> Option<Row> {
    let many = figures.median(many, Herald)?;
    let few = figures.median(few, Herald)?;
    Some(Row {
        what: format!(
            "one more Service beside {}, and beside {}: {name}",
            plan.services, plan.few
        ),
        herald: Unit::Seconds.text(many),
        beside: format!("{} (Herald, {})", Unit::Seconds.text(few), plan.few),
        ratio: many / few,
        target,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn plan() -> Plan {
        Args::parse_from(["bench"]).plan()
    }

    #[test]
    fn a_row_needs_the_figures_of_both() {
        let mut figures = Figures::default();
        figures.add(Metric::ForeignCpu, Herald, 0.02);
        assert_eq!(rows(&plan(), &figures), []);
        figures.add(Metric::ForeignCpu, Peer, 0.4);
        let rows = rows(&plan(), &figures);
        assert_eq!(rows.len(), 1);
        assert!((rows[0].ratio - 0.05).abs() < 1e-9);
        assert!(rows[0].target.is_some_and(|target| target.is_met(0.05)));
    }

    #[test]
    fn the_plain_writer_is_compared_by_rate() {
        let mut figures = Figures::default();
        figures.add(Metric::Allocation, Herald, 5.0);
        figures.add_writer(1250.0);
        let rows = rows(&plan(), &figures);
        assert_eq!(rows[0].herald, "1000/s");
        assert!((rows[0].ratio - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_limit_belongs_to_what_meets_it() {
        assert!(Target::AtMost(0.5).is_met(0.5) && !Target::AtMost(0.5).is_met(0.51));
        assert!(Target::AtLeast(0.6).is_met(0.6) && !Target::AtLeast(0.6).is_met(0.59));
    }
}
