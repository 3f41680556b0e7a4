//! Named tasks that live as long as the process, and its orderly end.
//!
//! ```text
//!   SIGTERM ──▶ drains begin ──▶ all finished, or their limit ──▶ token cancelled ──▶ tasks end
//!   a task fails, a second signal ─────────────────────────────────────┘
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long tasks may take to finish once the process is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// Why a process ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task came to its end while the process was to go on.
    #[error("task {task:?} ended, which it never should")]
    Ended {
        /// The task's name.
        task: &'static str,
    },
    /// A task gave up.
    #[error("task {task:?} failed: {error}")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// What it said, causes included.
        error: String,
    },
    /// A task panicked.
    #[error("task {task:?} panicked")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
    /// The process could not listen for signals.
    #[error("cannot listen for SIGTERM and SIGINT: {0}")]
    Signals(#[from] std::io::Error),
}

/// What a task returns: `Ok` only after the token of [`Supervisor::token`] was cancelled.
pub type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Owns the tasks of a process. Every task is named and watched: one that ends, fails or panics
/// ends the process with an error that names it.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<TaskResult>,
    names: HashMap<Id, &'static str>,
    token: CancellationToken,
    draining: CancellationToken,
    drains: Vec<(CancellationToken, Duration)>,
}

/// A task's part in a planned end: what it has to do before any task is told to end.
///
/// It is finished when it is dropped.
#[derive(Debug)]
pub struct Drain {
    begun: CancellationToken,
    _finished: DropGuard,
}

impl Drain {
    /// Waits until the process is to end as planned. Ready at once from then on.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A supervisor that also ends, in order, when `token` is cancelled.
    pub fn with_token(token: CancellationToken) -> Self {
        Self {
            token,
            ..Self::default()
        }
    }

    /// Cancelled when the process is to end; tasks watch it and finish what must be finished.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Cancelled when the process is to end as planned, before [`token`](Self::token) is. Cancelling
    /// it does what SIGTERM does.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Something to wait for between SIGTERM and the token, `limit` at most.
    pub fn drain(&mut self, limit: Duration) -> Drain {
        let finished = CancellationToken::new();
        self.drains.push((finished.clone(), limit));
        Drain {
            begun: self.draining.clone(),
            _finished: finished.drop_guard(),
        }
    }

    /// Starts a task under this name.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for SIGTERM, SIGINT or the token, then for what has to be done before, then ends all
    /// tasks in order (10 s at most). A task that stops before that ends the process with the error
    /// returned. A second signal cuts the waiting short.
    pub async fn run(mut self) -> Result<(), TaskError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut outcome = tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
            () = self.token.cancelled() => Ok("stopped"),
            () = self.draining.cancelled() => Ok("stopped"),
            Some(finished) = self.tasks.join_next_with_id() => Err(self.verdict(finished)),
        };
        if let Ok(cause) = outcome
            && !self.token.is_cancelled()
        {
            tracing::info!(event = "shutdown", cause, "about to shut down");
            self.draining.cancel();
            let drains = std::mem::take(&mut self.drains);
            tokio::select! {
                () = all_finished(drains) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = self.token.cancelled() => {}
                Some(finished) = self.tasks.join_next_with_id() => {
                    outcome = Err(self.verdict(finished));
                }
            }
        }
        self.token.cancel();
        match &outcome {
            Ok(cause) => tracing::info!(event = "shutdown", cause, "shutting down"),
            Err(error) => tracing::error!(event = "shutdown", %error, "shutting down"),
        }
        if tokio::time::timeout(GRACE, self.join()).await.is_err() {
            tracing::warn!(event = "shutdown", "some tasks did not finish in time");
        }
        outcome.map(|_| ())
    }

    async fn join(&mut self) {
        while let Some(finished) = self.tasks.join_next_with_id().await {
            if let Ok((_, Ok(()))) = finished {
                continue;
            }
            let error = self.verdict(finished);
            tracing::warn!(event = "shutdown", %error, "task did not finish well");
        }
    }

    fn verdict(&self, finished: Result<(Id, TaskResult), JoinError>) -> TaskError {
        let name = |id: Id| self.names.get(&id).copied().unwrap_or("unnamed");
        match finished {
            Ok((id, Ok(()))) => TaskError::Ended { task: name(id) },
            Ok((id, Err(error))) => TaskError::Failed {
                task: name(id),
                error: error.to_string(),
            },
            Err(error) => TaskError::Panicked {
                task: name(error.id()),
            },
        }
    }
}

/// Waits until each is finished, or has had its time.
async fn all_finished(drains: Vec<(CancellationToken, Duration)>) {
    let begun = Instant::now();
    for (finished, limit) in drains {
        if tokio::time::timeout_at(begun + limit, finished.cancelled())
            .await
            .is_err()
        {
            tracing::warn!(event = "shutdown", ?limit, "not finished in time, going on");
        }
    }
}

/// Takes up to `limit` messages into `batch`, waiting for the first. `Ok(false)` means that the
/// process is to end.
///
/// All senders end when the token is cancelled, and a task that sees that first must not take it
/// for a failure: an end of the channel without the token is [`Closed`].
pub async fn next_batch<T>(
    channel: &mut mpsc::Receiver<T>,
    batch: &mut Vec<T>,
    limit: usize,
    token: &CancellationToken,
) -> Result<bool, Closed> {
    tokio::select! {
        biased;
        () = token.cancelled() => Ok(false),
        count = channel.recv_many(batch, limit) => match count {
            0 if token.is_cancelled() => Ok(false),
            0 => Err(Closed),
            _ => Ok(true),
        }
    }
}

/// Nobody sends any more, although the process is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all senders of a channel have ended while the process is to go on")]
pub struct Closed;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_channel_is_a_failure_only_while_the_process_is_to_go_on() {
        let token = CancellationToken::new();
        let (sender, mut channel) = mpsc::channel(4);
        let mut batch = Vec::new();
        sender.send(1).await.expect("open");
        sender.send(2).await.expect("open");
        assert_eq!(
            next_batch(&mut channel, &mut batch, 9, &token).await,
            Ok(true)
        );
        assert_eq!(batch, [1, 2]);
        drop(sender);
        assert_eq!(
            next_batch(&mut channel, &mut batch, 9, &token).await,
            Err(Closed)
        );
        token.cancel();
        assert_eq!(
            next_batch(&mut channel, &mut batch, 9, &token).await,
            Ok(false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn drains_are_waited_for_side_by_side_and_not_for_ever() {
        let mut supervisor = Supervisor::new();
        let (quick, slow) = (Duration::from_secs(5), Duration::from_secs(2));
        let drain = supervisor.drain(quick);
        let stuck = supervisor.drain(slow);
        supervisor.draining().cancel();
        drain.begun().await;
        let begun = Instant::now();
        let waiting = tokio::spawn(all_finished(std::mem::take(&mut supervisor.drains)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(drain);
        waiting.await.expect("no panic");
        assert_eq!(begun.elapsed(), slow, "one never finished");
        drop(stuck);
    }

    #[tokio::test]
    async fn a_task_that_fails_ends_the_process_and_is_named() {
        let mut supervisor = Supervisor::new();
        let token = supervisor.token();
        supervisor.spawn("steady", async move {
            token.cancelled().await;
            Ok(())
        });
        supervisor.spawn("weak", async { Err("no more".into()) });
        let error = supervisor.run().await.expect_err("weak failed");
        assert_eq!(error.to_string(), "task \"weak\" failed: no more");
    }

    #[tokio::test]
    async fn a_task_that_merely_ends_is_an_error_too() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("short", async { Ok(()) });
        assert!(matches!(
            supervisor.run().await,
            Err(TaskError::Ended { task: "short" })
        ));
    }

    #[tokio::test]
    async fn tasks_end_after_what_has_to_be_done_before() {
        let mut supervisor = Supervisor::new();
        let token = supervisor.token();
        let drain = supervisor.drain(Duration::from_mins(1));
        let draining = supervisor.draining();
        let (done, finished) = tokio::sync::oneshot::channel();
        supervisor.spawn("steady", async move {
            drain.begun().await;
            let early = !token.is_cancelled();
            drop(drain);
            token.cancelled().await;
            let _ = done.send(early);
            Ok(())
        });
        draining.cancel();
        supervisor.run().await.expect("asked to end");
        assert!(finished.await.expect("the task ran to its end"));
    }

    #[tokio::test]
    async fn cancelling_lets_tasks_finish() {
        let mut supervisor = Supervisor::new();
        let token = supervisor.token();
        let (done, finished) = tokio::sync::oneshot::channel();
        let watched = token.clone();
        supervisor.spawn("steady", async move {
            watched.cancelled().await;
            let _ = done.send(());
            Ok(())
        });
        token.cancel();
        supervisor.run().await.expect("asked to end");
        finished.await.expect("the task ran to its end");
    }
}
