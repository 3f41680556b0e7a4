//! The table and the document.

use std::fmt::Write as _;

use anyhow::Result;

use crate::args::Plan;
use crate::criterion;
use crate::figures::{Figures, Unit};
use crate::rows::{self, Row, Target};

/// The rows as a Markdown table whose columns also line up on a terminal.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut cells = vec![
        [
            "measured",
            "Herald",
            "beside MetalLB",
            "ratio",
            "target",
            "met",
        ]
        .map(String::from),
    ];
    cells.extend(rows.iter().map(|row| {
        [
            row.what.clone(),
            row.herald.clone(),
            row.beside.clone(),
            ratio(row.ratio),
            row.target.map_or_else(String::new, Target::text),
            row.target.map_or_else(String::new, |target| {
                let met = target.is_met(row.ratio);
                if met { "yes" } else { "**no**" }.to_owned()
            }),
        ]
    }));
    aligned(&cells)
}

/// A ratio as the tables have it.
pub(crate) fn ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}

/// A Markdown table; the first row is its head.
pub(crate) fn aligned<const N: usize>(cells: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(text, "|-{:-<width$}-", "");
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The whole of `docs/benchmarks.md`, after so many rounds.
pub(crate) fn document(plan: &Plan, rounds: usize, figures: &Figures) -> Result<String> {
    let mut text = format!(
        "{}\n{}\n{}",
        include_str!("text/head.md"),
        table(&rows::rows(plan, figures)),
        include_str!("text/method.md")
            .replace("{machine}", &machine()?)
            .replace("{services}", &plan.services.to_string())
            .replace("{few}", &plan.few.to_string())
            .replace("{tries}", &plan.tries.to_string())
            .replace("{rounds}", &rounds.to_string())
            .replace("{asking}", &plan.asking.as_secs().to_string())
            .replace("{foreign}", &plan.foreign.as_secs().to_string()),
    );
    text.push_str("\n## Every round\n\n");
    text.push_str(&every_round(figures));
    let benches = criterion::figures()?;
    if !benches.is_empty() {
        text.push_str(include_str!("text/criterion.md"));
        let mut cells = vec![["bench", "median"].map(String::from)];
        cells.extend(benches.into_iter().map(|(name, seconds)| {
            let time = if seconds < 1e-6 {
                format!("{:.1} ns", seconds * 1e9)
            } else {
                Unit::Seconds.text(seconds)
            };
            [name, time]
        }));
        text.push_str(&aligned(&cells));
    }
    Ok(text)
}

fn every_round(figures: &Figures) -> String {
    let join = |values: &[f64], unit: Unit| {
        let values: Vec<_> = values.iter().map(|value| unit.text(*value)).collect();
        values.join(", ")
    };
    let mut cells = vec![["measured", "whose", "rounds"].map(String::from)];
    cells.extend(figures.rounds().map(|(metric, contestant, values)| {
        [
            metric.to_string(),
            contestant.to_string(),
            join(values, metric.unit()),
        ]
    }));
    if !figures.writer().is_empty() {
        cells.push([
            "status writes".to_owned(),
            "plain writer".to_owned(),
            join(figures.writer(), Unit::PerSecond),
        ]);
    }
    aligned(&cells)
}

/// The machine in general terms: nothing that names it.
pub(crate) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version: Vec<_> = release.trim().split(['.', '-']).take(2).collect();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    let gib = kib.map_or_else(String::new, |kib| {
        format!(", {} GiB of memory", (kib + (1 << 19)) >> 20)
    });
    Ok(format!(
        "{cores} cores ({}){gib}, Linux {}",
        std::env::consts::ARCH,
        version.join(".")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_says_what_is_missed() {
        let row = |ratio, target| Row {
            what: "µ".to_owned(),
            herald: "1".to_owned(),
            beside: "2".to_owned(),
            ratio,
            target,
        };
        let rows = [
            row(0.05, Some(Target::AtMost(0.1))),
            row(0.25, Some(Target::AtMost(0.1))),
            row(0.25, None),
        ];
        let table = table(&rows);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        let widths = lines.iter().map(|line| line.chars().count());
        assert!(
            widths
                .clone()
                .all(|width| Some(width) == widths.clone().next())
        );
        assert!(lines[2].contains("0.050") && lines[2].contains("yes"));
        assert!(lines[3].contains("**no**"));
        assert!(!lines[4].contains("yes") && !lines[4].contains("no"));
    }
}
