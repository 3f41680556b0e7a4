//! The group as the machine needs it: who is live, and whose MAC address is whose.

use std::collections::{BTreeMap, BTreeSet};

use herald_announce::Interfaces;
use herald_model::{GroupView, MacAddress, Member, NodeName, Phase, Standing};

/// Whose a MAC address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Station<'a> {
    /// This node's, or nobody's.
    Own,
    /// That of a member, perhaps of one that is down.
    Member(&'a NodeName),
    /// None of ours.
    Foreign,
}

/// An index of a [`GroupView`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    /// The live members, and their phase if they have told it.
    live: BTreeMap<NodeName, Option<Phase>>,
    /// The members that are known but down, and the phase that they last told.
    down: BTreeMap<NodeName, Option<Phase>>,
    /// Those that were live here at some time since this node started, or joined anew because it was
    /// declared down. Others that are down need not be so: they may only not have met this node yet.
    met: BTreeSet<NodeName>,
    stations: BTreeMap<MacAddress, NodeName>,
    own: BTreeSet<MacAddress>,
    /// The names of the own interfaces that have carrier.
    interfaces: BTreeSet<String>,
    pub(crate) standing: Standing,
    pub(crate) fenced: bool,
    /// This node hands over what it can.
    pub(crate) draining: bool,
    /// This node takes nothing from others yet.
    pub(crate) settling: bool,
}

impl Peers {
    /// `before` is how the group looked: a member that came back and has not told anything yet has
    /// the MAC addresses that it had.
    pub(crate) fn of(view: &GroupView, before: Option<&Self>) -> Self {
        let mut peers = Self {
            standing: view.standing,
            fenced: view.fenced,
            draining: view.me.phase == Phase::Draining,
            settling: view.me.phase == Phase::Settling,
            own: view.me.interfaces.iter().map(|lan| lan.mac).collect(),
            interfaces: view.me.interfaces.iter().map(|i| i.name.clone()).collect(),
            ..Self::default()
        };
        for (name, member) in &view.members {
            let phase = member.state.as_ref().map(|state| state.phase);
            if member.live {
                peers.live.insert(name.clone(), phase);
            } else {
                peers.down.insert(name.clone(), phase);
            }
            for lan in member.state.iter().flat_map(|state| &state.interfaces) {
                // Of two members with one MAC address the live one is more likely meant.
                if member.live || !peers.stations.contains_key(&lan.mac) {
                    peers.stations.insert(lan.mac, name.clone());
                }
            }
        }
        // One that was fenced and not declared down is ready at once: what it has found out stands.
        let anew = |before: &&Self| before.fenced && !peers.fenced && peers.settling;
        let met = before.filter(|before| !anew(before));
        let met = met.into_iter().flat_map(|before| &before.met);
        let known = met.filter(|name| view.members.contains_key(*name));
        peers.met = known.chain(peers.live.keys()).cloned().collect();
        for (mac, name) in before.iter().flat_map(|before| &before.stations) {
            let untold = |member: &Member| member.state.is_none();
            if view.members.get(name).is_some_and(untold) {
                peers.stations.entry(*mac).or_insert_with(|| name.clone());
            }
        }
        peers
    }

    pub(crate) fn station(&self, mac: MacAddress) -> Station<'_> {
        if !mac.is_station() || self.own.contains(&mac) {
            return Station::Own;
        }
        self.stations
            .get(&mac)
            .map_or(Station::Foreign, Station::Member)
    }

    pub(crate) fn is_live(&self, name: &NodeName) -> bool {
        self.live.contains_key(name)
    }

    /// It is known but not in the group now.
    pub(crate) fn is_down(&self, name: &NodeName) -> bool {
        self.down.contains_key(name)
    }

    /// It is down, and is so not only because the two have not met yet: it was lost.
    pub(crate) fn is_lost(&self, name: &NodeName) -> bool {
        self.is_down(name) && self.met.contains(name)
    }

    /// It is live and says that it leaves.
    pub(crate) fn is_leaving(&self, name: &NodeName) -> bool {
        self.live.get(name) == Some(&Some(Phase::Draining))
    }

    /// It is live and says that it settles.
    pub(crate) fn is_settling(&self, name: &NodeName) -> bool {
        self.live.get(name) == Some(&Some(Phase::Settling))
    }

    /// It is live and has told its phase.
    pub(crate) fn has_told(&self, name: &NodeName) -> bool {
        matches!(self.live.get(name), Some(Some(_)))
    }

    /// It settles, or may: one that is down or has not told says nothing of it.
    pub(crate) fn may_settle(&self, name: &NodeName) -> bool {
        let phase = self.live.get(name);
        !matches!(phase, Some(Some(Phase::Ready | Phase::Draining)))
    }

    /// Some live member has not told its MAC addresses yet: a strange one may be its.
    pub(crate) fn has_untold(&self) -> bool {
        self.live.values().any(Option::is_none)
    }

    /// A station that seems foreign may be a member's that this node has never heard: one that only
    /// others know, or one that is missing.
    pub(crate) fn has_strangers(&self) -> bool {
        self.has_untold()
            || self.standing != Standing::Majority
            || self.down.values().any(Option::is_none)
    }

    /// Nothing is known of this node's stations.
    pub(crate) fn is_strange(&self, name: &NodeName) -> bool {
        let phase = self.live.get(name).or_else(|| self.down.get(name));
        !matches!(phase, Some(Some(_)))
    }

    /// Of two stations that do not know each other, this node's gives way first.
    pub(crate) fn gives_way_to(&self, mac: MacAddress) -> bool {
        self.own.first().is_none_or(|own| mac < *own)
    }

    /// This node has carrier on one of these.
    pub(crate) fn is_on(&self, interfaces: &Interfaces) -> bool {
        match interfaces {
            Interfaces::All => !self.interfaces.is_empty(),
            Interfaces::Named(names) => !names.is_disjoint(&self.interfaces),
        }
    }

    /// Those that are live and were not `before`.
    pub(crate) fn returned(&self, before: &Self) -> BTreeSet<NodeName> {
        let returned = self.live.keys().filter(|name| !before.is_live(name));
        returned.cloned().collect()
    }
}
