//! The group of speakers: a socket, a clock and a thread of its own around
//! [`Group`](herald_membership::Group).
//!
//! ```text
//!   engine: nodes, roster, own state, leave ──▶ ┌───────┐ ──▶ view of the group ──▶ engine
//!   key directory ────────────────────────────▶ │ Group │ ──▶ answering lease ────▶ layer 2
//!                                        UDP ◀─▶└───────┘
//! ```
//!
//! The thread does nothing else, so that others' probes are answered however busy the rest of the
//! process is, and it asks the kernel to be run at once when it wakes up, so that other processes do
//! not keep it from that either. Each time it has looked at what time it is and what the others say,
//! it renews the lease by which this node may answer for addresses; a process that was stopped finds
//! the lease ended when it goes on, before it can answer anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use herald_model::{GroupView, MemberState, NodeName};
use ring::rand::SecureRandom as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::channel::send_if_other;

mod config;
mod keys;
mod metrics;
mod said;
mod thread;

pub(crate) use config::timers;
pub(crate) use keys::{load as load_keys, watch as watch_keys};
pub(crate) use metrics::Metrics;
pub(crate) use thread::{Founding, run};

/// How long a leave may take to reach the others.
const LEAVING: Duration = Duration::from_millis(500);

/// The addresses of the nodes.
pub(crate) type Addresses = BTreeMap<NodeName, BTreeSet<IpAddr>>;

/// Why the group cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// The socket cannot be opened.
    #[error(
        "cannot open UDP port {address} for the speakers' group: {error}; give an address of this \
         node with --ml-bindaddr and a free port with --ml-bindport"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The engine is gone.
    #[error("nobody tells the group of the nodes any more")]
    Closed,
}

/// The group as the engine has it.
#[derive(Debug)]
pub(crate) struct Link {
    nodes: watch::Sender<Arc<Addresses>>,
    roster: watch::Sender<Arc<BTreeSet<NodeName>>>,
    state: watch::Sender<MemberState>,
    leave: CancellationToken,
    left: CancellationToken,
    /// How the group looks at present.
    pub(crate) view: watch::Receiver<Arc<GroupView>>,
    /// How often this speaker has come and gone, as it tells the others.
    pub(crate) generation: watch::Receiver<u64>,
    settled: watch::Sender<u64>,
}

/// The other end of a [`Link`].
#[derive(Debug)]
pub(crate) struct LinkEnd {
    nodes: watch::Receiver<Arc<Addresses>>,
    roster: watch::Receiver<Arc<BTreeSet<NodeName>>>,
    state: watch::Receiver<MemberState>,
    leave: CancellationToken,
    left: CancellationToken,
    view: watch::Sender<Arc<GroupView>>,
    generation: watch::Sender<u64>,
    /// The generation that the engine has drawn all conclusions from.
    settled: watch::Receiver<u64>,
}

/// A link between the engine and the group, which begins with this generation.
pub(crate) fn link(generation: u64) -> (Link, LinkEnd) {
    let (nodes, nodes_there) = watch::channel(Arc::default());
    let (roster, roster_there) = watch::channel(Arc::default());
    let (state, state_there) = watch::channel(MemberState::default());
    let (view_there, view) = watch::channel(Arc::default());
    let (generation_there, generation) = watch::channel(generation);
    let (settled, settled_there) = watch::channel(*generation.borrow());
    let (leave, left) = (CancellationToken::new(), CancellationToken::new());
    let end = LinkEnd {
        nodes: nodes_there,
        roster: roster_there,
        state: state_there,
        leave: leave.clone(),
        left: left.clone(),
        view: view_there,
        generation: generation_there,
        settled: settled_there,
    };
    let link = Link {
        nodes,
        roster,
        state,
        leave,
        left,
        view,
        generation,
        settled,
    };
    (link, end)
}

impl Link {
    /// All nodes with their addresses.
    pub(crate) fn set_nodes(&self, nodes: Addresses) {
        send_if_other(&self.nodes, Arc::new(nodes));
    }

    /// The nodes that should have a speaker.
    pub(crate) fn set_roster(&self, roster: BTreeSet<NodeName>) {
        send_if_other(&self.roster, Arc::new(roster));
    }

    /// What this speaker tells of itself.
    pub(crate) fn set_state(&self, state: MemberState) {
        send_if_other(&self.state, state);
    }

    /// All that follows from this node's having this generation has been done: what it answered
    /// for in an earlier one, it has given up. Before that the thread does not let it answer.
    pub(crate) fn set_settled(&self, generation: u64) {
        send_if_other(&self.settled, generation);
    }

    /// Waits until the view is another.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.view.changed().await
    }

    /// Leaves the group; ready when the others have been told, or after half a second.
    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        // Without an answer the others find out by themselves.
        let _ = tokio::time::timeout(LEAVING, self.left.cancelled()).await;
    }
}

/// What a test does in place of the thread.
#[cfg(test)]
impl LinkEnd {
    pub(crate) fn show(&self, view: GroupView) {
        self.view.send_replace(Arc::new(view));
    }

    pub(crate) fn show_generation(&self, generation: u64) {
        self.generation.send_replace(generation);
    }

    pub(crate) fn settled(&self) -> u64 {
        *self.settled.borrow()
    }

    pub(crate) fn state(&self) -> MemberState {
        self.state.borrow().clone()
    }

    pub(crate) fn roster(&self) -> BTreeSet<NodeName> {
        self.roster.borrow().as_ref().clone()
    }

    /// Waits until the engine wants to leave, and lets it.
    pub(crate) async fn left(&self) {
        self.leave.cancelled().await;
        self.left.cancel();
    }
}

/// A number that nobody can guess.
pub(crate) fn seed() -> io::Result<u64> {
    random().map(u64::from_be_bytes)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}
