//! Herald's sessions and routes, as a test runs them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use herald_announce::bgp::{Attributes, Table};
use herald_api::config::bgp::BgpPeer;
use herald_lab::Netns;
use herald_model::{Cidr, NodeName, ServiceKey};
use herald_speaker::bgp::{Driver, DriverIo, EarlierLife, PeerPlan, Plans, RouteQueue, Statuses};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::{announcement, in_thread, join};

pub(super) const SOON: Duration = Duration::from_secs(30);
pub(super) const HERALD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

/// Herald's sessions in a namespace, and the routes that they announce.
pub(super) struct Herald {
    pub(super) plans: watch::Sender<Arc<Plans>>,
    pub(super) statuses: watch::Receiver<Arc<Statuses>>,
    queue: RouteQueue,
    table: Table,
    end: CancellationToken,
    killed: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Herald {
    /// They end when `end` is cancelled.
    pub(super) fn start(
        netns: &Netns,
        peers: Vec<BgpPeer>,
        end: CancellationToken,
    ) -> Result<Self> {
        Ok(Self::with_plans(netns, planned(peers)?, end))
    }

    /// The same with plans that the configuration has no words for.
    pub(super) fn with_plans(netns: &Netns, plans: Plans, end: CancellationToken) -> Self {
        let (plans, plans_here) = watch::channel(Arc::new(plans));
        let (statuses_there, statuses) = watch::channel(Arc::default());
        let queue = RouteQueue::default();
        let io = DriverIo {
            plans: plans_here,
            routes: queue.clone(),
            statuses: statuses_there,
            // Nobody asks.
            questions: mpsc::channel(1).1,
            // And no path is watched.
            bfd: herald_speaker::bfd::requests().0,
            seed: 7,
        };
        let token = end.clone();
        let killed = CancellationToken::new();
        let dead = killed.clone();
        let thread = in_thread(netns, async move || {
            let ended = dead.run_until_cancelled(Driver::new(io).run(token)).await;
            ended.unwrap_or(Ok(())).map_err(|error| anyhow!("{error}"))
        });
        Self {
            plans,
            statuses,
            queue,
            table: Table::new(),
            end,
            killed,
            thread: Some(thread),
        }
    }

    /// Announces these prefixes to all, as one Service of this name does.
    pub(super) fn announce(&mut self, service: &str, prefixes: &[Cidr], attributes: &Attributes) {
        self.announce_as(service, prefixes, attributes, None);
    }

    /// The same with the number of endpoints as weight.
    pub(super) fn announce_weighted(
        &mut self,
        service: &str,
        prefixes: &[Cidr],
        attributes: &Attributes,
        endpoints: u32,
    ) {
        self.announce_as(service, prefixes, attributes, Some(endpoints));
    }

    fn announce_as(
        &mut self,
        service: &str,
        prefixes: &[Cidr],
        attributes: &Attributes,
        weight: Option<u32>,
    ) {
        let announcement = announcement(prefixes, attributes, weight);
        self.table
            .set(&ServiceKey::new("default", service), announcement);
        self.queue.put(self.table.take_changes(Instant::now()));
        self.queue.set_complete();
    }

    pub(super) fn set_peers(&self, peers: Vec<BgpPeer>) -> Result<()> {
        self.plans.send_replace(Arc::new(planned(peers)?));
        Ok(())
    }

    pub(super) fn set_plans(&self, plans: Plans) {
        self.plans.send_replace(Arc::new(plans));
    }

    /// Why there is no session with a peer, in words.
    pub(super) fn problem(&self, peer: &str) -> Option<String> {
        self.statuses.borrow().get(peer)?.problem()
    }

    /// Why the last session with a peer ended, in words.
    pub(super) fn last_down(&self, peer: &str) -> Option<String> {
        let statuses = self.statuses.borrow();
        let (_, down) = statuses.get(peer)?.last_down.as_ref()?;
        Some(down.to_string())
    }

    /// Ends as a process does that is killed: the kernel closes the connections.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.killed.cancel();
        join(&mut self.thread)
    }

    /// Ends as a process does that nobody takes the place of: the node leaves.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.queue.set_leaving();
        self.stop()
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.end.cancel();
        join(&mut self.thread)
    }
}

pub(super) fn planned(peers: Vec<BgpPeer>) -> Result<Plans> {
    planned_as(peers, false, |_| {})
}

/// Plans of a speaker that has `restarted`, changed.
pub(super) fn planned_as(
    peers: Vec<BgpPeer>,
    restarted: bool,
    change: impl Fn(&mut PeerPlan),
) -> Result<Plans> {
    let me = NodeName::from("herald");
    let earlier = restarted.then(|| EarlierLife::before(Instant::now(), true));
    let plans = peers.into_iter().map(|peer| {
        let mut plan = PeerPlan::new(&peer, &me, Some(HERALD), earlier)?;
        change(&mut plan);
        Ok((peer.name, Arc::new(plan)))
    });
    plans.collect()
}

pub(super) fn host(address: &str) -> Cidr {
    address.parse().expect("a prefix")
}

/// So many host routes.
pub(super) fn many(count: u32) -> Vec<Cidr> {
    (0..count)
        .map(|n| {
            let [_, a, b, c] = n.to_be_bytes();
            Cidr::new(IpAddr::from([20 + a, b, c, 1]), 32).expect("a prefix")
        })
        .collect()
}
