//! Named tasks that live as long as the process, and its orderly end.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

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

    /// Starts a task under this name.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for SIGTERM, SIGINT or the token, then ends all tasks in order (10 s at most). A task
    /// that stops before that ends the process with the error returned.
    pub async fn run(mut self) -> Result<(), TaskError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
            () = self.token.cancelled() => Ok("stopped"),
            Some(finished) = self.tasks.join_next_with_id() => Err(self.verdict(finished)),
        };
        self.token.cancel();
        match &outcome {
            Ok(cause) => tracing::info!(event = "shutdown", cause, "shutting down"),
            Err(error) => tracing::error!(event = "shutdown", %error, "shutting down"),
        }
        if tokio::time::timeout(GRACE, self.drain()).await.is_err() {
            tracing::warn!(event = "shutdown", "some tasks did not finish in time");
        }
        outcome.map(|_| ())
    }

    async fn drain(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
