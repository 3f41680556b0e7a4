//! containerd on a node.
//!
//! A node with a kubelet has its own `/var` and `/run`, folders of the lab, in a mount namespace that
//! lives as long as the node's processes: whatever they mount goes with them, and nothing of the
//! machine's own is touched. What runs in such a node runs in the namespaces of its containerd.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::spawn_blocking;

use super::cgroup;
use crate::net::address::{Addresses, Node};
use crate::net::command::run;
use crate::net::netns::Netns;
use crate::process::{Process, ProcessSpec};
use crate::workspace;

/// The image of [`pod_image`]: it holds a pod's namespaces, and is a server with the argument `serve`.
pub const POD_IMAGE: &str = "localhost/herald-pod:1";

/// Debian's folder of CNI plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// A node's folders, as the machine sees them.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    root: PathBuf,
}

impl Folders {
    pub(crate) fn new(dir: &Path, node: &str) -> Self {
        Self {
            root: dir.join(node),
        }
    }

    /// What the node's processes have as `/var`.
    pub(crate) fn var(&self) -> PathBuf {
        self.root.join("var")
    }

    /// What the node's processes have as `/run`.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Configuration, under this name for all.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn create(&self) -> Result<()> {
        for folder in ["lib/kubelet", "log", "tmp"] {
            fs::create_dir_all(self.var().join(folder))?;
        }
        fs::create_dir_all(self.run())?;
        fs::create_dir_all(self.file("cni"))?;
        symlink("/run", self.var().join("run")).context("cannot make /var/run of the node")
    }
}

/// What `tests/kubernetes/containerd/build.sh` built: the folder.
fn programs() -> Result<PathBuf> {
    let cache = |variable| std::env::var_os(variable).map(PathBuf::from);
    let folder = cache("HERALD_CONTAINERD")
        .or_else(|| Some(cache("XDG_CACHE_HOME")?.join("herald/containerd")))
        .or_else(|| Some(cache("HOME")?.join(".cache/herald/containerd")))
        .context("neither HERALD_CONTAINERD nor HOME is set")?;
    ensure!(
        folder.join("containerd").is_file(),
        "{} has no containerd: run tests/kubernetes/containerd/build.sh",
        folder.display()
    );
    Ok(folder)
}

/// The image of the tests' pods, an archive: `HERALD_POD_IMAGE`, or what `make pod-image` makes.
fn pod_image() -> Result<PathBuf> {
    let file = std::env::var_os("HERALD_POD_IMAGE")
        .map_or_else(|| workspace().join("target/herald-pod.tar"), PathBuf::from);
    ensure!(
        file.is_file(),
        "{} does not exist: run make pod-image or set HERALD_POD_IMAGE",
        file.display()
    );
    Ok(file)
}

const CONFIG: &str = r#"version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "POD_IMAGE"
[plugins."io.containerd.cri.v1.runtime"]
# Lowering it is not everywhere allowed.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["PLUGINS"]
conf_dir = "FOLDER"
"#;

/// Pods are plugged into the bridge that the node has anyway.
fn network(node: &Node) -> Result<String> {
    let gateway: Addresses = node.pod_gateway();
    let ranges = node
        .pod_cidrs()
        .into_iter()
        .zip(gateway.both())
        .map(|(subnet, gateway)| serde_json::json!([{"subnet": subnet, "gateway": gateway}]));
    let routes = [
        serde_json::json!({"dst": "0.0.0.0/0"}),
        serde_json::json!({"dst": "::/0"}),
    ];
    Ok(serde_json::to_string_pretty(&serde_json::json!({
        "cniVersion": "1.0.0", "name": "lab", "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "ranges": ranges.collect::<Vec<_>>(), "routes": routes,
                },
            },
        ],
    }))?)
}

/// Starts containerd as `containerd-<node>`, waits for it and gives it the images.
pub(crate) async fn start(
    id: &str,
    node: &Node,
    netns: Netns,
    dir: &Path,
    logs: &Path,
    images: Vec<PathBuf>,
) -> Result<Process> {
    let programs = programs()?;
    let folders = Folders::new(dir, &node.name);
    folders.create()?;
    cgroup::create(id, &node.name)?;
    fs::write(folders.file("cni/lab.conflist"), network(node)?)?;
    let config = folders.file("containerd.toml");
    let text = CONFIG
        .replace("POD_IMAGE", POD_IMAGE)
        .replace("PLUGINS", PLUGINS)
        .replace("FOLDER", &folders.file("cni").to_string_lossy());
    fs::write(&config, text)?;

    // The shell becomes containerd. Both folders stay with the mount namespace.
    let mount = r#"mount --bind "$1" /var && mount --bind "$2" /run && shift 2 && exec "$@""#;
    let spec = ProcessSpec::new(format!("containerd-{}", node.name), "unshare")
        .args([
            "--mount",
            "--propagation=private",
            "--",
            "sh",
            "-c",
            mount,
            "sh",
        ])
        .args([folders.var(), folders.run()])
        .arg(programs.join("containerd"))
        .arg("--config")
        .arg(&config)
        .env("PATH", path_with(&programs)?)
        .with_cgroups();
    let process = Process::start(spec, netns, logs)?;

    let socket = folders.run().join("containerd/containerd.sock");
    let (waiting, ctr) = (process.clone(), programs.join("ctr"));
    spawn_blocking(move || {
        let (ctr, socket) = (ctr.to_string_lossy(), socket.to_string_lossy());
        answers(&waiting, &ctr, &socket)?;
        let mut images = std::iter::once(pod_image()?).chain(images);
        images.try_for_each(|image| import(&ctr, &socket, &image))
    })
    .await??;
    Ok(process)
}

fn answers(containerd: &Process, ctr: &str, socket: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = run(ctr, &["--address", socket, "version"]) {
        if let Some(status) = containerd.exit_status() {
            let (name, tail) = (containerd.name(), containerd.log_tail(20));
            bail!("{name} ended with {status}:\n{tail}");
        }
        ensure!(
            Instant::now() < deadline,
            "{}: {error:#}",
            containerd.name()
        );
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn import(ctr: &str, socket: &str, image: &Path) -> Result<()> {
    let image = image.to_str().context("the name of an image is no text")?;
    let (to, import) = (
        ["--address", socket, "--namespace", "k8s.io"],
        ["images", "import"],
    );
    run(ctr, &[&to[..], &import, &[image]].concat())?;
    Ok(())
}

fn path_with(folder: &Path) -> Result<OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&before));
    Ok(std::env::join_paths(folders)?)
}
