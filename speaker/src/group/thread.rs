//! The thread: moves datagrams, time and news between the world and [`Group`].

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_membership::{Event, Group, Keyring, Settings, Timers};
use herald_model::NodeName;
use herald_runtime::supervise::TaskResult;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::said::Said;
use super::{GroupError, LinkEnd, Metrics};
use crate::layer2::Lease;
use crate::precedence;

/// The lease is renewed at least so often.
const TICK: Duration = Duration::from_millis(50);

/// How many datagrams are taken in before time is looked at again.
const BATCH: usize = 512;

/// No datagram over UDP is longer.
const LONGEST: usize = 65_536;

/// How long a leave is repeated before the thread says that it is done.
const FAREWELL: Duration = Duration::from_millis(100);

/// What the thread starts with.
pub(crate) struct Founding {
    /// This node.
    pub(crate) me: NodeName,
    /// Where to listen and send from.
    pub(crate) address: SocketAddr,
    /// How fast to find out about others.
    pub(crate) timers: Timers,
    /// Whatever nobody can guess.
    pub(crate) seed: u64,
    /// Greater than that of this node's last speaker, if that is known.
    pub(crate) generation: u64,
    /// The keys, as they are now and as they become.
    pub(crate) keys: watch::Receiver<Keyring>,
    /// By which this node may answer.
    pub(crate) lease: Lease,
    /// What it counts.
    pub(crate) metrics: Metrics,
}

/// Runs until `token` is cancelled, and leaves the group then.
pub(crate) async fn run(founding: Founding, link: LinkEnd, token: CancellationToken) -> TaskResult {
    precedence::take("group");
    let address = founding.address;
    let socket = bind(address).map_err(|error| GroupError::Bind { address, error })?;
    tracing::info!(event = "membershipStarted", %address, "the speakers' group is spoken here");
    let mut thread = Thread::new(founding, link, socket);
    let mut buffer = vec![0; LONGEST];
    loop {
        let wake = Instant::now() + TICK;
        let wake = thread
            .group
            .next_timeout()
            .map_or(wake, |due| due.min(wake));
        tokio::select! {
            biased;
            () = token.cancelled() => break,
            () = thread.link.leave.cancelled(), if thread.farewell.is_none() => thread.leave(),
            changed = thread.keys.changed() => {
                changed.map_err(|_| GroupError::Closed)?;
                let keys = thread.keys.borrow_and_update().clone();
                thread.group.set_keys(keys);
            }
            changed = thread.link.nodes.changed() => {
                changed.map_err(|_| GroupError::Closed)?;
                let nodes = Arc::clone(&thread.link.nodes.borrow_and_update());
                thread.group.set_nodes(Instant::now(), nodes.as_ref().clone());
            }
            changed = thread.link.roster.changed() => {
                changed.map_err(|_| GroupError::Closed)?;
                let roster = Arc::clone(&thread.link.roster.borrow_and_update());
                thread.group.set_roster(Instant::now(), roster.as_ref().clone());
            }
            changed = thread.link.state.changed() => {
                changed.map_err(|_| GroupError::Closed)?;
                let state = thread.link.state.borrow_and_update().clone();
                thread.group.set_state(Instant::now(), state);
            }
            changed = thread.link.settled.changed() => changed.map_err(|_| GroupError::Closed)?,
            // After what is rare: whoever sends without end must not keep it from being heard.
            readable = thread.socket.readable() => {
                readable?;
                if thread.receive(&mut buffer) == Inbox::Waiting {
                    // Only a flood gets here. It must not have all of a processor.
                    tokio::time::sleep(precedence::REST).await;
                }
            }
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        thread.turn();
    }
    if thread.farewell.is_none() {
        thread.leave();
        thread.turn();
    }
    Ok(())
}

/// What a batch left in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbox {
    /// Nothing.
    Empty,
    /// More, perhaps.
    Waiting,
}

struct Thread {
    group: Group,
    socket: UdpSocket,
    link: LinkEnd,
    keys: watch::Receiver<Keyring>,
    lease: Lease,
    metrics: Metrics,
    said: Said,
    /// When a leave is done.
    farewell: Option<Instant>,
}

impl Thread {
    fn new(founding: Founding, mut link: LinkEnd, socket: UdpSocket) -> Self {
        let mut keys = founding.keys;
        let settings = Settings {
            me: founding.me,
            address: founding.address,
            timers: founding.timers,
            keys: keys.borrow_and_update().clone(),
            seed: founding.seed,
            generation: founding.generation,
        };
        let now = Instant::now();
        let state = link.state.borrow_and_update().clone();
        let mut group = Group::new(now, settings, state);
        group.set_nodes(now, link.nodes.borrow_and_update().as_ref().clone());
        group.set_roster(now, link.roster.borrow_and_update().as_ref().clone());
        let mut thread = Self {
            group,
            socket,
            link,
            keys,
            lease: founding.lease,
            metrics: founding.metrics,
            said: Said::default(),
            farewell: None,
        };
        thread.publish();
        thread
    }
}

/// Opens the socket. IPv6 sockets take IPv6 only: a group is of one family.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

impl Thread {
    fn leave(&mut self) {
        let now = Instant::now();
        self.farewell = Some(now + FAREWELL);
        self.group.leave(now);
    }

    /// Takes in what is there, a batch at most.
    fn receive(&mut self, buffer: &mut [u8]) -> Inbox {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    self.metrics.received(length);
                    let datagram = buffer.get(..length).unwrap_or_default();
                    self.group.handle_datagram(Instant::now(), from, datagram);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Inbox::Empty,
                // An ICMP error that answers to one of ours: its sender is not there.
                Err(error) => {
                    tracing::debug!(%error, "receiving from the speakers' group");
                }
            }
        }
        Inbox::Waiting
    }

    /// Takes note of what happened. True if the view is another.
    fn happened(&mut self, now: Instant, event: &Event) -> bool {
        match event {
            Event::Changed => return true,
            Event::Fenced => {
                self.metrics.fenced();
                // Whoever looks at the view may take a while.
                self.lease.revoke();
                tracing::warn!(
                    event = "membershipFenced",
                    "the other speakers may have declared this one down: answering for nothing \
                     until they say otherwise"
                );
                return true;
            }
            Event::Unfenced => {
                tracing::info!(
                    event = "membershipUnfenced",
                    generation = self.group.generation(),
                    "the other speakers take this one as alive"
                );
                return true;
            }
            Event::Problem(problem) => {
                let kind = problem.kind.as_str();
                if let Some(times) = self.metrics.problem(now, kind, &mut self.said) {
                    tracing::warn!(
                        event = "membershipProblem",
                        kind,
                        from = %problem.from,
                        times,
                        "{problem}"
                    );
                }
            }
        }
        false
    }

    /// Tells the engine how the group looks.
    fn publish(&mut self) {
        let view = self.group.shared_view();
        self.metrics.view(&view);
        self.link.generation.send_if_modified(|current| {
            let generation = self.group.generation();
            std::mem::replace(current, generation) != generation
        });
        let before = self.link.view.send_replace(Arc::clone(&view));
        for (name, member) in &view.members {
            let was = before.members.get(name).is_some_and(|member| member.live);
            match (was, member.live) {
                (false, true) => tracing::info!(
                    event = "memberUp",
                    node = %name,
                    address = %member.address,
                    "another speaker is in the group"
                ),
                (true, false) => tracing::info!(
                    event = "memberDown",
                    node = %name,
                    address = %member.address,
                    "another speaker is not in the group any longer"
                ),
                _ => {}
            }
        }
        if before.standing != view.standing {
            tracing::info!(event = "membershipStanding", standing = ?view.standing, "standing");
        }
    }

    /// Lets the group act on what time it is, and carries out what it wants.
    fn turn(&mut self) {
        let now = Instant::now();
        if self.group.next_timeout().is_some_and(|due| due <= now) {
            self.group.handle_timeout(now);
        }
        let mut changed = false;
        while let Some(event) = self.group.poll_event() {
            changed |= self.happened(now, &event);
        }
        if changed {
            self.publish();
        }
        while let Some((to, datagram)) = self.group.poll_transmit() {
            match self.socket.try_send_to(&datagram, to) {
                Ok(_) => self.metrics.sent(datagram.len()),
                Err(error) => {
                    self.metrics.not_sent();
                    if let Some(times) = self.said.say(now, "notSent") {
                        tracing::warn!(
                            event = "membershipNotSent",
                            %to,
                            %error,
                            times,
                            "a datagram to another speaker was not sent"
                        );
                    }
                }
            }
        }
        if self.farewell.is_some_and(|end| end <= now) {
            self.link.left.cancel();
        }
        // One that was declared down and is back, all between two looks of the engine, still holds
        // what others have taken meanwhile.
        let settled = *self.link.settled.borrow() == self.group.generation();
        if self.group.view().fenced || !settled {
            self.lease.revoke();
        } else {
            self.lease.renew(now);
        }
    }
}

#[cfg(test)]
mod tests;
