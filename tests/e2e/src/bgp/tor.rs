//! A router of the lab, as tests ask it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_interop::{Attributes, Config, Neighbor, Prefix, Route, Router, State};
use herald_lab::{Answer, Lab, Mac, Node, Report, eventually};
use tokio::task::spawn_blocking;

use crate::objects::SOON;

/// A session that has been up for so long is old enough to be told from a new one.
const OLD: Duration = Duration::from_secs(2);
/// BIRD tells ages in whole seconds.
const ROUNDED: Duration = Duration::from_millis(1500);
/// A new connection so often.
const EVERY: Duration = Duration::from_millis(10);
/// Less than the second after which a lost first packet is sent again, but not much: a busy machine takes
/// its time.
const TIMEOUT: Duration = Duration::from_millis(980);

/// A router on the LAN, and the client behind it. It is asked on a thread of its own, so that whoever
/// waits for it keeps nobody else waiting.
#[derive(Debug, Clone)]
pub struct Tor {
    router: Arc<Router>,
    /// The part of the lab that is the client behind it.
    pub client: &'static str,
    nodes: Vec<Node>,
    /// The node of each address that a next hop can have.
    hops: BTreeMap<IpAddr, String>,
}

/// How old sessions were at some time between asking and being told, by the node's address.
#[derive(Debug, Clone)]
pub struct Sessions {
    asked: Instant,
    told: Instant,
    ages: BTreeMap<IpAddr, Duration>,
}

impl Tor {
    /// Starts a router of this name in a part.
    pub fn start(
        lab: &Lab,
        name: &str,
        part: &str,
        client: &'static str,
        config: &Config,
    ) -> Result<Self> {
        let mut hops = BTreeMap::new();
        for node in lab.nodes() {
            let local = link_local(lab.mac(&node.name, "lan0")?);
            let all = node.lan.both().into_iter().chain([local]);
            hops.extend(all.map(|address| (address, node.name.clone())));
        }
        Ok(Self {
            router: Arc::new(Router::start(lab, part, name, config)?),
            client,
            nodes: lab.nodes().to_vec(),
            hops,
        })
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Asks the router.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Router) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let router = Arc::clone(&self.router);
        spawn_blocking(move || question(&router)).await?
    }

    /// The nodes over which its kernel spreads a prefix, in order, each with its weight. One that is
    /// no node's is given as it is.
    pub async fn spread(&self, prefix: Prefix) -> Result<Vec<(String, u32)>> {
        let hops = self.ask(move |router| router.kernel_next_hops(prefix));
        let node = |hop: &IpAddr| {
            self.hops
                .get(hop)
                .cloned()
                .unwrap_or_else(|| hop.to_string())
        };
        let mut nodes: Vec<_> = hops
            .await?
            .iter()
            .map(|(hop, weight)| (node(hop), *weight))
            .collect();
        nodes.sort();
        Ok(nodes)
    }

    /// The names in [`Self::spread`].
    pub async fn nodes(&self, prefix: Prefix) -> Result<Vec<String>> {
        let spread = self.spread(prefix).await?;
        Ok(spread.into_iter().map(|(node, _)| node).collect())
    }

    /// Waits until its kernel spreads a prefix over just these nodes, in their order.
    pub async fn wait_nodes(&self, prefix: Prefix, nodes: &[&str]) -> Result<()> {
        let what = format!("{} to spread {prefix} over {nodes:?}", self.router.name());
        eventually(SOON, &what, async || {
            let found = self.nodes(prefix).await?;
            ensure!(found == nodes, "it is {found:?}");
            Ok(Some(()))
        })
        .await
    }

    /// The paths to a prefix that it has got, by the node.
    pub async fn paths(&self, prefix: Prefix) -> Result<BTreeMap<String, Attributes>> {
        let paths = self.ask(move |router| router.paths(prefix)).await?;
        let node = |route: Route| Some((self.hops.get(&route.from)?.clone(), route.attributes));
        Ok(paths.into_iter().filter_map(node).collect())
    }

    /// Waits until a node's path to a prefix is as wanted.
    pub async fn wait_path(
        &self,
        prefix: Prefix,
        node: &str,
        what: &str,
        wanted: impl Fn(&Attributes) -> bool,
    ) -> Result<Attributes> {
        let what = format!(
            "a path of {node} to {prefix} at {}: {what}",
            self.router.name()
        );
        eventually(SOON, &what, async || {
            let mut paths = self.paths(prefix).await?;
            let path = paths.remove(node).context("there is none")?;
            ensure!(wanted(&path), "it is {path:?}");
            Ok(Some(path))
        })
        .await
    }

    /// The sessions with the nodes, those that are not up too.
    pub async fn neighbors(&self) -> Result<Vec<Neighbor>> {
        self.ask(Router::neighbors).await
    }

    /// Waits until just these nodes have their sessions, all of them.
    pub async fn wait_sessions(&self, nodes: &[&str]) -> Result<()> {
        let what = format!("sessions of {nodes:?} with {}", self.router.name());
        eventually(SOON, &what, async || {
            for neighbor in self.neighbors().await? {
                let node = self.hops.get(&neighbor.address);
                let wanted = node.is_some_and(|node| nodes.contains(&node.as_str()));
                let up = neighbor.state == State::Established;
                ensure!(up == wanted, "{neighbor:?}");
            }
            Ok(Some(()))
        })
        .await
    }

    /// The sessions that are up, once all of them have been for some time, so that they can be told
    /// from others.
    pub async fn sessions(&self) -> Result<Sessions> {
        let what = format!("the sessions of {} to be old", self.router.name());
        eventually(SOON, &what, async || {
            let sessions = self.ages().await?;
            let old = sessions.ages.values().all(|age| *age >= OLD);
            ensure!(old, "{sessions:?}");
            Ok(Some(sessions))
        })
        .await
    }

    async fn ages(&self) -> Result<Sessions> {
        let asked = Instant::now();
        let up = self.neighbors().await?.into_iter();
        let told = Instant::now();
        let ages = up.filter_map(|neighbor| Some((neighbor.address, neighbor.uptime?)));
        let ages = ages.collect();
        Ok(Sessions { asked, told, ages })
    }

    /// Makes sure that those that are up now are the same.
    pub async fn same_sessions(&self, before: &Sessions, since: &str) -> Result<()> {
        let now = self.ages().await?;
        // At least so long: a busy router takes its time to answer.
        let passed = now.asked.saturating_duration_since(before.told);
        let same = now.ages.keys().eq(before.ages.keys())
            && now.ages.iter().all(|(peer, age)| {
                let wanted = before.ages[peer] + passed;
                *age + ROUNDED > wanted
            });
        let name = self.router.name();
        ensure!(
            same,
            "{since}: sessions of {name} were {before:?} and are {now:?}"
        );
        Ok(())
    }

    /// How many of so many requests of the client behind it each node took, over a new connection
    /// each. Of a Service of policy `Cluster` the node's address is what the backend sees.
    pub async fn shares(
        &self,
        lab: &Lab,
        address: IpAddr,
        requests: usize,
    ) -> Result<BTreeMap<String, usize>> {
        let mut shares = BTreeMap::new();
        for _ in 0..requests {
            let answer = lab.ask(self.client, address, 80).await?;
            *shares.entry(self.taker(&answer)?).or_default() += 1;
        }
        Ok(shares)
    }

    /// The node that a request came in on.
    fn taker(&self, answer: &Answer) -> Result<String> {
        let client = answer.client.ip();
        let masqueraded = self.nodes.iter().find(|node| {
            // Towards its own pods, and towards those of others.
            node.pod_gateway().both().contains(&client) || node.mgmt.both().contains(&client)
        });
        // With policy Local the client is seen, and the pod is where the request came in.
        let node = masqueraded.or_else(|| self.nodes.iter().find(|node| node.name == answer.node));
        Ok(node.with_context(|| format!("{answer:?}"))?.name.clone())
    }

    /// Waits until requests of the client behind it are answered by every node they may come to: a
    /// node may announce an address a moment before its own kube-proxy knows it.
    pub async fn wait_served(&self, lab: &Lab, address: IpAddr) -> Result<()> {
        const REQUESTS: usize = 25;
        let what = format!("{address} to be served to {}", self.client);
        eventually(SOON, &what, async || {
            self.shares(lab, address, REQUESTS).await.map(|_| Some(()))
        })
        .await
    }

    /// Asks for an address all the time from the client behind it.
    pub fn traffic(&self, lab: &Lab, address: IpAddr) -> Result<Stream> {
        let traffic = lab.traffic(self.client, address, 80, EVERY, TIMEOUT)?;
        Ok(Stream {
            traffic,
            what: format!("{address} from behind {}", self.router.name()),
        })
    }
}

/// Requests for an address, all the time.
#[derive(Debug)]
pub struct Stream {
    traffic: herald_lab::Traffic,
    what: String,
}

impl Stream {
    /// Ends it; what became of the requests.
    pub async fn stop(self) -> Result<Report> {
        self.traffic.stop().await
    }

    /// Ends it, and makes sure that none failed. A request that was on its way when the router chose
    /// other next hops may have been reset by the node it then came to, which does not know its
    /// connection: so many of these may be.
    pub async fn none_failed(self, reset: usize, when: &str) -> Result<()> {
        let what = self.what.clone();
        let report = self.stop().await?;
        let (failures, broken) = (report.failures(), report.broken_off().len());
        let all = report.samples.len();
        ensure!(
            failures.len() == broken && broken <= reset && all > 50,
            "{when}: of {all} requests for {what} {} failed, {broken} of them by a reset: {:?} …",
            failures.len(),
            failures.first()
        );
        Ok(())
    }
}

/// The link-local address that an interface with this Ethernet address has.
fn link_local(mac: Mac) -> IpAddr {
    let (vendor, device) = mac.0.split_at(3);
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..11].copy_from_slice(vendor);
    octets[8] ^= 2;
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(device);
    octets.into()
}
