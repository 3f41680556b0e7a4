//! Who watches whom on the LAN.
//!
//! The live members, sorted by name, form a ring. Each one watches the next three of those that are
//! on a LAN with it, and so is watched by the three before it. All members that see the same group
//! find the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use herald_model::{GroupView, LanInterface, MemberState, NodeName};

/// How many others each member watches.
const TARGETS: usize = 3;

/// A member that hears none of at least so many is likely to be the one with the fault.
const SUSPICIOUS: usize = 2;

/// How far along the ring they are looked for: a bound on the work where there are many LANs.
const REACH: usize = 64;

/// The live members of a group that have told their state, this node included.
pub(crate) struct Ring<'a> {
    /// In the order of their names.
    members: Vec<(&'a NodeName, &'a MemberState)>,
}

impl<'a> Ring<'a> {
    pub(crate) fn of(me: &'a NodeName, view: &'a GroupView) -> Self {
        let others = view.members.iter().filter(|(_, member)| member.live);
        let told = others.filter_map(|(name, member)| Some((name, member.state.as_deref()?)));
        let mut members: Vec<_> = told.filter(|(name, _)| *name != me).collect();
        let place = members.partition_point(|(name, _)| *name < me);
        members.insert(place, (me, &view.me));
        Self { members }
    }

    /// Those that `member` watches, and where it shares a LAN with them.
    pub(crate) fn targets(&self, member: &NodeName) -> Vec<Target<'a>> {
        let Ok(index) = self.members.binary_search_by_key(&member, |(name, _)| name) else {
            return Vec::new();
        };
        let (before, rest) = self.members.split_at(index);
        let Some(((_, own), after)) = rest.split_first() else {
            return Vec::new();
        };
        let others = after.iter().chain(before).take(REACH);
        let near = others.filter_map(|(name, state)| {
            let lans = shared(own, state);
            (!lans.is_empty()).then_some(Target { name, state, lans })
        });
        near.take(TARGETS).collect()
    }

    /// Those that watch one of `members`, by whom they watch: those of them that have something
    /// there to be heard by. One that hears none of at least two is likely to be the one with the
    /// fault, and does not count.
    pub(crate) fn watchers(
        &self,
        members: &BTreeSet<&NodeName>,
    ) -> BTreeMap<&'a NodeName, Vec<&'a MemberState>> {
        let mut watchers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, state) in &self.members {
            let mut targets = self.targets(name);
            targets.retain(|target| target.canaries().next().is_some());
            let unheard = |target: &Target<'_>| state.unheard.contains(target.name);
            if targets.len() >= SUSPICIOUS && targets.iter().all(unheard) {
                continue;
            }
            let watched = targets.into_iter();
            for target in watched.filter(|target| members.contains(target.name)) {
                watchers.entry(target.name).or_default().push(*state);
            }
        }
        watchers
    }
}

/// A member that another one watches.
pub(crate) struct Target<'a> {
    pub(crate) name: &'a NodeName,
    pub(crate) state: &'a MemberState,
    /// The pairs of interfaces, the watcher's and the member's, that are on one LAN.
    lans: Vec<(&'a LanInterface, &'a LanInterface)>,
}

impl<'a> Target<'a> {
    /// The pairs in which the member's interface has a canary that the watcher's can ask for.
    pub(crate) fn canaries(&self) -> impl Iterator<Item = (&'a LanInterface, &'a LanInterface)> {
        let lans = self.lans.iter().copied();
        lans.filter(|(mine, theirs)| match theirs.canary {
            Some(IpAddr::V4(_)) => mine.arp,
            Some(IpAddr::V6(_)) => mine.ndp,
            None => false,
        })
    }
}

/// The pairs of interfaces of two members that are on one LAN: they have a prefix in common, or one
/// of them has none that could tell. Those that have the same address or MAC on both nodes are inside
/// of the nodes: bridges and links of containers.
fn shared<'a>(
    own: &'a MemberState,
    other: &'a MemberState,
) -> Vec<(&'a LanInterface, &'a LanInterface)> {
    let pairs = own
        .interfaces
        .iter()
        .flat_map(|mine| other.interfaces.iter().map(move |theirs| (mine, theirs)));
    let inside = |mine: &LanInterface, theirs: &LanInterface| {
        mine.mac == theirs.mac || mine.canary.is_some() && mine.canary == theirs.canary
    };
    pairs
        .filter(|(mine, theirs)| !inside(mine, theirs))
        .filter(|(mine, theirs)| {
            mine.prefixes.is_empty()
                || theirs.prefixes.is_empty()
                || !mine.prefixes.is_disjoint(&theirs.prefixes)
        })
        .collect()
}
