//! Real routers, started from a configuration, asked by their control sockets, and stopped.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod kernel;
mod openbgpd;
mod types;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use herald_lab::{Netns, Process};
use nix::sys::signal::Signal;

use crate::ground::Ground;
use crate::wait::eventually;

pub use kernel::kernel_routes;
pub use types::{Attributes, BfdSession, Family, KernelRoute, Neighbor, Prefix, Route, State};

/// How long a router may take to start, on a machine that is busy.
const READY: Duration = Duration::from_secs(20);

/// Which router, with its configuration in its own language.
#[derive(Debug, Clone)]
pub enum Config {
    /// FRR's zebra, bgpd and bfdd.
    Frr {
        /// zebra.conf.
        zebra: String,
        /// bgpd.conf.
        bgpd: String,
        /// bfdd.conf; without one there is no bfdd.
        bfdd: Option<String>,
    },
    /// BIRD 2.
    Bird(String),
    /// `GoBGP`, in TOML.
    Gobgp(String),
    /// `OpenBGPD`, without a `socket` line.
    Openbgpd(String),
    /// `ExaBGP`. The process `events` is there already: a neighbour with
    /// `api { processes [ events ]; neighbor-changes; receive { parsed; update; } }` is seen.
    /// `listen` is where it accepts connections, if anywhere.
    Exabgp {
        /// The configuration.
        config: String,
        /// Its own address to listen on.
        listen: Option<IpAddr>,
    },
}

impl Config {
    /// FRR without settings of zebra's own, and with a BFD profile `fast` of 3 × 50 ms.
    pub fn frr(bgpd: impl Into<String>) -> Self {
        let fast = "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 50\n  \
                    transmit-interval 50\n";
        Self::Frr {
            zebra: String::new(),
            bgpd: bgpd.into(),
            bfdd: Some(fast.into()),
        }
    }
}

/// What every router can be asked.
trait Control: Send + Sync {
    fn ready(&self) -> Result<bool>;
    fn command(&self, command: &str) -> Result<String>;
    fn neighbors(&self) -> Result<Vec<Neighbor>>;
    fn routes(&self, family: Family) -> Result<Vec<Route>>;
    fn bfd(&self) -> Result<Vec<BfdSession>>;
}

/// A running router. Its methods block; the longest that an answer takes is some milliseconds.
pub struct Router {
    name: String,
    netns: Netns,
    processes: Vec<Process>,
    control: Box<dyn Control>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("name", &self.name)
            .field("netns", &self.netns)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// Starts a router in a part's namespace; returns when it answers. Its name must be unique in
    /// the lab.
    pub fn start(ground: &dyn Ground, part: &str, name: &str, config: &Config) -> Result<Self> {
        let dir = ground.dir().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let place = Place {
            ground,
            part,
            name,
            dir,
        };
        let (processes, control): (Vec<Process>, Box<dyn Control>) = match config {
            Config::Frr { zebra, bgpd, bfdd } => frr::start(&place, zebra, bgpd, bfdd.as_deref())?,
            Config::Bird(text) => bird::start(&place, text)?,
            Config::Gobgp(text) => gobgp::start(&place, text)?,
            Config::Openbgpd(text) => openbgpd::start(&place, text)?,
            Config::Exabgp { config, listen } => exabgp::start(&place, config, *listen)?,
        };
        let router = Self {
            name: name.to_owned(),
            netns: ground.netns(part),
            processes,
            control,
        };
        eventually(READY, &format!("an answer of {name}"), || {
            // One that has ended will not answer later.
            if let Err(error) = router.check_running() {
                return Ok(Some(Err(error)));
            }
            Ok(router.control.ready()?.then_some(Ok(())))
        })??;
        Ok(router)
    }

    fn check_running(&self) -> Result<()> {
        for process in &self.processes {
            if let Some(status) = process.exit_status() {
                let tail = process.log_tail(20);
                bail!("{} ended with {status}\n{tail}", process.name());
            }
        }
        Ok(())
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its processes, the one that speaks BGP last.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The log of the process that speaks BGP.
    pub fn log(&self) -> String {
        self.processes.last().map_or_else(String::new, Process::log)
    }

    /// What the router answers to a command in its own language.
    pub fn command(&self, command: &str) -> Result<String> {
        self.control.command(command)
    }

    /// Its peers.
    pub fn neighbors(&self) -> Result<Vec<Neighbor>> {
        self.control.neighbors()
    }

    /// The peer with this address, if it is known.
    pub fn neighbor(&self, address: IpAddr) -> Result<Option<Neighbor>> {
        let mut neighbors = self.neighbors()?;
        neighbors.retain(|neighbor| neighbor.address == address);
        Ok(neighbors.pop())
    }

    /// Waits until the session with a peer is established.
    pub fn wait_established(&self, peer: IpAddr, timeout: Duration) -> Result<Neighbor> {
        let what = format!("a session of {} with {peer}", self.name);
        eventually(timeout, &what, || {
            let neighbor = self.neighbor(peer)?;
            Ok(neighbor.filter(|neighbor| neighbor.state == State::Established))
        })
    }

    /// The paths received from peers and accepted.
    pub fn routes(&self, family: Family) -> Result<Vec<Route>> {
        self.control.routes(family)
    }

    /// The paths to one prefix.
    pub fn paths(&self, prefix: Prefix) -> Result<Vec<Route>> {
        let family = if prefix.address.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let mut routes = self.routes(family)?;
        routes.retain(|route| route.prefix == prefix);
        Ok(routes)
    }

    /// Its BFD sessions; an error if it has no BFD.
    pub fn bfd(&self) -> Result<Vec<BfdSession>> {
        self.control.bfd()
    }

    /// The routes in its kernel.
    pub fn kernel_routes(&self, family: Family) -> Result<Vec<KernelRoute>> {
        kernel_routes(&self.netns, family)
    }

    /// The next hops of a prefix in its kernel, with their weights; empty if there is no route.
    pub fn kernel_next_hops(&self, prefix: Prefix) -> Result<Vec<(IpAddr, u32)>> {
        let family = if prefix.address.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let mut routes = self.kernel_routes(family)?;
        routes.retain(|route| route.prefix == prefix);
        Ok(routes
            .pop()
            .map(|route| route.next_hops)
            .unwrap_or_default())
    }

    /// Waits until the kernel's next hops of a prefix are just these. Of a peer's two IPv6 next hops
    /// some routers install the link-local one: then as many of these must be there.
    pub fn wait_spread(&self, prefix: Prefix, hops: &[IpAddr], timeout: Duration) -> Result<()> {
        let what = format!("{hops:?} for {prefix} in the kernel of {}", self.name);
        eventually(timeout, &what, || {
            let found = self.kernel_next_hops(prefix)?;
            let local = |hop: &IpAddr| match hop {
                IpAddr::V6(hop) => hop.is_unicast_link_local(),
                IpAddr::V4(_) => false,
            };
            let exact = found.iter().map(|(hop, _)| hop).eq(hops);
            let locals = found.iter().all(|(hop, _)| local(hop)) && found.len() == hops.len();
            ensure!(exact || locals, "{found:?}");
            Ok(Some(()))
        })
    }

    /// SIGTERM to all its processes, the one that speaks BGP first, and waits for their ends.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    /// SIGKILL to all its processes.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    fn end(&self, signal: Signal) -> Result<()> {
        for process in self.processes.iter().rev() {
            if process.is_running() {
                process.signal(signal)?;
            }
            let deadline = Instant::now() + READY;
            while process.is_running() {
                if Instant::now() > deadline {
                    bail!("{} has not ended after {READY:?}", process.name());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

/// Where a router is being started.
struct Place<'a> {
    ground: &'a dyn Ground,
    part: &'a str,
    name: &'a str,
    dir: PathBuf,
}

impl Place<'_> {
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    fn spawn(&self, spec: herald_lab::ProcessSpec) -> Result<Process> {
        self.ground.spawn(self.part, spec)
    }
}

/// A path in a router's configuration or on its command line.
fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .context("the temporary folder's name is not UTF-8")
}
