//! The speaker's side of `herald bgp`.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_runtime::supervise::TaskResult;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::SOCKET;
use super::answers::{Neighbor, Part, Request, Route};
use crate::bfd::BfdStatuses;
use crate::bgp::{Question, Statuses};

/// How many are served at a time; others wait.
const CLIENTS: usize = 8;

/// The longest request, in bytes.
const LONGEST: u64 = 1024;

/// How long a client may take to send its request.
const ASKING: Duration = Duration::from_secs(2);

/// How long the whole answer may take a client.
const ANSWERING: Duration = Duration::from_secs(30);

/// How many clients may wait in the kernel.
const BACKLOG: u32 = 64;

/// How long to wait after the socket could not be made.
const AGAIN: Duration = Duration::from_secs(30);

/// Answers at a socket.
pub(crate) struct Server {
    directory: PathBuf,
    source: Source,
}

/// Where answers come from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) statuses: watch::Receiver<Arc<Statuses>>,
    pub(crate) paths: watch::Receiver<Arc<BfdStatuses>>,
    pub(crate) questions: mpsc::Sender<Question>,
}

impl Server {
    /// One whose socket is in the state directory `directory`.
    pub(crate) fn new(directory: PathBuf, source: Source) -> Self {
        Self { directory, source }
    }

    /// Runs until `token` is cancelled. Where no socket can be made there are no answers: nothing
    /// that is announced depends on them.
    pub(crate) async fn run(self, token: CancellationToken) -> TaskResult {
        let path = self.directory.join(SOCKET);
        let mut ours = false;
        let served = async {
            let mut said = false;
            loop {
                match listen(&path).await {
                    Ok(listener) => {
                        ours = true;
                        return self.serve(listener).await;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut said, true) {
                            tracing::warn!(
                                socket = %path.display(),
                                %error,
                                "cannot make the socket, trying again: `herald bgp` gets no answers"
                            );
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        };
        let ended = token.run_until_cancelled(served).await;
        // That of another speaker is not ours to remove.
        if ended.is_none() && ours {
            // One that is left is replaced by the next speaker.
            let _ = std::fs::remove_file(&path);
        }
        Ok(())
    }

    async fn serve(&self, listener: UnixListener) {
        let slots = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let source = self.source.clone();
                    clients.spawn(async move {
                        let served = tokio::time::timeout(ANSWERING, client(stream, &source)).await;
                        match served {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "a client of the socket"),
                            Err(_) => tracing::debug!("a client of the socket is too slow"),
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(event = "acceptFailed", %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Makes the socket so that only our own user can open it at any time, in the place of one that a
/// process before us left.
async fn listen(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another speaker answers there",
        ));
    }
    let new = path.with_extension("sock.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixSocket::new_stream()?;
    // Linux makes the file with the mode that the socket has, less the umask: no moment is left in
    // which others may open it.
    let inode = File::from(socket.as_fd().try_clone_to_owned()?);
    inode.set_permissions(Permissions::from_mode(0o600))?;
    socket.bind(&new)?;
    let listener = socket.listen(BACKLOG)?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

async fn client(stream: UnixStream, source: &Source) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST));
    let read = tokio::time::timeout(ASKING, reader.read_line(&mut line)).await;
    read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match serde_json::from_str(&line) {
        Ok(Request::Neighbors {}) => {
            let now = Instant::now();
            let statuses = Arc::clone(&source.statuses.borrow());
            let paths = Arc::clone(&source.paths.borrow());
            let all = statuses.iter().map(|(name, status)| {
                let path = paths.peers.get(name);
                Neighbor::new(now, name, status).with_path(now, path)
            });
            say(&mut writer, &Part::Neighbors(all.collect())).await?;
        }
        Ok(Request::Routes { neighbor }) => routes(&mut writer, source, &neighbor).await?,
        Err(error) => {
            let message = format!("the speaker does not know this request: {error}");
            return say(&mut writer, &Part::Error(message)).await;
        }
    }
    say(&mut writer, &Part::End).await
}

async fn routes(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    source: &Source,
    neighbor: &str,
) -> io::Result<()> {
    let mut next = Some(0);
    while let Some(from) = next {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            peer: neighbor.to_owned(),
            from,
            answer,
        };
        if source.questions.send(question).await.is_err() {
            let message = "the speaker is about to end".to_owned();
            return say(writer, &Part::Error(message)).await;
        }
        // A session that is not up has told nothing.
        let Ok(part) = answered.await else {
            return Ok(());
        };
        next = part.next;
        if !part.routes.is_empty() {
            let routes = part.routes.iter();
            let routes = routes.map(|(prefix, attributes)| Route::new(*prefix, attributes));
            say(writer, &Part::Routes(routes.collect())).await?;
        }
    }
    Ok(())
}

async fn say(writer: &mut (impl tokio::io::AsyncWrite + Unpin), part: &Part) -> io::Result<()> {
    let mut line = serde_json::to_vec(part)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests;
