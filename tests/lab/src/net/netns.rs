//! A network namespace by name, and work done inside it.

use std::fs::File;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

/// A named network namespace (`ip netns`), e.g. `hl-3fa2-n1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// The namespace of this name; it need not exist yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The name as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that `nsenter --net=` takes.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Moves the calling thread into the namespace. Use it only in threads made for the purpose.
    pub(crate) fn enter(&self) -> Result<()> {
        let file = File::open(self.path())
            .with_context(|| format!("network namespace {} does not exist", self.name))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter network namespace {}: be root", self.name))
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Sockets that `work` makes
    /// belong to the namespace for good and may be used anywhere.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// [`Self::run`] without blocking the caller's executor.
    pub async fn run_async<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let netns = self.clone();
        thread::spawn(move || {
            // A receiver that went away lost interest in the answer.
            let _ = sender.send(netns.enter().map(|()| work()));
        });
        receiver
            .await
            .context("the thread in the namespace panicked")?
    }
}
