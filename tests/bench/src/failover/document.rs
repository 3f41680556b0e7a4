//! The section of `docs/benchmarks.md`.

use std::path::Path;

use anyhow::Result;

use super::args::FailoverArgs;
use super::case::Case;
use super::outcome::Results;
use super::rows;
use crate::contestant::Contestant::{Herald, Peer};

/// Puts the results into the document, in the place of earlier ones.
pub(crate) fn write(path: &Path, args: &FailoverArgs, results: &Results) -> Result<()> {
    crate::section::write(path, "failover", &section(args, results)?)
}

fn section(args: &FailoverArgs, results: &Results) -> Result<String> {
    let rounds =
        |case| [Herald, Peer].map(|contestant| results.rounds(case, contestant).len().to_string());
    let mut counts: Vec<[String; 3]> =
        vec![["case", "rounds, Herald", "MetalLB"].map(String::from)];
    counts.extend(Case::ALL.into_iter().filter_map(|case| {
        let [herald, peer] = rounds(case);
        (herald != "0" || peer != "0").then(|| [case.to_string(), herald, peer])
    }));
    Ok(include_str!("../text/failover.md")
        .replace("{table}", &rows::table(results))
        .replace("{rounds}", &crate::report::aligned(&counts))
        .replace("{machine}", &crate::report::machine()?)
        .replace("{duration}", &args.duration().as_secs().to_string())
        .replace("{watched}", &args.watched().as_secs().to_string()))
}
