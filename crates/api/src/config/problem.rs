//! What is wrong with an object, and what that means for the configuration.

use std::fmt;

/// An object that is not used as it is now.
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
    /// True if the last good version of the object stays in use, false if there is none.
    pub last_good_in_use: bool,
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
        let consequence = if self.last_good_in_use {
            "its last good version stays in use until it is corrected"
        } else {
            "it is not used until it is corrected"
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
