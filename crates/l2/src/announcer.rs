//! When an address is announced unasked: a schedule without I/O.
//!
//! ```text
//!               take                           refresh
//!   absent ───────────────▶ round 1 … round 7 ─────────▶ refreshed ─┐
//!     ▲                        │                            │  ▲    │ period
//!     └── release, forget ─────┴────────────────────────────┘  └────┘
//! ```
//!
//! Ownership and interfaces set it going, nothing else: to say again what is so already changes
//! nothing, so that endpoints that come and go make no traffic. An interface that loses its link is
//! forgotten; when it is back, perhaps at another switch port, its addresses are taken anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The pauses between the rounds of an announcement, which thus takes seven rounds in 8 s: at 0,
/// 0.1, 0.3, 1, 2, 4 and 8 s. Dense at first, because clients wait; long enough for a switch port
/// that forwards only after some seconds. MetalLB sends five rounds in 4.4 s.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(700),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The most announcements of one [`Announcer::poll`].
const BURST: usize = 64;

/// The least time between two full bursts: with [`BURST`] it makes 12,800 announcements a second,
/// 5,000 addresses in 0.4 s, and leaves a receive queue time to drain.
const BURST_PAUSE: Duration = Duration::from_millis(5);

/// An address that is to be announced now on an interface: send all of
/// [`Form::of`](crate::gratuitous::Form::of) it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announcement {
    /// The kernel's index of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
}

/// The schedule of all interfaces. Feed it with changes, then send what [`Announcer::poll`] gives
/// whenever [`Announcer::next_timeout`] has come.
#[derive(Debug, Default)]
pub struct Announcer {
    refresh: Option<Duration>,
    /// By the interface's index.
    held: BTreeMap<u32, BTreeMap<IpAddr, Entry>>,
    queue: BTreeSet<(Slot, Announcement)>,
    /// Counts first rounds, so that they keep the order in which they were asked for.
    taken: u64,
    /// Nothing is sent before.
    resume: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Rounds that were sent since the announcement began; counts on in refreshes.
    rounds: u32,
    /// Where it is in the queue; `None` if there is nothing more to send.
    slot: Option<Slot>,
}

/// A place in the queue. All first rounds come before everything else, however late that is: an
/// address that nobody knows yet is worse off than one that is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    First { number: u64, asked: Instant },
    Later(Instant),
}

impl Slot {
    fn due(self) -> Instant {
        match self {
            Self::First { asked, .. } => asked,
            Self::Later(due) => due,
        }
    }
}

impl Announcer {
    /// A schedule without addresses. After its rounds every address is announced again once in
    /// each `refresh`, if there is one; zero counts as none.
    pub fn new(refresh: Option<Duration>) -> Self {
        Self {
            refresh: refresh.filter(|period| !period.is_zero()),
            ..Self::default()
        }
    }

    /// The node announces `address` on the interface from now on. Does nothing if it does so
    /// already.
    pub fn take(&mut self, now: Instant, interface: u32, address: IpAddr) {
        let addresses = self.held.entry(interface).or_default();
        if addresses.contains_key(&address) {
            return;
        }
        let entry = Entry {
            rounds: 0,
            slot: None,
        };
        addresses.insert(address, entry);
        self.begin(now, Announcement { interface, address });
    }

    /// The node announces `address` on the interface no longer.
    pub fn release(&mut self, interface: u32, address: IpAddr) {
        let Some(addresses) = self.held.get_mut(&interface) else {
            return;
        };
        if let Some(slot) = addresses.remove(&address).and_then(|entry| entry.slot) {
            let announcement = Announcement { interface, address };
            self.queue.remove(&(slot, announcement));
        }
    }

    /// The node announces exactly these addresses on the interface: takes and releases the
    /// difference.
    pub fn set(
        &mut self,
        now: Instant,
        interface: u32,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) {
        let wanted: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let held = self
            .held
            .get(&interface)
            .into_iter()
            .flat_map(BTreeMap::keys);
        let surplus: Vec<IpAddr> = held
            .filter(|held| !wanted.contains(held))
            .copied()
            .collect();
        for address in surplus {
            self.release(interface, address);
        }
        for address in wanted {
            self.take(now, interface, address);
        }
    }

    /// Announces `address` again from the first round on, on all interfaces where the node
    /// announces it.
    pub fn again(&mut self, now: Instant, address: IpAddr) {
        let held = self.held.iter().filter_map(|(interface, addresses)| {
            let entry = addresses.get(&address)?;
            Some((*interface, entry.slot))
        });
        for (interface, slot) in held.collect::<Vec<_>>() {
            let announcement = Announcement { interface, address };
            match slot {
                // The first round is still to come.
                Some(Slot::First { .. }) => continue,
                Some(slot) => {
                    self.queue.remove(&(slot, announcement));
                }
                None => {}
            }
            self.begin(now, announcement);
        }
    }

    /// The interface is gone, and with it all that was said of it.
    pub fn forget(&mut self, interface: u32) {
        for (address, entry) in self.held.remove(&interface).into_iter().flatten() {
            if let Some(slot) = entry.slot {
                let announcement = Announcement { interface, address };
                self.queue.remove(&(slot, announcement));
            }
        }
    }

    /// Appends what is to be sent now to `out`: at most 64 announcements, first ones before
    /// repeated ones. Call it again at [`Announcer::next_timeout`], which is soon if more are due.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Announcement>) {
        if self.resume.is_some_and(|resume| now < resume) {
            return;
        }
        self.resume = None;
        for _ in 0..BURST {
            let Some(&(slot, announcement)) = self.queue.first() else {
                return;
            };
            if slot.due() > now {
                return;
            }
            self.queue.pop_first();
            out.push(announcement);
            self.proceed(now, announcement);
        }
        self.resume = Some(now + BURST_PAUSE);
    }

    /// When to call [`Announcer::poll`] next; `None` if there is nothing to send. May change with
    /// every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let (slot, _) = self.queue.first()?;
        let due = slot.due();
        Some(self.resume.map_or(due, |resume| due.max(resume)))
    }

    /// Puts the first round of an announcement into the queue.
    fn begin(&mut self, now: Instant, announcement: Announcement) {
        self.taken += 1;
        let slot = Slot::First {
            number: self.taken,
            asked: now,
        };
        self.put(announcement, 0, Some(slot));
    }

    /// Puts the round after the one that was just sent into the queue, if there is one. Pauses
    /// count from `now` and not from when the round was due, so that late ones do not bunch up.
    fn proceed(&mut self, now: Instant, announcement: Announcement) {
        let rounds = self
            .held
            .get(&announcement.interface)
            .and_then(|addresses| addresses.get(&announcement.address))
            .map_or(0, |entry| entry.rounds)
            .saturating_add(1);
        let pause = usize::try_from(rounds)
            .ok()
            .and_then(|rounds| PAUSES.get(rounds - 1).copied());
        let pause = pause.or_else(|| {
            let period = self.refresh?;
            Some(jittered(period, rounds, announcement))
        });
        self.put(
            announcement,
            rounds,
            pause.map(|pause| Slot::Later(now + pause)),
        );
    }

    fn put(&mut self, announcement: Announcement, rounds: u32, slot: Option<Slot>) {
        let Some(entry) = self
            .held
            .get_mut(&announcement.interface)
            .and_then(|addresses| addresses.get_mut(&announcement.address))
        else {
            return;
        };
        *entry = Entry { rounds, slot };
        if let Some(slot) = slot {
            self.queue.insert((slot, announcement));
        }
    }
}

/// The pause before a refresh: never longer than the period. The first is between half of the
/// period and all of it, so that addresses that were taken together spread out; the later ones
/// differ by a twentieth, so that they do not find together again. The same for the same input.
fn jittered(period: Duration, rounds: u32, announcement: Announcement) -> Duration {
    let first = usize::try_from(rounds).is_ok_and(|rounds| rounds == PAUSES.len() + 1);
    let spread = if first { period / 2 } else { period / 20 };
    let share = u32::from(share(announcement, rounds));
    period.saturating_sub(spread.mul_f64(f64::from(share) / f64::from(u16::MAX)))
}

/// A number that looks random: FNV-1a over the arguments, folded.
fn share(announcement: Announcement, rounds: u32) -> u16 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let address = match announcement.address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let bytes = address.octets().into_iter();
    let hash = bytes
        .chain(announcement.interface.to_be_bytes())
        .chain(rounds.to_be_bytes())
        .fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        });
    let [a, b, c, d, ..] = hash.to_be_bytes();
    u16::from_be_bytes([a, b]) ^ u16::from_be_bytes([c, d])
}

#[cfg(test)]
mod tests;
