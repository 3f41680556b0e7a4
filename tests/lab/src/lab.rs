//! The lab itself: what it is made of, how it starts and how it ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, fs};

use anyhow::{Context as _, Result};
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::builder::LabBuilder;
use crate::cluster::access;
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::pki::{Pki, User};
use crate::net::address::Node;
use crate::net::build::netns_of;
use crate::net::fault::Drop as PacketDrop;
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec};
use crate::state::LabState;

/// A running lab. Dropping it removes everything except the logs; [`Lab::down`], the end of a test
/// that passed, removes the logs too.
pub struct Lab {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    pub(crate) control_plane: ControlPlane,
}

/// What the end of the lab needs, also when a signal brings it about.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: LabState,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pki: Pki,
    pub(crate) processes: Mutex<BTreeMap<String, Process>>,
    pub(crate) drops: Mutex<Vec<(u64, PacketDrop)>>,
    /// The host number of the next pod, by node.
    pub(crate) pod_hosts: Vec<AtomicU8>,
    /// Ends the lab's threads and tasks in this process: backends, captures, the forwarder.
    pub(crate) end: CancellationToken,
    down: Mutex<bool>,
}

impl Shared {
    pub(crate) fn new(state: LabState, nodes: Vec<Node>, pki: Pki) -> Self {
        Self {
            state,
            pod_hosts: nodes.iter().map(|_| AtomicU8::new(10)).collect(),
            nodes,
            pki,
            processes: Mutex::default(),
            drops: Mutex::default(),
            end: CancellationToken::new(),
            down: Mutex::new(false),
        }
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes everything. Once; later calls wait for its end and do nothing.
    pub(crate) fn take_down(&self, passed: bool) {
        // Held to the end: whoever comes second must not end the process in the middle of it.
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *down, true) {
            return;
        }
        self.end.cancel();
        for process in self.processes().values() {
            process.kill_now();
        }
        let keep = !passed || std::env::var_os("HERALD_LAB_KEEP").is_some();
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

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shared.take_down(false);
    }
}

impl Lab {
    /// A lab to be: three nodes, kube-proxy in mode nftables.
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
    }

    /// Ends the lab of a test that passed: removes everything, with the logs (unless the
    /// environment has `HERALD_LAB_KEEP`).
    pub async fn down(self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.take_down(true)).await?;
        Ok(())
    }

    /// The random part of the names of this lab's namespaces.
    pub fn id(&self) -> &str {
        &self.shared.state.id
    }

    /// What `herald-lab status` sees of this lab.
    pub fn state(&self) -> &LabState {
        &self.shared.state
    }

    /// The folder of the lab's files, for a test's own.
    pub fn dir(&self) -> &Path {
        &self.shared.state.dir
    }

    /// The folder of the logs and captures.
    pub fn logs(&self) -> PathBuf {
        self.shared.state.logs()
    }

    /// The nodes, `n1` first.
    pub fn nodes(&self) -> &[Node] {
        &self.shared.nodes
    }

    /// A node by name; an error names the nodes there are.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes()
            .iter()
            .find(|node| node.name == name)
            .with_context(|| {
                let names: Vec<&str> = self.nodes().iter().map(|node| node.name.as_str()).collect();
                format!("the lab has no node {name:?}; it has {}", names.join(", "))
            })
    }

    /// The namespace of a part: `n1`…, `client`, `router`, `remote`, `cp`, `sw`, `pod-<name>`.
    pub fn netns(&self, part: &str) -> Netns {
        netns_of(self.id(), part)
    }

    /// Runs a closure in a part's namespace, on a thread of its own, and waits for it.
    pub fn in_namespace<T: Send>(&self, part: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.netns(part).run(work)
    }

    /// Runs a short command in a part's namespace to its end; what it printed. A failure is an
    /// error with what it printed on its standard error.
    pub async fn exec(&self, part: &str, command: &[&str]) -> Result<String> {
        let mut args = vec![
            "netns".to_owned(),
            "exec".into(),
            self.netns(part).name().into(),
        ];
        args.extend(command.iter().map(ToString::to_string));
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            crate::net::command::run("ip", &args)
        })
        .await?
    }

    /// Starts a process in a part's namespace. Its name must be free, or that of one that ended.
    pub fn spawn(&self, part: &str, spec: ProcessSpec) -> Result<Process> {
        let mut processes = self.shared.processes();
        if let Some(other) = processes.get(&spec.name).filter(|other| other.is_running()) {
            anyhow::bail!(
                "a process named {:?} runs already, pid {}",
                spec.name,
                other.pid()
            );
        }
        let process = Process::start(spec, self.netns(part), &self.logs())?;
        processes.insert(process.name().to_owned(), process.clone());
        Ok(process)
    }

    /// A process by name: `etcd`, `kube-apiserver`, `kube-proxy-n1`, `controller`, `speaker-n1`…
    pub fn process(&self, name: &str) -> Option<Process> {
        self.shared.processes().get(name).cloned()
    }

    /// etcd, the API server and the controller manager.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// A client with all rights. Its connections are made inside the lab.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client with the rights of a user.
    pub fn client_of(&self, user: User) -> Result<Client> {
        access::client(&self.netns("cp"), &self.shared.pki, user)
    }

    /// A kubeconfig for processes in the namespaces `cp` and of the nodes.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.shared.pki.kubeconfig(user)
    }

    /// Opens a port on this machine's loopback that leads to the API server, and writes a
    /// kubeconfig for it. Lives as long as the executor and the lab.
    pub async fn forward_api(&self) -> Result<PathBuf> {
        let port = access::forward(self.netns("cp"), self.shared.end.clone()).await?;
        let mut state = self.shared.state.clone();
        state.api_port = Some(port);
        let file = state.kubeconfig();
        let server = format!("https://127.0.0.1:{port}");
        self.shared
            .pki
            .write_kubeconfig(&file, User::Admin, &server)?;
        state.write()?;
        Ok(file)
    }
}

/// Makes the folder of a lab's files.
pub(crate) fn make_dir(id: &str) -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("herald-lab-{id}"));
    let logs = dir.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    Ok(dir)
}
