//! The commands of the page, run by the shell with the real Helm and kubectl.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{chart, root, tool};
use herald_e2e::metallb;
use herald_lab::Lab;
use tempfile::TempDir;

const PAGE: &str = "docs/migrate-from-metallb.md";

/// Runs commands of the page.
#[derive(Debug)]
pub(crate) struct Commands {
    kubeconfig: PathBuf,
    /// Where files are written, and where `helm` and `kubectl` are.
    folder: TempDir,
}

impl Commands {
    pub(crate) async fn new(lab: &Lab) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        symlink(tool("helm", "HERALD_HELM")?, folder.path().join("helm"))?;
        // It is the program that it is called as.
        let kubernetes = tool("kubernetes", "HERALD_KUBERNETES")?;
        symlink(kubernetes, folder.path().join("kubectl"))?;
        Ok(Self {
            kubeconfig: lab.forward_api().await?,
            folder,
        })
    }

    /// Runs the commands of a section.
    pub(crate) fn run(&self, section: &str) -> Result<()> {
        let blocks = blocks(section)?;
        ensure!(!blocks.is_empty(), "{section} has no commands");
        blocks.iter().try_for_each(|block| self.shell(block))
    }

    /// The way back up to where both are there.
    pub(crate) fn back(&self) -> Result<()> {
        let block = way_back()?;
        let both = block.lines().filter(|line| !line.starts_with(LAST));
        self.shell(&both.collect::<Vec<_>>().join("\n"))
    }

    /// The rest of it.
    pub(crate) fn finish_back(&self) -> Result<()> {
        let block = way_back()?;
        let last: Vec<_> = block
            .lines()
            .filter(|line| line.starts_with(LAST))
            .collect();
        ensure!(last.len() == 1, "the way back has another last line");
        self.shell(last[0])
    }

    /// Runs Helm.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<()> {
        self.shell(&format!("helm {}", arguments.join(" ")))
    }

    fn shell(&self, script: &str) -> Result<()> {
        let chart = chart();
        let theirs = metallb::dir()?.join("chart");
        let script = script
            .replace("charts/herald", &chart.to_string_lossy())
            .replace(
                "metallb/metallb --version 0.16.1",
                &theirs.to_string_lossy(),
            )
            .replace("metallb/metallb ", &format!("{} ", theirs.display()));
        // Nobody runs Pods here: the test does, and waits for them.
        let lines = script
            .lines()
            .filter(|line| !line.contains("rollout status"));
        let script = lines.collect::<Vec<_>>().join("\n");
        let mut command = Command::new("bash");
        command
            .args(["-e", "-u", "-o", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", path(&self.folder)?);
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), self.folder.path());
        }
        let output = tokio::task::block_in_place(|| command.output())?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}\n{error}");
        Ok(())
    }
}

/// How the line of the way back begins after which Herald is gone.
const LAST: &str = "helm uninstall herald";

fn path(folder: &TempDir) -> Result<std::ffi::OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&inherited));
    Ok(std::env::join_paths(all)?)
}

fn way_back() -> Result<String> {
    let block = blocks("The way back")?.into_iter().next();
    block.context("the way back has no commands")
}

/// The blocks of commands of a section of the page.
fn blocks(section: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
    let heading = format!("## {section}\n");
    let (_, rest) = page.split_once(&heading).with_context(|| heading.clone())?;
    let text = rest.split("\n## ").next().unwrap_or_default();
    let parts = text.split("\n```\n").skip(1).step_by(2);
    Ok(parts.map(str::to_owned).collect())
}
