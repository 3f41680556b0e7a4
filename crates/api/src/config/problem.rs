//! What is wrong with an object, and what that means for the configuration.

use std::fmt;

/// What becomes of an object that has a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// It is used as if the field were absent.
    FieldIgnored,
    /// Its last good version stays in use.
    LastGood,
    /// It is not used: there is no good version of it.
    Unused,
}

/// Something that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind, as in `IPAddressPool`.
    pub kind: &'static str,
    /// `metadata.name`.
    pub name: String,
    /// The field, as in `spec.addresses`; empty if the object as a whole cannot be read.
    pub field: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// What becomes of the object until it is corrected.
    pub consequence: Consequence,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            name,
            field,
            message,
            ..
        } = self;
        write!(f, "{kind} {name:?}")?;
        if !field.is_empty() {
            write!(f, ", field {field}")?;
        }
        let consequence = match self.consequence {
            Consequence::FieldIgnored => "the field is ignored until it is corrected",
            Consequence::LastGood => "its last good version stays in use until it is corrected",
            Consequence::Unused => "it is not used until it is corrected",
        };
        write!(f, ": {message}; {consequence}")
    }
}

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}
