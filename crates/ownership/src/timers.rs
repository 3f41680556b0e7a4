//! When something is to be done about an address: decisions without bound, probes at a bounded
//! rate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One time for each address, in order.
#[derive(Debug, Default)]
struct Timers {
    at: BTreeMap<IpAddr, Instant>,
    queue: BTreeSet<(Instant, IpAddr)>,
}

impl Timers {
    fn set(&mut self, address: IpAddr, time: Option<Instant>) {
        let before = match time {
            Some(time) => self.at.insert(address, time),
            None => self.at.remove(&address),
        };
        if let Some(before) = before {
            self.queue.remove(&(before, address));
        }
        if let Some(time) = time {
            self.queue.insert((time, address));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(time, _)| *time)
    }

    fn pop(&mut self, now: Instant) -> Option<(Instant, IpAddr)> {
        let (time, address) = *self.queue.first()?;
        if time > now {
            return None;
        }
        self.set(address, None);
        Some((time, address))
    }
}

/// What is due, by address.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    alarms: Timers,
    probes: Timers,
    /// No probe is sent before.
    pause: Option<Instant>,
}

impl Agenda {
    /// When to decide about the address; replaces what was set before.
    pub(crate) fn set_alarm(&mut self, address: IpAddr, time: Option<Instant>) {
        self.alarms.set(address, time);
    }

    /// When to probe for the address; replaces what was set before.
    pub(crate) fn set_probe(&mut self, address: IpAddr, time: Option<Instant>) {
        self.probes.set(address, time);
    }

    pub(crate) fn has_alarm(&self, address: IpAddr) -> bool {
        self.alarms.at.contains_key(&address)
    }

    pub(crate) fn has_probe(&self, address: IpAddr) -> bool {
        self.probes.at.contains_key(&address)
    }

    pub(crate) fn clear(&mut self, address: IpAddr) {
        self.set_alarm(address, None);
        self.set_probe(address, None);
    }

    /// An address that has to be decided about by now, and since when.
    pub(crate) fn pop_alarm(&mut self, now: Instant) -> Option<(Instant, IpAddr)> {
        self.alarms.pop(now)
    }

    /// The addresses to probe for by now: at most `burst`, and then none for `pause`.
    pub(crate) fn pop_probes(
        &mut self,
        now: Instant,
        burst: usize,
        pause: Duration,
    ) -> Vec<IpAddr> {
        if self.pause.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.pause = None;
        let burst = burst.max(1);
        let mut due = Vec::new();
        while due.len() < burst {
            match self.probes.pop(now) {
                Some((_, address)) => due.push(address),
                None => return due,
            }
        }
        self.pause = Some(now + pause);
        due
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        let probe = self
            .probes
            .next()
            .map(|time| self.pause.map_or(time, |pause| time.max(pause)));
        [self.alarms.next(), probe].into_iter().flatten().min()
    }
}
