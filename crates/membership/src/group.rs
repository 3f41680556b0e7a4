//! The group as a machine: datagrams and time go in, datagrams and events come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use herald_model::{GroupView, MemberState, NodeName};

use crate::{Keyring, Problem, Timers};

/// What a group is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub me: NodeName,
    /// Where this speaker listens and sends from, as the others see it. All members have the same
    /// port.
    pub address: SocketAddr,
    /// How fast the group is.
    pub timers: Timers,
    /// What datagrams are sealed with.
    pub keys: Keyring,
    /// Fresh for each start, from a good source: the sessions are made from it.
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
#[derive(Debug)]
pub struct Group {
    settings: Settings,
    view: Arc<GroupView>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Group {
    /// Starts alone; [`Group::set_nodes`] says where others may be.
    pub fn new(_now: Instant, settings: Settings, state: MemberState) -> Self {
        let view = GroupView {
            me: state,
            ..GroupView::default()
        };
        Self {
            settings,
            view: Arc::new(view),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram that was received from `from`.
    pub fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _bytes: &[u8]) {}

    /// Does what is due. To be called when [`Group::next_timeout`] has come; earlier does no harm.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Group::handle_timeout`] is to be called next. May change with each call of any other
    /// method.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Sets all nodes of the cluster and their addresses: where others may be found, and whose
    /// address is whose. A node that is not here, or has no address, may have any.
    pub fn set_nodes(&mut self, _now: Instant, _nodes: BTreeMap<NodeName, BTreeSet<IpAddr>>) {}

    /// Sets the nodes that should have a speaker.
    pub fn set_roster(&mut self, _now: Instant, _roster: BTreeSet<NodeName>) {}

    /// Sets what this speaker tells the others of itself.
    pub fn set_state(&mut self, _now: Instant, _state: MemberState) {}

    /// Replaces the keys.
    pub fn set_keys(&mut self, keys: Keyring) {
        self.settings.keys = keys;
    }

    /// Tells the others that this speaker leaves. What there is to transmit then should be sent;
    /// nothing else is done from here on.
    pub fn leave(&mut self, _now: Instant) {}

    /// The next datagram to send, and where to.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
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

    /// The same, to keep.
    pub fn shared_view(&self) -> Arc<GroupView> {
        Arc::clone(&self.view)
    }

    /// The generation that this speaker has now; to be kept on disk, and one more be given to the
    /// next start.
    pub fn generation(&self) -> u64 {
        self.settings.generation
    }
}
