//! Where routers run: the namespaces of a lab, with a cluster or without.

use std::path::PathBuf;

use anyhow::Result;
use herald_lab::{Bare, Lab, Netns, Process, ProcessSpec};

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
