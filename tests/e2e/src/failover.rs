//! A cluster for tests of failover: one Service of both families whose owner is known, a client
//! that asks all the time, and a record of who answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_lab::{
    Herald, HeraldBuilder, Lab, LabBuilder, Look, Mac, MacWatch, Report, Service, Traffic,
    eventually,
};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::layer2::{address_of, advertise_with, names};
use crate::objects::{metrics, pool};

/// The node that owns the addresses as long as nothing happens.
pub const OWNER: &str = "n1";
/// The node with the backends; nothing should happen to it.
pub const BACKENDS: &str = "n3";

/// A new connection so often, in either family.
const EVERY: Duration = Duration::from_millis(10);
/// Less than the second after which a lost first packet is sent again.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Three nodes with Herald, and what is looked at.
#[derive(Debug)]
pub struct Cluster {
    /// The lab.
    pub lab: Lab,
    /// A Service that [`OWNER`] announces.
    pub web: Service,
    /// Its addresses, IPv4 first.
    pub addresses: [IpAddr; 2],
    /// The speakers, by the order of the nodes.
    pub speakers: Vec<Herald>,
}

impl Cluster {
    /// Starts the lab, Herald, a Service `web` and its backends, and waits until its owner alone
    /// answers.
    pub async fn start(lab: LabBuilder) -> Result<Self> {
        Self::start_with(lab, |speaker| speaker).await
    }

    /// [`Self::start`], with speakers whose flags are changed.
    pub async fn start_with(
        lab: LabBuilder,
        change: impl Fn(HeraldBuilder<'_>) -> HeraldBuilder<'_>,
    ) -> Result<Self> {
        let lab = lab.start().await?;
        let range = ["192.168.10.1-192.168.10.99", "fd10::a:1-fd10::a:99"];
        pool(&lab, "lan", &range).await?;
        advertise_with(&lab, "all", advertisement(None)).await?;
        for name in ["web-0", "web-1"] {
            lab.pod(name).app("web").on(BACKENDS).create().await?;
        }
        let addresses = [address_of(OWNER, &names(&lab), 0), "fd10::a:7".parse()?];
        let both = addresses.map(|address| address.to_string()).join(",");
        let web = lab.service("web").dual_stack();
        let web = web.annotation("metallb.io/loadBalancerIPs", &both);
        let web = web.create().await?;
        lab.start_controller("controller").await?;
        let mut speakers = Vec::new();
        for node in lab.nodes() {
            speakers.push(change(lab.speaker(&node.name)?).start().await?);
        }
        let cluster = Self {
            lab,
            web,
            addresses,
            speakers,
        };
        cluster.steady(OWNER).await?;
        Ok(cluster)
    }

    /// The speaker of a node.
    pub fn speaker(&self, node: &str) -> Result<&Herald> {
        let name = format!("speaker-{node}");
        let found = self.speakers.iter().find(|herald| herald.name() == name);
        found.with_context(|| format!("{node} has no speaker"))
    }

    /// The Ethernet address of a node on the LAN.
    pub fn mac(&self, node: &str) -> Result<Mac> {
        self.lab.mac(node, "lan0")
    }

    /// Waits until this node alone has answered for both addresses for a second.
    pub async fn steady(&self, node: &str) -> Result<()> {
        self.steady_within(node, Duration::from_secs(20)).await
    }

    /// [`Self::steady`], within another time.
    pub async fn steady_within(&self, node: &str, within: Duration) -> Result<()> {
        let wanted = BTreeSet::from([self.mac(node)?]);
        let watches = self.watch(Duration::from_millis(100))?;
        let what = format!("{node} alone to answer for a second");
        eventually(within, &what, async || {
            for watch in &watches {
                let looks = watch.looks();
                let last = &looks[looks.len().saturating_sub(10)..];
                let macs: Vec<_> = last.iter().map(|look| &look.macs).collect();
                let alone = macs.iter().all(|macs| **macs == wanted);
                ensure!(macs.len() == 10 && alone, "{macs:?} answer");
            }
            Ok(Some(()))
        })
        .await
    }

    /// Starts every speaker anew without a memory, so that no earlier departure counts.
    pub async fn fresh(&self) -> Result<()> {
        for speaker in &self.speakers {
            if speaker.is_running() {
                speaker.kill().await?;
            }
        }
        for node in self.lab.nodes() {
            self.lab.wipe_state(&node.name)?;
        }
        for speaker in &self.speakers {
            speaker.restart().await?;
        }
        self.steady(OWNER).await
    }

    /// Asks for both addresses all the time, over new connections.
    pub fn ask(&self) -> Result<Requests> {
        let stream = |address| self.lab.traffic("client", address, 80, EVERY, TIMEOUT);
        let streams = self.addresses.into_iter().map(stream);
        Ok(Requests(streams.collect::<Result<_>>()?))
    }

    /// Asks at an interval who has the addresses.
    pub fn watch(&self, every: Duration) -> Result<Vec<MacWatch>> {
        let watch = |address| self.lab.watch_macs(address, every);
        self.addresses.into_iter().map(watch).collect()
    }

    /// Merges a patch into a Node object.
    pub async fn patch_node(&self, node: &str, patch: Value) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.lab.client());
        nodes
            .patch(node, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Sets what the kubelet says of a node in the condition `Ready`.
    pub async fn set_ready(&self, node: &str, ready: bool, message: &str) -> Result<()> {
        let status = if ready { "True" } else { "False" };
        let condition = json!({
            "type": "Ready", "status": status, "reason": "Kubelet", "message": message,
        });
        let patch = json!({"status": {"conditions": [condition]}});
        let nodes: Api<Node> = Api::all(self.lab.client());
        nodes
            .patch_status(node, &PatchParams::default(), &Patch::Strategic(patch))
            .await?;
        Ok(())
    }

    /// Lets the advertisement prefer all nodes but one, or none.
    pub async fn advertise_rather_than(&self, node: Option<&str>) -> Result<()> {
        let mut spec = advertisement(node);
        let selectors = spec["nodeSelectors"].take();
        let preferred = selectors.as_array().into_iter().flatten();
        let preferred = preferred.map(|nodes| json!({"weight": 10, "preference": nodes}));
        spec["preferredNodeSelectors"] = preferred.collect();
        spec["nodeSelectors"] = json!([]);
        advertise_with(&self.lab, "all", spec).await
    }

    /// Lets the advertisement choose all nodes, or all but one.
    pub async fn advertise_except(&self, node: Option<&str>) -> Result<()> {
        advertise_with(&self.lab, "all", advertisement(node)).await
    }

    /// How many datagrams a node's speaker refused for a reason.
    pub async fn problems(&self, node: &str, kind: &str) -> Result<u64> {
        let series = format!("herald_group_problems_total{{kind=\"{kind}\"}}");
        Ok(self.sample(node, &series).await?.unwrap_or_default())
    }

    /// A sample of a node's speaker, by its name and labels as they are written.
    pub async fn sample(&self, node: &str, series: &str) -> Result<Option<u64>> {
        let text = metrics(&self.lab, node, self.speaker(node)?).await?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        Ok(value)
    }

    /// The sum of a sample over all speakers that have it.
    pub async fn total(&self, series: &str) -> Result<u64> {
        let mut total = 0;
        for node in self.lab.nodes() {
            total += self.sample(&node.name, series).await?.unwrap_or_default();
        }
        Ok(total)
    }

    /// Makes sure that no speaker has panicked, and removes the lab.
    pub async fn down(self) -> Result<()> {
        for speaker in &self.speakers {
            let log = speaker.log();
            ensure!(!log.contains("panicked"), "{}: {log}", speaker.name());
        }
        self.lab.down().await
    }
}

/// An advertisement on all nodes, or all but one.
fn advertisement(except: Option<&str>) -> Value {
    let selectors: Vec<Value> = except
        .iter()
        .map(|node| {
            json!({"matchExpressions": [{
                "key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node],
            }]})
        })
        .collect();
    json!({"nodeSelectors": selectors})
}

/// Streams of requests to the addresses of a [`Cluster`].
#[derive(Debug)]
pub struct Requests(Vec<Traffic>);

impl Requests {
    /// Ends the streams; IPv4 first.
    pub async fn stop(self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        for stream in self.0 {
            reports.push(stream.stop().await?);
        }
        Ok(reports)
    }

    /// Ends the streams, and makes sure that none of the requests failed that were sent since. One
    /// whose connection was open when the address moved is reset, because the next node's
    /// connection tracking does not know it: a move may break off what is under way at its moment,
    /// which is more where the cores are shared and a request takes its time. No test moves an
    /// address more than six times: away from each of three speakers, and back.
    pub async fn none_failed(self, since: Instant, what: &str) -> Result<()> {
        const MOVES: usize = 6;
        const MOVED: usize = 15;
        for report in self.stop().await? {
            let report = report.since(since);
            let (failures, all) = (report.failures(), report.samples.len());
            let breaks = report.breaks();
            let reset: usize = breaks.iter().sum();
            ensure!(
                failures.len() == reset && breaks.len() <= MOVES && reset <= MOVED && all > 50,
                "{what}: {} of {all} requests failed, at these moments so many by a reset: \
                 {breaks:?}: {:?} …",
                failures.len(),
                failures.first()
            );
        }
        Ok(())
    }

    /// Ends the streams, and makes sure that no time without an answer was longer than this. Where
    /// the client had no time to ask, the speakers had none either: twice of what lies in that very
    /// time is allowed beside.
    pub async fn no_longer_than(self, longest: Duration, what: &str) -> Result<()> {
        for report in self.stop().await? {
            let answered = report.answered();
            ensure!(answered > 50, "{what}: only {answered} answers");
            for (silence, late) in report.silences(EVERY * 3) {
                ensure!(
                    silence <= longest + late * 2,
                    "{what}: no answer for {silence:?}; the client itself was {late:?} late in it"
                );
            }
        }
        Ok(())
    }
}

/// Ends the watches, and makes sure that one and only one answered each question asked since; the
/// distinct ones that did. One question without an answer may be asked again at the interval: on
/// cores that are shared an answer can be late. And one question of all may be answered by two: it
/// came in the moment in which one handed the address over to the other, who both answer until the
/// one has heard the other's announcement.
pub async fn one_answer(
    watches: Vec<MacWatch>,
    since: Instant,
    what: &str,
) -> Result<BTreeSet<Mac>> {
    let mut all = BTreeSet::new();
    for watch in watches {
        let looks = watch.stop().await?;
        let asked: Vec<&Look> = looks.iter().filter(|look| look.asked >= since).collect();
        let mut before = 1;
        let mut wrong = Vec::new();
        let mut handed_over = false;
        for look in &asked {
            let count = look.macs.len();
            let split = count > 1 && std::mem::replace(&mut handed_over, true);
            if split || count > 2 || (count == 0 && before == 0) {
                wrong.push((look.asked - since, &look.macs));
            }
            before = count;
        }
        ensure!(
            wrong.is_empty() && !asked.is_empty(),
            "{what}: of {} questions these had no one answer: {wrong:?}",
            asked.len()
        );
        all.extend(asked.iter().flat_map(|look| look.macs.iter().copied()));
    }
    Ok(all)
}
