//! When the state is written, and the task that writes it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use herald_model::NodeName;
use herald_runtime::backoff::Backoff;
use herald_runtime::supervise::TaskResult;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::directory::{Directory, DirectoryError};
use super::file::{self, BadFile, Header, WriteError};

/// The pause between two writes, unless one is urgent.
const PAUSE: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// How long the last write of all may take.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What the writer tells the journal.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// How many states it is done with, the pause after a failure included.
    done: u64,
    /// How many of them it could not write.
    lost: u64,
}

/// Where the engine tells that the state changed, and hands it over when it is time.
#[derive(Debug)]
pub struct Journal<T> {
    states: mpsc::Sender<T>,
    writer: watch::Receiver<Progress>,
    /// There is something new since the last [`put`](Self::put), to be written at once if true.
    changed: Option<bool>,
    /// No sooner, unless urgent.
    next: Instant,
    /// How many states were put.
    put: u64,
    /// As last seen.
    lost: u64,
}

impl<T> Journal<T> {
    /// The state is not what was last put any more. Costs nothing.
    pub fn changed(&mut self) {
        self.changed.get_or_insert(false);
    }

    /// The same for what must not be forgotten (the generation, the damping): it is written at
    /// once.
    pub fn changed_urgently(&mut self) {
        self.changed = Some(true);
    }

    /// Waits until the state is to be [`put`](Self::put): it changed, the last time was a second
    /// ago, and the writer is done. May be dropped and called again at any time.
    pub async fn due(&mut self) {
        loop {
            let writer = *self.writer.borrow_and_update();
            if writer.lost > self.lost {
                self.lost = writer.lost;
                self.changed();
            }
            if let Some(urgent) = self.changed
                && writer.done == self.put
            {
                if !urgent {
                    tokio::time::sleep_until(self.next).await;
                }
                return;
            }
            if self.writer.changed().await.is_err() {
                // There is no writer any more, which ends the process elsewhere.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Hands over the state as it is now. Does not wait.
    pub fn put(&mut self, state: T) {
        // After `due` there is room. Without it there may be none, and the change stays due.
        if self.states.try_send(state).is_ok() {
            self.put += 1;
            self.changed = None;
            self.next = Instant::now() + PAUSE;
        }
    }

    /// Hands over the last state of all and waits until it is written, two seconds at most.
    pub async fn close(self, state: T) {
        let Self {
            states, mut writer, ..
        } = self;
        let written = async {
            if states.send(state).await.is_ok() {
                drop(states);
                // The writer ends after it.
                while writer.changed().await.is_ok() {}
            }
        };
        if tokio::time::timeout(LAST_WRITE, written).await.is_err() {
            tracing::warn!(
                event = "stateFailed",
                "the last state was not written in time"
            );
        }
    }
}

/// The task that writes what the journal is given.
#[derive(Debug)]
pub struct Writer<T> {
    states: mpsc::Receiver<T>,
    journal: watch::Sender<Progress>,
    place: Arc<Place>,
    files: Option<Files>,
    failing: bool,
    retry: Backoff,
}

/// A journal and its writer.
pub(super) fn new<T>(path: PathBuf, me: NodeName) -> (Journal<T>, Writer<T>) {
    let (to_writer, states) = mpsc::channel(1);
    let (to_journal, writer) = watch::channel(Progress::default());
    let journal = Journal {
        states: to_writer,
        writer,
        changed: None,
        next: Instant::now(),
        put: 0,
        lost: 0,
    };
    let writer = Writer {
        states,
        journal: to_journal,
        place: Arc::new(Place { path, me }),
        files: None,
        failing: false,
        retry: Backoff::new(FIRST_RETRY, LONGEST_RETRY),
    };
    (journal, writer)
}

impl<T> Writer<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Takes the directory for this process and reads what is in it.
    pub(super) async fn take_up(&mut self, patience: Duration) -> Option<T> {
        let place = Arc::clone(&self.place);
        let task = spawn_blocking(move || Files::open(&place));
        match tokio::time::timeout(patience, task).await {
            Ok(Ok(Ok((files, content)))) => {
                self.files = Some(files);
                return content;
            }
            Ok(Ok(Err(error))) => self.failed(&error),
            Ok(Err(error)) => self.failed(&error),
            Err(elapsed) => self.failed(&elapsed),
        }
        None
    }

    /// Runs until the journal is dropped, and writes first what it was given. What cannot be
    /// written is asked for again after a growing pause (1 s to 60 s); the first failure of a row
    /// and the recovery are logged.
    pub async fn run(mut self) -> TaskResult {
        let mut next = self.states.recv().await;
        while let Some(state) = next {
            let written = self.write(state).await;
            let lost = written.is_err();
            let mut early = None;
            match written {
                Ok(()) => self.succeeded(),
                Err(failure) => {
                    self.failed(&failure);
                    // A journal that is closed does not wait.
                    let pause = self.retry.pause();
                    early = tokio::time::timeout(pause, self.states.recv()).await.ok();
                }
            }
            self.journal.send_modify(|progress| {
                progress.done += 1;
                progress.lost += u64::from(lost);
            });
            next = match early {
                Some(next) => next,
                None => self.states.recv().await,
            };
        }
        Ok(())
    }

    async fn write(&mut self, state: T) -> Result<(), Failure> {
        let place = Arc::clone(&self.place);
        let files = self.files.take();
        let task = spawn_blocking(move || {
            let mut files = match files {
                Some(files) => files,
                None => Files::open::<T>(&place)?.0,
            };
            files.write(&place.me, &state)?;
            Ok::<_, Failure>(files)
        });
        // After a failure the directory is opened anew: it may be another one then.
        self.files = Some(task.await??);
        Ok(())
    }

    fn succeeded(&mut self) {
        self.retry.reset();
        if std::mem::take(&mut self.failing) {
            let directory = self.place.path.display();
            tracing::info!(event = "stateRecovered", %directory, "state written again");
        }
    }

    fn failed(&mut self, error: &dyn Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                event = "stateFailed",
                directory = %self.place.path.display(),
                error = %error,
                "no state on disk: a restart of the speaker while the API server is away would \
                 find nothing to go on with; trying again; see --state-dir"
            );
        }
    }
}

/// Where the state of which speaker is.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    me: NodeName,
}

/// The directory while it is ours.
#[derive(Debug)]
struct Files {
    directory: Directory,
    /// Of what is in the file; `None` if that is not known.
    written: Option<Header>,
}

/// Why the state was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot write the state file: {0}")]
    Write(#[from] WriteError),
    #[error("the task that writes failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Files {
    /// Takes the directory and reads the state file; one that cannot be used is said and, if it is
    /// a file at all, set aside, so that the next write does not take it away.
    fn open<T: DeserializeOwned>(place: &Place) -> Result<(Self, Option<T>), DirectoryError> {
        let directory = Directory::open(&place.path)?;
        let content = match directory.read() {
            Ok(bytes) => bytes.and_then(|bytes| match file::read(&place.me, &bytes) {
                Ok(content) => Some(content),
                Err(bad) => {
                    set_aside(&directory, &bad);
                    None
                }
            }),
            Err(error) => {
                tracing::warn!(
                    event = "stateIgnored",
                    directory = %place.path.display(),
                    %error,
                    "the state file is ignored, and replaced by the next state"
                );
                None
            }
        };
        let files = Self {
            directory,
            written: None,
        };
        Ok((files, content))
    }

    fn write<T: Serialize>(&mut self, me: &NodeName, state: &T) -> Result<(), WriteError> {
        let header = file::measure(me, state)?;
        if self.written == Some(header) {
            return Ok(());
        }
        self.written = None;
        self.directory
            .replace(|file| file::write(me, state, &header, file))?;
        self.written = Some(header);
        Ok(())
    }
}

fn set_aside(directory: &Directory, bad: &BadFile) {
    let suffix = match bad {
        BadFile::Version(version) => format!("version-{version}"),
        BadFile::Damaged(_) | BadFile::Content(_) => "damaged".to_owned(),
        BadFile::OtherNode(_) => "other-node".to_owned(),
    };
    let kept = match directory.set_aside(&suffix) {
        Ok(path) => format!("it is kept as {}", path.display()),
        Err(error) => format!("it cannot be renamed ({error}) and will be replaced"),
    };
    tracing::warn!(
        event = "stateIgnored",
        file = %directory.state().display(),
        error = %bad,
        "the state file is ignored; {kept}"
    );
}
