//! What other processes can know about a lab: `/run/herald-lab/<id>/state.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cluster::cgroup;
use crate::cluster::containerd::Folders;
use crate::net::build::remove_namespaces;
use crate::process::start_time;

const ROOT: &str = "/run/herald-lab";

/// A lab as its owner wrote it down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabState {
    /// The random part of the namespaces' names, `hl-<id>-…`.
    pub id: String,
    /// The name that a person gave it.
    pub name: Option<String>,
    /// The process that owns the lab.
    pub pid: u32,
    /// When that process started, in clock ticks since boot.
    pub start_time: u64,
    /// Data, keys and logs.
    pub dir: PathBuf,
    /// `n1`, `n2`, ….
    pub nodes: Vec<String>,
    /// The port on this machine's loopback that leads to the API server, once it is up.
    pub api_port: Option<u16>,
}

impl LabState {
    /// All labs written down on this machine, with live owners or not.
    pub fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(ROOT) else {
            return Vec::new();
        };
        let mut labs: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("state.json")).ok())
            .filter_map(|bytes| serde_json::from_slice(&bytes).ok())
            .collect();
        labs.sort_by(|a, b| a.id.cmp(&b.id));
        labs
    }

    /// Whether the owner still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// The namespace of a part of the lab.
    pub fn netns(&self, part: &str) -> crate::Netns {
        crate::net::build::netns_of(&self.id, part)
    }

    /// The kubeconfig for use outside of the lab's namespaces.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Where the logs are.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    fn entry(&self) -> PathBuf {
        Path::new(ROOT).join(&self.id)
    }

    /// Writes the state in one step, so that a sweep never sees half of it.
    pub(crate) fn write(&self) -> Result<()> {
        let entry = self.entry();
        fs::create_dir_all(&entry)
            .with_context(|| format!("cannot make {}: be root", entry.display()))?;
        let new = entry.join("state.json.new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&new, entry.join("state.json"))?;
        Ok(())
    }

    /// Removes the namespaces with what runs in them, the data, the logs too unless they are
    /// wanted, and at last this record.
    pub(crate) fn remove(&self, keep_logs: bool) -> Result<()> {
        remove_namespaces(&format!("hl-{}-", self.id))?;
        // Pods have namespaces of their own. What they and their kubelets have mounted goes with them.
        cgroup::remove(&self.id)?;
        if keep_logs {
            let nodes = self.nodes.iter().map(|node| Folders::new(&self.dir, node));
            let nodes = nodes.flat_map(|node| [node.run(), node.var().join("lib")]);
            for part in ["etcd", "pki"]
                .map(|part| self.dir.join(part))
                .into_iter()
                .chain(nodes)
            {
                // What is not there need not be removed.
                let _ = fs::remove_dir_all(part);
            }
        } else if self.dir.exists() {
            fs::remove_dir_all(&self.dir)
                .with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        let entry = self.entry();
        fs::remove_dir_all(&entry).with_context(|| format!("cannot remove {}", entry.display()))
    }
}

/// Removes the labs whose owner died without cleaning up. How many there were.
pub fn sweep() -> usize {
    let dead: Vec<LabState> = LabState::all()
        .into_iter()
        .filter(|lab| !lab.is_alive())
        .collect();
    // Another start may be sweeping the same lab; what is left the next start takes.
    dead.iter().filter(|lab| lab.remove(true).is_ok()).count()
}
