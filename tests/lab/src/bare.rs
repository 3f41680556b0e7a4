//! A lab without a cluster: namespaces, links and processes alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::lab::make_dir;
use crate::net::build::{add_namespaces, netns_of};
use crate::net::command::{ip_batch, run};
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec, start_time};
use crate::state::{LabState, sweep};

/// Namespaces that know nothing of each other until they are linked, for programs that speak with
/// each other and not with Kubernetes. Dropping it removes everything except the
/// logs, [`Bare::down`] the logs too; after SIGKILL the next start of any lab removes the rest.
#[derive(Debug)]
pub struct Bare {
    state: LabState,
    processes: Mutex<BTreeMap<String, Process>>,
    passed: bool,
}

impl Bare {
    /// Makes the namespaces `hl-<id>-<part>` with the lab's kernel settings and a working loopback.
    pub fn new(parts: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let pid = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("p{pid:x}x{count:x}");
        let entry = format!("/run/herald-lab/{id}");
        fs::create_dir_all(&entry).with_context(|| format!("cannot make {entry}: be root"))?;
        let state = LabState {
            dir: make_dir(&id)?,
            id,
            name: None,
            pid,
            start_time: start_time(pid).context("cannot read /proc/self/stat")?,
            nodes: Vec::new(),
            api_port: None,
        };
        state.write()?;
        let bare = Self {
            state,
            processes: Mutex::default(),
            passed: false,
        };
        let namespaces: Vec<Netns> = parts.iter().map(|part| bare.netns(part)).collect();
        add_namespaces(&namespaces)?;
        for part in parts {
            bare.ip(part, ["link set lo up"])?;
        }
        Ok(bare)
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace of a part.
    pub fn netns(&self, part: &str) -> Netns {
        netns_of(&self.state.id, part)
    }

    /// The folder for a test's own files.
    pub fn dir(&self) -> &Path {
        &self.state.dir
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.state.logs()
    }

    /// Runs lines of `ip` in a part's namespace, e.g. `addr add 10.0.0.1/24 dev eth0`.
    pub fn ip<L: Into<String>>(
        &self,
        part: &str,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<()> {
        let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        ip_batch(self.netns(part).name(), &lines)
    }

    /// Joins two parts by a cable between two new interfaces, both up, without addresses.
    pub fn link(&self, one: (&str, &str), other: (&str, &str)) -> Result<()> {
        let far = self.netns(other.0);
        self.ip(
            one.0,
            [
                format!(
                    "link add {} type veth peer name {} netns {}",
                    one.1,
                    other.1,
                    far.name()
                ),
                format!("link set {} up", one.1),
            ],
        )?;
        self.ip(other.0, [format!("link set {} up", other.1)])
    }

    /// Runs a short command in a part's namespace to its end; what it printed.
    pub fn exec(&self, part: &str, command: &[&str]) -> Result<String> {
        let netns = self.netns(part);
        let args: Vec<&str> = ["netns", "exec", netns.name()]
            .iter()
            .chain(command)
            .copied()
            .collect();
        run("ip", &args)
    }

    /// Starts a process in a part's namespace. Its name must be free, or that of one that ended.
    pub fn spawn(&self, part: &str, spec: ProcessSpec) -> Result<Process> {
        let mut processes = self.processes();
        if processes.get(&spec.name).is_some_and(Process::is_running) {
            bail!("a process named {:?} runs already", spec.name);
        }
        let process = Process::start(spec, self.netns(part), &self.logs())?;
        processes.insert(process.name().to_owned(), process.clone());
        Ok(process)
    }

    /// Ends the lab of a test that passed: removes everything, with the logs (unless the
    /// environment has `HERALD_LAB_KEEP`).
    pub fn down(mut self) {
        self.passed = true;
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for process in self.processes().values() {
            process.kill_now();
        }
        let keep = !self.passed || std::env::var_os("HERALD_LAB_KEEP").is_some();
        if let Err(error) = self.state.remove(keep) {
            eprintln!("lab {}: cannot clean up: {error:#}", self.state.id);
        }
        if keep {
            eprintln!(
                "lab {}: logs are in {}",
                self.state.id,
                self.state.logs().display()
            );
        }
    }
}
