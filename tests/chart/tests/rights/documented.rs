//! The tables in `docs/security.md` are what the chart gives.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, root};
use herald_lab::NAMESPACE;
use serde_json::{Value, json};

use crate::granted;

/// What follows is about the namespace that Herald runs in.
const IN_NAMESPACE: &str = "And in the namespace that Herald runs in:";

/// The columns with rights: the account, and the mode of the controller.
const COLUMNS: [(&str, &str); 3] = [
    ("controller", "enabled"),
    ("controller", "onlywebhook"),
    ("speaker", "enabled"),
];

/// A row of the tables.
struct Row {
    /// By the columns, as [`granted::Right`] writes them.
    rights: [BTreeSet<String>; 3],
    /// With these values it does not hold.
    not_with: Vec<String>,
}

fn rows() -> Result<Vec<Row>> {
    let page = fs::read_to_string(root().join("docs/security.md"))?;
    let (_, section) = page
        .split_once("## Rights in the API")
        .context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    let mut place = String::new();
    for line in section.lines() {
        if line == IN_NAMESPACE {
            place = format!(" in {NAMESPACE}");
        }
        if line.starts_with("| `") {
            rows.push(row(line, &place).with_context(|| line.to_owned())?);
        }
    }
    ensure!(!place.is_empty(), "nothing is said of the namespace");
    Ok(rows)
}

fn row(line: &str, place: &str) -> Result<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [objects, columns @ .., _, not_with] = cells.as_slice() else {
        anyhow::bail!("too few cells");
    };
    let objects = match objects.split_once(" called ") {
        Some((kind, name)) => vec![format!("{} {}", code(kind)?.concat(), code(name)?.concat())],
        None => code(objects)?.into_iter().map(str::to_owned).collect(),
    };
    let columns: &[&str; 3] = columns.try_into()?;
    let rights = columns.map(|verbs| {
        let verbs = verbs.split(", ").filter(|verb| !verb.is_empty());
        let all = verbs.flat_map(|verb| {
            objects
                .iter()
                .map(move |object| format!("{verb} {object}{place}"))
        });
        all.collect()
    });
    let not_with = code(not_with)?.into_iter().map(str::to_owned).collect();
    Ok(Row { rights, not_with })
}

/// What is in backticks; nothing but commas is between.
fn code(cell: &str) -> Result<Vec<&str>> {
    let parts: Vec<&str> = cell.split('`').collect();
    let mut between = parts.iter().step_by(2);
    ensure!(
        between.all(|text| matches!(*text, "" | ", ")),
        "{cell:?} is no list of code"
    );
    Ok(parts.into_iter().skip(1).step_by(2).collect())
}

/// What the chart gives with a value (`a.b: c`) besides those of the column, or with these only.
fn given(
    helm: &Helm,
    (account, mode): (&str, &str),
    value: Option<&str>,
) -> Result<BTreeSet<String>> {
    let mut values = json!({
        "controller": {"webhookMode": mode, "serviceAccount": {"name": "controller"}},
        "speaker": {"serviceAccount": {"name": "speaker"}},
    });
    if let Some(value) = value {
        let (path, value) = value.split_once(": ").context("not like `a.b: c`")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let mut at = &mut values;
        for key in path.split('.') {
            at = &mut at[key];
        }
        *at = value;
    }
    let rendered = helm.template_in(NAMESPACE, &values.to_string())?;
    let rights = granted::rights(&rendered, account);
    Ok(rights.iter().map(ToString::to_string).collect())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn the_documented_rights_are_those_that_the_chart_gives() -> Result<()> {
    let (helm, rows) = (Helm::new()?, rows()?);
    let values: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.not_with.iter().map(String::as_str))
        .collect();
    ensure!(values.len() > 3, "{values:?}");
    for (number, column) in COLUMNS.into_iter().enumerate() {
        for value in [None].into_iter().chain(values.iter().copied().map(Some)) {
            // The mode of the column is a value, too.
            if value.is_some_and(|it| it.contains("webhookMode")) && column.1 != "enabled" {
                continue;
            }
            let holds = |row: &&Row| !row.not_with.iter().any(|it| Some(it.as_str()) == value);
            let documented: BTreeSet<String> = rows
                .iter()
                .filter(holds)
                .flat_map(|row| row.rights[number].iter().cloned())
                .collect();
            let given = given(&helm, column, value)?;
            let unsaid: Vec<_> = given.difference(&documented).collect();
            let untrue: Vec<_> = documented.difference(&given).collect();
            ensure!(
                unsaid.is_empty() && untrue.is_empty(),
                "{column:?} with {value:?}: the chart gives {unsaid:#?}, which docs/security.md does \
                 not have; and it has {untrue:#?}, which the chart does not give"
            );
        }
    }
    Ok(())
}
