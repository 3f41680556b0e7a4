//! `docs/bgp-conformance.md` names tests and cases: all of them exist, and no case is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use herald_interop::bfd::checks;
use herald_interop::raw::cases;

/// Folders whose tests may be named.
const SOURCES: [&str; 3] = ["crates", "speaker", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all tests in the sources of a folder.
fn collect_tests(folder: &Path, tests: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect_tests(&path, tests)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            collect_from(&fs::read_to_string(&path)?, tests);
        }
    }
    Ok(())
}

/// The names of the functions that follow an attribute `test`, of whatever runtime, and those inside
/// `proptest!`, which have it, too.
fn collect_from(source: &str, tests: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.contains("test]") || line.contains("test(");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line);
        if let Some(name) = function.strip_prefix("fn ").filter(|_| marked) {
            let end = name.find(['(', '<']).unwrap_or(name.len());
            tests.insert(name[..end].to_owned());
        }
        marked &= line.starts_with("//");
    }
}

/// A row of a table of the document: the header's third cell, and the row's cells.
struct Row {
    third: String,
    cells: Vec<String>,
}

fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut header: Option<Vec<String>> = None;
    for line in document.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|it| it.strip_suffix('|')) else {
            header = None;
            continue;
        };
        let cells: Vec<String> = inner.split('|').map(|it| it.trim().to_owned()).collect();
        match &header {
            None => header = Some(cells),
            Some(_) if cells.iter().all(|cell| cell == "---") => {}
            Some(header) => rows.push(Row {
                third: header.get(2).cloned().unwrap_or_default(),
                cells,
            }),
        }
    }
    rows
}

#[test]
fn the_document_names_only_tests_that_exist_and_every_case_once() -> Result<()> {
    let mut tests = BTreeSet::new();
    for folder in SOURCES {
        collect_tests(&root().join(folder), &mut tests)?;
    }
    ensure!(tests.len() > 500, "{} tests are found", tests.len());
    let document = fs::read_to_string(root().join("docs/bgp-conformance.md"))?;
    let rows = rows(&document);
    ensure!(rows.len() > 40, "{} rows", rows.len());
    let mut named = Vec::new();
    for row in &rows {
        let [rule, _, third, last] = row.cells.as_slice() else {
            anyhow::bail!("a row has not four cells: {:?}", row.cells);
        };
        let shown: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        ensure!(!shown.is_empty(), "{rule}: no test");
        for name in shown {
            ensure!(tests.contains(name), "{rule}: there is no test {name}");
        }
        if row.third == "cases" {
            named.extend(third.split_whitespace());
        }
    }
    let bgp = cases::all().into_iter().map(|case| case.id);
    let bfd = checks::all().into_iter().map(|check| check.id);
    let mut all: Vec<&str> = bgp.chain(bfd).collect();
    all.sort_unstable();
    named.sort_unstable();
    let missing: Vec<_> = all.iter().filter(|id| !named.contains(id)).collect();
    let strange: Vec<_> = named.iter().filter(|id| !all.contains(id)).collect();
    ensure!(missing.is_empty(), "no row has the cases {missing:?}");
    ensure!(strange.is_empty(), "there are no cases {strange:?}");
    let twice: Vec<_> = named.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    ensure!(twice.is_empty(), "cases are in two rows: {twice:?}");
    Ok(())
}
