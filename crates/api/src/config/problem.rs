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
    /// None: it is used as it is.
    Harmless,
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
    /// True if the object itself is all right: what it refers to is not there, and may come.
    pub waits: bool,
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
        let consequence = match (self.consequence, self.waits) {
            (Consequence::FieldIgnored, _) => "the field is ignored until it is corrected",
            (Consequence::LastGood, false) => {
                "its last good version stays in use until it is corrected"
            }
            (Consequence::LastGood, true) => {
                "it waits for that, and its last good version stays in use until then"
            }
            (Consequence::Unused, false) => "it is not used until it is corrected",
            (Consequence::Unused, true) => "it waits for that, and is not used until then",
            (Consequence::Harmless, _) => "it is used all the same",
        };
        write!(f, ": {message}; {consequence}")
    }
}

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) message: String,
    /// True if all that is wrong is that something else is not there.
    pub(super) waits: bool,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            waits: false,
        }
    }

    /// What the field refers to is not there, and may come.
    pub(super) fn waiting(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            waits: true,
            ..Self::new(field, message)
        }
    }
}
