//! The election as a state machine without I/O: no clock, no task, no socket inside.
//!
//! ```text
//!             ┌────── Conflict, Failed ──────┐
//!             ▼                              │
//!  start ─▶ Read ─ Observed ─▶ free? ─ yes ─▶ Write ─ Written ─▶ leading ─ retry_period ─▶ Write …
//!             ▲                  │                                   │
//!             └── retry_period ──┴── no                              └ renew_deadline ─▶ following
//! ```
//! "Free" is a Lease that does not exist, has no holder, is ours, or has not changed for
//! [`Timing::duration`] since we first saw it in its present form.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// The three times of an election, with client-go's meaning and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A Lease that has not changed for so long is free.
    pub duration: Duration,
    /// A leader that could not renew for so long stops leading; less than `duration`.
    pub renew_deadline: Duration,
    /// Pause between two renewals, and between two attempts.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// What the API shows of the Lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `spec.holderIdentity`; empty when nobody holds it.
    pub holder: String,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
    /// `spec.acquireTime`, carried along for people.
    pub acquired: Option<Timestamp>,
    /// `spec.renewTime`, compared for change only: it is of another machine's clock.
    pub renewed: Option<Timestamp>,
    /// `metadata.ownerReferences`, carried along.
    pub owners: Vec<OwnerReference>,
    /// `metadata.resourceVersion`, the precondition of the next write.
    pub resource_version: String,
}

/// A write of the Lease to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The new holder; empty gives the Lease back.
    pub holder: String,
    /// The new `spec.leaseTransitions`.
    pub transitions: i32,
    /// True if the holder changes, so that `acquireTime` becomes now.
    pub acquires: bool,
    /// The `acquireTime` to keep otherwise.
    pub acquired: Option<Timestamp>,
    /// The owners that the Lease has.
    pub owners: Vec<OwnerReference>,
    /// Replace the Lease of exactly this version; `None`: create it.
    pub resource_version: Option<String>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Nothing before this instant, unless the Lease is seen to change.
    Wait(Instant),
    /// Read the Lease and answer [`Input::Observed`] or [`Input::Failed`].
    Read,
    /// Write the Lease and answer [`Input::Written`], [`Input::Conflict`] or [`Input::Failed`].
    Write(Claim),
}

/// What came of a command, or was seen meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The Lease as just read; `None` if there is none.
    Observed(Option<Record>),
    /// The Lease as a watch told it; `None` if it is gone. May be older than what is known.
    Watched(Option<Record>),
    /// The write was accepted; the Lease as it is now.
    Written(Record),
    /// The write was refused: someone else changed the Lease.
    Conflict,
    /// The request failed, or its outcome is unknown.
    Failed,
}

/// One candidate.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    timing: Timing,
    /// The Lease as last seen, and when it was first seen so.
    seen: Option<(Option<Record>, Instant)>,
    /// When the last successful renewal was sent, while leading.
    renewed: Option<Instant>,
    /// When the write under way was sent.
    sent: Option<Instant>,
    /// Nothing is to be tried before this.
    next_attempt: Option<Instant>,
    /// What is known of the Lease may be out of date.
    must_read: bool,
}

impl Elector {
    /// A candidate that knows nothing yet.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            seen: None,
            renewed: None,
            sent: None,
            next_attempt: None,
            must_read: true,
        }
    }

    /// The name it writes into the Lease.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Its times.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// True while it leads. Changes only in [`next`](Self::next), [`handle`](Self::handle) and
    /// [`release`](Self::release), so call one of the first two no later than
    /// [`leads_until`](Self::leads_until).
    pub fn is_leader(&self) -> bool {
        self.renewed.is_some()
    }

    /// The end of its leadership unless it renews before; `None` if it does not lead.
    pub fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|sent| sent + self.timing.renew_deadline)
    }

    /// What to do now. Call it again after each [`handle`](Self::handle) and each wait.
    pub fn next(&mut self, now: Instant) -> Command {
        self.expire(now);
        if let Some(at) = self.next_attempt.filter(|at| now < *at) {
            let at = self.leads_until().map_or(at, |end| at.min(end));
            return Command::Wait(at);
        }
        if self.must_read {
            return Command::Read;
        }
        if let Some(claim) = self.claim(now) {
            self.sent = Some(now);
            Command::Write(claim)
        } else {
            Command::Wait(self.pause(now))
        }
    }

    /// Takes in what came of a command, or a Lease that was seen to change.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            // A watch buffers: it may tell only now what our own write has replaced since.
            Input::Watched(Some(record)) if self.knows_newer(&record) => {}
            Input::Observed(record) | Input::Watched(record) => {
                self.must_read = false;
                self.observe(now, record);
                // A change, or the end of another's time, may make it ours: look again at once.
                self.next_attempt = self.renewed.and(self.next_attempt);
            }
            Input::Written(record) => {
                self.renewed = self.sent.take();
                self.must_read = false;
                self.observe(now, Some(record));
                self.pause(now);
            }
            Input::Conflict => {
                self.sent = None;
                self.must_read = true;
                self.next_attempt = None;
            }
            Input::Failed => {
                self.sent = None;
                // The write may have been applied: its version is not known.
                self.must_read = true;
                self.pause(now);
            }
        }
        self.expire(now);
    }

    /// Stops leading and gives the write that tells the others; `None` if it neither leads nor has
    /// a write under way that may make it lead.
    pub fn release(&mut self) -> Option<Claim> {
        let (renewed, sent) = (self.renewed.take(), self.sent.take());
        renewed.or(sent)?;
        let (Some(record), _) = self.seen.as_ref()? else {
            return None;
        };
        Some(free(record))
    }

    /// The write that gives back the Lease, which is this now; `None` if another holds it.
    pub fn release_of(&self, record: &Record) -> Option<Claim> {
        (record.holder == self.identity).then(|| free(record))
    }

    /// True if `record` is of an earlier version than the Lease as last seen. Versions of one kind
    /// are numbers that grow, except after a restore of the cluster's store: so this is for watches
    /// only, and what was just read always counts.
    fn knows_newer(&self, record: &Record) -> bool {
        let number = |record: &Record| record.resource_version.parse::<u64>().ok();
        let seen = self.seen.as_ref().and_then(|(seen, _)| seen.as_ref());
        match (seen.and_then(number), number(record)) {
            (Some(seen), Some(watched)) => watched < seen,
            _ => false,
        }
    }

    fn observe(&mut self, now: Instant, record: Option<Record>) {
        let holds = record.as_ref().is_some_and(|r| r.holder == self.identity);
        if self.renewed.is_some() && !holds {
            // It is not older than our last renewal, so somebody took it, or deleted it: whoever
            // holds it now may act already.
            self.renewed = None;
        }
        match &mut self.seen {
            Some((seen, _)) if same_claim(seen.as_ref(), record.as_ref()) => *seen = record,
            _ => self.seen = Some((record, now)),
        }
    }

    /// The write that takes or keeps the Lease, if it may be taken.
    fn claim(&self, now: Instant) -> Option<Claim> {
        let (record, since) = self.seen.as_ref()?;
        let Some(record) = record else {
            return Some(Claim {
                holder: self.identity.clone(),
                transitions: 0,
                acquires: true,
                acquired: None,
                owners: Vec::new(),
                resource_version: None,
            });
        };
        let ours = record.holder == self.identity;
        let free = record.holder.is_empty() || now >= *since + self.timing.duration;
        (ours || free).then(|| Claim {
            holder: self.identity.clone(),
            transitions: record.transitions.saturating_add(i32::from(!ours)),
            acquires: !ours,
            acquired: record.acquired,
            owners: record.owners.clone(),
            resource_version: Some(record.resource_version.clone()),
        })
    }

    /// Sets the next attempt: a retry period from now, or when another's time ends if sooner.
    fn pause(&mut self, now: Instant) -> Instant {
        let retry = now + self.timing.retry_period;
        let expiry = self
            .seen
            .as_ref()
            .map(|(_, since)| *since + self.timing.duration)
            .filter(|expiry| *expiry > now && self.renewed.is_none());
        let until = expiry.map_or(retry, |expiry| retry.min(expiry));
        // Followers poll only now and then: they watch the Lease; this is for a watch that is down.
        if self.renewed.is_none() && until == retry {
            self.must_read = true;
        }
        self.next_attempt = Some(until);
        until
    }

    fn expire(&mut self, now: Instant) {
        if self.leads_until().is_some_and(|end| now >= end) {
            self.renewed = None;
            self.must_read = true;
        }
    }
}

fn free(record: &Record) -> Claim {
    Claim {
        holder: String::new(),
        transitions: record.transitions,
        acquires: false,
        acquired: record.acquired,
        owners: record.owners.clone(),
        resource_version: Some(record.resource_version.clone()),
    }
}

fn same_claim(a: Option<&Record>, b: Option<&Record>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            (&a.holder, a.transitions, a.renewed) == (&b.holder, b.transitions, b.renewed)
        }
        (None, None) => true,
        _ => false,
    }
}
