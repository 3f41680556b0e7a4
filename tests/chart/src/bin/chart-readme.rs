//! Writes the chart's README: `cargo run -p herald-chart --bin chart-readme`.

use std::fs;

use anyhow::Result;
use herald_chart::readme;

fn main() -> Result<()> {
    fs::write(readme::path(), readme::page()?)?;
    Ok(())
}
