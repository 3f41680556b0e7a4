//! A cluster whose nodes have sessions with two routers, one FRR and one BIRD, each with a client
//! behind it.

mod config;
mod tor;

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use herald_interop::Prefix;
use herald_lab::{Herald, HeraldBuilder, Lab, LabBuilder};
use serde_json::{Value, json};

use crate::objects::{SOON, pool};

pub use config::{
    BIRD, FRR, FRR_AS, OWN_AS, advertisement, annotated, bird, frr, object, peer, to_bird, to_frr,
    with,
};
pub use tor::{Sessions, Stream, Tor};

/// All nodes of the lab.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// The ranges of the pool `bgp`: no part of any network of the lab.
pub const POOL: [&str; 2] = ["10.50.0.1-10.50.0.254", "fd50::1-fd50::fe"];

/// Three nodes with Herald, and two routers.
#[derive(Debug)]
pub struct Fabric {
    /// The lab.
    pub lab: Lab,
    /// The speakers, by the order of the nodes.
    pub speakers: Vec<Herald>,
    /// In another autonomous system, one session for both families.
    pub frr: Tor,
    /// In the nodes' own autonomous system, a session for each family.
    pub bird: Tor,
}

impl Fabric {
    /// Starts the lab, both routers and Herald, with the pool `bgp` and a `BGPAdvertisement` `all` of
    /// it. There are no peers yet.
    pub async fn start(lab: LabBuilder) -> Result<Self> {
        Self::start_with(lab, |speaker| speaker).await
    }

    /// [`Self::start`], with speakers whose flags are changed.
    pub async fn start_with(
        lab: LabBuilder,
        change: impl Fn(HeraldBuilder<'_>) -> HeraldBuilder<'_>,
    ) -> Result<Self> {
        let lab = lab.start().await?;
        lab.add_router().await?;
        pool(&lab, "bgp", &POOL).await?;
        let all = json!({"ipAddressPools": ["bgp"]});
        let all = advertisement("all", all);
        lab.apply_yaml(&all.to_string()).await?;
        let frr = Tor::start(&lab, "frr", "router", "remote", &frr(&lab, None))?;
        let bird = Tor::start(&lab, "bird", "router2", "remote2", &bird(&lab))?;
        lab.start_controller("controller").await?;
        let mut speakers = Vec::new();
        for node in lab.nodes() {
            speakers.push(change(lab.speaker(&node.name)?).start().await?);
        }
        for speaker in &speakers {
            speaker.wait_ready().await?;
        }
        Ok(Self {
            lab,
            speakers,
            frr,
            bird,
        })
    }

    /// Both routers.
    pub fn tors(&self) -> [&Tor; 2] {
        [&self.frr, &self.bird]
    }

    /// Applies an object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.lab.apply_yaml(&object.to_string()).await?;
        Ok(())
    }

    /// Makes the peers `frr`, `bird-v4` and `bird-v6`, with these fields beside what they need, and
    /// waits until all sessions are up.
    pub async fn peers(&self, frr: Value, bird: Value) -> Result<()> {
        self.apply(&peer("frr", with(to_frr(), frr))).await?;
        for (name, address) in ["bird-v4", "bird-v6"].into_iter().zip(BIRD) {
            let spec = with(to_bird(address), bird.clone());
            self.apply(&peer(name, spec)).await?;
        }
        for tor in self.tors() {
            tor.wait_sessions(&NODES).await?;
        }
        Ok(())
    }

    /// Waits until both routers spread all these addresses over just these nodes.
    pub async fn wait_nodes(&self, addresses: &[IpAddr], nodes: &[&str]) -> Result<()> {
        for tor in self.tors() {
            for address in addresses {
                tor.wait_nodes(Prefix::host(*address), nodes).await?;
            }
        }
        Ok(())
    }

    /// The sessions of both routers, for [`Self::same_sessions`].
    pub async fn sessions(&self) -> Result<[Sessions; 2]> {
        Ok([self.frr.sessions().await?, self.bird.sessions().await?])
    }

    /// Makes sure that both routers have the sessions that they had.
    pub async fn same_sessions(&self, before: &[Sessions; 2], since: &str) -> Result<()> {
        for (tor, before) in self.tors().into_iter().zip(before) {
            tor.same_sessions(before, since).await?;
        }
        Ok(())
    }

    /// The speaker of a node.
    pub fn speaker(&self, node: &str) -> Result<&Herald> {
        let name = format!("speaker-{node}");
        let found = self.speakers.iter().find(|herald| herald.name() == name);
        found.with_context(|| format!("{node} has no speaker"))
    }

    /// Waits until a node's speaker has logged all these in one line.
    pub async fn wait_log(&self, node: &str, texts: &[&str]) -> Result<()> {
        let speaker = self.speaker(node)?;
        let what = format!("{} to log {texts:?}", speaker.name());
        herald_lab::eventually(SOON, &what, async || {
            let log = speaker.log();
            let mut lines = log.lines();
            let said = lines.any(|line| texts.iter().all(|text| line.contains(text)));
            Ok(said.then_some(()))
        })
        .await
        .with_context(|| speaker.log_tail(10))
    }

    /// Makes sure that no speaker has panicked or ended, and removes the lab.
    pub async fn down(self) -> Result<()> {
        for speaker in &self.speakers {
            let log = speaker.log();
            ensure!(!log.contains("panicked"), "{}: {log}", speaker.name());
            if let Some(status) = speaker.exit_status() {
                anyhow::bail!("{} ended with {status}: {log}", speaker.name());
            }
        }
        self.lab.down().await
    }
}
