//! The tables: a column for each speaker, the target, and whether Herald meets it.

use super::sender::Sender;
use crate::report::aligned;

/// What was measured of everybody, in words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    /// In the order of [`Sender::ALL`].
    pub(crate) cells: [String; Sender::ALL.len()],
    /// Herald's figure divided by BIRD's, if both have one.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: &'static str,
    /// `None` if there is no target, or too little to tell.
    pub(crate) met: Option<bool>,
}

/// The rows as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut all: Vec<[String; Sender::ALL.len() + 4]> = Vec::new();
    let head = ["measured".to_owned()]
        .into_iter()
        .chain(Sender::ALL.iter().map(ToString::to_string))
        .chain(["Herald / BIRD", "target", "met"].map(String::from));
    all.push(row(head));
    for Row {
        what,
        cells,
        ratio,
        target,
        met,
    } in rows
    {
        let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
        let line = std::iter::once(what.clone())
            .chain(cells.iter().cloned())
            .chain([
                ratio.map_or_else(String::new, crate::report::ratio),
                (*target).to_owned(),
                met.to_owned(),
            ]);
        all.push(row(line));
    }
    aligned(&all)
}

fn row<const N: usize>(cells: impl IntoIterator<Item = String>) -> [String; N] {
    let mut cells = cells.into_iter();
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speaker_has_a_column() {
        let row = Row {
            what: "announced".to_owned(),
            cells: ["1", "2", "3", "4", "5"].map(String::from),
            ratio: Some(0.5),
            target: "at most 2",
            met: Some(false),
        };
        let unknown = Row {
            ratio: None,
            met: None,
            ..row.clone()
        };
        let table = table(&[row, unknown]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.matches('|').count() == 10));
        assert!(lines[0].contains("MetalLB native") && lines[2].contains("**no**"));
        assert!(lines[2].contains("| 0.50 "));
        assert!(!lines[3].contains("**no**") && !lines[3].contains("0.50"));
    }
}
