//! The section of `docs/benchmarks.md`, between markers of its own.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::args::FailoverArgs;
use super::case::Case;
use super::outcome::Results;
use super::rows;
use crate::contestant::Contestant::{Herald, Peer};

const BEGIN: &str = "<!-- failover: begin -->\n";
const END: &str = "<!-- failover: end -->\n";

/// Puts the results into the document, in the place of earlier ones.
pub(crate) fn write(path: &Path, args: &FailoverArgs, results: &Results) -> Result<()> {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let text = replaced(&before, &section(args, results)?);
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn section(args: &FailoverArgs, results: &Results) -> Result<String> {
    let rounds =
        |case| [Herald, Peer].map(|contestant| results.rounds(case, contestant).len().to_string());
    let mut counts: Vec<[String; 3]> =
        vec![["case", "rounds, Herald", "MetalLB"].map(String::from)];
    counts.extend(Case::ALL.into_iter().filter_map(|case| {
        let [herald, peer] = rounds(case);
        (herald != "0" || peer != "0").then(|| [case.to_string(), herald, peer])
    }));
    Ok(include_str!("../text/failover.md")
        .replace("{table}", &rows::table(results))
        .replace("{rounds}", &crate::report::aligned(&counts))
        .replace("{machine}", &crate::report::machine()?)
        .replace("{duration}", &args.duration().as_secs().to_string())
        .replace("{watched}", &args.watched().as_secs().to_string()))
}

/// The document with this section in the place of the one that it has, or at its end.
fn replaced(document: &str, section: &str) -> String {
    let section = format!("{BEGIN}{section}{END}");
    match kept(document) {
        Some(old) => document.replacen(old, &section, 1),
        None if document.is_empty() => section,
        None => format!("{}\n\n{section}", document.trim_end()),
    }
}

/// The section that a document has, with its markers.
pub(crate) fn kept(document: &str) -> Option<&str> {
    let start = document.find(BEGIN)?;
    let length = document.get(start..)?.find(END)? + END.len();
    document.get(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_old_one_and_leaves_the_rest() {
        let first = replaced("# Benchmarks\n\nold words\n", "one\n");
        assert_eq!(
            first,
            format!("# Benchmarks\n\nold words\n\n{BEGIN}one\n{END}")
        );
        let more = format!("{first}\nlater words\n");
        let second = replaced(&more, "two\n");
        assert_eq!(second, more.replace("one\n", "two\n"));
        assert_eq!(kept(&second), Some(&*format!("{BEGIN}two\n{END}")));
        assert_eq!(kept("nothing"), None);
    }
}
