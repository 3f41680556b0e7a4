//! Runs Helm.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

/// The namespace of releases, if no other is given.
pub const NAMESPACE: &str = "herald-system";

/// Helm, with folders of its own instead of the user's.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

/// What a chart gives with some values.
#[derive(Debug)]
pub struct Rendered {
    /// The objects, in the order in which they come.
    pub objects: Vec<Value>,
}

impl Helm {
    /// Helm as the tests built it, without a cluster.
    pub fn new() -> Result<Self> {
        Ok(Self {
            program: crate::tool("helm", "HERALD_HELM")?,
            home: tempfile::tempdir()?,
            kubeconfig: None,
        })
    }

    /// The same, for the cluster of a kubeconfig.
    pub fn for_cluster(kubeconfig: PathBuf) -> Result<Self> {
        Ok(Self {
            kubeconfig: Some(kubeconfig),
            ..Self::new()?
        })
    }

    /// Runs it. Its standard output, or an error with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear();
        // What it learns of a cluster's API is kept there.
        command.env("HOME", self.home.path());
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), self.home.path());
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().context("cannot run helm")?;
        said(&output).with_context(|| format!("helm {}", arguments.join(" ")))
    }

    /// Runs it with the chart, a release's name and values (YAML).
    pub fn with_chart(&self, command: &[&str], values: &str, more: &[&str]) -> Result<String> {
        let file = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile_in(self.home.path())?;
        fs::write(file.path(), values)?;
        let chart = crate::chart();
        let (chart, file) = (chart.to_string_lossy(), file.path().to_string_lossy());
        let common = [&*chart, "--namespace", NAMESPACE, "--values", &file];
        self.run(&[command, &common, more].concat())
    }

    /// `helm template` with these values.
    pub fn template(&self, values: &str) -> Result<Rendered> {
        self.template_in(NAMESPACE, values)
    }

    /// The same for a release in another namespace.
    pub fn template_in(&self, namespace: &str, values: &str) -> Result<Rendered> {
        let namespace = ["--namespace", namespace];
        let text = self.with_chart(&["template", "herald"], values, &namespace)?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("what helm wrote is not YAML:\n{text}"))?;
        Ok(Rendered {
            objects: objects.into_iter().filter(|v| !v.is_null()).collect(),
        })
    }
}

impl Rendered {
    /// The object of this kind and name.
    pub fn object(&self, kind: &str, name: &str) -> Result<&Value> {
        let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.objects
            .iter()
            .find(is)
            .with_context(|| format!("no {kind} {name}, but {:?}", self.names()))
    }

    /// Kinds and names of all objects.
    pub fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let [kind, name] = [&object["kind"], &object["metadata"]["name"]];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(kind), text(name))
        };
        self.objects.iter().map(name).collect()
    }
}

fn said(output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(String::from_utf8(output.stdout.clone())?)
}
