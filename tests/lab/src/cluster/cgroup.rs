//! The control groups of the nodes' pods: `herald-lab-<id>/<node>` in every hierarchy. Kubelets that
//! share a machine take the pods of others for leftovers of their own unless each has its part.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup of a node, as a kubelet takes it.
pub(crate) fn node(id: &str, node: &str) -> String {
    format!("/{}/{node}", folder(id))
}

fn folder(id: &str) -> String {
    format!("herald-lab-{id}")
}

/// Every hierarchy of version 1, or else the only one of version 2.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    folders(&root)
        .into_iter()
        .filter(|folder| folder.join("cgroup.procs").exists())
        .collect()
}

fn folders(of: &Path) -> Vec<PathBuf> {
    // A cgroup may be gone by now.
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .filter(is_folder)
        .map(|entry| entry.path())
        .collect()
}

/// Makes the cgroup of a node.
pub(crate) fn create(id: &str, node: &str) -> Result<()> {
    let hierarchies = hierarchies();
    ensure!(!hierarchies.is_empty(), "no cgroups are mounted in {ROOT}");
    for hierarchy in hierarchies {
        let lab = hierarchy.join(folder(id));
        for cgroup in [&lab, &lab.join(node)] {
            fs::create_dir_all(cgroup)
                .with_context(|| format!("cannot make {}", cgroup.display()))?;
            // A new cpuset is empty, and takes no process.
            for set in ["cpuset.cpus", "cpuset.mems"] {
                let above = cgroup.parent().unwrap_or(&hierarchy).join(set);
                if hierarchy.ends_with("cpuset") {
                    fs::write(cgroup.join(set), fs::read(&above)?)
                        .with_context(|| format!("cannot fill {set}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Kills what runs in the cgroups of a lab, and removes them. Most labs have none.
pub(crate) fn remove(id: &str) -> Result<()> {
    let labs = hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.join(folder(id)));
    for lab in labs.filter(|lab| lab.exists()) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = empty(&lab) {
            ensure!(
                Instant::now() < deadline,
                "cannot remove {}: {error}",
                lab.display()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// One attempt; the kernel needs a moment until a killed process has left its cgroup.
fn empty(cgroup: &Path) -> std::io::Result<()> {
    for child in folders(cgroup) {
        empty(&child)?;
    }
    let processes = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        // One that is gone already needs no signal.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    fs::remove_dir(cgroup)
}
