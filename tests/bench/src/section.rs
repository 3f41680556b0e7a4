//! Sections of `docs/benchmarks.md`, each between markers of its own.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The sections that a run of the others leaves as they are.
pub(crate) const NAMES: [&str; 2] = ["failover", "bgp"];

/// Puts a section into a document, in the place of the one of this name.
pub(crate) fn write(path: &Path, name: &str, section: &str) -> Result<()> {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let text = replaced(&before, name, section);
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The section of this name that a document has, with its markers.
pub(crate) fn kept<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let [begin, end] = markers(name);
    let start = document.find(&begin)?;
    let length = document.get(start..)?.find(&end)? + end.len();
    document.get(start..start + length)
}

/// The document with this section in the place of the one that it has, or at its end.
fn replaced(document: &str, name: &str, section: &str) -> String {
    let [begin, end] = markers(name);
    let section = format!("{begin}{section}{end}");
    match kept(document, name) {
        Some(old) => document.replacen(old, &section, 1),
        None if document.is_empty() => section,
        None => format!("{}\n\n{section}", document.trim_end()),
    }
}

fn markers(name: &str) -> [String; 2] {
    ["begin", "end"].map(|which| format!("<!-- {name}: {which} -->\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_old_one_and_leaves_the_rest() {
        let first = replaced("# Benchmarks\n\nold words\n", "bgp", "one\n");
        let one = "<!-- bgp: begin -->\none\n<!-- bgp: end -->\n";
        assert_eq!(first, format!("# Benchmarks\n\nold words\n\n{one}"));
        let more = format!("{first}\nlater words\n");
        let other = replaced(&more, "failover", "three\n");
        let second = replaced(&other, "bgp", "two\n");
        assert_eq!(second, other.replace("one\n", "two\n"));
        assert_eq!(kept(&second, "bgp"), Some(&*one.replace("one", "two")));
        assert!(kept(&second, "failover").is_some_and(|text| text.contains("three")));
        assert_eq!(kept("nothing", "bgp"), None);
    }
}
