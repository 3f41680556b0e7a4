//! Runs containerlab's topology files in namespaces, without containers.

pub mod file;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use herald_lab::Bare;

use crate::router::{Config, Router};
use file::{File, Kind, Node, bind};

/// A topology that runs.
#[derive(Debug)]
pub struct Topology {
    routers: BTreeMap<String, Router>,
    bare: Bare,
}

/// The topologies of this source tree.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../containerlab"))
}

impl Topology {
    /// Makes all nodes, links, settings and addresses, and starts the routers of the nodes that
    /// `runs` chooses; the others are left for a speaker under test.
    pub fn start(path: &Path, runs: impl Fn(&str) -> bool) -> Result<Self> {
        let file = File::read(path)?;
        let folder = path.parent().context("the file has no folder")?;
        let nodes = &file.topology.nodes;
        let parts: Vec<&str> = nodes.keys().map(String::as_str).collect();
        let bare = Bare::new(&parts)?;
        for (name, node) in nodes {
            if node.kind == Some(Kind::Bridge) {
                let lines = [
                    "link add bridge type bridge forward_delay 0 mcast_snooping 0",
                    "link set bridge up",
                ];
                bare.ip(name, lines)?;
            }
        }
        for link in &file.topology.links {
            let ends = link.ends()?;
            let [one, other] = ends;
            bare.link(one, other)?;
            for (name, interface) in ends {
                let node = nodes.get(name);
                if node.is_some_and(|node| node.kind == Some(Kind::Bridge)) {
                    bare.ip(name, [format!("link set {interface} master bridge")])?;
                }
            }
        }
        for (name, node) in nodes {
            settings(&bare, name, node)?;
        }
        let mut routers = BTreeMap::new();
        for (name, node) in nodes {
            if let Some(daemon) = node.labels.get("lab-daemon").filter(|_| runs(name)) {
                let config = config(folder, node, daemon).with_context(|| name.clone())?;
                routers.insert(name.clone(), Router::start(&bare, name, name, &config)?);
            }
        }
        Ok(Self { routers, bare })
    }

    /// The namespaces, one for each node.
    pub fn bare(&self) -> &Bare {
        &self.bare
    }

    /// A node's router.
    pub fn router(&self, name: &str) -> Result<&Router> {
        let router = self.routers.get(name);
        router.with_context(|| format!("{name} runs no router"))
    }

    /// Ends the topology of a test that passed.
    pub fn down(self) {
        self.bare.down();
    }
}

fn settings(bare: &Bare, name: &str, node: &Node) -> Result<()> {
    for command in &node.exec {
        // Without a shell, as containerlab runs it.
        let words: Vec<&str> = command.split_whitespace().collect();
        bare.exec(name, &words)?;
    }
    Ok(())
}

/// A router's configuration out of the files that are bound into its container.
fn config(folder: &Path, node: &Node, daemon: &str) -> Result<Config> {
    let mut files = BTreeMap::new();
    for text in &node.binds {
        let (here, there) = bind(text)?;
        let name = there.rsplit('/').next().unwrap_or(there);
        files.insert(name, fs::read_to_string(folder.join(here))?);
    }
    let mut take = |name: &str| {
        files
            .remove(name)
            .with_context(|| format!("no {name} is bound"))
    };
    let config = match daemon {
        "frr" => Config::Frr {
            zebra: take("zebra.conf")?,
            bgpd: take("bgpd.conf")?,
            bfdd: Some(take("bfdd.conf")?),
        },
        "bird" => Config::Bird(take("bird.conf")?),
        other => bail!("there is no daemon {other}"),
    };
    ensure!(
        files.is_empty(),
        "{:?} are bound and not used",
        files.keys()
    );
    Ok(config)
}
