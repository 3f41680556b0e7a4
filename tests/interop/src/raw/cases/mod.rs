//! The conformance cases: what a scripted peer does, and how a speaker should take it.
//!
//! Every case uses a peer of its own, so that all run at the same time against one speaker.

mod attributes;
mod end;
mod extensions;
mod header;
mod machine;
mod open;
mod timers;
mod update;

use std::fmt;
use std::time::Instant;

use anyhow::Result;

use super::connection::{Connection, Event, Message};
use super::peer::{RawPeer, SOON};
use super::wire::kind;

/// How a speaker took a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As the RFC says. With what was seen.
    AsExpected(String),
    /// In another way: what was seen.
    Otherwise(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsExpected(seen) => write!(f, "as expected: {seen}"),
            Self::Otherwise(seen) => write!(f, "OTHERWISE: {seen}"),
        }
    }
}

impl Outcome {
    /// As expected if `right`.
    pub(crate) fn of(right: bool, seen: impl Into<String>) -> Self {
        if right {
            Self::AsExpected(seen.into())
        } else {
            Self::Otherwise(seen.into())
        }
    }
}

type Script = fn(&RawPeer) -> Result<Outcome>;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its short name, e.g. `h3`.
    pub id: &'static str,
    /// What the peer does.
    pub what: &'static str,
    /// What the speaker should do, with the rule.
    pub expected: &'static str,
    /// The peer has to dial, so the speaker has to listen.
    pub dials: bool,
    /// The peer is in the speaker's own AS.
    pub internal: bool,
    script: Script,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Case {
    const fn new(
        id: &'static str,
        what: &'static str,
        expected: &'static str,
        script: Script,
    ) -> Self {
        Self {
            id,
            what,
            expected,
            dials: false,
            internal: false,
            script,
        }
    }

    const fn dials(mut self) -> Self {
        self.dials = true;
        self
    }

    const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Runs the script. An error is a script that could not be carried out: no dial, no session.
    pub fn run(&self, peer: &RawPeer) -> Result<Outcome> {
        (self.script)(peer)
    }

    /// Whether it ends the speaker, so that it must be the last.
    pub fn ends_speaker(&self) -> bool {
        self.id.starts_with('c')
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    [
        header::CASES,
        open::CASES,
        timers::CASES,
        machine::CASES,
        update::CASES,
        attributes::CASES,
        extensions::CASES,
        end::CASES,
    ]
    .concat()
}

/// The next NOTIFICATION, or how the connection ended without one.
fn verdict(connection: &mut Connection) -> Result<std::result::Result<Message, Event>> {
    connection.receive_until(Instant::now() + SOON, |message| {
        (message.kind == kind::NOTIFICATION).then(|| message.clone())
    })
}

/// Whether the speaker's answer is this NOTIFICATION, with this data if any is given.
fn notified(
    connection: &mut Connection,
    code: u8,
    subcode: u8,
    data: Option<&[u8]>,
) -> Result<Outcome> {
    Ok(match verdict(connection)? {
        Ok(message) => {
            let right = message.notification().is_some_and(|(c, s, d)| {
                (c, s) == (code, subcode) && data.is_none_or(|wanted| wanted == d)
            });
            Outcome::of(right, message.to_string())
        }
        Err(event) => Outcome::Otherwise(event.to_string()),
    })
}
