//! The figures that `cargo bench` left behind, for the document.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds an iteration.
    point_estimate: f64,
}

/// Name and median seconds of every criterion bench that has been run, by name; none if there is no
/// such folder beside this program.
pub(crate) fn figures() -> Result<Vec<(String, f64)>> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2);
    let Some(root) = target.map(|target| target.join("criterion")) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    if root.is_dir() {
        collect(&root, &mut found)?;
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<(String, f64)>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            found.push(one(&path)?);
        } else {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn one(dir: &Path) -> Result<(String, f64)> {
    let benchmark: Benchmark = read(&dir.join("benchmark.json"))?;
    let estimates: Estimates = read(&dir.join("estimates.json"))?;
    Ok((benchmark.full_id, estimates.median.point_estimate / 1e9))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not criterion's", path.display()))
}
