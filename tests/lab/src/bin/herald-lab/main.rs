//! `herald-lab`: a Kubernetes cluster of network namespaces on this machine, for people.

mod ui;
mod up;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use herald_lab::{LabState, ProxyMode, kubernetes, sweep};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A real Kubernetes cluster of network namespaces on this machine. Needs root
#[derive(Debug, Parser)]
#[command(name = "herald-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a lab that runs in the background until `down`
    Up(UpArgs),
    /// Stop a lab and remove everything it made
    Down {
        /// The name or id of the lab; not needed if there is only one
        lab: Option<String>,
        /// Stop all labs
        #[arg(long, conflicts_with = "lab")]
        all: bool,
    },
    /// Show the labs: their namespaces, addresses and processes
    Status,
    /// Run a command in a namespace of a lab: n1, client, router, remote, cp, sw, …
    Exec {
        /// The name or id of the lab; not needed if there is only one
        #[arg(long)]
        lab: Option<String>,
        /// The namespace, without the lab's prefix
        namespace: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run kubectl against a lab
    Kubectl {
        /// The name or id of the lab; not needed if there is only one
        #[arg(long)]
        lab: Option<String>,
        /// kubectl's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Own a lab in the foreground
    #[command(hide = true)]
    Own(UpArgs),
}

#[derive(Debug, Clone, Args)]
struct UpArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// kube-proxy on the nodes
    #[arg(long, value_enum, default_value_t = Mode::Nftables)]
    proxy_mode: Mode,
    /// Start Herald too: a controller and a speaker on every node
    #[arg(long, overrides_with = "no_herald")]
    herald: bool,
    /// Do not start Herald (the default)
    #[arg(long)]
    no_herald: bool,
    /// Also create a Service `web` with a backend on each of the first so many nodes
    #[arg(long, value_name = "BACKENDS", default_value_t = 0)]
    web: u8,
    /// Run a containerd and a kubelet on every node, and a scheduler: real pods
    #[arg(long, conflicts_with_all = ["herald", "web"])]
    kubelets: bool,
    /// An image that the nodes' containerd has, an archive; more than one may be given
    #[arg(long, value_name = "ARCHIVE", requires = "kubelets")]
    image: Vec<PathBuf>,
    /// A name, for the other commands
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Nftables,
    Iptables,
    None,
}

impl From<Mode> for ProxyMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Nftables => Self::Nftables,
            Mode::Iptables => Self::Iptables,
            Mode::None => Self::None,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herald-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    match action {
        Action::Up(args) => up::up(&args),
        Action::Own(args) => up::own(args),
        Action::Down { all: true, .. } => {
            LabState::all()
                .iter()
                .filter(|lab| lab.is_alive())
                .try_for_each(down)?;
            let swept = sweep();
            if swept > 0 {
                ui::line(&format!("removed what {swept} dead labs left behind"));
            }
            Ok(())
        }
        Action::Down { lab, .. } => down(&find(lab.as_deref())?),
        Action::Status => ui::status(&LabState::all()),
        Action::Exec {
            lab,
            namespace,
            command,
        } => {
            let netns = find(lab.as_deref())?.netns(&namespace);
            if !netns.path().exists() {
                bail!("the lab has no namespace {namespace}: see herald-lab status");
            }
            let mut ip = Command::new("ip");
            Err(ip
                .args(["netns", "exec", netns.name()])
                .args(command)
                .exec()
                .into())
        }
        Action::Kubectl { lab, args } => {
            let file = find(lab.as_deref())?.kubeconfig();
            let mut kubectl = Command::new(kubernetes()?);
            Err(kubectl
                .arg("kubectl")
                .args(args)
                .env("KUBECONFIG", file)
                .exec()
                .into())
        }
    }
}

/// The lab of this name or id among those that run; without one, the only lab there is.
fn find(wanted: Option<&str>) -> Result<LabState> {
    let labs: Vec<LabState> = LabState::all()
        .into_iter()
        .filter(LabState::is_alive)
        .collect();
    let names = || {
        let names: Vec<&str> = labs
            .iter()
            .map(|lab| lab.name.as_deref().unwrap_or(&lab.id))
            .collect();
        names.join(", ")
    };
    match (wanted, labs.as_slice()) {
        (_, []) => bail!("no lab runs: start one with herald-lab up"),
        (None, [lab]) => Ok(lab.clone()),
        (None, _) => bail!("several labs run, name one: {}", names()),
        (Some(wanted), _) => labs
            .iter()
            .find(|lab| lab.id == wanted || lab.name.as_deref() == Some(wanted))
            .cloned()
            .with_context(|| format!("no lab {wanted} runs, but {}", names())),
    }
}

/// Asks the owner to end and waits until the lab is gone.
fn down(lab: &LabState) -> Result<()> {
    let name = lab.name.as_deref().unwrap_or(&lab.id);
    kill(Pid::from_raw(lab.pid.cast_signed()), Signal::SIGTERM)
        .with_context(|| format!("cannot end the owner of lab {name}, process {}", lab.pid))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while lab.is_alive() {
        if Instant::now() > deadline {
            bail!(
                "process {} does not end: kill it, then run herald-lab down --all",
                lab.pid
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if lab.dir.exists() {
        std::fs::remove_dir_all(&lab.dir)?;
    }
    ui::line(&format!("lab {name} is down"));
    Ok(())
}
