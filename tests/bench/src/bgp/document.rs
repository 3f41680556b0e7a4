//! The section of `docs/benchmarks.md`.

use std::path::Path;

use anyhow::Result;

use super::args::BgpArgs;
use super::part::{cut, load, memory, one_more, sessions};
use super::rows;
use super::sample::Samples;
use super::table;

/// Puts the results into the document, in the place of earlier ones.
pub(crate) fn write(path: &Path, args: &BgpArgs, samples: &Samples) -> Result<()> {
    let text = include_str!("../text/bgp.md")
        .replace("{table}", &table::table(&rows::rows(samples)))
        .replace("{machine}", &crate::report::machine()?)
        .replace("{rounds}", &args.rounds().to_string())
        .replace("{peers}", &memory::PEERS.to_string())
        .replace("{sessions}", &(args.rounds() * sessions::TRIES).to_string())
        .replace("{cuts}", &(args.rounds() * cut::TRIES).to_string())
        .replace("{watched}", &load::SESSIONS.to_string())
        .replace("{duration}", &args.duration().as_secs().to_string())
        .replace("{more}", &(args.rounds() * one_more::TRIES).to_string());
    crate::section::write(path, "bgp", &text)
}
