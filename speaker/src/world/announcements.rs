//! What this node announces with BGP, and which Services a change concerns there.
//!
//! Unlike on layer 2 every node decides for itself: what happens to others is of no concern but to
//! Services of an advertisement that limits the number of nodes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use herald_announce::bgp::{Advertisement, Announcement, Peer, Reason, decide};
use herald_announce::{Node, Speaker};
use herald_api::config::bgp::BgpPeer;
use herald_model::{NodeName, Phase, ServiceKey};

use super::nodes::Before;
use super::{NotOurs, World};

/// Why this node announces nothing of a Service with BGP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The Service is none that is to be announced.
    #[error(transparent)]
    NotOurs(NotOurs),
    /// Nobody knows what the node is like.
    #[error("the Node object of this node is not known")]
    NoNode,
    /// The rules say so.
    #[error(transparent)]
    Decision(Reason),
}

impl NoRoute {
    /// The reason as one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotOurs(why) => why.name(),
            Self::NoNode => "nodeUnknown",
            Self::Decision(reason) => reason.name(),
        }
    }
}

/// What only BGP asks for.
#[derive(Debug, Default)]
pub(super) struct Bgp {
    /// This node.
    me: Option<NodeName>,
    /// Its object, without what its speaker says: a speaker that settles announces like any other,
    /// and one that ends takes care of its routes by itself.
    node: Option<Node>,
    peers: Vec<BgpPeer>,
    /// The same as decisions see them.
    summaries: Vec<Peer>,
    /// Those that have a password which is not known.
    locked: BTreeSet<String>,
    /// The address that routers were given as the node's.
    address: Option<Ipv4Addr>,
    /// The sessions of this node may be others than when they were last asked for.
    sessions_changed: bool,
    dirty: BTreeSet<ServiceKey>,
}

impl Bgp {
    pub(super) fn on(me: NodeName) -> Self {
        Self {
            me: Some(me),
            ..Self::default()
        }
    }

    pub(super) fn mark<'a>(&mut self, services: impl IntoIterator<Item = &'a ServiceKey>) {
        if self.me.is_some() {
            self.dirty.extend(services.into_iter().cloned());
        }
    }

    pub(super) fn me(&self) -> Option<&NodeName> {
        self.me.as_ref()
    }

    pub(super) fn peers(&self) -> &[BgpPeer] {
        &self.peers
    }

    /// The names of the peers that have a password.
    pub(super) fn with_password(&self) -> BTreeSet<String> {
        let open = self.peers.iter().filter(|peer| peer.password.is_some());
        let open = open.map(|peer| peer.name.clone());
        open.chain(self.locked.iter().cloned()).collect()
    }
}

/// The BGP sessions that this node is to have.
#[derive(Debug)]
pub struct Sessions<'a> {
    /// The peers, except those that are locked.
    pub peers: Vec<&'a BgpPeer>,
    /// The names of peers that have a password which is not known.
    pub locked: Vec<&'a str>,
    /// The node's address by which routers know it. It stays what it was for as long as the node has
    /// it, or has no other: with another, all sessions begin anew.
    pub address: Option<Ipv4Addr>,
}

impl World {
    /// All BGP peers, whatever the nodes that have their sessions. `locked` are the names of those
    /// that have a password which is not known.
    pub fn set_bgp_peers(&mut self, peers: Vec<BgpPeer>, locked: BTreeSet<String>) {
        let bgp = &mut self.bgp;
        if bgp.peers == peers && bgp.locked == locked {
            return;
        }
        bgp.sessions_changed = true;
        (bgp.peers, bgp.locked) = (peers, locked);
        let summaries: Vec<_> = bgp.peers.iter().map(BgpPeer::summary).collect();
        if bgp.summaries == summaries {
            return;
        }
        let before = std::mem::replace(&mut bgp.summaries, summaries);
        let node = self.bgp.node.as_ref();
        let pools = self.pools_that(|advertisements| {
            advertisements
                .iter()
                .any(Advertisement::depends_on_other_nodes)
                || own_view(node, advertisements, &before)
                    != own_view(node, advertisements, &self.bgp.summaries)
        });
        self.mark_pools(&pools);
    }

    /// The BGP advertisements that cover a pool.
    pub fn bgp_advertisements(&self, pool: &str) -> &[Advertisement] {
        self.pools.bgp_advertisements(pool)
    }

    /// The sessions that this node is to have, if they may be others than when this was last asked;
    /// they stay as they are while the node's object is not known.
    pub fn take_sessions(&mut self) -> Option<Sessions<'_>> {
        self.bgp.node.as_ref()?;
        if !std::mem::take(&mut self.bgp.sessions_changed) {
            return None;
        }
        self.bgp.address = self.own_address();
        let bgp = &self.bgp;
        let (locked, peers): (Vec<_>, Vec<_>) = self
            .bgp_peers_here()
            .partition(|peer| bgp.locked.contains(&peer.name));
        Some(Sessions {
            peers,
            locked: locked.into_iter().map(|peer| peer.name.as_str()).collect(),
            address: bgp.address,
        })
    }

    fn own_address(&self) -> Option<Ipv4Addr> {
        let me = self.bgp.me.as_ref()?;
        let known = self.bgp.address;
        known
            .filter(|address| self.nodes.has_address(me, IpAddr::V4(*address)))
            .or_else(|| self.nodes.internal(me))
            .or(known)
    }

    /// The peers that this node has a session with.
    pub fn bgp_peers_here(&self) -> impl Iterator<Item = &BgpPeer> {
        let Bgp {
            node,
            peers,
            summaries,
            ..
        } = &self.bgp;
        let pairs = peers.iter().zip(summaries);
        let here = pairs
            .filter(move |(_, summary)| node.as_ref().is_some_and(|node| summary.runs_on(node)));
        here.map(|(peer, _)| peer)
    }

    /// Services whose routes may have changed, with what this node announces of them or why nothing.
    /// At most so many; fewer if these were the last.
    pub fn take_announcements(
        &mut self,
        most: usize,
    ) -> Vec<(ServiceKey, Result<Announcement, NoRoute>)> {
        let outcomes = (0..most).map_while(|_| {
            let key = self.bgp.dirty.pop_first()?;
            let outcome = self.announcement(&key);
            Some((key, outcome))
        });
        outcomes.collect()
    }

    fn announcement(&self, key: &ServiceKey) -> Result<Announcement, NoRoute> {
        let not_ours = |why| Err(NoRoute::NotOurs(why));
        let Some(entry) = self.services.get(key) else {
            return not_ours(NotOurs::NotLoadBalancer);
        };
        let service = &entry.facts.service;
        if service.addresses.is_empty() {
            return not_ours(NotOurs::NoAddress);
        }
        let Some(pool) = &entry.pool else {
            return not_ours(NotOurs::NoPool);
        };
        let bgp = &self.bgp;
        let advertisements = self.pools.bgp_advertisements(pool);
        if advertisements.is_empty() {
            return Err(NoRoute::Decision(Reason::NotCovered));
        }
        let node = bgp.node.as_ref().ok_or(NoRoute::NoNode)?;
        let others = self.nodes.iter().filter(|other| other.name != node.name);
        decide(service, advertisements, &bgp.summaries, node, others).map_err(NoRoute::Decision)
    }

    /// The object of this node may be another.
    pub(super) fn own_node_may_have_changed(&mut self, name: &NodeName) {
        if self.bgp.me.as_ref() != Some(name) {
            return;
        }
        // Also its address may be another.
        self.bgp.sessions_changed = true;
        let node = self.nodes.get(name).map(|node| Node {
            speaker: Speaker::default(),
            ..node.clone()
        });
        if self.bgp.node == node {
            return;
        }
        let before = std::mem::replace(&mut self.bgp.node, node);
        let bgp = &self.bgp;
        let pools = self.pools_that(|advertisements| {
            own_view(before.as_ref(), advertisements, &bgp.summaries)
                != own_view(bgp.node.as_ref(), advertisements, &bgp.summaries)
        });
        self.mark_pools(&pools);
    }

    /// These nodes are not what they were.
    pub(super) fn announcing_nodes_changed(&mut self, nodes: &[Before]) {
        let bgp = &self.bgp;
        let Some(me) = &bgp.me else {
            return;
        };
        let pools = self.pools_that(|advertisements| {
            let limited = || {
                let limited = |ad: &&Advertisement| ad.depends_on_other_nodes();
                advertisements.iter().filter(limited)
            };
            let mut others = nodes.iter().filter(|before| before.name != *me);
            limited().next().is_some()
                && others.any(|Before { name, node: before }| {
                    let after = self.nodes.get(name);
                    other_view(before.as_ref(), limited(), &bgp.summaries)
                        != other_view(after, limited(), &bgp.summaries)
                })
        });
        self.mark_pools(&pools);
    }

    /// The pools that Services have addresses from and whose advertisements are of this kind.
    fn pools_that(&self, are: impl Fn(&[Advertisement]) -> bool) -> Vec<String> {
        let pools = self.by_pool.keys();
        let such = pools.filter(|pool| {
            let advertisements = self.pools.bgp_advertisements(pool);
            !advertisements.is_empty() && are(advertisements)
        });
        such.cloned().collect()
    }

    fn mark_pools(&mut self, pools: &[String]) {
        for pool in pools {
            if let Some(services) = self.by_pool.get(pool) {
                self.bgp.mark(services);
            }
        }
    }
}

/// All that decisions by these advertisements see of a node.
#[derive(PartialEq)]
struct View<'a> {
    unfit: [bool; 3],
    /// It announces, but on its way out.
    leaving: bool,
    /// By each advertisement, the peers that the node announces to; `None` if it does not cover it.
    peers: Vec<Option<Vec<&'a str>>>,
}

fn own_view<'a>(
    node: Option<&Node>,
    advertisements: &[Advertisement],
    peers: &'a [Peer],
) -> Option<View<'a>> {
    node.map(|node| view(node, node.draining, advertisements, peers))
}

fn other_view<'a, 'b>(
    node: Option<&Node>,
    advertisements: impl IntoIterator<Item = &'b Advertisement>,
    peers: &'a [Peer],
) -> Option<View<'a>> {
    let node = node?;
    let up = matches!(node.speaker, Speaker::Live(_) | Speaker::Unknown { .. });
    let counts = up && node.phase() != Phase::Draining;
    Some(view(node, !counts, advertisements, peers))
}

fn view<'a, 'b>(
    node: &Node,
    leaving: bool,
    advertisements: impl IntoIterator<Item = &'b Advertisement>,
    peers: &'a [Peer],
) -> View<'a> {
    let sessions: Vec<_> = peers.iter().filter(|peer| peer.runs_on(node)).collect();
    let to = |advertisement: &Advertisement| {
        let names = sessions.iter().map(|peer| peer.name.as_str());
        names
            .filter(|name| advertisement.peers.contain(name))
            .collect()
    };
    let advertisements = advertisements.into_iter();
    View {
        unfit: [node.network_unavailable, node.excluded, node.out_of_service],
        leaving,
        peers: advertisements
            .map(|advertisement| advertisement.covers_node(node).then(|| to(advertisement)))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
