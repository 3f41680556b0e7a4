//! Herald's sessions in a namespace of a test.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use herald_announce::bgp::{Announcement, Attributes, Path, Peers, Table};
use herald_api::config::bgp::{BgpPeer, Connection, PeerAsn, PeerEndpoint, Timers};
use herald_lab::Netns;
use herald_model::{Cidr, NodeName, ServiceKey};
use herald_speaker::bgp::{Driver, DriverIo, PeerPlan, Plans, RouteQueue, Statuses};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Herald's address.
pub(crate) const HERALD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
/// Herald's AS.
pub(crate) const ASN: u32 = 65001;

/// Herald's sessions in a namespace, and the routes that they announce.
pub(crate) struct Herald {
    /// The sessions to have.
    pub(crate) plans: watch::Sender<Arc<Plans>>,
    /// How the sessions are.
    pub(crate) statuses: watch::Receiver<Arc<Statuses>>,
    queue: RouteQueue,
    table: Table,
    end: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Herald {
    /// They end when `end` is cancelled.
    pub(crate) fn start(
        netns: &Netns,
        peers: Vec<BgpPeer>,
        end: CancellationToken,
    ) -> Result<Self> {
        let (plans, plans_here) = watch::channel(Arc::new(planned(peers)?));
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
        let (netns, token) = (netns.clone(), end.clone());
        let thread = thread::spawn(move || {
            netns.run(|| -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let ended = runtime.block_on(Driver::new(io).run(token));
                ended.map_err(|error| anyhow!("{error}"))
            })?
        });
        Ok(Self {
            plans,
            statuses,
            queue,
            table: Table::new(),
            end,
            thread: Some(thread),
        })
    }

    /// Announces these prefixes to all, as one Service of this name does.
    pub(crate) fn announce(&mut self, service: &str, prefixes: &[Cidr], attributes: &Attributes) {
        let path = Arc::new(Path {
            peers: Peers::All,
            attributes: attributes.clone(),
            weighted: false,
        });
        let announcement = Announcement {
            routes: prefixes
                .iter()
                .map(|prefix| (*prefix, Arc::clone(&path)))
                .collect(),
            endpoints: 1,
        };
        let announcement = Some(announcement).filter(|a| !a.routes.is_empty());
        self.table
            .set(&ServiceKey::new("default", service), announcement);
        self.queue.put(self.table.take_changes(Instant::now()));
        self.queue.set_complete();
    }

    /// Changes the sessions.
    pub(crate) fn set_peers(&self, peers: Vec<BgpPeer>) -> Result<()> {
        self.plans.send_replace(Arc::new(planned(peers)?));
        Ok(())
    }

    /// Ends them, and waits until they have ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.end.cancel();
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the thread panicked"))?,
            None => Ok(()),
        }
    }
}

/// How the sessions of these peers are to be.
pub(crate) fn planned(peers: Vec<BgpPeer>) -> Result<Plans> {
    let me = NodeName::from("herald");
    let plans = peers.into_iter().map(|peer| {
        let plan = PeerPlan::new(&peer, &me, Some(HERALD), false)?;
        Ok((peer.name, Arc::new(plan)))
    });
    plans.collect()
}

/// A peer with Herald's defaults and fast attempts.
pub(crate) fn peer(name: &str, address: IpAddr, asn: u32) -> BgpPeer {
    BgpPeer {
        name: name.to_owned(),
        my_asn: ASN,
        peer_asn: PeerAsn::Number(asn),
        local_asn: None,
        endpoint: PeerEndpoint::Address(address),
        port: 179,
        source_address: None,
        timers: Timers {
            connect: Duration::from_secs(1),
            ..Timers::default()
        },
        router_id: None,
        node_selectors: Vec::new(),
        password: None,
        bfd: None,
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security: None,
        connection: Connection::Outbound,
        vrf: String::new(),
        dual_stack: true,
    }
}

/// A prefix.
pub(crate) fn host(address: &str) -> Cidr {
    address.parse().expect("a prefix")
}
