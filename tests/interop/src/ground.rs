//! Where routers run: the namespaces of a lab, with a cluster or without.

use std::path::PathBuf;

use anyhow::Result;
use herald_lab::{Bare, Lab, Netns, Process, ProcessSpec};

/// A LAN whose switch is the bridge `br0` of the part `hub`, which is 10.99.1.1. The other parts are
/// 10.99.1.2 and on, and `fd99:1::2` and on, at their `eth0`.
pub fn lan(hub: &str, parts: &[&str]) -> Result<Bare> {
    let all: Vec<&str> = [hub].iter().chain(parts).copied().collect();
    let bare = Bare::new(&all)?;
    bare.ip(
        hub,
        [
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
            "addr add 10.99.1.1/24 dev br0",
        ],
    )?;
    for (n, part) in (2..).zip(parts) {
        bare.link((hub, part), (part, "eth0"))?;
        bare.ip(hub, [format!("link set {part} master br0")])?;
        bare.ip(
            part,
            [
                format!("addr add 10.99.1.{n}/24 dev eth0"),
                format!("addr add fd99:1::{n}/64 dev eth0 nodad"),
            ],
        )?;
    }
    Ok(bare)
}

/// Something that has namespaces and runs processes in them.
pub trait Ground {
    /// The namespace of a part.
    fn netns(&self, part: &str) -> Netns;
    /// The folder for files.
    fn dir(&self) -> PathBuf;
    /// Starts a process in a part's namespace.
    fn spawn(&self, part: &str, spec: ProcessSpec) -> Result<Process>;
}

impl Ground for Bare {
    fn netns(&self, part: &str) -> Netns {
        self.netns(part)
    }

    fn dir(&self) -> PathBuf {
        self.dir().to_owned()
    }

    fn spawn(&self, part: &str, spec: ProcessSpec) -> Result<Process> {
        self.spawn(part, spec)
    }
}

impl Ground for Lab {
    fn netns(&self, part: &str) -> Netns {
        self.netns(part)
    }

    fn dir(&self) -> PathBuf {
        self.dir().to_owned()
    }

    fn spawn(&self, part: &str, spec: ProcessSpec) -> Result<Process> {
        self.spawn(part, spec)
    }
}
