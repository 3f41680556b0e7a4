//! Brings interfaces, desired addresses and the schedule of announcements together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_l2::{AddressSet, Attention};
use herald_l2::{Announcement, Announcer};
use herald_model::{IpFamily, LanInterface};
use herald_netsys::{CarrierWatch, Change, Interface, Monitor};
use herald_ownership::{Command, Duty, Sighting, Task};
use herald_runtime::health::Block;
use herald_runtime::supervise::TaskResult;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::answering::Shared;
use super::arbiters::Arbiters;
use super::groups::Groups;
use super::port::{Ended, Port};
use super::{Desired, Exclude, Lease, Metrics, Unusable, usable};

/// How many changes of interfaces may wait to be looked at.
const CHANGES: usize = 256;

/// How long to wait before a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many commands are obeyed at a time.
const COMMANDS: usize = 64;

/// The least time between two such times, so that probes leave the queues of the stations that have
/// to answer them time to drain: 5,000 addresses are probed in 0.1 s.
const COMMANDS_PAUSE: Duration = Duration::from_millis(1);

/// How long after a change addresses that no socket answers for are told: an interface that is only
/// coming or going is no news.
const SETTLED: Duration = Duration::from_secs(5);

/// What the driver is connected to.
#[derive(Debug)]
pub struct DriverIo {
    /// The addresses to answer for, to announce, or to watch.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The names not to announce on.
    pub exclude: watch::Receiver<Exclude>,
    /// What is to be sent once.
    pub commands: mpsc::Receiver<Command>,
    /// What other stations are seen to do about the addresses desired. Those that find no room are
    /// dropped and counted.
    pub sightings: mpsc::Sender<Sighting>,
    /// The interfaces that are announced on, by name, at most 16 of them; `None`
    /// until they are known.
    pub interfaces: watch::Sender<Option<Vec<LanInterface>>>,
    /// Without it nothing is answered and nothing announced.
    pub lease: Lease,
    /// Dropped when all sockets are open.
    pub ready: Option<Block>,
}

/// The layer 2 driver of a node.
#[derive(Debug)]
pub struct Driver {
    io: DriverIo,
    shared: Shared,
    /// What was desired when it was last looked at.
    applied: Arc<Desired>,
    known: BTreeMap<u32, Interface>,
    ports: BTreeMap<u32, Port>,
    /// To be dropped once it is published that they are closed: it takes the kernel a while.
    closed: Vec<Port>,
    groups: Groups,
    /// As they were when they were last published.
    arbiters: Arbiters,
    unusable: BTreeMap<u32, Unusable>,
    /// Asks for the carriers of the interfaces that are announced on, or would be with a carrier.
    carriers: Option<CarrierWatch>,
    announcer: Announcer,
    tasks: JoinSet<Ended>,
    retry: Option<Instant>,
    /// Until when commands wait.
    pause: Option<Instant>,
    /// When to look for addresses that nothing answers for.
    check: Option<Instant>,
    /// Those of which that has been said.
    unserved: BTreeSet<IpAddr>,
    /// There are more interfaces than are told, and that has been said.
    too_many: bool,
    /// Where the kernel answers for addresses of Services by itself, so far as that has been said.
    kernel_answers: BTreeSet<String>,
    due: Vec<Announcement>,
}

impl Driver {
    /// A driver that has not looked at anything yet. `refresh` is the period in which addresses are
    /// announced again for ever, if they are.
    pub fn new(io: DriverIo, metrics: Metrics, refresh: Option<Duration>) -> Self {
        let (lease, sightings) = (io.lease.clone(), io.sightings.clone());
        let shared = Shared::new(lease, metrics, sightings, io.desired.clone());
        Self {
            io,
            shared,
            applied: Arc::default(),
            known: BTreeMap::new(),
            ports: BTreeMap::new(),
            closed: Vec::new(),
            groups: Groups::default(),
            arbiters: Arbiters::default(),
            unusable: BTreeMap::new(),
            carriers: None,
            announcer: Announcer::new(refresh),
            tasks: JoinSet::new(),
            retry: None,
            pause: None,
            check: None,
            unserved: BTreeSet::new(),
            too_many: false,
            kernel_answers: BTreeSet::new(),
            due: Vec::new(),
        }
    }

    /// Drives until `token` is cancelled; the addresses are no longer answered for after that.
    pub async fn run(self, token: CancellationToken) -> TaskResult {
        let ended = self.drive(&token).await;
        // The others end at that time too, and the channels to them with them.
        if token.is_cancelled() { Ok(()) } else { ended }
    }

    async fn drive(mut self, token: &CancellationToken) -> TaskResult {
        let mut joining = self.groups.start()?;
        let monitor = Monitor::start().await?;
        self.carriers = Some(monitor.carriers());
        let present: Vec<_> = monitor.interfaces().cloned().collect();
        for interface in present {
            self.changed(Change::Present(interface));
        }
        self.publish();
        // A task of its own: a dump that is under way must not be given up for what else happens.
        let (sender, mut news) = mpsc::channel(CHANGES);
        let mut following = JoinSet::new();
        following.spawn(monitor.run(sender));
        loop {
            let announce = self.announcer.next_timeout();
            let may_announce = self.io.lease.is_valid(Instant::now());
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                _ = &mut joining => return Err("the thread that joins groups has ended".into()),
                change = news.recv() => {
                    let Some(change) = change else {
                        return Err("the interfaces are no longer followed".into());
                    };
                    self.changed(change);
                    self.publish();
                }
                changed = self.io.desired.changed() => {
                    changed?;
                    self.apply();
                }
                Some(command) = self.io.commands.recv(), if self.pause.is_none() => {
                    self.obey(command);
                }
                () = until(self.pause), if self.pause.is_some() => self.pause = None,
                () = self.io.lease.revived() => {
                    self.catch_up();
                    self.announce();
                }
                changed = self.io.exclude.changed() => {
                    changed?;
                    self.reconsider();
                    self.publish();
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    match ended {
                        Ok((task, ended)) => {
                            self.failed(task, &ended);
                            self.publish();
                        }
                        // It belonged to a port that is gone.
                        Err(error) if error.is_cancelled() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                () = until(announce), if announce.is_some() && may_announce => {
                    // Late, it may be another's by now.
                    self.catch_up();
                    self.announce();
                }
                () = until(self.check), if self.check.is_some() => {
                    self.tell_unserved();
                    self.tell_kernel_answers();
                }
                () = until(self.retry), if self.retry.is_some() => {
                    self.reconsider();
                    self.publish();
                }
            }
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Present(interface) => {
                self.consider(&interface);
                self.known.insert(interface.index, interface);
            }
            Change::Gone { index, .. } => {
                self.known.remove(&index);
                self.unusable.remove(&index);
                if let Some(port) = self.close(index) {
                    tracing::info!(interface = port.name, "interface is gone");
                    self.closed.push(port);
                }
                self.announcer.forget(index);
            }
        }
    }

    /// Looks at all interfaces again.
    fn reconsider(&mut self) {
        self.retry = None;
        let known = std::mem::take(&mut self.known);
        for interface in known.values() {
            self.consider(interface);
        }
        self.known = known;
    }

    fn close(&mut self, index: u32) -> Option<Port> {
        self.groups.close(index);
        self.ports.remove(&index)
    }

    /// Opens, adapts or closes the port of an interface.
    fn consider(&mut self, interface: &Interface) {
        let index = interface.index;
        let exclude = self.io.exclude.borrow().clone();
        let usable = match usable(interface, &exclude) {
            Ok(usable) => usable,
            Err(reason) => {
                if let Some(port) = self.close(index) {
                    tracing::info!(interface = interface.name, %reason, "announcing stops here");
                    self.closed.push(port);
                } else if self.unusable.get(&index) != Some(&reason) {
                    tracing::debug!(interface = interface.name, %reason, "not announcing here");
                }
                self.unusable.insert(index, reason);
                self.announcer.forget(index);
                return;
            }
        };
        self.unusable.remove(&index);
        // A name that changed may be named by other advertisements.
        if self
            .ports
            .get(&index)
            .is_some_and(|p| p.name != interface.name)
        {
            self.close(index);
            self.announcer.forget(index);
        }
        let known = self.ports.get(&index);
        if known.is_some_and(|port| port.usable == usable && !port.lacks_socket()) {
            return;
        }
        if known.is_some_and(|port| port.usable.mac != usable.mac) {
            // Everybody has to learn the new one.
            self.announcer.forget(index);
        }
        let port = self.ports.entry(index).or_insert_with(|| {
            tracing::info!(
                interface = interface.name,
                arp = usable.arp,
                ndp = usable.ndp.is_some(),
                "announcing starts here"
            );
            Port::new(index, interface.name.clone(), usable)
        });
        if let Err(error) = port.open(usable, &mut self.tasks, &self.shared) {
            if !std::mem::replace(&mut port.failing, true) {
                tracing::error!(interface = interface.name, %error, "trying again every second");
            }
        } else {
            port.failing = false;
        }
        self.apply_to(index);
    }

    /// Closes the socket whose task `task` ended. One that has been replaced meanwhile is no news:
    /// the link may be back before the end of the old task is looked at.
    fn failed(&mut self, task: Id, ended: &Ended) {
        let port = self.ports.get_mut(&ended.interface);
        let Some(port) = port.filter(|port| port.is_served_by(ended.family, task)) else {
            return;
        };
        tracing::info!(
            interface = port.name,
            family = %ended.family,
            error = %ended.error,
            "the socket failed, opening another"
        );
        // The link's state follows by netlink; until then a new socket would fail the same way, so
        // the next one is opened by a retry.
        port.close(ended.family);
        self.apply_to(ended.interface);
    }

    /// Makes all ports announce what is desired.
    fn apply(&mut self) {
        self.check.get_or_insert_with(|| Instant::now() + SETTLED);
        let indexes: Vec<_> = self.ports.keys().copied().collect();
        for index in &indexes {
            self.attend(*index);
        }
        // Clients wait for these. They may ask as soon as they hear them: that is seen to already.
        self.announce();
        for index in indexes {
            self.join_groups(index);
        }
        let desired = Arc::clone(&self.io.desired.borrow());
        for address in std::mem::replace(&mut self.applied, Arc::clone(&desired)).keys() {
            if !desired.contains_key(address) {
                self.shared.metrics.forget(*address);
            }
        }
    }

    /// Makes a port do what is desired.
    fn apply_to(&mut self, index: u32) {
        self.attend(index);
        self.join_groups(index);
    }

    fn join_groups(&mut self, index: u32) {
        let Some(port) = self.ports.get(&index) else {
            return;
        };
        match port.groups() {
            Some((server, groups)) => self.groups.set(index, &port.name, server, groups),
            None => self.groups.close(index),
        }
        if port.lacks_socket() {
            self.retry.get_or_insert_with(|| Instant::now() + RETRY);
        }
    }

    /// Answers, looks and announces on a port as desired, but for the groups.
    fn attend(&mut self, index: u32) {
        let Some(port) = self.ports.get_mut(&index) else {
            return;
        };
        let desired = Arc::clone(&self.io.desired.borrow());
        let tasks = desired.iter();
        let here: Vec<_> = tasks
            .filter(|(_, task)| covers(&task.interfaces, &port.name))
            .collect();
        let with = |wanted: &'static [Duty]| {
            let those = here.iter().filter(|(_, task)| wanted.contains(&task.duty));
            those.map(|(address, _)| **address)
        };
        let answered: AddressSet = with(&[Duty::Announce, Duty::Answer]).collect();
        let counts = |address: IpAddr| {
            let task = desired.get(&address);
            task.is_some_and(|task| self.arbiters.counts(index, address, &task.interfaces))
        };
        let attention = Attention::new(answered, with(&[Duty::Watch])).limited(counts);
        if let Err(error) = port.set(attention) {
            tracing::error!(interface = port.name, %error, "opening another socket");
        }
        let announced = with(&[Duty::Announce]).filter(|a| port.is_open(IpFamily::of(*a)));
        self.announcer.set(Instant::now(), index, announced);
    }

    /// Does what is commanded, and what was commanded after it, a limited number at a time. What is
    /// desired comes first: a command is about that.
    fn obey(&mut self, command: Command) {
        self.catch_up();
        let (mut next, mut obeyed) = (Some(command), 0);
        while let Some(command) = next {
            match command {
                Command::Probe(address) => self.each_port(address, |port, task| {
                    // Where the answer would not be seen, nobody need be asked.
                    if self.arbiters.counts(port.index, address, &task.interfaces) {
                        port.probe(address, &self.shared);
                    }
                }),
                Command::Ask { address, station } => {
                    self.each_port(address, |port, _| port.ask(address, station, &self.shared));
                }
                Command::Announce(address) => self.announcer.again(Instant::now(), address),
            }
            obeyed += 1;
            if obeyed == COMMANDS {
                self.pause = Some(Instant::now() + COMMANDS_PAUSE);
                break;
            }
            next = self.io.commands.try_recv().ok();
        }
        self.announce();
    }

    /// Does what is desired now; what was before may be so no longer.
    fn catch_up(&mut self) {
        if self.io.desired.has_changed().unwrap_or_default() {
            self.io.desired.mark_unchanged();
            self.apply();
        }
    }

    /// Sends something about the address wherever it is desired.
    fn each_port(&self, address: IpAddr, send: impl Fn(&Port, &Task)) {
        let Some(task) = self.applied.get(&address) else {
            return;
        };
        for port in self.ports.values() {
            if covers(&task.interfaces, &port.name) {
                send(port, task);
            }
        }
    }

    /// Sends the announcements that are due, if the lease allows it.
    fn announce(&mut self) {
        if !self.io.lease.is_valid(Instant::now()) {
            return;
        }
        self.announcer.poll(Instant::now(), &mut self.due);
        for Announcement { interface, address } in self.due.drain(..) {
            if let Some(port) = self.ports.get(&interface) {
                port.announce(address, &self.shared.metrics);
            }
        }
    }
}

pub(super) fn covers(interfaces: &Interfaces, name: &str) -> bool {
    match interfaces {
        Interfaces::All => true,
        Interfaces::Named(names) => names.contains(name),
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

mod telling;
#[cfg(test)]
mod tests;
