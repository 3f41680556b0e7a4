//! Tasks that must not wait for others: a thread of the system with a runtime of its own.

use std::future::Future;
use std::{io, thread};

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::supervise::TaskResult;

/// Why a task did not come to its own end.
#[derive(Debug, thiserror::Error)]
enum ThreadError {
    #[error("cannot start the thread {name:?}: {source}; allow the process more threads")]
    Start {
        name: &'static str,
        source: io::Error,
    },
    #[error("the thread {name:?} panicked")]
    Panicked { name: &'static str },
}

/// Runs the task that `make` makes, and all that it spawns, on a thread of its own named `name` (at
/// most 15 bytes are shown by the kernel). Whatever else the process does, and however long, the
/// task waits for the scheduler of the system only.
///
/// The future returned waits for the thread; give it to [`Supervisor::spawn`], so that an end, a
/// failure or a panic of the task ends the process. The thread starts at once, also if the future is
/// not polled, and goes on if it is dropped: end the task by a token of its own.
///
/// [`Supervisor::spawn`]: crate::supervise::Supervisor::spawn
pub fn on_own_thread<F, T>(
    name: &'static str,
    make: F,
) -> impl Future<Output = TaskResult> + Send + 'static
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = TaskResult>,
{
    let (sender, result) = oneshot::channel();
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            // What is still running on the runtime ends with it, before the outcome is told.
            Ok(runtime) => runtime.block_on(async { make().await }),
            Err(source) => Err(ThreadError::Start { name, source }.into()),
        };
        // Nobody waits for it any more: the process is about to end.
        let _ = sender.send(outcome);
    });
    async move {
        started.map_err(|source| ThreadError::Start { name, source })?;
        match result.await {
            Ok(outcome) => outcome,
            Err(_) => Err(ThreadError::Panicked { name }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_task_runs_on_a_thread_of_that_name_with_timers_and_tasks() {
        let (sender, name) = oneshot::channel();
        let task = on_own_thread("answering", move || async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let here = tokio::spawn(async { thread::current().name().map(str::to_owned) });
            let _ = sender.send(here.await?);
            Ok(())
        });
        task.await.expect("it ends well");
        assert_eq!(name.await.expect("sent").as_deref(), Some("answering"));
    }

    /// The runtime of a test has one thread, which is kept busy here.
    #[tokio::test]
    async fn a_busy_runtime_does_not_hold_it_up() {
        let (sender, done) = std::sync::mpsc::channel();
        let task = on_own_thread("steady", move || async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = sender.send(());
            Ok(())
        });
        done.recv_timeout(Duration::from_secs(10))
            .expect("it runs although this thread never waits");
        task.await.expect("it ends well");
    }

    #[tokio::test]
    async fn failures_and_panics_are_told() {
        let failed = on_own_thread("weak", || async { Err("no more".into()) }).await;
        assert_eq!(failed.expect_err("failed").to_string(), "no more");
        #[allow(clippy::panic, reason = "it is what is tested")]
        let panicked = on_own_thread("nervous", || async { panic!("on purpose") }).await;
        let text = panicked.expect_err("panicked").to_string();
        assert_eq!(text, "the thread \"nervous\" panicked");
    }
}
