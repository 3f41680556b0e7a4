//! Label selectors of the API as those that decisions use, and what MetalLB refuses in them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use herald_model::{LabelSelector, Requirement, SelectorError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;

use super::problem::Fault;

/// A label selector that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid label selector in {field}: {source}")]
pub struct InvalidSelector {
    /// The field that has the selector, as in `spec.nodeSelectors[0]`.
    pub field: String,
    /// What is wrong with it.
    pub source: SelectorError,
}

/// The selector that the object's field `field` writes.
pub fn label_selector(
    field: &str,
    selector: &metav1::LabelSelector,
) -> Result<LabelSelector, InvalidSelector> {
    let requirements = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|expression| {
            Requirement::new(
                expression.key.clone(),
                &expression.operator,
                expression.values.clone().unwrap_or_default(),
            )
        })
        .collect::<Result<_, _>>()
        .map_err(|source| InvalidSelector {
            field: field.to_owned(),
            source,
        })?;
    let labels = selector.match_labels.clone().unwrap_or_default();
    Ok(LabelSelector::new(labels, requirements))
}

/// The selectors of a list, of which none may occur twice.
pub(super) fn distinct_selectors(
    field: &str,
    selectors: &[metav1::LabelSelector],
) -> Result<Vec<LabelSelector>, Fault> {
    let short = field.rsplit('.').next().unwrap_or(field);
    distinct(field, selectors.iter().map(text), |text| {
        format!("duplicate definition of {short} {text:?}: remove one of the two")
    })?;
    selectors
        .iter()
        .enumerate()
        .map(|(index, selector)| {
            let field = format!("{field}[{index}]");
            label_selector(&field, selector)
                .map_err(|error| Fault::new(field, error.source.to_string()))
        })
        .collect()
}

/// As [`distinct_selectors`], and no selector may repeat an expression or a value of one.
pub(super) fn strictly_distinct_selectors(
    field: &str,
    selectors: &[metav1::LabelSelector],
) -> Result<Vec<LabelSelector>, Fault> {
    for (index, selector) in selectors.iter().enumerate() {
        no_repetition(&format!("{field}[{index}]"), selector)?;
    }
    distinct_selectors(field, selectors)
}

pub(super) fn no_repetition(field: &str, selector: &metav1::LabelSelector) -> Result<(), Fault> {
    let field = format!("{field}.matchExpressions");
    let expressions = selector.match_expressions.iter().flatten();
    distinct(&field, expressions.clone().map(expression_text), |text| {
        format!("duplicate definition of matchExpressions {text:?}: remove one of the two")
    })?;
    for expression in expressions {
        let values = expression.values.iter().flatten();
        distinct(&field, values, |value| {
            format!("duplicate definition of match expression value {value:?}: remove one")
        })?;
    }
    Ok(())
}

/// The names of a list, of which none may occur twice.
pub(super) fn distinct_names<'a>(
    field: &str,
    names: &'a [String],
) -> Result<BTreeSet<&'a str>, Fault> {
    let short = field.rsplit('.').next().unwrap_or(field);
    distinct(field, names.iter().map(String::as_str), |name| {
        format!("duplicate definition of {short} {name:?}: remove one of the two")
    })
}

/// The items of a list, of which none may occur twice.
pub(super) fn distinct<T: Ord + Clone>(
    field: &str,
    items: impl IntoIterator<Item = T>,
    message: impl Fn(&T) -> String,
) -> Result<BTreeSet<T>, Fault> {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item.clone()) {
            return Err(Fault::new(field, message(&item)));
        }
    }
    Ok(seen)
}

/// The selector as `kubectl` would write it, the parts in order: equal selectors, equal texts.
fn text(selector: &metav1::LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let mut parts: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let expressions = selector.match_expressions.iter().flatten();
    parts.extend(expressions.map(expression_text));
    parts.sort();
    parts.join(",")
}

fn expression_text(expression: &metav1::LabelSelectorRequirement) -> String {
    let mut values: Vec<_> = expression.values.iter().flatten().cloned().collect();
    values.sort();
    let mut text = format!("{} {}", expression.key, expression.operator);
    if !values.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, " ({})", values.join(","));
    }
    text
}
