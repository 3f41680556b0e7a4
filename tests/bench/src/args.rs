//! What to measure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures Herald beside MetalLB on labs of network namespaces; needs root
///
/// Herald is `HERALD_BIN`, else target/release/herald. The programs and CRDs of MetalLB are in
/// `HERALD_PEER`, else in ~/.cache/herald/metallb, where tests/bench/peer/build.sh puts them.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Measure only this; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,

    /// How many Services; 5000 otherwise
    #[arg(long)]
    services: Option<usize>,

    /// How often both are measured, in alternate order; 2 otherwise
    #[arg(long)]
    rounds: Option<usize>,

    /// Small counts and short times, to see that everything works
    #[arg(long)]
    quick: bool,

    /// Write the document here; a complete run writes docs/benchmarks.md without being told
    #[arg(long)]
    write: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// All Services wait, the controller starts
    Allocation,
    /// One more Service
    Latency,
    /// Resident memory of controller and speaker
    Memory,
    /// Answers to ARP requests, and requests for others' addresses
    Arp,
}

/// The counts and times of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What is measured.
    parts: Vec<Part>,
    /// Services in the large lab.
    pub(crate) services: usize,
    /// Services in the small lab.
    pub(crate) few: usize,
    /// Services created one after the other for a latency.
    pub(crate) tries: usize,
    /// Requests a second that the speaker answers.
    pub(crate) rates: Vec<u32>,
    /// How long each of the rates lasts.
    pub(crate) asking: Duration,
    /// Requests a second for addresses that are not announced.
    pub(crate) foreign_rate: u32,
    /// How long these last.
    pub(crate) foreign: Duration,
    /// Runs of every contestant.
    pub(crate) rounds: usize,
}

impl Plan {
    /// Whether this part is measured.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

impl Args {
    /// The counts and times that follow.
    pub(crate) fn plan(&self) -> Plan {
        let full = Plan {
            parts: self.only.clone(),
            services: self.services.unwrap_or(5000),
            few: 10,
            tries: 50,
            rates: vec![1_000, 10_000],
            asking: Duration::from_secs(5),
            foreign_rate: 20_000,
            foreign: Duration::from_secs(10),
            rounds: self.rounds.unwrap_or(2),
        };
        if !self.quick {
            return full;
        }
        Plan {
            services: self.services.unwrap_or(200),
            tries: 10,
            asking: Duration::from_secs(1),
            foreign: Duration::from_secs(1),
            rounds: self.rounds.unwrap_or(1),
            ..full
        }
    }

    /// Where the document goes: a run that leaves something out replaces no document unasked.
    pub(crate) fn document(&self) -> Option<PathBuf> {
        let complete = self.only.is_empty() && self.services.is_none() && !self.quick;
        let default = || {
            Path::new(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../docs/benchmarks.md"
            ))
            .into()
        };
        self.write.clone().or_else(|| complete.then(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Args {
        Args::parse_from([&["bench"], arguments].concat())
    }

    #[test]
    fn only_a_complete_run_replaces_the_document() {
        assert!(parse(&[]).document().is_some());
        for arguments in [&["--quick"][..], &["--services=100"], &["--only=arp"]] {
            assert_eq!(parse(arguments).document(), None, "{arguments:?}");
        }
        let asked = parse(&["--quick", "--write=here.md"]).document();
        assert_eq!(asked, Some(PathBuf::from("here.md")));
    }

    #[test]
    fn without_a_choice_every_part_is_measured() {
        assert!(parse(&[]).plan().has(Part::Arp));
        let one = parse(&["--only=memory"]).plan();
        assert!(one.has(Part::Memory) && !one.has(Part::Arp));
    }
}
