//! `values.yaml` as text: its keys, what they are by default, and what the comments say of them.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A value that a comment describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its keys, joined by dots.
    pub path: String,
    /// What it is by default, as JSON.
    pub default: String,
    /// The comment, without its mark.
    pub meaning: String,
}

/// How a comment begins that describes the value below it.
const MARK: &str = "# -- ";

/// The text of the file.
pub fn text() -> Result<String> {
    fs::read_to_string(crate::chart().join("values.yaml")).context("values.yaml")
}

/// The values of the text.
pub fn parse(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).context("values.yaml is not YAML")
}

/// The values that a comment describes, in the order of the file.
pub fn described(text: &str) -> Result<Vec<Described>> {
    let values = parse(text)?;
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut meaning = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(words) = content.strip_prefix(MARK) {
            meaning = Some(words.to_owned());
            continue;
        }
        let Some((key, _)) = content.split_once(':').filter(|(key, _)| is_key(key)) else {
            continue;
        };
        let indent = line.len() - content.len();
        path.retain(|(other, _)| *other < indent);
        path.push((indent, key));
        if let Some(meaning) = meaning.take() {
            let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            found.push(Described {
                default: at(&values, &keys)?.to_string(),
                path: keys.join("."),
                meaning,
            });
        }
    }
    Ok(found)
}

/// The paths of all values that hold no further ones.
pub fn leaves(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, leaves: &mut Vec<String>) {
        match value.as_object() {
            Some(map) if !map.is_empty() => {
                for (key, value) in map {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(value, &format!("{path}{dot}{key}"), leaves);
                }
            }
            _ => leaves.push(path.to_owned()),
        }
    }
    let mut leaves = Vec::new();
    walk(value, "", &mut leaves);
    leaves
}

fn is_key(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && !text.starts_with('-') && text.chars().all(allowed)
}

fn at<'a>(values: &'a Value, keys: &[&str]) -> Result<&'a Value> {
    let step = |value: &'a Value, key: &&str| value.get(*key);
    keys.iter()
        .try_fold(values, step)
        .with_context(|| format!("{} is no key of values.yaml", keys.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_next_key() {
        let text = "# plain\na:\n  # -- One.\n  b: 1\n  # -- Two.\n  c:\n    d: [x]\ne: \"\"\n";
        let found = described(text).expect("valid");
        let found: Vec<_> = found
            .iter()
            .map(|d| (&*d.path, &*d.default, &*d.meaning))
            .collect();
        let expected = [("a.b", "1", "One."), ("a.c", r#"{"d":["x"]}"#, "Two.")];
        assert_eq!(found, expected);
        let values = parse(text).expect("valid");
        assert_eq!(leaves(&values), ["a.b", "a.c.d", "e"]);
    }
}
