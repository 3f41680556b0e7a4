//! What people read.

use std::io::Write as _;
use std::process::Command;

use anyhow::Result;
use herald_lab::LabState;

/// Prints a line.
pub(crate) fn line(text: &str) {
    // Whoever reads may have enough before the end, as `head` does.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints every lab: its namespaces, their addresses and processes.
pub(crate) fn status(labs: &[LabState]) -> Result<()> {
    if labs.is_empty() {
        line("no lab runs");
    }
    for lab in labs {
        let alive = if lab.is_alive() {
            ""
        } else {
            " (its owner is dead: herald-lab down --all)"
        };
        let name = lab.name.as_deref().unwrap_or("-");
        line(&format!(
            "lab {} name {name} owner {}{alive}",
            lab.id, lab.pid
        ));
        line(&format!("  kubeconfig {}", lab.kubeconfig().display()));
        line(&format!("  logs       {}", lab.logs().display()));
        let prefix = format!("hl-{}-", lab.id);
        for netns in output("ip", &["netns", "list"])?.lines() {
            let netns = netns.split(' ').next().unwrap_or_default();
            if let Some(part) = netns.strip_prefix(&prefix) {
                namespace(netns, part)?;
            }
        }
    }
    Ok(())
}

fn namespace(netns: &str, part: &str) -> Result<()> {
    line(&format!("  {part}"));
    for interface in output("ip", &["-n", netns, "-br", "addr"])?.lines() {
        let mut words = interface.split_whitespace();
        let (Some(name), Some(state)) = (words.next(), words.next()) else {
            continue;
        };
        let addresses: Vec<&str> = words.filter(|word| !word.starts_with("fe80:")).collect();
        let name = name.split('@').next().unwrap_or(name);
        if name != "lo" {
            line(&format!(
                "    {name:<14} {state:<6} {}",
                addresses.join(" ")
            ));
        }
    }
    for pid in output("ip", &["netns", "pids", netns])?.lines() {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = command.split(|byte| *byte == 0).take(2).collect();
        let words: Vec<_> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        line(&format!("    process {pid:<6} {}", words.join(" ")));
    }
    Ok(())
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
