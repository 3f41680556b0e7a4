//! Configuration files inside documents: fenced blocks whose language is a file's name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// The files in a document, by name, e.g. `bgpd.conf`.
pub fn files(path: &Path) -> Result<BTreeMap<String, String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files = BTreeMap::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(name)) => open = Some((name, Vec::new())),
            (Some((_, lines)), None) => lines.push(line),
            (None, None) => {}
            (Some(_), Some(_)) => {
                if let Some((name, lines)) = open.take().filter(|(name, _)| name.contains('.')) {
                    let content = lines.join("\n") + "\n";
                    let other = files.insert(name.to_owned(), content);
                    ensure!(other.is_none(), "{} has two {name}", path.display());
                }
            }
        }
    }
    ensure!(open.is_none(), "{}: a block does not end", path.display());
    Ok(files)
}
