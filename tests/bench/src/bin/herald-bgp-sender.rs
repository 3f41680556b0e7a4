//! Herald's sessions alone, to be measured beside other speakers: what the running speaker has from
//! the decision about a Service on, told over a Unix socket what to announce.
//!
//! Each route is a Service of its own. Decisions are handed over as the speaker hands them over. The
//! commands are those of `peer/senders/control.go`; `peer` may be followed by the own address, for
//! routers with which there are sessions of several.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser;
use herald_announce::bgp::{Announcement, Attributes, Community, Path, Peers, Table};
use herald_api::config::bgp::{
    BfdProfile, BgpPeer, Connection, PeerAsn, PeerBfd, PeerEndpoint, Timers,
};
use herald_model::{Cidr, NodeName, ServiceKey};
use herald_runtime::supervise::TaskResult;
use herald_speaker::bgp::{PeerPlan, Plans, RouteQueue};
use herald_speaker::{bfd, bgp};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const ASN: u16 = 65001;

/// Announces host routes as it is told over a Unix socket
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen for commands
    socket: PathBuf,
    /// The BGP identifier
    id: Ipv4Addr,
    /// Have the path of every session watched by BFD, 50 ms × 3
    #[arg(long)]
    bfd: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (plans, planned) = watch::channel(Arc::default());
    let (statuses, _) = watch::channel(Arc::default());
    let queue = RouteQueue::default();
    let (requests, requested) = bfd::requests();
    let driver = bgp::DriverIo {
        plans: planned,
        routes: queue.clone(),
        statuses,
        questions: mpsc::channel(1).1,
        bfd: requests,
        seed: u64::from(std::process::id()),
    };
    let paths = bfd::DriverIo {
        requests: requested,
        statuses: watch::channel(Arc::default()).0,
        seed: [7; 32],
    };
    let end = CancellationToken::new();
    let token = end.clone();
    let sessions = on_own_thread(move || bgp::Driver::new(driver).run(token));
    let token = end.clone();
    let watched = on_own_thread(move || bfd::Driver::new(paths).run(token));
    queue.set_complete();
    let sender = Sender {
        id: args.id,
        plans,
        queue,
        table: Table::new(),
        services: Vec::new(),
        bfd: args.bfd,
    };
    let served = sender.serve(&args.socket);
    end.cancel();
    for thread in [sessions, watched] {
        thread
            .join()
            .map_err(|_| anyhow!("a thread has panicked"))??;
    }
    served
}

/// Runs a driver as the speaker does.
fn on_own_thread<F: Future<Output = TaskResult>>(
    driver: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<Result<()>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime
            .block_on(driver())
            .map_err(|error| anyhow!("{error}"))
    })
}

struct Sender {
    id: Ipv4Addr,
    plans: watch::Sender<Arc<Plans>>,
    queue: RouteQueue,
    table: Table,
    /// Those that were ever announced, by number: the speaker has them from its watch.
    services: Vec<ServiceKey>,
    bfd: bool,
}

impl Sender {
    fn serve(mut self, socket: &std::path::Path) -> Result<()> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let (mut stream, _) = listener.accept()?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let answer = match self.obey(&line?) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            writeln!(stream, "{answer}")?;
        }
        Ok(())
    }

    fn obey(&mut self, line: &str) -> Result<()> {
        match *line.split_whitespace().collect::<Vec<_>>() {
            ["peer", address, asn] => self.peer(address.parse()?, asn.parse()?, None),
            ["peer", address, asn, own] => {
                self.peer(address.parse()?, asn.parse()?, Some(own.parse()?))
            }
            ["announce", from, count, community] => {
                self.announce(from.parse()?, count.parse()?, community.parse()?)
            }
            ["withdraw", from, count] => self.withdraw(from.parse()?, count.parse()?),
            _ => bail!("no command: {line:?}"),
        }
    }

    fn peer(&self, address: IpAddr, asn: u32, own: Option<IpAddr>) -> Result<()> {
        let peer = BgpPeer {
            source_address: own,
            router_id: Some(self.id),
            ..peer(address, asn, self.bfd)
        };
        let plan = PeerPlan::new(&peer, &NodeName::from("bench"), Some(self.id), None)?;
        let mut plans = Plans::clone(&self.plans.borrow());
        plans.insert(peer.name, Arc::new(plan));
        self.plans.send_replace(Arc::new(plans));
        Ok(())
    }

    fn announce(&mut self, from: u32, count: u32, community: u16) -> Result<()> {
        let path = Arc::new(Path {
            peers: Peers::All,
            attributes: Attributes {
                communities: [Community::Standard(ASN, community)].into(),
                ..Attributes::default()
            },
            ending: false,
            weighted: false,
        });
        self.decide(from, count, |number| {
            Ok(Some(Announcement {
                routes: vec![(prefix(number)?, Arc::clone(&path))],
                endpoints: 1,
            }))
        })
    }

    fn withdraw(&mut self, from: u32, count: u32) -> Result<()> {
        self.decide(from, count, |_| Ok(None))
    }

    fn decide(
        &mut self,
        from: u32,
        count: u32,
        announcement: impl Fn(u32) -> Result<Option<Announcement>>,
    ) -> Result<()> {
        let now = Instant::now();
        for number in from..from + count {
            let place = usize::try_from(number)?;
            while self.services.len() <= place {
                let name = format!("web-{}", self.services.len());
                self.services.push(ServiceKey::new("default", name));
            }
            let service = self.services.get(place).context("no such Service")?;
            self.table.set(service, announcement(number)?);
            if usize::try_from(number - from)? % RouteQueue::PART == RouteQueue::PART - 1 {
                self.queue.put(self.table.take_routes(now));
            }
        }
        while let Some(changes) = self.table.take_part(now, RouteQueue::PART) {
            self.queue.put(changes);
        }
        Ok(())
    }
}

/// The host route with a number: 20.0.0.0 and so many further.
fn prefix(number: u32) -> Result<Cidr> {
    let address = Ipv4Addr::from_bits((20 << 24) + number);
    Cidr::new(address.into(), 32).with_context(|| format!("{address} has no host route"))
}

fn peer(address: IpAddr, asn: u32, bfd: bool) -> BgpPeer {
    let interval = Duration::from_millis(50);
    let fast = PeerBfd {
        name: "fast".to_owned(),
        profile: BfdProfile {
            receive_interval: interval,
            transmit_interval: interval,
            detect_multiplier: 3,
            echo_interval: interval,
            echo_mode: false,
            passive_mode: false,
            minimum_ttl: None,
        },
    };
    BgpPeer {
        name: address.to_string(),
        my_asn: ASN.into(),
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
        bfd: bfd.then_some(fast),
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security: None,
        connection: Connection::Outbound,
        vrf: String::new(),
        dual_stack: false,
    }
}
