//! The carriers of chosen interfaces, asked for all the time.
//!
//! The kernel tells of a carrier that comes at once, but of one that goes up to a second late: its
//! link watch passes such news on once a second, for all interfaces of the machine together. Asked
//! for an interface it says how the carrier is at that moment.
//!
//! ```text
//!   CarrierWatch ─▶ Shared ◀── what the monitor knows
//!                     │ ▲
//!                     ▼ │ every 50 ms      RTM_GETLINK for each
//!                   thread ◀──────────────────────────────────▶ kernel
//!                     └─▶ Report, only of what the monitor does not know
//! ```
//!
//! A question takes the kernel's lock of the network configuration (RTNL), which others may hold
//! for long: hence the thread. It is a question by netlink and not by `ETHTOOL_GLINK`, which is
//! cheaper for most drivers, but which others pass on to their hardware.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use netlink_packet_route::link::LinkFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

/// How often each interface is asked for.
const PERIOD: Duration = Duration::from_millis(50);

/// The least time between two questions on average: with more than ten interfaces each is asked for
/// less often, so that a host with hundreds of them does nothing else in vain.
const SPACING: Duration = Duration::from_millis(5);

/// How many questions are put together. Their answers have to fit into the receive buffer.
const BATCH: usize = 16;

/// How long to wait for an answer that is there when the question has been sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many reports may wait for the monitor.
const REPORTS: usize = 16;

/// Says which interfaces a [`Monitor`](super::Monitor) asks the kernel for all the time. Clones are
/// the same.
#[derive(Debug, Clone)]
pub struct CarrierWatch(Arc<Shared>);

impl CarrierWatch {
    /// Asks for exactly the interfaces with these indexes from now on: a carrier that they lose or
    /// gain is known 50 ms later at the latest, or, if there are more than ten, 5 ms for each. It
    /// costs 5 µs to 15 µs of computing for each question.
    pub fn set(&self, indexes: &BTreeSet<u32>) {
        let mut state = self.0.lock();
        let State { watched, clock, .. } = &mut *state;
        let before = watched.len();
        watched.retain(|index, _| indexes.contains(index));
        for index in indexes {
            watched.entry(*index).or_insert_with(|| {
                *clock += 1;
                Known {
                    carrier: None,
                    since: *clock,
                }
            });
        }
        let begins = before == 0 && !watched.is_empty();
        drop(state);
        if begins {
            self.0.wake.notify_one();
        }
    }
}

/// What the kernel said that the monitor does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) index: u32,
    pub(super) carrier: bool,
    /// What the monitor knew when the kernel was asked.
    since: u64,
}

/// The monitor's end; the thread ends with it.
#[derive(Debug)]
pub(super) struct Carriers {
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Report>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: BTreeMap<u32, Known>,
    /// Counts what became known.
    clock: u64,
    closed: bool,
}

/// What the monitor knows of a carrier.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// `None` until it has been asked for.
    carrier: Option<bool>,
    /// The time of the clock when that became known.
    since: u64,
}

impl Carriers {
    /// Starts the thread, which sees the network namespace of this one.
    pub(super) fn start() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (sender, reports) = mpsc::channel(REPORTS);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("carrier".to_owned())
            .spawn(move || theirs.run(&socket, &sender))?;
        Ok(Self { shared, reports })
    }

    pub(super) fn watch(&self) -> CarrierWatch {
        CarrierWatch(Arc::clone(&self.shared))
    }

    /// The next report that is not out of date; `None` if the thread ended. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Report> {
        loop {
            let report = self.reports.recv().await?;
            let state = self.shared.lock();
            let known = state.watched.get(&report.index);
            if known.is_some_and(|known| known.since == report.since) {
                return Some(report);
            }
        }
    }

    /// The monitor knows this now.
    pub(super) fn learn(&self, index: u32, carrier: bool) {
        let mut state = self.shared.lock();
        let State { watched, clock, .. } = &mut *state;
        if let Some(known) = watched.get_mut(&index)
            && known.carrier != Some(carrier)
        {
            *clock += 1;
            *known = Known {
                carrier: Some(carrier),
                since: *clock,
            };
        }
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, socket: &Socket, reports: &mpsc::Sender<Report>) {
        let (mut round, mut failing) = (0_u32, false);
        while let Some(questions) = self.wait() {
            for batch in questions.chunks(BATCH) {
                round = round.wrapping_add(1);
                let answered = ask(socket, round, batch, |index, flags| {
                    let report = self.news(batch, index, flags);
                    report.is_none_or(|report| reports.blocking_send(report).is_ok())
                });
                let Err(error) = answered else {
                    failing = false;
                    continue;
                };
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        %error,
                        "cannot ask the kernel for carriers: one that is lost may be noticed a \
                         second late"
                    );
                }
            }
        }
    }

    /// Waits until it is time to ask again; returns for what, or `None` at the end.
    fn wait(&self) -> Option<Vec<(u32, u64)>> {
        let idle = |state: &mut State| state.watched.is_empty() && !state.closed;
        let state = self
            .wake
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(state.watched.len()).unwrap_or(u32::MAX);
        let pause = PERIOD.max(SPACING.saturating_mul(count));
        let (state, _) = self
            .wake
            .wait_timeout_while(state, pause, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let questions = state.watched.iter().map(|(i, known)| (*i, known.since));
        (!state.closed).then(|| questions.collect())
    }

    /// What the monitor does not know of what the kernel says. A carrier that is there but not in
    /// use yet is no news: frames would be lost, and the kernel tells when it is.
    fn news(&self, asked: &[(u32, u64)], index: u32, flags: LinkFlags) -> Option<Report> {
        let carrier = flags.contains(LinkFlags::LowerUp);
        if carrier && !flags.contains(LinkFlags::Running) {
            return None;
        }
        let (_, since) = *asked.iter().find(|(asked, _)| *asked == index)?;
        let known = self.lock().watched.get(&index)?.carrier;
        (known != Some(carrier)).then_some(Report {
            index,
            carrier,
            since,
        })
    }
}

/// The length of a question: header, `struct ifinfomsg`, and one attribute.
const QUESTION: usize = 40;

/// As much of an answer as is looked at: header and `struct ifinfomsg`.
const ANSWER: usize = 32;

/// `RTEXT_FILTER_SKIP_STATS`: some drivers ask their hardware for the counters.
const SKIP_STATS: u32 = 1 << 3;

/// Asks for all of `questions` at once and calls `tell` with each answer, until it returns false.
/// An interface that does not exist has none.
fn ask(
    mut socket: &Socket,
    round: u32,
    questions: &[(u32, u64)],
    mut tell: impl FnMut(u32, LinkFlags) -> bool,
) -> io::Result<()> {
    let request: Vec<u8> = questions
        .iter()
        .flat_map(|(index, _)| question(round, *index))
        .collect();
    socket.send(&request)?;
    let mut missing = questions.len();
    while missing > 0 {
        let mut buffer = [0; ANSWER];
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // An answer to an earlier round that was given up.
        if word(&buffer, 8) != Some(round) {
            continue;
        }
        missing -= 1;
        let kind = word(&buffer, 4).map(u32::to_ne_bytes);
        let is_link = kind.is_some_and(|[a, b, ..]| {
            u16::from_ne_bytes([a, b]) == libc::RTM_NEWLINK && length == ANSWER
        });
        if let (true, Some(index), Some(flags)) = (is_link, word(&buffer, 20), word(&buffer, 24))
            && !tell(index, LinkFlags::from_bits_retain(flags))
        {
            return Ok(());
        }
    }
    Ok(())
}

/// `RTM_GETLINK` by index, without statistics.
fn question(round: u32, index: u32) -> [u8; QUESTION] {
    const LENGTH: u32 = 40;
    const REQUEST: u16 = 1;
    const ATTRIBUTE: u16 = 8;
    const EXT_MASK: u16 = 29;
    let mut bytes = [0; QUESTION];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    put(0, &LENGTH.to_ne_bytes());
    put(4, &libc::RTM_GETLINK.to_ne_bytes());
    put(6, &REQUEST.to_ne_bytes());
    put(8, &round.to_ne_bytes());
    put(20, &index.to_ne_bytes());
    put(32, &ATTRIBUTE.to_ne_bytes());
    put(34, &EXT_MASK.to_ne_bytes());
    put(36, &SKIP_STATS.to_ne_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> LinkFlags {
        LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running
    }

    fn carriers() -> (Carriers, mpsc::Sender<Report>) {
        let (sender, reports) = mpsc::channel(REPORTS);
        let shared = Arc::new(Shared::default());
        (Carriers { shared, reports }, sender)
    }

    fn asked(carriers: &Carriers) -> Vec<(u32, u64)> {
        let state = carriers.shared.lock();
        state.watched.iter().map(|(i, k)| (*i, k.since)).collect()
    }

    #[test]
    fn only_what_the_monitor_does_not_know_is_news() {
        let (carriers, _sender) = carriers();
        carriers.watch().set(&[2].into());
        let news = |flags| {
            let report = carriers.shared.news(&asked(&carriers), 2, flags);
            report.map(|report| report.carrier)
        };
        assert_eq!(news(up()), Some(true), "nothing is known at first");
        carriers.learn(2, true);
        assert_eq!(news(up()), None);
        assert_eq!(news(LinkFlags::Up), Some(false));
        carriers.learn(2, false);
        assert_eq!(news(LinkFlags::Up), None);
        assert_eq!(news(LinkFlags::Up | LinkFlags::LowerUp), None, "not in use");
        assert_eq!(news(up()), Some(true));
        assert_eq!(carriers.shared.news(&[], 3, up()), None, "not asked for");
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_is_dropped() {
        let (mut carriers, sender) = carriers();
        carriers.watch().set(&[2, 3].into());
        carriers.learn(2, false);
        let old = carriers.shared.news(&asked(&carriers), 2, up());
        carriers.learn(2, true);
        carriers.learn(2, false);
        let fresh = carriers.shared.news(&asked(&carriers), 3, up());
        for report in [old, fresh] {
            let report = report.expect("news when it was asked for");
            sender.send(report).await.expect("room");
        }
        assert_eq!(carriers.next().await, fresh);
        // One that is no longer asked for, or is so anew.
        let gone = carriers.shared.news(&asked(&carriers), 3, up());
        carriers.watch().set(&[2].into());
        carriers.watch().set(&[2, 3].into());
        sender.send(gone.expect("news")).await.expect("room");
        drop(sender);
        assert_eq!(carriers.next().await, None);
    }

    #[test]
    fn a_wait_ends_with_the_monitor() {
        let (carriers, _sender) = carriers();
        let shared = Arc::clone(&carriers.shared);
        let waiting = thread::spawn(move || shared.wait());
        drop(carriers);
        assert_eq!(waiting.join().expect("no panic"), None);
    }

    #[test]
    fn the_kernel_answers_for_each_interface_that_exists() {
        let carriers = Carriers::start().expect("netlink");
        drop(carriers);
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol));
        let socket = socket.expect("netlink");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        for round in 1..3 {
            let mut answers = Vec::new();
            // The first interface of a namespace is `lo`; the last of all does not exist.
            let questions = [(1, 0), (i32::MAX.unsigned_abs(), 0), (1, 0)];
            let all = ask(&socket, round, &questions, |index, flags| {
                answers.push((index, flags.contains(LinkFlags::Loopback)));
                true
            });
            all.expect("answered");
            assert_eq!(answers, [(1, true), (1, true)]);
        }
    }
}
