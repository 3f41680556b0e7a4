//! What to measure of failover.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use super::case::Case;
use crate::contestant::Contestant;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");

/// Measures what a client sees when nodes, links and processes fail; needs root
#[derive(Debug, Parser)]
pub(crate) struct FailoverArgs {
    /// How often Herald goes through every short case; a fifth of it for those that take minutes,
    /// a quarter of it for MetalLB, once for those that take --duration
    #[arg(long, default_value_t = 20)]
    rounds: usize,

    /// How long the API server is away, and the cores are busy, in seconds; nodes that are back are
    /// watched for a tenth of it
    #[arg(long, default_value_t = 600)]
    duration: u64,

    /// Measure only this case; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Case>,

    /// Measure only this one
    #[arg(long, value_enum)]
    contestant: Option<Contestant>,

    /// Keep each round in this file, a line of JSON each, and count those that are in it already: a
    /// long run can be done in parts, also side by side
    #[arg(long)]
    results: Option<PathBuf>,

    /// Write the table into this document, docs/benchmarks.md otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = DOCUMENT)]
    write: Option<PathBuf>,
}

impl FailoverArgs {
    /// The cases to go through, in order.
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> {
        let all = Case::ALL.into_iter();
        all.filter(|case| self.only.is_empty() || self.only.contains(case))
    }

    /// Who goes through them.
    pub(crate) fn contestants(&self) -> impl Iterator<Item = Contestant> {
        let both = [Contestant::Herald, Contestant::Peer].into_iter();
        both.filter(|one| self.contestant.is_none_or(|only| only == *one))
    }

    /// How often one of them goes through a case.
    pub(crate) fn rounds(&self, case: Case, contestant: Contestant) -> usize {
        let rounds = if case.takes_duration() {
            1
        } else if case.away().is_some() {
            self.rounds / 5
        } else {
            self.rounds
        };
        match contestant {
            Contestant::Herald => rounds.max(1),
            Contestant::Peer => (rounds / 4).max(1),
        }
    }

    /// How long the longest cases last.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// How long those who are back are watched.
    pub(crate) fn watched(&self) -> Duration {
        self.duration() / 10
    }

    /// Where rounds are kept, if anywhere.
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

    fn parse(arguments: &[&str]) -> FailoverArgs {
        FailoverArgs::parse_from([&["failover"], arguments].concat())
    }

    #[test]
    fn slow_cases_and_the_slow_one_have_fewer_rounds_but_never_none() {
        let args = parse(&[]);
        let rounds = |case| {
            [Contestant::Herald, Contestant::Peer].map(|contestant| args.rounds(case, contestant))
        };
        assert_eq!(rounds(Case::PowerOff), [20, 5]);
        assert_eq!(rounds(Case::Heal120), [4, 1]);
        assert_eq!(rounds(Case::Busy), [1, 1]);
        assert_eq!(
            parse(&["--rounds=1"]).rounds(Case::Heal5, Contestant::Peer),
            1
        );
    }

    #[test]
    fn a_document_is_written_when_asked_for() {
        assert_eq!(parse(&[]).write, None);
        let asked = parse(&["--write=here.md"]).write;
        assert_eq!(asked, Some(PathBuf::from("here.md")));
        let default = parse(&["--write"]).write;
        assert!(default.is_some_and(|path| path.ends_with("docs/benchmarks.md")));
    }

    #[test]
    fn a_choice_of_cases_keeps_their_order() {
        let args = parse(&["--only=busy", "--only=cut-silent", "--contestant=herald"]);
        assert!(args.cases().eq([Case::CutSilent, Case::Busy]));
        assert!(args.contestants().eq([Contestant::Herald]));
        assert!(parse(&[]).cases().eq(Case::ALL));
    }
}
