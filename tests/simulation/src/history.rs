//! What happened in a run, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use herald_ownership::Status;

use crate::process::Process;

/// Events in the order of time; none unless they are kept.
#[derive(Debug, Default)]
pub struct History {
    kept: bool,
    lines: Vec<(Duration, String)>,
    last: BTreeMap<usize, String>,
}

impl History {
    pub(crate) fn new(kept: bool) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    pub(crate) fn say(&mut self, now: Duration, what: impl FnOnce() -> String) {
        if self.kept {
            self.lines.push((now, what()));
        }
    }

    /// Notes how a speaker looks, if that is new.
    pub(crate) fn observe(&mut self, now: Duration, node: usize, process: &Process) {
        if !self.kept {
            return;
        }
        let summary = summary(process);
        if self.last.get(&node) != Some(&summary) {
            self.lines.push((now, format!("n{node}: {summary}")));
            self.last.insert(node, summary);
        }
    }

    /// What happened, one line each.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = String> {
        self.lines.iter().map(|(at, what)| {
            let seconds = at.as_secs_f64();
            format!("{seconds:11.6} {what}")
        })
    }
}

/// What a speaker makes of the cluster, in a line.
pub(crate) fn summary(process: &Process) -> String {
    let view = process.view();
    let state = process.state();
    let mut text = format!("{:?}, {:?}", state.phase, view.standing);
    if view.fenced {
        text.push_str(", fenced");
    }
    if state.interfaces.is_empty() {
        text.push_str(", no carrier");
    }
    let down: Vec<_> = view.members.iter().filter(|(_, m)| !m.live).collect();
    let live = view.members.len() - down.len();
    // Writing to a String cannot fail.
    let _ = write!(text, ", {live} others");
    let silent: Vec<_> = view
        .members
        .iter()
        .filter(|(_, m)| m.live && m.state.is_none())
        .collect();
    if (1..8).contains(&silent.len()) {
        text.push_str(", untold:");
        for (name, _) in silent {
            let _ = write!(text, " {name}");
        }
    }
    if (1..8).contains(&down.len()) {
        text.push_str(", down:");
        for (name, _) in down {
            let _ = write!(text, " {name}");
        }
    }
    if !state.unheard.is_empty() {
        let _ = write!(text, ", unheard {:?}", state.unheard);
    }
    for (number, address) in process.addresses().enumerate() {
        let status = process.status(address);
        if status != Status::NotOurs {
            let _ = write!(text, ", s{number} {status:?}");
        }
    }
    text
}
