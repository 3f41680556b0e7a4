//! What this node announces with BGP: announcements of Services into the table, its routes to the
//! sessions.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use herald_announce::bgp::{Announcement, Change, Reason, Table};
use herald_model::ServiceKey;
use herald_runtime::events::Kind;

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
    /// This node announces it from now on.
    Started(Announced),
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
    /// Nothing yet.
    pub(super) fn new(queue: RouteQueue) -> Self {
        Self {
            table: Table::new(),
            queue,
            complete: false,
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
        self.queue
            .put(routes.map(|change| self.manner.apply(change)).collect());
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
            None => Some(Transition::Started(now)),
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

    /// Hands over the routes that changed, and says once that they are all.
    pub(super) fn publish(&mut self, now: Instant) {
        let changes = self.table.take_changes(now).into_iter();
        self.queue
            .put(changes.map(|change| self.manner.apply(change)).collect());
        if !std::mem::replace(&mut self.complete, true) {
            self.queue.set_complete();
        }
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
        let outcomes = self.cluster.world.take_announcements();
        if !outcomes.is_empty() {
            let peers = self.cluster.world.bgp_peers_here();
            let peers: Vec<_> = peers.map(|peer| peer.name.clone()).collect();
            for (key, outcome) in outcomes {
                let (addresses, _) = self.cluster.service_facts(&key);
                let transition = self.routes.decided(&key, addresses, &peers, outcome);
                if let Some(transition) = transition {
                    self.tell_route(&key, transition);
                }
            }
        }
        self.routes.publish(now);
    }

    fn tell_route(&self, key: &ServiceKey, transition: Transition) {
        const PROTOCOL: Protocol = Protocol::Bgp;
        match transition {
            Transition::Started(now) => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    peers = ?now.peers,
                    protocol = PROTOCOL.name(),
                    "service has IP, announcing"
                );
                self.metrics.announced(PROTOCOL, key, &now.addresses);
                let me = &self.settings.me;
                let message = format!("announcing from node \"{me}\" with protocol \"bgp\"");
                self.record(key, Kind::Normal, "nodeAssigned", message);
            }
            Transition::Changed { before, now } => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    peers = ?now.peers,
                    before = ?before,
                    protocol = PROTOCOL.name(),
                    "service has IP, announcing"
                );
                self.metrics.withdrawn(PROTOCOL, key, &before.addresses);
                self.metrics.announced(PROTOCOL, key, &now.addresses);
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
