//! How this node comes to hold an address that the election gives it.

use herald_model::{NodeName, Standing};

use crate::entry::Entry;
use crate::peers::Peers;

/// How to take an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// At once.
    Now,
    /// After quick probes: its owner is gone, or would not be there to be seen otherwise.
    Look,
    /// After the quickest: whoever had it may just have lost it, so that nobody answers for it.
    Glance,
    /// After more of them, as another that lives may have it and keep it.
    Search,
    /// After probes as for an address that nobody had yet.
    Probe,
    /// Not at all, until this node sees more of the speakers.
    Refuse,
}

/// The way to take the address of `entry`, which the election gives to `me`. `certain`: its
/// `previous` is known to be who had it, and not only whom the election gave it. `new`: that one
/// has not had the time to make sure that nobody has it.
pub(crate) fn way(me: &NodeName, peers: &Peers, entry: &Entry, certain: bool, new: bool) -> Way {
    if entry.resumed || entry.previous.as_ref() == Some(me) {
        // As long as some have not told their state, the election passes them over.
        let sure = peers.standing != Standing::Minority && !peers.has_untold();
        // One that was fenced since was replaced, likely by one that it does not see yet.
        let replaced = !entry.resumed && !entry.certain;
        return match (entry.is_sticky(), sure) {
            (true, _) => Way::Search,
            (false, true) if replaced => Way::Glance,
            (false, true) => Way::Now,
            (false, false) => Way::Look,
        };
    }
    match (&entry.previous, peers.standing) {
        (Some(previous), _) if peers.is_live(previous) => {
            let settling = peers.is_settling(previous);
            let with_it = entry.settled_with_it;
            if (certain || entry.certain) && settling && !with_it {
                return Way::Now;
            }
            if settling && with_it && !entry.is_sticky() && !must_give(peers, entry, previous) {
                return Way::Look;
            }
            // Whom the election gave a sticky address need not be who has it.
            if entry.is_sticky() && !(certain && must_give(peers, entry, previous)) {
                Way::Search
            } else if peers.has_told(previous) && new {
                Way::Probe
            } else if peers.has_told(previous) {
                Way::Now
            } else {
                Way::Look
            }
        }
        (_, Standing::Minority) => Way::Refuse,
        (None, _) => Way::Probe,
        (Some(_), Standing::Half) => Way::Look,
        // That the two have not met again yet is no sign that it lost what it had.
        (Some(previous), Standing::Majority)
            if peers.is_down(previous) && !peers.is_lost(previous) =>
        {
            if entry.is_sticky() {
                Way::Search
            } else {
                Way::Look
            }
        }
        (Some(_), Standing::Majority) => {
            // Another than whom the election gave it may have kept a sticky address.
            let others = || {
                let mut order = entry.order().iter();
                order.any(|name| name != me && peers.is_live(name))
            };
            if entry.is_sticky() && !certain && others() {
                Way::Look
            } else {
                Way::Now
            }
        }
    }
}

/// True if `holder`, which has the address, gives it up once `me` announces it. `settles`: it has
/// it although it settles, so that it keeps it.
pub(crate) fn yields(
    me: &NodeName,
    peers: &Peers,
    entry: &Entry,
    holder: &NodeName,
    settles: bool,
) -> bool {
    // The election passes over one that has not told its state yet.
    peers.has_told(holder)
        && (must_give(peers, entry, holder)
            || !entry.is_sticky() && !settles && !entry.is_behind(me, holder))
}

/// It cannot keep the address whatever the policy: it leaves, or is no candidate any longer, by what it
/// has told.
fn must_give(peers: &Peers, entry: &Entry, holder: &NodeName) -> bool {
    let barred = || peers.has_told(holder) && !entry.order().contains(holder);
    peers.is_leaving(holder) || barred()
}
