//! The group as a machine: datagrams and time go in, datagrams and events come out.

mod exchange;
mod fence;
mod reach;
mod receive;
mod relay;
mod screen;
mod swim;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_model::{GroupView, MemberState, NodeName};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::directory::Directory;
use crate::identity::Identity;
use crate::quorum::Quorum;
use crate::seal::Seal;
use crate::{Keyring, Problem, ProblemKind, Timers};
use fence::Fence;
use swim::Swim;

/// How many events and datagrams wait to be taken at most.
const MOST_WAITING: usize = 8192;

/// What a group is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub me: NodeName,
    /// Where this speaker listens and sends from, as the others see it. All members have the same
    /// port.
    pub address: SocketAddr,
    /// How fast the group is; checked by [`Timers::check`].
    pub timers: Timers,
    /// What datagrams are sealed with.
    pub keys: Keyring,
    /// Fresh for each start, from a good source: the session is made from it.
    pub seed: u64,
    /// Greater than at the last start if that is known, else 0: the others may know better, then
    /// the group takes one that is greater still.
    pub generation: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The view is another.
    Changed,
    /// This speaker must stop to answer, at once.
    Fenced,
    /// This speaker is taken as alive again.
    Unfenced,
    /// Something was dropped.
    Problem(Problem),
}

/// The group as one speaker runs it.
///
/// It has a time of its own, which stands still while its caller is late: so nobody is suspected
/// because this process did not get to run. All times below are in it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
pub struct Group {
    me: NodeName,
    address: SocketAddr,
    timers: Timers,
    swim: Swim,
    seal: Seal,
    rng: ChaCha8Rng,
    contacts: BTreeMap<NodeName, Contact>,
    directory: Directory,
    roster: Option<BTreeSet<NodeName>>,
    /// How many of the roster were never heard of.
    strangers: usize,
    /// The speakers as they were counted last.
    quorum: Quorum,
    /// Since when this one has been in the majority.
    majority: Option<Instant>,
    /// The own state as it is sent.
    state: Vec<u8>,
    version: u64,
    fence: Option<Fence>,
    /// Counts the fences: what is due for one that is over is not done for the next.
    fences: u64,
    /// The generation that this one had when it was last declared down, or started.
    returned: u64,
    /// Others have taken this one as live since it started.
    accepted: bool,
    left: bool,
    /// When anybody in the group was heard last.
    heard: Instant,
    /// There is news to be passed on at once.
    urgent: bool,
    /// When the return of others was last passed on at once, or will be.
    hailed: Option<Instant>,
    /// The next free place for an exchange of states.
    slot: Instant,
    due: BTreeMap<(Instant, u64), Due>,
    sequence: u64,
    /// By how much the group's time is behind the caller's.
    behind: Duration,
    /// When the caller came last, in its time and in the group's.
    last: (Instant, Instant),
    view: Arc<GroupView>,
    changed: bool,
    /// Who counts, or how, may have changed.
    recount: bool,
    events: VecDeque<Event>,
}

/// What is known of another member.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
struct Contact {
    identity: Identity,
    live: bool,
    /// It should have a speaker.
    expected: bool,
    /// It takes this run of this one as live: by its last word on it.
    mutual: bool,
    /// When it went down, if it was seen to.
    down: Option<Instant>,
    /// It counts for nothing: it was down for so long, or had gone cleanly when it seemed to come up
    /// again. One that is only heard is not back before it takes this one as live.
    uncounted: bool,
    /// It was declared down when this one itself was cut off rather, or was never heard: that says
    /// nothing of it.
    doubted: bool,
    /// It said that it leaves.
    left: bool,
    /// The run that left.
    left_run: Option<u128>,
    suspect: Option<Suspicion>,
    /// The newest time at which something was sent to it that it received.
    proved: Option<Instant>,
    /// When it was last sent a note without SWIM message.
    noted: Option<Instant>,
    /// Its run, to which the versions belong.
    run: Option<u128>,
    /// When it was last heard itself.
    spoke: Option<Instant>,
    /// Which version of its state it told this one; 0 if it is to tell it again.
    have: u64,
    /// Which version of its state was last taken from another, and when. Apart from what it told itself:
    /// a wrong one must not be in the way of that.
    passed: Option<(u64, Instant)>,
    /// Which version of the own state it has.
    acknowledged: u64,
    /// How often states were asked for or told in vain; `None` if nothing is scheduled.
    tries: Option<u32>,
    /// Counts the exchanges that were begun: of two only the later goes on.
    turn: u64,
}

/// Why a member is asked whether it lives.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    /// Of having this incarnation.
    incarnation: u16,
    /// Another has declared it down.
    accused: bool,
}

impl Contact {
    fn new(identity: Identity) -> Self {
        Self {
            identity,
            live: false,
            expected: true,
            mutual: false,
            down: None,
            uncounted: false,
            doubted: false,
            left: false,
            left_run: None,
            suspect: None,
            proved: None,
            noted: None,
            run: None,
            spoke: None,
            have: 0,
            passed: None,
            acknowledged: 0,
            tries: None,
            turn: 0,
        }
    }

    /// Nothing counts any longer of what the two have told each other.
    fn forget_told(&mut self) {
        self.have = 0;
        self.passed = None;
        self.acknowledged = 0;
    }
}

/// What is to be done at a time.
#[derive(Debug)]
enum Due {
    Swim(foca::Timer<Identity>),
    Reach,
    /// With the turn that the contact must have.
    Exchange(NodeName, u64),
    /// For the suspicion that began then.
    Nudge(NodeName, Instant),
    /// To one that is down: this one goes on as another run.
    Call(NodeName),
    /// The return of others is passed on.
    Hail,
    /// With the count of fences then.
    Fence(u64),
}

impl Group {
    /// Starts alone; [`Group::set_nodes`] says where others may be.
    pub fn new(now: Instant, settings: Settings, state: MemberState) -> Self {
        let mut rng = ChaCha8Rng::from_seed(spread(&settings));
        let session = rng.random();
        let epoch = rng.random();
        let address = settings.address;
        let identity = Identity {
            name: settings.me.clone(),
            address,
            generation: settings.generation.max(1),
        };
        let swim_rng = ChaCha8Rng::from_rng(&mut rng);
        let me = settings.me;
        let mut group = Self {
            swim: Swim::new(identity, &settings.timers, swim_rng),
            seal: Seal::new(me.clone(), address, settings.keys, session, epoch),
            address,
            timers: settings.timers,
            rng,
            contacts: BTreeMap::new(),
            directory: Directory::new(me.clone(), address),
            me,
            roster: None,
            strangers: 0,
            quorum: Quorum { live: 1, size: 1 },
            majority: None,
            state: Vec::new(),
            version: 0,
            fence: None,
            fences: 0,
            returned: settings.generation.max(1),
            accepted: false,
            left: false,
            heard: now,
            urgent: false,
            hailed: None,
            slot: now,
            due: BTreeMap::new(),
            sequence: 0,
            behind: Duration::ZERO,
            last: (now, now),
            view: Arc::new(GroupView::default()),
            changed: false,
            recount: true,
            events: VecDeque::new(),
        };
        group.tell(now, state);
        group.stand(now);
        group.schedule(now, Due::Reach);
        group
    }

    /// Takes a datagram that was received from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let now = self.enter(now);
        if !self.left {
            self.receive(now, from, bytes);
        }
        self.finish(now);
    }

    /// Does what is due. To be called when [`Group::next_timeout`] has come; earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.enter(now);
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                _ if self.left => {}
                Due::Swim(timer) => self.swim_timer(now, timer),
                Due::Reach => self.reach(now),
                Due::Exchange(name, turn) => self.exchange(now, &name, turn),
                Due::Nudge(name, since) => self.nudge(now, &name, since),
                Due::Call(name) => self.call(now, &name),
                Due::Hail => self.hail(now),
                Due::Fence(fence) => self.check_fence(now, fence),
            }
        }
        self.finish(now);
    }

    /// When [`Group::handle_timeout`] is to be called next. May change with each call of any other
    /// method.
    ///
    /// It is never far off: how long the process did not run shows only where it should have.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let ((due, _), _) = self.due.first_key_value()?;
        let seen = self.last.0 + self.timers.probe_period;
        Some(seen.min(*due + self.behind))
    }

    /// Sets all nodes of the cluster and their addresses: where others may be found, and whose
    /// address is whose. A node that is not here, or has no address, may have any.
    pub fn set_nodes(&mut self, now: Instant, nodes: BTreeMap<NodeName, BTreeSet<IpAddr>>) {
        let now = self.enter(now);
        if *self.directory.nodes() != nodes {
            self.directory.set(nodes);
            self.reach_now(now);
        }
        self.finish(now);
    }

    /// Sets the nodes that should have a speaker. Before it is called all known members count.
    pub fn set_roster(&mut self, now: Instant, roster: BTreeSet<NodeName>) {
        let now = self.enter(now);
        if self.roster.as_ref() != Some(&roster) {
            self.roster = Some(roster);
            self.compare_roster();
            self.changed = true;
        }
        self.finish(now);
    }

    /// Sets what this speaker tells the others of itself.
    pub fn set_state(&mut self, now: Instant, state: MemberState) {
        let now = self.enter(now);
        if self.view.me != state {
            self.tell(now, state);
        }
        self.finish(now);
    }

    /// Replaces the keys.
    pub fn set_keys(&mut self, keys: Keyring) {
        self.seal.set_keys(keys);
    }

    /// Tells the others that this speaker leaves. What there is to transmit then should be sent;
    /// nothing else is done from here on.
    pub fn leave(&mut self, now: Instant) {
        let now = self.enter(now);
        if !self.left {
            self.say_farewell(now);
            self.left = true;
            self.due.clear();
        }
        self.finish(now);
    }

    /// Says anything at all to a member.
    #[cfg(test)]
    pub(crate) fn say(&mut self, now: Instant, to: SocketAddr, body: Vec<u8>) {
        self.seal.send(now, to, body);
    }

    /// The next datagram to send, and where to.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.seal.poll()
    }

    /// What happened next.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The group as it is seen now.
    pub fn view(&self) -> &GroupView {
        &self.view
    }

    /// The same, to keep. What is kept is copied before the next change.
    pub fn shared_view(&self) -> Arc<GroupView> {
        Arc::clone(&self.view)
    }

    /// Another one than before means that this speaker was declared down since, and must have given
    /// up all that it answered for. To be kept on disk, and one more be given to the next start.
    pub fn generation(&self) -> u64 {
        self.returned
    }

    /// The generation that the others should know. It is greater than [`Group::generation`] if they
    /// knew a greater one of a run before this one.
    fn current(&self) -> u64 {
        self.swim.identity().generation
    }

    /// Goes from the caller's time to the group's.
    fn enter(&mut self, now: Instant) -> Instant {
        let (last_caller, last_own) = self.last;
        let now = now.max(last_caller);
        let mut own = now.checked_sub(self.behind).unwrap_or(now).max(last_own);
        let first = self.due.first_key_value().map(|((due, _), _)| *due);
        let mut stalled = false;
        if let Some(due) = first
            && own.saturating_duration_since(due) > self.timers.lateness
        {
            // What came meanwhile is still to be read: it gets a moment before the first timer.
            own = due
                .checked_sub(self.timers.lateness)
                .unwrap_or(due)
                .max(last_own);
            self.behind = now.saturating_duration_since(own);
            stalled = now.saturating_duration_since(last_caller) >= self.timers.least_detection();
        }
        self.last = (now, own);
        if stalled && !self.left {
            self.stalled(own);
        }
        own
    }

    fn finish(&mut self, now: Instant) {
        if self.changed {
            self.changed = false;
            if std::mem::take(&mut self.recount) {
                self.stand(now);
            }
            self.push_event(Event::Changed);
        }
    }

    fn schedule(&mut self, at: Instant, due: Due) {
        self.sequence += 1;
        self.due.insert((at, self.sequence), due);
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() < MOST_WAITING {
            self.events.push_back(event);
        }
    }

    fn problem(&mut self, kind: ProblemKind, from: SocketAddr, node: Option<&NodeName>) {
        // Fences and changes must never be crowded out.
        if self.events.len() < MOST_WAITING / 2 {
            self.events.push_back(Event::Problem(Problem {
                kind,
                from,
                node: node.cloned(),
            }));
        }
    }
}

/// The seed of all that is random, with what tells runs apart even if their seeds were the same:
/// two runs must never have one session, since the nonces are counted from the start of each.
fn spread(settings: &Settings) -> [u8; 32] {
    let ip = match settings.address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut seed = [0; 32];
    let parts = settings.seed.to_be_bytes().into_iter();
    let parts = parts
        .chain(settings.generation.to_be_bytes())
        .chain(ip.octets());
    for (byte, part) in seed.iter_mut().zip(parts) {
        *byte = part;
    }
    seed
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("me", self.swim.identity())
            .field("contacts", &self.contacts.len())
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}
