//! Herald's own processes on the lab.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::cluster::pki::User;
use crate::cluster::pod::create_host_pod;
use crate::io::http;
use crate::lab::Lab;
use crate::process::{Process, ProcessSpec};
use crate::wait::eventually;
use crate::workspace;

/// The namespace that Herald reads its custom resources from.
pub const NAMESPACE: &str = "metallb-system";

const METRICS_PORT: u16 = 9120;
const HEALTH_PORT: u16 = 17472;

/// The binary: `HERALD_BIN`, or what `cargo build --release` makes.
pub fn herald_bin() -> Result<PathBuf> {
    let path = std::env::var_os("HERALD_BIN")
        .map_or_else(|| workspace().join("target/release/herald"), PathBuf::from);
    ensure!(
        path.is_file(),
        "{} does not exist: run make build or set HERALD_BIN",
        path.display()
    );
    Ok(path)
}

/// A controller or speaker of Herald, to be started.
#[derive(Debug)]
pub struct HeraldBuilder<'a> {
    lab: &'a Lab,
    part: String,
    spec: ProcessSpec,
    health_port: u16,
    metrics_port: u16,
}

/// A controller or speaker of Herald. It is a [`Process`] too.
#[derive(Debug, Clone)]
pub struct Herald {
    process: Process,
    /// Where `/healthz` and `/readyz` are served, in the process's namespace.
    pub health_port: u16,
    /// Where `/metrics` is served (HTTPS), in the process's namespace.
    pub metrics_port: u16,
}

impl Deref for Herald {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Lab {
    /// A controller in `cp`, to be started; the name is its process's and its pod's. Several run
    /// side by side: each has ports of its own.
    pub fn controller(&self, name: &str) -> Result<HeraldBuilder<'_>> {
        let others = self
            .shared
            .processes()
            .keys()
            .filter(|key| *key != name)
            .count();
        let offset = u16::try_from(others)?;
        self.herald(
            "cp",
            name,
            User::Controller,
            "controller",
            HEALTH_PORT + offset,
            19120 + offset,
        )
    }

    /// A speaker on a node, to be started; its process and pod are `speaker-<node>`.
    pub fn speaker(&self, node: &str) -> Result<HeraldBuilder<'_>> {
        let node = self.node(node)?;
        let name = format!("speaker-{}", node.name);
        let builder = self.herald(
            &node.name,
            &name,
            User::Speaker,
            "speaker",
            HEALTH_PORT,
            METRICS_PORT,
        )?;
        Ok(builder
            .arg(format!("--node-name={}", node.name))
            .arg(format!("--host={}", node.member_address()))
            .arg(format!("--ml-bindaddr={}", node.member_address()))
            .arg("--ml-labels=app=metallb,component=speaker")
            .arg(format!(
                "--ml-secret-key-path={}",
                self.member_key().display()
            ))
            .env("HERALD_STATE_DIR", self.state_dir(&node.name)))
    }

    fn herald(
        &self,
        part: &str,
        name: &str,
        user: User,
        role: &str,
        health_port: u16,
        metrics_port: u16,
    ) -> Result<HeraldBuilder<'_>> {
        let spec = ProcessSpec::new(name, herald_bin()?)
            .arg(role)
            .arg(format!("--kubeconfig={}", self.kubeconfig(user).display()))
            .arg(format!("--namespace={NAMESPACE}"))
            .arg(format!("--pod-name={name}"))
            .arg(format!("--port={metrics_port}"))
            .arg(format!("--health-probe-port={health_port}"))
            // Several controllers share a namespace, and one port.
            .env("HERALD_WEBHOOK_MODE", "disabled")
            // What is asked of metrics is mostly not who may read them.
            .env("HERALD_METRICS_SECURITY", "tls");
        Ok(HeraldBuilder {
            lab: self,
            part: part.into(),
            spec,
            health_port,
            metrics_port,
        })
    }

    /// Starts a controller and waits until it is ready.
    pub async fn start_controller(&self, name: &str) -> Result<Herald> {
        self.controller(name)?.start_ready().await
    }

    /// Starts a speaker on a node and waits until it is ready.
    pub async fn start_speaker(&self, node: &str) -> Result<Herald> {
        self.speaker(node)?.start_ready().await
    }

    /// Starts the controller `controller` and a speaker on every node, and waits until all are
    /// ready: the controller first, then the speakers in the order of the nodes.
    pub async fn start_herald(&self) -> Result<Vec<Herald>> {
        let mut all = vec![self.controller("controller")?.start().await?];
        for node in self.nodes() {
            all.push(self.speaker(&node.name)?.start().await?);
        }
        for herald in &all {
            herald.wait_ready().await?;
        }
        Ok(all)
    }
}

impl HeraldBuilder<'_> {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<std::ffi::OsString>) -> Self {
        self.spec = self.spec.arg(arg);
        self
    }

    /// Replaces a flag that the lab gives, e.g. `--ml-bindaddr` by another address or port.
    pub fn replace(self, flag: &str, value: impl std::fmt::Display) -> Self {
        self.without(flag).arg(format!("{flag}={value}"))
    }

    /// Serves health and metrics at other ports, to run beside what has the usual ones.
    pub fn ports(mut self, health: u16, metrics: u16) -> Self {
        (self.health_port, self.metrics_port) = (health, metrics);
        self.replace("--health-probe-port", health)
            .replace("--port", metrics)
    }

    /// Takes a flag away that the lab gives, e.g. `--ml-bindaddr` for speakers without a group.
    pub fn without(mut self, flag: &str) -> Self {
        let prefix = format!("{flag}=");
        let given = |arg: &std::ffi::OsString| arg.to_string_lossy().starts_with(&prefix);
        self.spec.args.retain(|arg| !given(arg));
        self
    }

    /// Takes another name for the process and its pod, to run beside the one that has it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self = self.replace("--pod-name", &name);
        self.spec.name = name;
        self
    }

    /// Takes another kubeconfig than the user's own, e.g. one that leads through a proxy.
    pub fn kubeconfig(self, file: &std::path::Path) -> Self {
        self.replace("--kubeconfig", file.display())
    }

    /// Sets an environment variable.
    pub fn env(
        mut self,
        key: impl Into<std::ffi::OsString>,
        value: impl Into<std::ffi::OsString>,
    ) -> Self {
        self.spec = self.spec.env(key, value);
        self
    }

    /// Starts it, with a Pod object of its name in `metallb-system`.
    pub async fn start(self) -> Result<Herald> {
        // A controller's pod needs some node; where it runs decides nothing.
        let node = self.lab.node(&self.part).or_else(|_| self.lab.node("n1"))?;
        let component = if self.part == "cp" {
            "controller"
        } else {
            "speaker"
        };
        let labels = json!({"app": "metallb", "component": component});
        let client = self.lab.client();
        create_host_pod(&client, NAMESPACE, &self.spec.name, node, labels).await?;
        let process = self.lab.spawn(&self.part, self.spec)?;
        let (health_port, metrics_port) = (self.health_port, self.metrics_port);
        Ok(Herald {
            process,
            health_port,
            metrics_port,
        })
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(self) -> Result<Herald> {
        let herald = self.start().await?;
        herald.wait_ready().await?;
        Ok(herald)
    }
}

impl Herald {
    /// The process, to keep it apart.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether `/readyz` says yes.
    pub async fn is_ready(&self) -> Result<bool> {
        let to = (IpAddr::from(Ipv4Addr::LOCALHOST), self.health_port).into();
        let get = move || http::get(to, "/readyz", Duration::from_secs(1));
        let answer = self.process.netns().run_async(get).await?;
        Ok(answer.is_ok_and(|answer| answer.status == 200))
    }

    /// Waits up to a minute until `/readyz` says yes. An error, with the end of the log, if the
    /// process ends before.
    pub async fn wait_ready(&self) -> Result<()> {
        let what = format!("{} to be ready", self.process.name());
        let waited = eventually(Duration::from_mins(1), &what, async || {
            Ok((self.is_ready().await? || !self.process.is_running()).then_some(()))
        });
        let waited = waited.await;
        match (self.process.exit_status(), waited) {
            (None, Ok(())) => Ok(()),
            (status, waited) => {
                let why = waited
                    .err()
                    .map(|error| format!("{error:#}"))
                    .unwrap_or_default();
                let ended = status
                    .map(|status| format!("ended with {status}"))
                    .unwrap_or_default();
                bail!(
                    "{} {ended}{why}\n{}",
                    self.process.name(),
                    self.process.log_tail(20)
                )
            }
        }
    }
}
