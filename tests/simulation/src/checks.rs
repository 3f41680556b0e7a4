//! What is checked all the time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use herald_announce::Failback;
use herald_model::Phase;

use crate::bounds::{
    BLINK, BLINK_LOSSY, BLINK_STICKY, CALM, FORMED, SERVED_STICKY, STICKY, TWO_OWNERS,
    TWO_OWNERS_APART, TWO_OWNERS_LOSSY, two_owners_unaware,
};
use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::plan::Plan;

/// Something is not as promised.
#[derive(Debug, Clone)]
pub struct Violation {
    /// When that was seen, in time since the beginning.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// What is remembered from look to look.
#[derive(Debug)]
pub struct Checks {
    addresses: Vec<Address>,
    /// When anything happened that may make an address move.
    changed: Duration,
    /// When something happened that nobody planned.
    struck: Duration,
    /// When something last happened to each node.
    disturbed: Vec<Duration>,
    phases: Vec<Phase>,
    /// Since when an answer is promised, and within which time.
    promised: Option<(Duration, Duration)>,
    /// When the promise was last looked at.
    looked: Option<Duration>,
}

/// What is remembered of an address.
#[derive(Debug)]
struct Address {
    ip: IpAddr,
    sticky: bool,
    holders: Vec<usize>,
    /// The last node that was the only holder.
    owner: Option<usize>,
    /// That one ceased to hold it because of something that happened to it. Two that cannot hear each
    /// other may hold it after it for long.
    excused: bool,
    /// Since when nobody answers the client.
    silent: Option<Duration>,
    /// Its owner was mute then: it could tell nobody that it stops.
    muted: bool,
    /// Since when two answer, by nodes.
    together: BTreeMap<(usize, usize), Duration>,
    /// Since when each of those that answer does.
    taken: BTreeMap<usize, Duration>,
    moves: u64,
    longest_silence: Duration,
}

impl Checks {
    pub(crate) fn new(plan: &Plan, nodes: usize) -> Self {
        let address = |(address, failback): (IpAddr, Option<Failback>)| Address {
            ip: address,
            sticky: failback == Some(Failback::Sticky),
            holders: Vec::new(),
            owner: None,
            excused: false,
            silent: None,
            muted: false,
            together: BTreeMap::new(),
            taken: BTreeMap::new(),
            moves: 0,
            longest_silence: Duration::ZERO,
        };
        let failbacks = plan.services.iter().map(|service| service.failback);
        Self {
            addresses: plan.addresses().zip(failbacks).map(address).collect(),
            changed: Duration::ZERO,
            struck: Duration::ZERO,
            disturbed: vec![Duration::ZERO; nodes],
            phases: vec![Phase::default(); nodes],
            promised: None,
            looked: None,
        }
    }

    /// Something happened that may make an address move.
    pub(crate) fn changed(&mut self, now: Duration) {
        self.changed = now;
        self.looked = None;
    }

    /// Something happened that nobody planned.
    pub(crate) fn struck(&mut self, now: Duration) {
        self.struck = now;
    }

    /// Somebody is about to take over an address after a fault: no move takes so long.
    pub(crate) fn sees_failover(&self, now: Duration) -> bool {
        let mut silences = self.addresses.iter().filter_map(|address| address.silent);
        silences.any(|since| now.saturating_sub(since) > BLINK_LOSSY)
    }

    /// Something happened to this node.
    pub(crate) fn disturbed(&mut self, now: Duration, node: usize) {
        if let Some(at) = self.disturbed.get_mut(node) {
            *at = now;
        }
    }

    /// A speaker was started.
    pub(crate) fn started(&mut self, now: Duration, node: usize) {
        self.changed(now);
        self.disturbed(now, node);
    }

    /// A node tells that it is in this phase. Gives true if that is another than before.
    pub(crate) fn phase(&mut self, node: usize, phase: Phase) -> bool {
        self.phases
            .get_mut(node)
            .is_some_and(|known| std::mem::replace(known, phase) != phase)
    }

    /// How often each address went from one owner to another.
    pub fn moves(&self) -> Vec<u64> {
        self.addresses.iter().map(|address| address.moves).collect()
    }

    /// The longest time for which nobody answered the client for an address although a node that
    /// could was there.
    pub fn longest_silence(&self) -> Duration {
        let silences = self.addresses.iter().map(|address| address.longest_silence);
        silences.max().unwrap_or_default()
    }

    /// Forgets the silences so far.
    pub(crate) fn forget_silence(&mut self) {
        for address in &mut self.addresses {
            address.longest_silence = Duration::ZERO;
        }
    }
}

impl Cluster {
    /// Compares what is with what is promised.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        let mut checks = std::mem::replace(&mut self.checks, Checks::new(&self.plan, 0));
        let outcome = self.look_with(&mut checks);
        self.checks = checks;
        outcome.map_err(|what| {
            self.history.say(self.now, || format!("VIOLATION: {what}"));
            Violation { at: self.now, what }
        })
    }

    fn look_with(&mut self, checks: &mut Checks) -> Result<(), String> {
        let now = self.now;
        // A node that has run long enough counts from then on, without an event of its own.
        let stale = checks.looked.is_none_or(|at| now > at + TIME_TO_LOOK);
        if stale {
            checks.looked = Some(now);
            let bound = self.promise();
            checks.promised = bound.map(|bound| match checks.promised {
                Some((since, _)) => (since, bound),
                None => (now, bound),
            });
        }
        let mut checked = Ok(());
        let mut addresses = std::mem::take(&mut checks.addresses);
        for (number, address) in addresses.iter_mut().enumerate() {
            checked = checked
                .and_then(|()| self.look_for_answer(checks, address))
                .and_then(|()| self.look_for_two(checks, address))
                .and_then(|()| self.look_for_moves(checks, number, address));
        }
        checks.addresses = addresses;
        checked
    }

    /// An eligible node is there, so one answers.
    fn look_for_answer(&self, checks: &Checks, address: &mut Address) -> Result<(), String> {
        let now = self.now;
        let client = self.client();
        let answered = self
            .machines
            .iter()
            .enumerate()
            .any(|(node, machine)| machine.answers(address.ip) && self.lan.both(node, client));
        if answered {
            address.silent = None;
            return Ok(());
        }
        if address.silent.is_none() {
            address.muted = address.owner.is_some_and(|owner| self.is_mute(owner));
        }
        let began = *address.silent.get_or_insert(now);
        let Some((promised, bound)) = checks.promised else {
            return Ok(());
        };
        let excused = checks.struck + bound;
        let since = began.max(promised);
        address.longest_silence = address.longest_silence.max(now.saturating_sub(since));
        // A busy node may be late, and then answers for nothing for a moment, whenever it likes.
        let busy = self.machines.iter().any(|machine| machine.busy);
        let planned = began > excused && promised + bound < began && !busy && !address.muted;
        let since = if planned {
            since
        } else {
            since.max(checks.struck)
        };
        let lossy = self.gossip.loss() > 0 || self.lan.loss() > 0;
        let bound = match (planned, address.sticky) {
            (true, true) => BLINK_STICKY,
            (true, false) if lossy => BLINK_LOSSY,
            (true, false) => BLINK,
            (false, true) => bound.max(SERVED_STICKY),
            (false, false) => bound,
        };
        if now.saturating_sub(since) <= bound {
            return Ok(());
        }
        let silent = now.saturating_sub(since);
        let address = address.ip;
        Err(format!(
            "nobody answers for {address} for {silent:?}, the bound is {bound:?}"
        ))
    }

    /// No two that hear each other answer for long.
    fn look_for_two(&self, checks: &Checks, address: &mut Address) -> Result<(), String> {
        let now = self.now;
        let answering: Vec<_> = self.answering(address.ip);
        address.taken.retain(|node, _| answering.contains(node));
        for node in &answering {
            address.taken.entry(*node).or_insert(now);
        }
        if answering.len() < 2 && address.together.is_empty() {
            return Ok(());
        }
        let mut together = BTreeMap::new();
        for (place, one) in answering.iter().enumerate() {
            for other in answering.iter().skip(place + 1) {
                let pair = (*one, *other);
                let since = address.together.get(&pair).copied().unwrap_or(now);
                let grouped = self.gossip.both(*one, *other);
                let bound = if self.lan.both(*one, *other) {
                    let taken = |node| address.taken.get(node).copied().unwrap_or(now);
                    let (first, last) =
                        (taken(one).min(taken(other)), taken(one).max(taken(other)));
                    if grouped {
                        TWO_OWNERS
                    } else if since <= last {
                        if self.lan.loss() > 0 {
                            TWO_OWNERS_LOSSY
                        } else {
                            TWO_OWNERS
                        }
                    } else {
                        // The LAN kept them apart when the last one took it.
                        two_owners_unaware(now.saturating_sub(first))
                    }
                } else if grouped && !address.sticky {
                    TWO_OWNERS_APART
                } else {
                    // What is sticky stays on each part of a LAN that fell apart.
                    continue;
                };
                together.insert(pair, since);
                let busy = |node: &usize| self.machines.get(*node).is_some_and(|m| m.busy);
                let since = since.max(checks.changed);
                if now.saturating_sub(since) > bound && !busy(one) && !busy(other) {
                    let (address, long) = (address.ip, now.saturating_sub(since));
                    return Err(format!(
                        "n{one} and n{other} both answer for {address} for {long:?}, the bound is {bound:?}"
                    ));
                }
            }
        }
        address.together = together;
        Ok(())
    }

    /// Nothing moves without a cause, and sticky addresses only when their owner is struck.
    fn look_for_moves(
        &mut self,
        checks: &Checks,
        number: usize,
        address: &mut Address,
    ) -> Result<(), String> {
        let now = self.now;
        let machines = self.machines.iter().enumerate();
        let holders: Vec<_> = machines
            .filter(|(_, machine): &(usize, &Machine)| machine.holds(address.ip))
            .map(|(node, _)| node)
            .collect();
        if holders == address.holders {
            return Ok(());
        }
        let before = std::mem::replace(&mut address.holders, holders);
        let holders = &address.holders;
        self.history.say(now, || {
            format!("s{number} is held by {holders:?}, was by {before:?}")
        });
        // Where two reach each other by one other at best, what a network loses parts them now and then.
        let frail = checks.promised.is_none() && self.gossip.loss() > 0;
        if now.saturating_sub(checks.changed) > CALM && !frail {
            let address = address.ip;
            return Err(format!(
                "{address} went from {before:?} to {holders:?} although nothing happened for {:?}",
                now.saturating_sub(checks.changed)
            ));
        }
        let suffers = |node: usize| {
            let disturbed = checks.disturbed.get(node).copied().unwrap_or_default();
            self.suffers(node) || now < disturbed + STICKY
        };
        if let Some(owner) = address.owner
            && before.contains(&owner)
            && !holders.contains(&owner)
        {
            address.excused = suffers(owner);
        }
        let [owner] = holders[..] else {
            return Ok(());
        };
        let Some(previous) = address.owner.replace(owner).filter(|p| *p != owner) else {
            return Ok(());
        };
        address.moves += 1;
        if address.sticky && !address.excused && !suffers(previous) && now > FORMED {
            let disturbed = checks.disturbed.get(previous).copied().unwrap_or_default();
            let address = address.ip;
            return Err(format!(
                "{address} is sticky and went from n{previous} to n{owner} although nothing happened to n{previous} for {:?}",
                now.saturating_sub(disturbed)
            ));
        }
        Ok(())
    }
}

/// How often the promise is looked at when nothing happens.
const TIME_TO_LOOK: Duration = Duration::from_millis(100);
