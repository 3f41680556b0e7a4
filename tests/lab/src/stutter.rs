//! Processes that have too little time: stopped again and again, or beside others that want all of
//! it.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lab::Lab;
use crate::process::{Process, ProcessSpec};

/// A process that is stopped (SIGSTOP) and let go (SIGCONT) in turn, until [`Stutter::end`] or drop.
#[derive(Debug)]
pub struct Stutter {
    process: Process,
    until: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    /// Stops it for a time and lets it go for a time, again and again: a machine that swaps, or an
    /// API server that is slow to answer.
    pub fn stutter(&self, stopped: Duration, running: Duration) -> Stutter {
        let (process, until) = (self.clone(), CancellationToken::new());
        let ended = until.clone();
        let task = tokio::spawn(async move {
            let process = &process;
            let spells = async {
                loop {
                    // A process that ended has no time at all: nothing is left to do.
                    if process.pause().is_err() {
                        return;
                    }
                    tokio::time::sleep(stopped).await;
                    if process.resume().is_err() {
                        return;
                    }
                    tokio::time::sleep(running).await;
                }
            };
            ended.run_until_cancelled(spells).await;
        });
        Stutter {
            process: self.clone(),
            until,
            task,
        }
    }
}

impl Stutter {
    /// Lets the process go for good.
    pub async fn end(mut self) -> Result<()> {
        self.until.cancel();
        (&mut self.task).await?;
        if self.process.is_running() {
            self.process.resume()?;
        }
        Ok(())
    }
}

impl Drop for Stutter {
    fn drop(&mut self) {
        self.until.cancel();
        self.task.abort();
        // One that has ended needs no signal.
        let _ = self.process.resume();
    }
}

impl Lab {
    /// Starts so many processes of normal priority that do nothing as fast as they can. Each ends
    /// with [`Process::kill`] or with the lab.
    pub fn busy_cores(&self, count: usize) -> Result<Vec<Process>> {
        (0..count)
            .map(|number| {
                let spec = ProcessSpec::new(format!("busy-{number}"), "sh");
                self.spawn("sw", spec.args(["-c", "while :; do :; done"]))
            })
            .collect()
    }
}
