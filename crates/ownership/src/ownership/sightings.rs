//! What other stations do, and what follows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::{MacAddress, NodeName, Standing};

use super::{Leaving, Ownership};
use crate::entry::{Contest, Entry, Idle, Rival, State};
use crate::peers::{Peers, Station};
use crate::way::yields;
use crate::{Claim, Conflict, Kind, Sighting};

/// Two members that do not see each other's announcements of an address for so long do not contest
/// it any longer.
const CONTEST_GAP: Duration = Duration::from_secs(1);

/// How often a look begins anew because one asks that is not in the group: as often as one asks that
/// looks too, so that a whole look follows the last of its questions.
const ANEW: u32 = 3;

/// What a sighting leads to.
enum Outcome {
    Nothing,
    Hold,
    /// Look from the beginning.
    Anew,
    /// Leave it to this member.
    Yield(NodeName),
    Announce,
    /// A member that is down has an address that was taken from it, and perhaps more.
    Expose(NodeName),
    /// A station that is none of ours.
    Conflict,
    /// The same, but it may be that of a member that does not know either whose ours is.
    Contest,
    /// The same, for too long.
    Leave,
    /// The same, and this node is about to leave the address to a member anyhow.
    Rest,
}

impl Ownership {
    /// Another station had to do with an address.
    pub fn saw(&mut self, now: Instant, sighting: Sighting) {
        let Sighting { address, mac, kind } = sighting;
        let soon = self.least_audit_pause(now);
        let leaving = self.leaving != Leaving::No;
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        if peers.fenced {
            return;
        }
        let outcome = match peers.station(mac) {
            Station::Own => Outcome::Nothing,
            // Switches and hosts probe for addresses that they do not want (device tracking): only
            // who answers or announces has an address.
            Station::Foreign if kind == Kind::Probed => Outcome::Nothing,
            Station::Foreign => {
                let before = self.limits.contest;
                strange(&self.me, peers, entry, mac, kind, now, before)
            }
            Station::Member(name)
                if kind == Kind::Probed && matches!(entry.state, State::HeldBy(_)) =>
            {
                asked(&self.me, peers, entry, name, now, soon)
            }
            // Whoever takes over from one that ends.
            Station::Member(name) if leaving && kind == Kind::Announced => {
                Outcome::Yield(name.clone())
            }
            Station::Member(name) => {
                let contest = self.limits.contest;
                met(&self.me, peers, entry, name, kind, now, contest)
            }
        };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Hold => self.hold(now, address),
            Outcome::Anew => {
                self.agenda.clear(address);
                self.agenda.set_probe(address, Some(now));
            }
            Outcome::Yield(to) => self.give_way(now, address, to),
            Outcome::Announce => self.announce(now, address),
            Outcome::Expose(name) => {
                self.announce(now, address);
                self.expose(now, name);
            }
            Outcome::Conflict => self.clash(now, address, mac, true),
            Outcome::Contest => {
                self.clash(now, address, mac, true);
                self.announce(now, address);
            }
            Outcome::Rest => {
                self.clash(now, address, mac, false);
                self.rest(address, Idle::NotOurs);
            }
            Outcome::Leave => {
                let mine = entry.is_mine();
                self.clash(now, address, mac, false);
                if mine {
                    self.wait_for(now, address, mac, self.limits.in_use_pause / 10);
                } else {
                    self.rest(address, Idle::NotOurs);
                }
            }
        }
    }

    /// Another member has the address.
    pub(super) fn give_way(&mut self, now: Instant, address: IpAddr, to: NodeName) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        entry.had_by(to.clone(), peers.may_settle(&to));
        entry.resumed = false;
        if entry.is_mine() && self.leaving == Leaving::No {
            self.watch(now, address, to);
        } else {
            self.rest(address, Idle::NotOurs);
        }
    }

    /// Leaves the address to a foreign station, and looks again after the pause.
    pub(super) fn wait_for(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: MacAddress,
        pause: Duration,
    ) {
        self.enter(address, State::InUse { mac, pause });
        self.agenda.set_alarm(address, Some(now + pause));
    }

    /// A foreign station has the address. `keeps`: this node goes on answering for it if it does.
    fn clash(&mut self, now: Instant, address: IpAddr, mac: MacAddress, keeps: bool) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        let untold = peers.has_untold();
        let held = match &mut entry.state {
            State::Idle(_) | State::InUse { .. } => return,
            State::Held(_) | State::HandingOver { .. } => keeps,
            State::HeldBy(watching) => {
                watching.foreign = Some(mac);
                false
            }
            State::Looking(look) => {
                let pause = look.in_use_pause.min(self.limits.in_use_pause);
                self.wait_for(now, address, mac, pause);
                false
            }
        };
        if !untold {
            let conflict = Conflict { address, mac, held };
            self.conflicts
                .add(now, conflict, self.limits.conflict_pause);
        }
    }
}

/// What follows when the member that has the address asks whether anybody has it. One that hands it
/// over asks again soon; one that audits what it took from another is not in such a hurry.
fn asked(
    me: &NodeName,
    peers: &Peers,
    entry: &mut Entry,
    member: &NodeName,
    now: Instant,
    soon: Duration,
) -> Outcome {
    let State::HeldBy(watching) = &mut entry.state else {
        return Outcome::Nothing;
    };
    if watching.holder != *member {
        return Outcome::Nothing;
    }
    let before = watching.asked.replace(now);
    let settles = watching.settles;
    let may_take = yields(me, peers, entry, member, settles);
    if may_take && before.is_some_and(|before| now.saturating_duration_since(before) < soon) {
        entry.previous = Some(member.clone());
        return Outcome::Hold;
    }
    Outcome::Nothing
}

/// What follows from a member's doing.
fn met(
    me: &NodeName,
    peers: &Peers,
    entry: &mut Entry,
    member: &NodeName,
    kind: Kind,
    now: Instant,
    contest: Duration,
) -> Outcome {
    let behind = entry.is_behind(me, member);
    match (&mut entry.state, kind) {
        (State::Held(_), Kind::Announced) => {
            let rival = Rival::Member(member.clone());
            if behind && !is_deaf(entry, member)
                || contested(entry, rival, now) >= contest && member < me
            {
                Outcome::Yield(member.clone())
            } else {
                Outcome::Announce
            }
        }
        // It may be handing over, and goes on until it sees an announcement. One that keeps what
        // the election gives another asks for the other, to learn whether that one has taken it.
        (State::Held(holding), Kind::Answered) => {
            holding.deaf.take_if(|deaf| deaf == member);
            match entry.claim {
                Claim::Theirs { .. } if behind => Outcome::Yield(member.clone()),
                _ if peers.is_down(member) => Outcome::Expose(member.clone()),
                _ => Outcome::Announce,
            }
        }
        // Two that hand over to one that neither hears.
        (State::HandingOver { to }, Kind::Answered) if to != member && member > me => {
            Outcome::Nothing
        }
        (State::HandingOver { .. }, Kind::Announced | Kind::Answered) => {
            Outcome::Yield(member.clone())
        }
        // Two that look at the same time.
        (State::Looking(_) | State::InUse { .. }, Kind::Probed)
            if behind && peers.is_live(member) =>
        {
            Outcome::Yield(member.clone())
        }
        // One that only watches asks in the same way, and may be in no position to take it. If it is
        // not in the group, and so not in most of it, it is not waited for; if it may have as many as
        // this one, only until it would have announced the address.
        (State::Looking(look), Kind::Probed)
            if behind && peers.standing != Standing::Majority && look.anew < ANEW =>
        {
            look.anew += 1;
            look.sent = 0;
            Outcome::Anew
        }
        (
            State::Looking(_) | State::InUse { .. } | State::HeldBy(_),
            Kind::Announced | Kind::Answered,
        ) => {
            // Whether that one yields was decided when the group or the claim changed.
            if let State::HeldBy(watching) = &mut entry.state
                && watching.holder == *member
            {
                watching.seen = true;
                watching.misses = 0;
                return Outcome::Nothing;
            }
            if yields(me, peers, entry, member, peers.is_settling(member)) {
                entry.previous = Some(member.clone());
                return Outcome::Hold;
            }
            Outcome::Yield(member.clone())
        }
        (State::Idle(_), _) | (_, Kind::Probed) => Outcome::Nothing,
    }
}

/// The member had the address, did not answer for it any longer, and has not answered since.
fn is_deaf(entry: &Entry, member: &NodeName) -> bool {
    matches!(&entry.state, State::Held(holding) if holding.deaf.as_ref() == Some(member))
}

/// What follows from what a station does that is nobody's so far as is known.
///
/// It may be that of a member that this node has never heard and that has never heard this node: of
/// the two one must end it. A member that knows this node ends it before, if it is to.
fn strange(
    me: &NodeName,
    peers: &Peers,
    entry: &mut Entry,
    mac: MacAddress,
    kind: Kind,
    now: Instant,
    contest: Duration,
) -> Outcome {
    let held = matches!(entry.state, State::Held(_));
    let strangers = entry.may_be_strangers(me, peers);
    if strangers && kind != Kind::Probed && matches!(entry.state, State::HandingOver { .. }) {
        return Outcome::Rest;
    }
    if !held || kind != Kind::Announced || !strangers {
        return Outcome::Conflict;
    }
    let limit = if peers.gives_way_to(mac) {
        contest * 3 / 2
    } else {
        contest * 2
    };
    if contested(entry, Rival::Stranger(mac), now) >= limit {
        Outcome::Leave
    } else {
        Outcome::Contest
    }
}

/// For how long the other has announced the address too, although it has no better right to it by
/// what is known here, and so perhaps by what is known there.
fn contested(entry: &mut Entry, rival: Rival, now: Instant) -> Duration {
    let State::Held(holding) = &mut entry.state else {
        return Duration::ZERO;
    };
    let since = match &holding.contest {
        Some(contest)
            if contest.with == rival
                && now.saturating_duration_since(contest.last) < CONTEST_GAP =>
        {
            contest.since
        }
        _ => now,
    };
    holding.contest = Some(Contest {
        with: rival,
        since,
        last: now,
    });
    now.saturating_duration_since(since)
}
