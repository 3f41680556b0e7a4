//! Everything measured: by what it is, by whose it is, once for every round.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::contestant::Contestant;
use crate::stats::{median, percentile};

/// What a figure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Seconds from the controller's start to the last address.
    Allocation,
    /// Seconds from create to address, with few Services: median.
    FewP50,
    /// … 99th percentile.
    FewP99,
    /// … counted from when a watch shows the Service: median.
    FewVisible,
    /// Seconds from create to address, with all Services: median.
    ManyP50,
    /// … 99th percentile.
    ManyP99,
    /// … counted from when a watch shows the Service: median.
    ManyVisible,
    /// Bytes resident, all Services allocated.
    ControllerMemory,
    /// The greatest it ever was.
    ControllerPeak,
    /// Seconds from the speaker's start until every address has answered.
    Announced,
    /// Bytes resident, all Services announced.
    SpeakerMemory,
    /// The greatest it ever was.
    SpeakerPeak,
    /// Seconds from request to answer at so many requests a second: median.
    ArpP50(u32),
    /// … 99th percentile.
    ArpP99(u32),
    /// Share of the requests that were answered.
    ArpAnswered(u32),
    /// Seconds of CPU per answer.
    ArpCpu(u32),
    /// Share of one core at rest.
    IdleCpu,
    /// Share of one core while the LAN asks for others' addresses.
    ForeignCpu,
}

/// What a figure counts, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A time.
    Seconds,
    /// Memory.
    Bytes,
    /// A share of one.
    Share,
    /// Events a second.
    PerSecond,
}

impl Unit {
    /// The value as people read it, with its unit.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{value:.1} s"),
            Self::Seconds if value >= 1e-3 => format!("{:.1} ms", value * 1e3),
            Self::Seconds => format!("{:.1} µs", value * 1e6),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::PerSecond => format!("{value:.0}/s"),
        }
    }
}

impl Metric {
    /// What it counts.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::ControllerMemory
            | Self::ControllerPeak
            | Self::SpeakerMemory
            | Self::SpeakerPeak => Unit::Bytes,
            Self::ArpAnswered(_) | Self::IdleCpu | Self::ForeignCpu => Unit::Share,
            _ => Unit::Seconds,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocation => f.write_str("controller starts, all Services pending"),
            Self::FewP50 => f.write_str("one more Service beside few, median"),
            Self::FewP99 => f.write_str("one more Service beside few, p99"),
            Self::ManyP50 => f.write_str("one more Service beside many, median"),
            Self::ManyP99 => f.write_str("one more Service beside many, p99"),
            Self::FewVisible => f.write_str("… since a watch shows it, beside few, median"),
            Self::ManyVisible => f.write_str("… since a watch shows it, beside many, median"),
            Self::ControllerMemory => f.write_str("controller, resident"),
            Self::ControllerPeak => f.write_str("controller, resident at most"),
            Self::Announced => f.write_str("speaker starts, all addresses have answered"),
            Self::SpeakerMemory => f.write_str("speaker, resident"),
            Self::SpeakerPeak => f.write_str("speaker, resident at most"),
            Self::ArpP50(rate) => write!(f, "ARP answer at {rate}/s, median"),
            Self::ArpP99(rate) => write!(f, "ARP answer at {rate}/s, p99"),
            Self::ArpAnswered(rate) => write!(f, "ARP requests answered at {rate}/s"),
            Self::ArpCpu(rate) => write!(f, "CPU per ARP answer at {rate}/s"),
            Self::IdleCpu => f.write_str("speaker's CPU at rest"),
            Self::ForeignCpu => f.write_str("speaker's CPU, ARP requests for others"),
        }
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    of: BTreeMap<(Metric, Contestant), Vec<f64>>,
    writer: Vec<f64>,
}

impl Figures {
    /// Adds the figure of one round.
    pub(crate) fn add(&mut self, metric: Metric, contestant: Contestant, value: f64) {
        eprintln!("  {metric}: {}", metric.unit().text(value));
        self.of.entry((metric, contestant)).or_default().push(value);
    }

    /// Adds the plain writer's rate of one round, in status writes a second.
    pub(crate) fn add_writer(&mut self, rate: f64) {
        eprintln!("plain writer: {}", Unit::PerSecond.text(rate));
        self.writer.push(rate);
    }

    /// Adds median and 99th percentile of one round's samples.
    pub(crate) fn add_samples(
        &mut self,
        [p50, p99]: [Metric; 2],
        contestant: Contestant,
        samples: &mut [Duration],
    ) {
        for (metric, percent) in [(p50, 50), (p99, 99)] {
            self.add_percentile(metric, contestant, samples, percent);
        }
    }

    /// Adds one percentile of one round's samples.
    pub(crate) fn add_percentile(
        &mut self,
        metric: Metric,
        contestant: Contestant,
        samples: &mut [Duration],
        percent: usize,
    ) {
        if let Some(value) = percentile(samples, percent) {
            self.add(metric, contestant, value.as_secs_f64());
        }
    }

    /// The median over the rounds; `None` if it was not measured.
    pub(crate) fn median(&self, metric: Metric, contestant: Contestant) -> Option<f64> {
        median(self.of.get(&(metric, contestant))?)
    }

    /// The plain writer's rate, each round by itself.
    pub(crate) fn writer(&self) -> &[f64] {
        &self.writer
    }

    /// What was measured of either contestant, each round by itself.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = (Metric, Contestant, &[f64])> {
        self.of
            .iter()
            .map(|((metric, contestant), values)| (*metric, *contestant, values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_in_the_unit_that_people_read() {
        assert_eq!(Unit::Seconds.text(41.25), "41.2 s");
        assert_eq!(Unit::Seconds.text(0.0123), "12.3 ms");
        assert_eq!(Unit::Seconds.text(0.000_045), "45.0 µs");
        assert_eq!(Unit::Bytes.text(3.0 * 1024.0 * 1024.0), "3.0 MiB");
        assert_eq!(Unit::Share.text(0.075), "7.5 %");
        assert_eq!(Unit::PerSecond.text(1234.4), "1234/s");
    }

    #[test]
    fn the_rounds_of_a_metric_are_kept_apart_by_contestant() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0] {
            figures.add(Metric::Allocation, Contestant::Herald, value);
        }
        figures.add(Metric::Allocation, Contestant::Peer, 9.0);
        assert_eq!(
            figures.median(Metric::Allocation, Contestant::Herald),
            Some(2.0)
        );
        assert_eq!(
            figures.median(Metric::Allocation, Contestant::Peer),
            Some(9.0)
        );
        assert_eq!(figures.median(Metric::IdleCpu, Contestant::Peer), None);
    }
}
