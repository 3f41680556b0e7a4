//! What to measure of BGP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::sender::Sender;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");

/// Measures Herald's BGP and BFD beside other speakers; needs root
#[derive(Debug, Parser)]
pub(crate) struct BgpArgs {
    /// How often everything is measured; cuts four times as often and starts
    /// of sessions five times
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How many routes
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    routes: Vec<usize>,

    /// How long BFD is watched under load, once, in seconds
    #[arg(long, default_value_t = 600)]
    duration: u64,

    /// Measure only this part; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,

    /// Measure only this speaker; may be given several times
    #[arg(long, value_enum)]
    sender: Vec<Sender>,

    /// Keep each sample in this file, a line of JSON each, and count those that are in it already: a
    /// long run can be done in parts
    #[arg(long)]
    results: Option<PathBuf>,

    /// Write the tables into this document, docs/benchmarks.md otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = DOCUMENT)]
    write: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Routes announced, replaced and withdrawn
    Routes,
    /// A session from nothing
    Sessions,
    /// Memory and CPU with four peers
    Memory,
    /// Part of the routes withdrawn in one go
    Withdrawals,
    /// One Service more
    OneMore,
    /// A cut that only BFD sees
    Cut,
    /// BFD while everything is busy
    Load,
}

impl Part {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 7] = [
        Self::Routes,
        Self::Sessions,
        Self::Memory,
        Self::Withdrawals,
        Self::OneMore,
        Self::Cut,
        Self::Load,
    ];
}

impl BgpArgs {
    /// What to go through.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        let all = Part::ALL.into_iter();
        all.filter(|part| self.only.is_empty() || self.only.contains(part))
    }

    /// Who is measured of these.
    pub(crate) fn senders(&self, among: &[Sender]) -> Vec<Sender> {
        let chosen = |sender: &Sender| self.sender.is_empty() || self.sender.contains(sender);
        among.iter().copied().filter(chosen).collect()
    }

    /// How often everything is measured.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// How many routes there are.
    pub(crate) fn routes(&self) -> &[usize] {
        &self.routes
    }

    /// The greatest number of routes.
    pub(crate) fn most_routes(&self) -> usize {
        self.routes.iter().copied().max().unwrap_or_default()
    }

    /// How long BFD is watched under load.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// Where samples are kept, if anywhere.
    pub(crate) fn results(&self) -> Option<&Path> {
        self.results.as_deref()
    }

    /// The document to write into, if any.
    pub(crate) fn document(&self) -> Option<&Path> {
        self.write.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> BgpArgs {
        BgpArgs::parse_from([&["bgp"], arguments].concat())
    }

    #[test]
    fn without_a_choice_all_is_measured_and_nothing_written() {
        let args = parse(&[]);
        assert!(args.parts().eq(Part::ALL));
        assert_eq!(args.senders(&Sender::ALL), Sender::ALL);
        assert_eq!(args.most_routes(), 100_000);
        assert!(args.document().is_none() && args.results().is_none());
        let written = parse(&["--write"]);
        assert!(
            written
                .document()
                .is_some_and(|path| path.ends_with("docs/benchmarks.md"))
        );
    }

    #[test]
    fn a_choice_keeps_the_order_and_leaves_out_who_has_no_part_in_it() {
        let args = parse(&[
            "--only=cut",
            "--only=routes",
            "--routes=5,7",
            "--sender=gobgp",
            "--sender=herald",
        ]);
        assert!(args.parts().eq([Part::Routes, Part::Cut]));
        assert_eq!(
            args.senders(&[Sender::Herald, Sender::Bird]),
            [Sender::Herald]
        );
        assert_eq!((args.routes(), args.most_routes()), (&[5, 7][..], 7));
    }
}
