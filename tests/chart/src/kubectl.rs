//! Runs kubectl, which the tests' Kubernetes brings along.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Runs it for the cluster of a kubeconfig with `input`. Its standard output.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut kubectl = Command::new(crate::tool("kubernetes", "HERALD_KUBERNETES")?)
        .arg("kubectl")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        // What it learns of the cluster's API goes with the cluster.
        .env("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run kubectl")?;
    let mut stdin = kubectl.stdin.take().context("no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = kubectl.wait_with_output()?;
    let what = arguments.join(" ");
    ensure!(output.status.success(), "kubectl {what}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
