//! A node: a clock, a disk, and perhaps a speaker that runs.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use herald_membership::Comings;

use crate::clock::Clock;
use crate::electorate::Facts;
use crate::frame::Frame;
use crate::process::Process;

/// So many datagrams find room in the buffer of a socket that nobody reads: 212,992 bytes, of
/// which the kernel counts some 800 for a small one.
const BUFFER: usize = 256;

/// What a speaker leaves for its next start.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) generation: u64,
    /// What it answered for.
    pub(crate) held: BTreeSet<IpAddr>,
    pub(crate) comings: Comings,
    /// It ended as it should.
    pub(crate) clean: bool,
}

impl Disk {
    /// That of a node that never ran.
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            held: BTreeSet::new(),
            comings: Comings::default(),
            clean: true,
        }
    }
}

/// What arrived while the process was stopped.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Since when it is stopped.
    pub(crate) since: Duration,
    pub(crate) datagrams: VecDeque<(usize, Vec<u8>)>,
    pub(crate) frames: VecDeque<Frame>,
}

impl Backlog {
    pub(crate) fn new(since: Duration) -> Self {
        Self {
            since,
            datagrams: VecDeque::new(),
            frames: VecDeque::new(),
        }
    }

    pub(crate) fn datagram(&mut self, from: usize, bytes: Vec<u8>) {
        if self.datagrams.len() < BUFFER {
            self.datagrams.push_back((from, bytes));
        }
    }

    pub(crate) fn frame(&mut self, frame: Frame) {
        if self.frames.len() < BUFFER {
            self.frames.push_back(frame);
        }
    }
}

/// A node.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// What the API has shown it of all nodes.
    pub(crate) api: Vec<Facts>,
    pub(crate) process: Option<Process>,
    /// When the process was started.
    pub(crate) started: Duration,
    /// When it last went on after it was stopped.
    pub(crate) resumed: Duration,
    /// The process is stopped, and this waits for it.
    pub(crate) stopped: Option<Backlog>,
    /// It has power, so that its kernel answers for its own address.
    pub(crate) power: bool,
    pub(crate) carrier: bool,
    /// It gets its processor only now and then.
    pub(crate) busy: bool,
    /// When it is woken next.
    pub(crate) wake: Option<Duration>,
    /// Bytes and datagrams sent to the group.
    pub(crate) sent: (u64, u64),
}

impl Machine {
    pub(crate) fn new(clock: Clock, nodes: usize) -> Self {
        Self {
            clock,
            disk: Disk::empty(),
            api: vec![Facts::default(); nodes],
            process: None,
            started: Duration::ZERO,
            resumed: Duration::ZERO,
            stopped: None,
            power: true,
            carrier: true,
            busy: false,
            wake: None,
            sent: (0, 0),
        }
    }

    /// The process, if it runs and is not stopped; what is only busy answers soon.
    pub(crate) fn running(&self) -> Option<&Process> {
        let runs = self.busy || self.stopped.is_none();
        self.process.as_ref().filter(|_| runs)
    }

    /// Frames reach it and leave it.
    pub(crate) fn is_on_lan(&self) -> bool {
        self.power && self.carrier
    }

    /// The speaker answers for the address when asked now.
    pub(crate) fn answers(&self, address: IpAddr) -> bool {
        self.is_on_lan()
            && self
                .running()
                .is_some_and(|process| process.answers(address))
    }

    /// The speaker takes the address for its own.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.is_on_lan() && self.running().is_some_and(|process| process.holds(address))
    }
}
