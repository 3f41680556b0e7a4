//! Runs random scenarios: one seed, or many on all processors.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;
use herald_simulation::{Run, Scenario};

/// How many lines of a failed run's history are shown.
const LAST_LINES: usize = 80;

/// Simulates clusters of speakers in virtual time, and checks what is promised.
#[derive(Debug, Parser)]
struct Args {
    /// Run this seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run all seeds from A up to, but not with, B.
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..2000")]
    seeds: std::ops::Range<u64>,

    /// How many nodes, if the seed is not to decide.
    #[arg(long)]
    nodes: Option<usize>,

    /// Show all that happens.
    #[arg(long)]
    trace: bool,
}

fn seeds(text: &str) -> Result<std::ops::Range<u64>> {
    let (first, end) = text.split_once("..").context("want A..B")?;
    Ok(first.parse()?..end.parse()?)
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    if let Some(seed) = args.seed {
        let lines = if args.trace { usize::MAX } else { LAST_LINES };
        let failed = replay(&mut out, seed, args.nodes, lines)?;
        return Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    let begin = Instant::now();
    let failed = all(&args);
    let count = args.seeds.end.saturating_sub(args.seeds.start);
    writeln!(
        out,
        "{count} seeds in {:.1?}, {} failed",
        begin.elapsed(),
        failed.len()
    )?;
    for (seed, what) in &failed {
        writeln!(out, "seed {seed}: {what}")?;
    }
    let Some((seed, _)) = failed.first() else {
        return Ok(ExitCode::SUCCESS);
    };
    replay(&mut out, *seed, args.nodes, LAST_LINES)?;
    Ok(ExitCode::FAILURE)
}

/// Runs all seeds, on as many threads as there are processors; gives those that failed.
fn all(args: &Args) -> Vec<(u64, String)> {
    let next = AtomicU64::new(args.seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seeds.end {
                        return;
                    }
                    let Run { violation, .. } = Scenario::random(seed, args.nodes).run();
                    if let (Some(violation), Ok(mut failed)) = (violation, failed.lock()) {
                        let what = format!("at {:.3?}: {}", violation.at, violation.what);
                        failed.push((seed, what));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_unstable();
    failed
}

/// Runs one seed with its history, and shows the end of that. Gives true if the run failed.
fn replay(out: &mut impl Write, seed: u64, nodes: Option<usize>, most: usize) -> Result<bool> {
    let scenario = Scenario::random(seed, nodes).traced();
    let Run { cluster, violation } = scenario.run();
    writeln!(out, "seed {seed}: {scenario}")?;
    let lines: Vec<_> = cluster.history().lines().rev().take(most).collect();
    for line in lines.iter().rev() {
        writeln!(out, "{line}")?;
    }
    write!(out, "{}", cluster.describe())?;
    match &violation {
        Some(violation) => {
            let nodes = nodes
                .map(|nodes| format!(" --nodes {nodes}"))
                .unwrap_or_default();
            writeln!(
                out,
                "seed {seed} failed at {:.3?}: {}\nagain: cargo run --release -p herald-simulation \
                 -- --seed {seed}{nodes} --trace",
                violation.at, violation.what
            )?;
        }
        None => writeln!(out, "seed {seed}: all as promised")?,
    }
    Ok(violation.is_some())
}
