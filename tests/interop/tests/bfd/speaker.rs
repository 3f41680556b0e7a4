//! Herald's BGP and BFD as they run in a speaker, in a namespace of a test.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use herald_announce::bgp::{Attributes, Table};
use herald_api::config::bgp::{BfdProfile, BgpPeer, PeerBfd};
use herald_lab::Netns;
use herald_model::{Cidr, NodeName, ServiceKey};
use herald_speaker::bfd::{self, BfdStatus, BfdStatuses, Requests};
use herald_speaker::bgp::{self, EarlierLife, PeerPlan, PeerStatus, Plans, RouteQueue, Statuses};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::{announcement, in_thread, join};

/// The BGP identifier of all speakers here.
pub(crate) const ID: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

/// BFD in a namespace.
pub(crate) struct Bfd {
    pub(crate) statuses: watch::Receiver<Arc<BfdStatuses>>,
    end: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Bfd {
    /// Watches what is requested by the other end.
    pub(crate) fn start(netns: &Netns) -> (Self, Requests) {
        let (requests, requested) = bfd::requests();
        let (statuses_there, statuses) = watch::channel(Arc::default());
        let io = bfd::DriverIo {
            requests: requested,
            statuses: statuses_there,
            seed: [7; 32],
        };
        let end = CancellationToken::new();
        let token = end.clone();
        let thread = in_thread(netns, async move || {
            bfd::Driver::new(io)
                .run(token)
                .await
                .map_err(|e| anyhow!("{e}"))
        });
        let bfd = Self {
            statuses,
            end,
            thread: Some(thread),
        };
        (bfd, requests)
    }

    /// How the session beside a peer's is, if there is one.
    pub(crate) fn status(&self, peer: &str) -> Option<BfdStatus> {
        self.statuses.borrow().peers.get(peer).cloned()
    }

    /// Ends it as a process does. It waits until nobody requests anything.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.end.cancel();
        join(&mut self.thread)
    }
}

/// BGP with BFD in a namespace, and the routes that are announced.
pub(crate) struct Herald {
    plans: watch::Sender<Arc<Plans>>,
    statuses: watch::Receiver<Arc<Statuses>>,
    pub(crate) bfd: Bfd,
    /// Where further sessions of BFD can be asked for, until it is stopped.
    pub(crate) requests: Option<Requests>,
    queue: RouteQueue,
    table: Table,
    end: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Herald {
    /// A speaker that has started for the first time, or anew.
    pub(crate) fn start(netns: &Netns, peers: &[BgpPeer], restarted: bool) -> Result<Self> {
        let (bfd, requests) = Bfd::start(netns);
        let (plans, plans_here) = watch::channel(Arc::new(planned(peers, restarted)?));
        let (statuses_there, statuses) = watch::channel(Arc::default());
        let queue = RouteQueue::default();
        let io = bgp::DriverIo {
            plans: plans_here,
            routes: queue.clone(),
            statuses: statuses_there,
            // Nobody asks.
            questions: mpsc::channel(1).1,
            bfd: requests.clone(),
            seed: 7,
        };
        let end = CancellationToken::new();
        let token = end.clone();
        let thread = in_thread(netns, async move || {
            bgp::Driver::new(io)
                .run(token)
                .await
                .map_err(|e| anyhow!("{e}"))
        });
        Ok(Self {
            plans,
            statuses,
            bfd,
            requests: Some(requests),
            queue,
            table: Table::new(),
            end,
            thread: Some(thread),
        })
    }

    /// Announces these prefixes to all, as one Service does.
    pub(crate) fn announce(&mut self, prefixes: &[Cidr]) {
        self.announce_with(prefixes, &Attributes::default());
    }

    /// The same with these attributes.
    pub(crate) fn announce_with(&mut self, prefixes: &[Cidr], attributes: &Attributes) {
        let announcement = announcement(prefixes, attributes, None);
        self.table
            .set(&ServiceKey::new("default", "web"), announcement);
        self.queue.put(self.table.take_changes(Instant::now()));
        self.queue.set_complete();
    }

    pub(crate) fn set_peers(&self, peers: &[BgpPeer]) -> Result<()> {
        self.plans.send_replace(Arc::new(planned(peers, false)?));
        Ok(())
    }

    /// How the session with a peer is.
    pub(crate) fn status(&self, peer: &str) -> Option<PeerStatus> {
        self.statuses.borrow().get(peer).cloned()
    }

    /// Ends it as a process ends.
    pub(crate) fn stop(&mut self) -> Result<()> {
        drop(self.requests.take());
        self.end.cancel();
        self.bfd.end.cancel();
        join(&mut self.thread)?;
        self.bfd.stop()
    }
}

fn planned(peers: &[BgpPeer], restarted: bool) -> Result<Plans> {
    let me = NodeName::from("herald");
    let earlier = restarted.then(|| EarlierLife::before(Instant::now(), true));
    let plans = peers.iter().map(|peer| {
        let plan = PeerPlan::new(peer, &me, Some(ID), earlier)?;
        Ok((peer.name.clone(), Arc::new(plan)))
    });
    plans.collect()
}

/// A profile of so many milliseconds both ways, times 3.
pub(crate) fn profile(milliseconds: u64) -> PeerBfd {
    let interval = Duration::from_millis(milliseconds);
    PeerBfd {
        name: format!("every-{milliseconds}"),
        profile: BfdProfile {
            receive_interval: interval,
            transmit_interval: interval,
            detect_multiplier: 3,
            echo_interval: Duration::from_millis(50),
            echo_mode: false,
            passive_mode: false,
            minimum_ttl: None,
        },
    }
}
