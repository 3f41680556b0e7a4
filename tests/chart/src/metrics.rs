//! Names of metrics in texts.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};

/// What names of the metrics of our processes begin with.
const PREFIXES: [&str; 4] = ["metallb_", "herald_", "frrk8s_", "process_"];

/// What the names of a histogram's series have more.
const HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The names in a text, as an expression or a table has them.
pub fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// The names that the reference of metrics has rows for.
pub fn documented() -> Result<BTreeSet<String>> {
    let page = crate::root().join("docs/metrics.md");
    let text = fs::read_to_string(&page).context("docs/metrics.md")?;
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    Ok(cells.flat_map(names).collect())
}

/// The name of the metric that a series is of, if it is of a histogram.
pub fn histogram(series: &str) -> Option<&str> {
    let mut suffixes = HISTOGRAM.iter();
    suffixes.find_map(|suffix| series.strip_suffix(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_expressions_go_on() {
        let found = names("sum(rate(herald_a_total[5m])) / metallb_b{pool!~\"herald_\"} > up");
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["herald_a_total", "metallb_b"]
        );
    }
}
