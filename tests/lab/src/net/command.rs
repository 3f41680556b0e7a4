//! Running iproute2 and nftables: short commands that must succeed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command to its end with `input` on its standard input; what it printed.
pub(crate) fn run_with(program: &str, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}: see tests/lab/packages.txt"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}\ninput was:\n{input}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    written?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end; what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String> {
    run_with(program, args, "")
}

/// Runs lines of `ip` in a namespace, all or (after an error) some.
pub(crate) fn ip_batch(netns: &str, lines: &[String]) -> Result<()> {
    if !lines.is_empty() {
        run_with(
            "ip",
            &["-n", netns, "-batch", "-"],
            &(lines.join("\n") + "\n"),
        )?;
    }
    Ok(())
}

/// Loads an nftables script in a namespace, as one transaction.
pub(crate) fn nft(netns: &Path, script: &str) -> Result<()> {
    let net = format!("--net={}", netns.display());
    run_with("nsenter", &[&net, "nft", "-f", "-"], script).map(drop)
}
