//! One short round of the benchmarks, so that they go on working: that they come to figures, not which.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Runs a benchmark; the samples that it kept.
fn run(arguments: &[&str]) -> Result<Vec<Value>> {
    // Where the program of the speakers is has to be the same folder.
    let program = Path::new(env!("CARGO_BIN_EXE_herald-bench"));
    ensure!(
        program.parent() == Path::new(env!("CARGO_BIN_EXE_herald-bgp-sender")).parent(),
        "the programs are apart"
    );
    let folder = tempfile::tempdir()?;
    let results = folder.path().join("samples.jsonl");
    let output = Command::new(program)
        .args(arguments)
        .arg(format!("--results={}", results.display()))
        .output()
        .context("cannot run herald-bench")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let samples = std::fs::read_to_string(&results).context("no samples")?;
    let lines = samples.lines().filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_benchmarks_of_bgp_come_to_figures_of_herald_and_of_its_peer() -> Result<()> {
    let samples = run(&[
        "bgp",
        "--rounds=1",
        "--routes=1000",
        "--only=routes",
        "--only=one-more",
        "--only=cut",
        "--sender=herald",
        "--sender=bird",
    ])?;
    for sender in ["herald", "bird"] {
        let own = samples.iter().filter(|sample| sample["sender"] == sender);
        let values: Vec<f64> = own.filter_map(|sample| sample["value"].as_f64()).collect();
        ensure!(
            values.len() > 10 && values.iter().any(|value| *value > 0.0),
            "{sender}: {values:?} of {samples:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_benchmark_of_failover_comes_to_a_round_of_herald() -> Result<()> {
    let rounds = run(&[
        "failover",
        "--rounds=1",
        "--only=cut-silent",
        "--contestant=herald",
    ])?;
    let [round] = rounds.as_slice() else {
        anyhow::bail!("{} rounds", rounds.len())
    };
    for family in 0..2 {
        let sent = round["outcome"]["requests"][family]["sent"].as_u64();
        ensure!(sent > Some(0), "{round}");
    }
    Ok(())
}
