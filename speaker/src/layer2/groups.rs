//! The IPv6 multicast groups of all ports, joined and left by a thread of its own.
//!
//! To join a thousand groups takes the kernel 30 ms and more, the more of them there are, and before
//! Linux 6.17 under a lock that others may hold for long. Neither answers nor announcements can wait
//! for that: whoever knows an address already needs no group to ask for it again, and the others
//! are answered as soon as their group is joined.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use herald_netsys::GroupMemberships;
use tokio::sync::oneshot;
use tokio::task::Id;

/// How long to wait before groups that could not be joined are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is wanted; the thread that does it ends with this, and leaves all groups.
#[derive(Debug, Default)]
pub(super) struct Groups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By the interface's index.
    wanted: BTreeMap<u32, Wanted>,
    /// It is not what the thread saw last.
    changed: bool,
    closed: bool,
}

/// The groups of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    /// Who answers: with another all groups are joined anew, as the link may have been away.
    server: Id,
    groups: Arc<BTreeSet<Ipv6Addr>>,
}

/// What has been done for an interface.
#[derive(Debug)]
struct Joined {
    server: Id,
    memberships: GroupMemberships,
    /// A group could not be joined, and that has been said.
    incomplete: bool,
}

impl Groups {
    /// Starts the thread, which sees the network namespace of this one. The receiver learns when it
    /// ends.
    pub(super) fn start(&self) -> io::Result<oneshot::Receiver<()>> {
        let (alive, end) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        thread::Builder::new()
            .name("groups".to_owned())
            .spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                shared.run();
            })?;
        Ok(end)
    }

    /// Exactly these groups are to be joined on an interface, for the task `server` that answers.
    pub(super) fn set(&self, index: u32, name: &str, server: Id, groups: BTreeSet<Ipv6Addr>) {
        let wanted = Wanted {
            name: name.to_owned(),
            server,
            groups: Arc::new(groups),
        };
        let mut state = self.0.lock();
        if state.wanted.get(&index) != Some(&wanted) {
            state.wanted.insert(index, wanted);
            self.0.tell(state);
        }
    }

    /// No groups are wanted on an interface.
    pub(super) fn close(&self, index: u32) {
        let mut state = self.0.lock();
        if state.wanted.remove(&index).is_some() {
            self.0.tell(state);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.tell(state);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        state.changed = true;
        drop(state);
        self.wake.notify_one();
    }

    fn run(&self) {
        let mut joined = BTreeMap::new();
        let mut again = None;
        while let Some(wanted) = self.wait(again) {
            let complete = settle(&wanted, &mut joined);
            again = (!complete).then_some(RETRY);
        }
    }

    /// Waits for a change, or until it is time to try `again`; returns what is wanted, or `None` at
    /// the end.
    fn wait(&self, again: Option<Duration>) -> Option<BTreeMap<u32, Wanted>> {
        let unchanged = |state: &mut State| !state.changed;
        let mut state = if let Some(again) = again {
            let waited = self.wake.wait_timeout_while(self.lock(), again, unchanged);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = self.wake.wait_while(self.lock(), unchanged);
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        state.changed = false;
        (!state.closed).then(|| state.wanted.clone())
    }
}

/// Joins and leaves groups until what is joined is what is wanted; false if a group could not be
/// joined.
fn settle(wanted: &BTreeMap<u32, Wanted>, joined: &mut BTreeMap<u32, Joined>) -> bool {
    let mut complete = true;
    for (index, wanted) in wanted {
        let server = wanted.server;
        let new = || Joined {
            server,
            memberships: GroupMemberships::new(*index),
            incomplete: false,
        };
        let here = joined.entry(*index).or_insert_with(new);
        if here.server != server {
            *here = new();
        }
        let errors = here.memberships.set(&wanted.groups);
        let known = std::mem::replace(&mut here.incomplete, !errors.is_empty());
        complete &= errors.is_empty();
        if let (Some(error), false) = (errors.first(), known) {
            tracing::warn!(
                interface = wanted.name,
                %error,
                groups = errors.len(),
                "IPv6 clients may not find addresses, trying again every second"
            );
        }
    }
    // Last: nobody waits for it.
    joined.retain(|index, _| wanted.contains_key(index));
    complete
}

#[cfg(test)]
mod tests;
