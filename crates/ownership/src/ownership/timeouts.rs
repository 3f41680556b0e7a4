//! What becomes due.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::{MacAddress, Standing};

use super::{Leaving, Ownership};
use crate::Command;
use crate::entry::{Idle, State};
use crate::peers::Station;

/// A verdict that comes so much later than it was due is none: what was heard meanwhile may not
/// have been told yet.
const LATE: Duration = Duration::from_millis(25);

impl Ownership {
    /// Does what is due. Call it at [`Ownership::next_timeout`], after all that was seen until then
    /// was told by [`Ownership::saw`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.follow_group(now);
        if matches!(self.leaving, Leaving::Until(until) if until <= now) {
            self.leaving = Leaving::Late;
        }
        while let Some((due, address)) = self.agenda.pop_alarm(now) {
            self.decide(now, address, now.saturating_duration_since(due) > LATE);
        }
        let (burst, pause) = (self.limits.probe_burst, self.limits.burst_pause);
        for address in self.agenda.pop_probes(now, burst, pause) {
            self.probe(now, address);
        }
    }

    fn decide(&mut self, now: Instant, address: IpAddr, late: bool) {
        let spaced = self.watch_pause();
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        let strangers = self
            .peers
            .as_ref()
            .is_some_and(|peers| entry.may_be_strangers(&self.me, peers));
        match &mut entry.state {
            State::Idle(_) => {}
            State::Held(holding) => {
                holding.echoes = holding.echoes.saturating_sub(1);
                self.announce(now, address);
            }
            State::HandingOver { .. } => self.rest(address, Idle::NotOurs),
            State::Looking(look) if late && !look.put_off => {
                look.put_off = true;
                look.sent = look.sent.saturating_sub(1);
                self.agenda.set_probe(address, Some(now));
            }
            State::Looking(_) => self.hold(now, address),
            State::InUse { pause, .. } => {
                // That of a member may be gone as fast as the member. It waits for its turn if there
                // are many.
                let next = if strangers { *pause } else { *pause * 2 };
                let next = next.max(spaced);
                self.look(now, address, self.limits.probe_pause, next);
            }
            State::HeldBy(watching) => {
                if watching.seen {
                    watching.misses = 0;
                    watching.foreign = None;
                    let pause = self.watch_pause();
                    let rest = pause.saturating_sub(self.limits.watch_pause);
                    self.agenda.set_probe(address, Some(now + rest));
                    return;
                }
                if !late {
                    watching.misses += 1;
                }
                if watching.misses < self.limits.watch_misses {
                    self.agenda.set_probe(address, Some(now));
                } else {
                    self.silent(now, address);
                }
            }
        }
    }

    /// The member that had the address does not answer for it any longer.
    fn silent(&mut self, now: Instant, address: IpAddr) {
        let (Some(entry), Some(peers)) = (self.entries.get_mut(&address), &self.peers) else {
            return;
        };
        let State::HeldBy(watching) = &entry.state else {
            return;
        };
        // It may have turned out to be a member's since.
        let foreign = |mac: &MacAddress| peers.station(*mac) == Station::Foreign;
        // In a minority only what goes from one of its members to another is taken.
        if peers.standing == Standing::Minority && !peers.is_live(&watching.holder) {
            self.rest(address, Idle::NoMajority);
        } else if let Some(mac) = watching.foreign.filter(foreign) {
            self.wait_for(now, address, mac, self.limits.in_use_pause / 10);
        } else {
            let holder = watching.holder.clone();
            let deaf = peers.is_down(&holder).then(|| holder.clone());
            let settles = watching.settles;
            entry.had_by(holder, settles);
            self.hold(now, address);
            if let Some(State::Held(holding)) = self.entries.get_mut(&address).map(|e| &mut e.state)
            {
                holding.deaf = deaf;
            }
        }
    }

    fn probe(&mut self, now: Instant, address: IpAddr) {
        let watch_pause = self.watch_pause();
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        match &mut entry.state {
            State::Looking(look) => {
                look.sent += 1;
                let next = Some(now + look.pause);
                if look.sent < look.probes {
                    self.agenda.set_probe(address, next);
                } else {
                    self.agenda.set_alarm(address, next);
                }
            }
            State::HeldBy(watching) => {
                watching.seen = false;
                let wait = match watching.misses {
                    0 => self.limits.watch_pause,
                    _ => self.limits.watch_retry,
                };
                self.agenda.set_alarm(address, Some(now + wait));
            }
            State::HandingOver { .. } => {
                self.agenda.set_probe(address, Some(now + watch_pause));
            }
            State::Held(_) => self.plan_audit(now, address),
            State::Idle(_) | State::InUse { .. } => return,
        }
        self.commands.push(Command::Probe(address));
    }
}
