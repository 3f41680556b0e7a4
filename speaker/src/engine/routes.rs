//! What this node announces with BGP: announcements of Services into the table, its routes to the
//! sessions.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use herald_announce::bgp::{Announcement, Change, Reason, Table};
use herald_model::{NodeName, ServiceKey};
use herald_runtime::events::Kind;
use serde_json::{Value, json};

use super::Engine;
use crate::bgp::RouteQueue;
use crate::metrics::Protocol;
use crate::world::NoRoute;

/// A Service that this node announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The names of the peers that it is announced to, whether their sessions are up or not.
    pub(super) peers: BTreeSet<String>,
}

/// What changed for a Service on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transition {
    /// This node announces it from now on. `resumed`: it may have done so before it started anew.
    Started { now: Announced, resumed: bool },
    /// It goes on to announce it, with other addresses or to other peers than before.
    Changed { before: Announced, now: Announced },
    /// It no longer announces it.
    Stopped { before: Announced, why: NoRoute },
    /// It does not announce it, for another reason than before.
    Withheld(NoRoute),
}

/// All that this node announces with BGP.
#[derive(Debug)]
pub(super) struct Routes {
    table: Table,
    queue: RouteQueue,
    /// All that there is was handed over once.
    complete: bool,
    /// What there is at first an earlier life of this speaker has announced, most likely.
    restarted: bool,
    announced: HashMap<ServiceKey, Announced>,
    /// Why the Services that some advertisement is meant for are not.
    withheld: HashMap<ServiceKey, NoRoute>,
    manner: Manner,
}

/// How the routes are told. The names are those of peers that get them as they are all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Manner {
    /// As they are.
    #[default]
    Plain,
    /// As those of a node that is about to go: everybody else is preferred (RFC 8326).
    Shut(BTreeSet<String>),
    /// They are withdrawn.
    Withdrawn(BTreeSet<String>),
}

impl Manner {
    fn apply(&self, change: Change) -> Change {
        let route = change.route.and_then(|route| match self {
            Self::Plain => Some(route),
            Self::Shut(unaware) => Some(Arc::new(route.shut_gracefully(unaware))),
            Self::Withdrawn(unaware) => route.only_for(unaware).map(Arc::new),
        });
        Change { route, ..change }
    }
}

impl Routes {
    /// Nothing yet. `restarted`: there was an earlier life of this speaker.
    pub(super) fn new(queue: RouteQueue, restarted: bool) -> Self {
        Self {
            table: Table::new(),
            queue,
            complete: false,
            restarted,
            announced: HashMap::new(),
            withheld: HashMap::new(),
            manner: Manner::default(),
        }
    }

    /// From now on the routes are told like this; those that were told already are told again.
    pub(super) fn set_manner(&mut self, manner: Manner) {
        if self.manner == manner {
            return;
        }
        self.manner = manner;
        let routes = self.table.routes().map(|(prefix, route)| Change {
            prefix,
            route: Some(Arc::clone(route)),
        });
        self.put(routes.collect());
    }

    /// Nobody takes up what this node announces: no peer is to keep it when the process ends.
    pub(super) fn set_leaving(&self) {
        self.queue.set_leaving();
    }

    /// Takes over the outcome for a Service with these addresses, on a node with sessions with
    /// `peers`. The routes follow with the next [`publish`](Self::publish).
    pub(super) fn decided(
        &mut self,
        key: &ServiceKey,
        addresses: &[IpAddr],
        peers: &[String],
        outcome: Result<Announcement, NoRoute>,
    ) -> Option<Transition> {
        let announcement = match outcome {
            Ok(announcement) => announcement,
            Err(why) => {
                self.table.set(key, None);
                return self.stopped(key, why);
            }
        };
        let names = announcement.peers(peers.iter().map(String::as_str));
        let now = Announced {
            addresses: addresses.to_vec(),
            peers: names.into_iter().map(str::to_owned).collect(),
        };
        self.table.set(key, Some(announcement));
        self.withheld.remove(key);
        match self.announced.insert(key.clone(), now.clone()) {
            None => Some(Transition::Started {
                now,
                resumed: self.restarted && !self.complete,
            }),
            Some(before) if before != now => Some(Transition::Changed { before, now }),
            Some(_) => None,
        }
    }

    fn stopped(&mut self, key: &ServiceKey, why: NoRoute) -> Option<Transition> {
        let known = match &why {
            // Nobody asks for it to be announced with BGP.
            NoRoute::NotOurs(_) | NoRoute::Decision(Reason::NotCovered) => {
                self.withheld.remove(key);
                Some(why.clone())
            }
            _ => self.withheld.insert(key.clone(), why.clone()),
        };
        match self.announced.remove(key) {
            Some(before) => Some(Transition::Stopped { before, why }),
            None if known.as_ref() != Some(&why) => Some(Transition::Withheld(why)),
            None => None,
        }
    }

    /// Hands over the routes that changed so far, but no withdrawals yet.
    pub(super) fn publish_part(&mut self, now: Instant) {
        let changes = self.table.take_routes(now);
        self.put(changes);
    }

    /// Hands over what changed, and says once that it is all.
    pub(super) fn publish(&mut self, now: Instant) {
        while let Some(changes) = self.table.take_part(now, RouteQueue::PART) {
            self.put(changes);
        }
        if !std::mem::replace(&mut self.complete, true) {
            self.queue.set_complete();
        }
    }

    fn put(&self, mut changes: Vec<Change>) {
        if self.manner != Manner::Plain {
            let told = changes.into_iter().map(|change| self.manner.apply(change));
            changes = told.collect();
        }
        self.queue.put(changes);
    }

    /// The Services that something is to be said of.
    pub(super) fn known(&self) -> impl Iterator<Item = &ServiceKey> {
        self.announced.keys().chain(self.withheld.keys())
    }

    /// What is announced of a Service and to whom, or why nothing is.
    pub(super) fn describe(&self, key: &ServiceKey) -> Value {
        if let Some(announced) = self.announced.get(key) {
            return json!({ "announced": announced.addresses, "peers": announced.peers });
        }
        self.withheld.get(key).map_or(
            Value::Null,
            |why| json!({ "withheld": why.name(), "because": why.to_string() }),
        )
    }

    /// When a weight changes that has to wait.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.table.next_timeout()
    }
}

impl Engine {
    /// Brings the sessions and their routes up to date.
    pub(super) fn settle_routes(&mut self, now: Instant) {
        self.plan_sessions();
        loop {
            let outcomes = self.cluster.world.take_announcements(RouteQueue::PART);
            if outcomes.is_empty() {
                break;
            }
            let peers = self.cluster.world.bgp_peers_here();
            let peers: Vec<_> = peers.map(|peer| peer.name.clone()).collect();
            for (key, outcome) in outcomes {
                let (addresses, _) = self.cluster.service_facts(&key);
                let transition = self.routes.decided(&key, addresses, &peers, outcome);
                if let Some(transition) = transition {
                    self.tell_route(&key, transition);
                }
            }
            self.routes.publish_part(now);
        }
        self.routes.publish(now);
    }

    fn tell_route(&self, key: &ServiceKey, transition: Transition) {
        const PROTOCOL: Protocol = Protocol::Bgp;
        if let Transition::Stopped { why, .. } | Transition::Withheld(why) = &transition
            && let Some(message) = mistake(&self.settings.me, why)
        {
            self.record(key, Kind::Warning, "announceFailed", message);
        }
        match transition {
            Transition::Started { now, resumed } => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    peers = ?now.peers,
                    protocol = PROTOCOL.name(),
                    "service has IP, announcing"
                );
                self.metrics.announced(PROTOCOL, key, &now.addresses);
                let new = now.addresses.iter();
                for since in new.filter_map(|address| self.changes.fresh(*address)) {
                    self.metrics.announced_after(PROTOCOL, since.elapsed());
                }
                // All nodes announce: what none of them sees as news is no event of each.
                if !resumed {
                    let me = &self.settings.me;
                    let message = format!("announcing from node \"{me}\" with protocol \"bgp\"");
                    self.record(key, Kind::Normal, "nodeAssigned", message);
                }
                self.io
                    .statuses
                    .bgp
                    .set(key, Some(now.peers.into_iter().collect()));
            }
            Transition::Changed { before, now } => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    peers = ?now.peers,
                    before = ?before.addresses,
                    peers_before = ?before.peers,
                    protocol = PROTOCOL.name(),
                    "service has IP, announcing"
                );
                self.metrics.withdrawn(PROTOCOL, key, &before.addresses);
                self.metrics.announced(PROTOCOL, key, &now.addresses);
                self.io
                    .statuses
                    .bgp
                    .set(key, Some(now.peers.into_iter().collect()));
            }
            Transition::Stopped { before, why } => {
                tracing::info!(
                    event = "serviceWithdrawn",
                    service = %key,
                    ips = ?before.addresses,
                    protocol = PROTOCOL.name(),
                    reason = why.name(),
                    detail = %why,
                    "withdrawing service announcement"
                );
                self.metrics.withdrawn(PROTOCOL, key, &before.addresses);
                self.io.statuses.bgp.set(key, None);
            }
            Transition::Withheld(why) => tracing::debug!(
                service = %key,
                protocol = PROTOCOL.name(),
                reason = why.name(),
                detail = %why,
                "service is not announced from this node"
            ),
        }
    }
}

/// What the user is told if a Service is not announced because of something to be put right.
fn mistake(me: &NodeName, why: &NoRoute) -> Option<String> {
    match why {
        NoRoute::Decision(reason @ Reason::ConflictingAdvertisements { .. }) => Some(format!(
            "not announcing from node \"{me}\" with protocol \"bgp\": {reason}"
        )),
        // The rest is how a cluster may be: without endpoints, with nodes that have no router.
        NoRoute::NotOurs(_) | NoRoute::NoNode | NoRoute::Decision(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use herald_announce::bgp::{Attributes, Path, Peers};

    use super::*;

    fn key() -> ServiceKey {
        ServiceKey::new("shop", "web")
    }

    /// What is announced of 192.0.2.1 to these peers.
    fn to(peers: &[&str]) -> Announcement {
        let path = Path {
            peers: Peers::Named(peers.iter().map(|name| (*name).to_owned()).collect()),
            attributes: Attributes::default(),
            ending: false,
            weighted: false,
        };
        Announcement {
            routes: vec![("192.0.2.1/32".parse().expect("valid"), Arc::new(path))],
            endpoints: 1,
        }
    }

    fn decided(routes: &mut Routes, outcome: Result<Announcement, NoRoute>) -> Option<Transition> {
        let peers = ["a", "b"].map(str::to_owned);
        routes.decided(
            &key(),
            &["192.0.2.1".parse().expect("valid")],
            &peers,
            outcome,
        )
    }

    fn announced(peers: &[&str]) -> Announced {
        Announced {
            addresses: vec!["192.0.2.1".parse().expect("valid")],
            peers: peers.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_transition_is_told_once_with_the_peers_that_the_node_has() {
        let mut routes = Routes::new(RouteQueue::default(), false);
        let started = Transition::Started {
            now: announced(&["a"]),
            resumed: false,
        };
        let (one, both) = (to(&["a", "elsewhere"]), to(&["a", "b"]));
        assert_eq!(decided(&mut routes, Ok(one.clone())), Some(started));
        assert_eq!(decided(&mut routes, Ok(one)), None);
        let changed = Transition::Changed {
            before: announced(&["a"]),
            now: announced(&["a", "b"]),
        };
        assert_eq!(decided(&mut routes, Ok(both)), Some(changed));
        let why = || NoRoute::Decision(Reason::NoEndpoints);
        let stopped = Transition::Stopped {
            before: announced(&["a", "b"]),
            why: why(),
        };
        assert_eq!(decided(&mut routes, Err(why())), Some(stopped));
        assert_eq!(decided(&mut routes, Err(why())), None);
        let other = NoRoute::Decision(Reason::NoPeer);
        let withheld = Transition::Withheld(other.clone());
        assert_eq!(decided(&mut routes, Err(other)), Some(withheld));
    }

    #[test]
    fn of_what_is_not_announced_the_user_is_told_mistakes_only() {
        let conflict = Reason::ConflictingAdvertisements {
            first: "one".to_owned(),
            second: "two".to_owned(),
        };
        let told = mistake(&"me".into(), &NoRoute::Decision(conflict)).expect("a mistake");
        let expected = "not announcing from node \"me\" with protocol \"bgp\": BGPAdvertisements \
                        \"one\" and \"two\" announce the same route";
        assert!(told.starts_with(expected), "{told}");
        for usual in [Reason::NoPeer, Reason::NoEndpoints, Reason::NodeExcluded] {
            assert_eq!(mistake(&"me".into(), &NoRoute::Decision(usual)), None);
        }
    }

    #[test]
    fn nothing_is_kept_of_a_service_that_nobody_wants_announced() {
        let mut routes = Routes::new(RouteQueue::default(), false);
        let not_covered = NoRoute::Decision(Reason::NotCovered);
        assert_eq!(decided(&mut routes, Err(not_covered.clone())), None);
        decided(&mut routes, Err(NoRoute::Decision(Reason::NoPeer)));
        assert_eq!(decided(&mut routes, Err(not_covered)), None);
        assert!(routes.withheld.is_empty() && routes.announced.is_empty());
    }

    #[test]
    fn what_a_speaker_that_started_anew_finds_at_first_is_no_news() {
        let is_news = |restarted, complete| {
            let mut routes = Routes::new(RouteQueue::default(), restarted);
            if complete {
                routes.publish(Instant::now());
            }
            match decided(&mut routes, Ok(to(&["a"]))) {
                Some(Transition::Started { resumed, .. }) => !resumed,
                other => panic!("{other:?}"),
            }
        };
        assert!(is_news(false, false) && is_news(false, true) && is_news(true, true));
        assert!(!is_news(true, false));
    }
}
