//! One address: what the election says, what this node does, and what it knows.

use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{MacAddress, NodeName};

use crate::peers::Peers;
use crate::{Claim, Duty, Failback, Limits, Status};

/// What is known of an address and done about it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) claim: Claim,
    /// All that could own it, when the election last gave it to this node: a claim that gives it to
    /// another, although this node may keep it, does not tell.
    pub(crate) candidates: Vec<NodeName>,
    pub(crate) state: State,
    /// Who answered for it last, so far as is known.
    pub(crate) previous: Option<NodeName>,
    /// That one was seen with it, and the election has named no other since.
    pub(crate) certain: bool,
    /// That one settled already when the election gave it the address, and so may have it still if
    /// it settles. One that begins to settle has lost what it had.
    pub(crate) settled_with_it: bool,
    /// When it was last given to one, or looked for, as an address that nobody has.
    pub(crate) nobodys: Option<Instant>,
    /// This node answered for it before it restarted.
    pub(crate) resumed: bool,
}

/// What this node does about an address.
#[derive(Debug)]
pub(crate) enum State {
    /// Nothing.
    Idle(Idle),
    /// It answers for it and announces it.
    Held(Holding),
    /// It probes for it before it takes it.
    Looking(Look),
    /// It answers for it until `to` announces it.
    HandingOver {
        /// Whom the election gives it to.
        to: NodeName,
    },
    /// It watches another node that has it.
    HeldBy(Watching),
    /// It waits until a foreign station has it no longer.
    InUse {
        /// The station.
        mac: MacAddress,
        /// How long it waits before it looks again.
        pause: Duration,
    },
}

/// Why nothing is done about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    NotOurs,
    NoMajority,
    Fenced,
}

/// An address that is held.
#[derive(Debug)]
pub(crate) struct Holding {
    /// Whom it was taken from.
    pub(crate) from: Option<NodeName>,
    /// When.
    pub(crate) since: Instant,
    /// When it was last announced by a command, or taken.
    pub(crate) announced: Instant,
    /// How many times it is to be announced again without being asked.
    pub(crate) echoes: u32,
    /// Another member announces it too.
    pub(crate) contest: Option<Contest>,
    /// The member that it was taken from, if that is down and did not answer for it: it cannot hear
    /// that it is not alone.
    pub(crate) deaf: Option<NodeName>,
}

/// Two announce an address.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) with: Rival,
    pub(crate) since: Instant,
    pub(crate) last: Instant,
}

/// Who announces an address too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rival {
    Member(NodeName),
    /// A station that may be a member's.
    Stranger(MacAddress),
}

/// Probes before an address is taken.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) sent: u32,
    /// How many are sent.
    pub(crate) probes: u32,
    /// Between two probes and after the last.
    pub(crate) pause: Duration,
    /// How long to wait if a foreign station answers.
    pub(crate) in_use_pause: Duration,
    /// Who had the address is known, and not only whom the election gave it.
    pub(crate) certain: bool,
    /// The verdict came late once and was put off.
    pub(crate) put_off: bool,
    /// How often it began anew for another that asks too.
    pub(crate) anew: u32,
}

/// Another node that has an address.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(crate) struct Watching {
    pub(crate) holder: NodeName,
    /// It was in the group when that was last looked at.
    pub(crate) live: bool,
    /// It was lost, and last seen so by a majority that this node is in: declared down.
    pub(crate) outvoted: bool,
    /// It has settled ever since; one that only begins to settle has lost what it had.
    pub(crate) settles: bool,
    /// It was seen with the address since the last probe.
    pub(crate) seen: bool,
    /// Probes in a row that it did not answer.
    pub(crate) misses: u32,
    /// A foreign station that answered since it was last seen.
    pub(crate) foreign: Option<MacAddress>,
    /// When it last asked itself whether anybody has the address.
    pub(crate) asked: Option<Instant>,
}

impl Entry {
    pub(crate) fn new(resumed: bool) -> Self {
        Self {
            claim: Claim::Nobody,
            candidates: Vec::new(),
            state: State::Idle(Idle::NotOurs),
            previous: None,
            certain: false,
            settled_with_it: false,
            nobodys: None,
            resumed,
        }
    }

    /// Takes over what the election says.
    pub(crate) fn set_claim(&mut self, claim: Claim) {
        if let Claim::Mine { order, .. } = &claim {
            self.candidates.clone_from(order);
        }
        self.claim = claim;
    }

    /// Whoever the election named has not had the time to make sure that nobody has the address.
    pub(crate) fn is_new(&self, now: Instant, limits: &Limits) -> bool {
        let look = limits.probe_pause * limits.probes;
        let nobodys = self.nobodys.filter(|_| !self.certain);
        nobodys.is_some_and(|at| now.saturating_duration_since(at) < look)
    }

    /// Notes who had the address, as was seen. `settles`: it settled all the time, so that it may
    /// have it still if it settles.
    pub(crate) fn had_by(&mut self, holder: NodeName, settles: bool) {
        self.previous = Some(holder);
        self.certain = true;
        self.settled_with_it = settles;
    }

    pub(crate) fn status(&self) -> Status {
        match &self.state {
            State::Idle(Idle::NotOurs) => Status::NotOurs,
            State::Idle(Idle::NoMajority) => Status::NoMajority,
            State::Idle(Idle::Fenced) => Status::Fenced,
            State::Held(_) => Status::Held,
            State::Looking(_) => Status::Probing,
            State::HandingOver { to } => Status::HandingOver(to.clone()),
            State::HeldBy(watching) => Status::HeldBy(watching.holder.clone()),
            State::InUse { mac, .. } => Status::InUse(*mac),
        }
    }

    pub(crate) fn duty(&self) -> Option<Duty> {
        match self.state {
            State::Idle(_) => None,
            State::Held(_) => Some(Duty::Announce),
            State::HandingOver { .. } => Some(Duty::Answer),
            State::Looking(_) | State::HeldBy(_) | State::InUse { .. } => Some(Duty::Watch),
        }
    }

    /// Where the claim lets this node announce the address.
    pub(crate) fn interfaces(&self) -> Option<&Interfaces> {
        match &self.claim {
            Claim::Mine { interfaces, .. } => Some(interfaces),
            Claim::Theirs { interfaces, .. } => interfaces.as_ref(),
            Claim::Nobody => None,
        }
    }

    pub(crate) fn is_mine(&self) -> bool {
        matches!(self.claim, Claim::Mine { .. })
    }

    pub(crate) fn is_sticky(&self) -> bool {
        match &self.claim {
            Claim::Mine { failback, .. } | Claim::Theirs { failback, .. } => {
                *failback == Failback::Sticky
            }
            Claim::Nobody => false,
        }
    }

    /// This node holds the address, and the member has begun to announce it too within the time
    /// `lately`, and announced it within the time `just` again.
    pub(crate) fn was_taken_by(
        &self,
        member: &NodeName,
        now: Instant,
        lately: Duration,
        just: Duration,
    ) -> bool {
        let State::Held(holding) = &self.state else {
            return false;
        };
        holding.contest.as_ref().is_some_and(|contest| {
            contest.with == Rival::Member(member.clone())
                && now.saturating_duration_since(contest.since) < lately
                && now.saturating_duration_since(contest.last) < just
        })
    }

    /// All that could own the address, best first; empty if that is not known.
    pub(crate) fn order(&self) -> &[NodeName] {
        match &self.claim {
            Claim::Mine { order, .. } => order,
            Claim::Theirs { .. } | Claim::Nobody => &[],
        }
    }

    /// A station that seems foreign may be a member's that this node has never heard.
    pub(crate) fn may_be_strangers(&self, me: &NodeName, peers: &Peers) -> bool {
        let mut candidates = self.candidates.iter();
        peers.has_strangers() || candidates.any(|name| name != me && peers.is_strange(name))
    }

    /// True if `other` has a better right to the address than `me`. What two nodes compute from
    /// the same claims agrees: of two that both hold what the election gives a third, the one with
    /// the lesser name comes first.
    pub(crate) fn is_behind(&self, me: &NodeName, other: &NodeName) -> bool {
        match &self.claim {
            Claim::Mine { order, .. } => {
                let place = |name| order.iter().position(|candidate| candidate == name);
                place(other).is_some_and(|theirs| place(me).is_none_or(|mine| theirs < mine))
            }
            Claim::Theirs { owner, .. } => owner == other || other < me,
            Claim::Nobody => true,
        }
    }
}
