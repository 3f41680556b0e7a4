//! What is said about an attribute that is wrong.

use std::fmt;

use super::rules;

/// What an attribute that is wrong leads to, where the session goes on (RFC 7606 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The attribute is dropped, and the route is as if it had never had it.
    Discard,
    /// The routes of the message count as withdrawn.
    Withdraw,
}

/// An attribute that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttributeProblem {
    /// The number of the attribute.
    pub attribute: u8,
    /// What is wrong with it, to be read after its name.
    pub what: &'static str,
    /// What that leads to.
    pub consequence: Consequence,
}

impl AttributeProblem {
    pub(super) fn discard(attribute: u8, what: &'static str) -> Self {
        Self {
            attribute,
            what,
            consequence: Consequence::Discard,
        }
    }

    pub(super) fn withdraw(attribute: u8, what: &'static str) -> Self {
        Self {
            attribute,
            what,
            consequence: Consequence::Withdraw,
        }
    }
}

impl fmt::Display for AttributeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rules::name(self.attribute) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "attribute {}", self.attribute)?,
        }
        let consequence = match self.consequence {
            Consequence::Discard => "it is ignored",
            Consequence::Withdraw => "the routes are treated as withdrawn",
        };
        write!(f, " {}: {consequence}", self.what)
    }
}
