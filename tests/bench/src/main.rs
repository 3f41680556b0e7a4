//! Measures Herald beside MetalLB and others, all in one run on labs of their own, and prints the
//! ratios.
//!
//! The tables go to standard output and into `docs/benchmarks.md`.

mod args;
mod bgp;
mod contestant;
mod criterion;
mod failover;
mod figures;
mod measure;
mod observer;
mod report;
mod rows;
mod section;
mod setup;
mod stats;
mod usage;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::args::Args;
use crate::bgp::BgpArgs;
use crate::contestant::Contestant;
use crate::failover::FailoverArgs;
use crate::figures::Figures;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure failover and planned moves instead
    Failover(FailoverArgs),
    /// Measure BGP and BFD instead, beside other speakers
    Bgp(BgpArgs),
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Failover(args)) => failover::run(&args).await,
        // It waits for threads and processes, and nothing else runs meanwhile.
        Some(Command::Bgp(args)) => tokio::task::block_in_place(|| bgp::run(&args)),
        None => everything(&cli.args).await,
    }
}

/// Allocation, memory and answers.
async fn everything(args: &Args) -> Result<()> {
    let (plan, document) = (args.plan(), args.document());
    setup::warm_page_cache()?;
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        // Whoever runs first meets the machine in another state than whoever runs second.
        let order = if round % 2 == 0 {
            [Contestant::Herald, Contestant::Peer]
        } else {
            [Contestant::Peer, Contestant::Herald]
        };
        for contestant in order {
            eprintln!("round {} of {}: {contestant}", round + 1, plan.rounds);
            measure::contestant(contestant, &plan, &mut figures).await?;
        }
        measure::plain_writer(&plan, &mut figures).await?;
        if let Some(path) = &document {
            // After every round, so that an interrupted run leaves what it has.
            let mut text = report::document(&plan, round + 1, &figures)?;
            let old = std::fs::read_to_string(path).unwrap_or_default();
            for name in section::NAMES {
                if let Some(kept) = section::kept(&old, name) {
                    text = format!("{text}\n{kept}");
                }
            }
            std::fs::write(path, text)?;
            eprintln!("written to {}", path.display());
        }
    }
    print(&report::table(&rows::rows(&plan, &figures)))?;
    Ok(())
}

pub(crate) fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes())
}
