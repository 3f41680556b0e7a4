//! Labels and label selectors with the meaning Kubernetes gives them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The labels of an object, key to value.
pub type Labels = BTreeMap<String, String>;

/// A label selector: every label of `match_labels` and every requirement must hold. The empty
/// selector matches everything, as in Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelSelector {
    match_labels: Labels,
    requirements: Vec<Requirement>,
}

/// One entry of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label relates to `values`.
    pub operator: Operator,
    /// The values of `In` and `NotIn`; empty for the other two.
    pub values: Vec<String>,
}

/// The operators of `matchExpressions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `operator` is none of the four.
    #[error("unknown operator {operator:?} for key {key:?}: use In, NotIn, Exists or DoesNotExist")]
    UnknownOperator {
        /// The requirement's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// `In` or `NotIn` without values.
    #[error("operator {operator} of key {key:?} needs at least one value")]
    MissingValues {
        /// The requirement's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("operator {operator} of key {key:?} takes no values")]
    UnexpectedValues {
        /// The requirement's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
}

impl Requirement {
    /// A requirement from the words of the API.
    pub fn new(key: String, operator: &str, values: Vec<String>) -> Result<Self, SelectorError> {
        let parsed = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => {
                return Err(SelectorError::UnknownOperator {
                    key,
                    operator: operator.to_owned(),
                });
            }
        };
        match parsed {
            Operator::In | Operator::NotIn if values.is_empty() => {
                Err(SelectorError::MissingValues {
                    key,
                    operator: operator.to_owned(),
                })
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Err(SelectorError::UnexpectedValues {
                    key,
                    operator: operator.to_owned(),
                })
            }
            _ => Ok(Self {
                key,
                operator: parsed,
                values,
            }),
        }
    }

    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl LabelSelector {
    /// A selector of both parts of the API's `LabelSelector`.
    pub fn new(match_labels: Labels, requirements: Vec<Requirement>) -> Self {
        Self {
            match_labels,
            requirements,
        }
    }

    /// True if the selector selects an object with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn selector(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        let requirement = Requirement::new(key.to_owned(), operator, values).expect("valid");
        LabelSelector::new(Labels::new(), vec![requirement])
    }

    #[test]
    fn the_empty_selector_matches_everything() {
        assert!(LabelSelector::default().matches(&Labels::new()));
        assert!(LabelSelector::default().matches(&labels(&[("a", "b")])));
    }

    #[test]
    fn not_in_and_does_not_exist_match_an_object_without_the_label() {
        for (operator, values) in [("NotIn", &["x"][..]), ("DoesNotExist", &[])] {
            assert!(
                selector("zone", operator, values).matches(&Labels::new()),
                "{operator}"
            );
        }
        for (operator, values) in [("In", &["x"][..]), ("Exists", &[])] {
            assert!(
                !selector("zone", operator, values).matches(&Labels::new()),
                "{operator}"
            );
        }
    }

    #[test]
    fn every_part_must_hold() {
        let requirement = Requirement::new("zone".to_owned(), "In", vec!["x".to_owned()]);
        let both = LabelSelector::new(labels(&[("rack", "1")]), vec![requirement.expect("valid")]);
        assert!(both.matches(&labels(&[("rack", "1"), ("zone", "x")])));
        assert!(!both.matches(&labels(&[("rack", "1")])));
        assert!(!both.matches(&labels(&[("zone", "x")])));
    }

    #[test]
    fn operators_say_what_is_wrong_with_their_values() {
        let new = |operator: &str, values: &[&str]| {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            Requirement::new("k".to_owned(), operator, values)
        };
        assert!(matches!(
            new("in", &["x"]),
            Err(SelectorError::UnknownOperator { .. })
        ));
        assert!(matches!(
            new("In", &[]),
            Err(SelectorError::MissingValues { .. })
        ));
        assert!(matches!(
            new("Exists", &["x"]),
            Err(SelectorError::UnexpectedValues { .. })
        ));
    }
}
