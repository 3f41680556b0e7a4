//! A TCP connection of a session, with what waits to be written to it.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::Poll;
use std::time::{Duration, Instant};

use herald_bgp::session::Endpoints;
use herald_netsys::tcp;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::transition::{Security, Transition};

/// How long a connection that is to be closed may take to send its last words, and the peer to close
/// its side: a socket closed with something unread is reset, and the last words with it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many bytes are read at once.
const CHUNK: usize = 64 * 1024;

/// How often that is done before others have their turn.
const TURNS: usize = 2;

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// How much of `unsent` is sent.
    sent: usize,
    /// The peer has not acknowledged all, as far as it is known.
    unacknowledged: bool,
    closing: Option<Closing>,
    /// All bytes that were to be sent.
    written: u64,
    /// What it is secured by is changing.
    transition: Option<Transition>,
    /// What was found behind the last bytes: the kernel tells an error once.
    failed: Option<io::Error>,
}

/// A connection that is to be closed.
#[derive(Debug, Clone, Copy)]
struct Closing {
    /// When it is closed at the latest.
    at: Instant,
    /// All was written, and the peer has been told that no more comes.
    finished: bool,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Arrived {
    Bytes(Vec<u8>),
    /// The peer closed its side, or the connection broke.
    End(Option<io::Error>),
}

impl Connection {
    /// One that was made with `had`, which may not be what it is to have by now, `wanted`.
    pub(super) fn open(
        now: Instant,
        stream: TcpStream,
        had: &Security,
        wanted: &Security,
    ) -> Result<Self, herald_netsys::Error> {
        let mut connection = Self {
            stream,
            unsent: Vec::new(),
            sent: 0,
            unacknowledged: false,
            closing: None,
            written: 0,
            transition: None,
            failed: None,
        };
        if had == wanted {
            connection.secure(wanted)?;
        } else {
            // The other end gets the same change, as that of any live connection does.
            connection.change(now, had, wanted)?;
        }
        Ok(connection)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn endpoints(&self) -> io::Result<Endpoints> {
        Ok(Endpoints {
            local: self.stream.local_addr()?,
            peer: self.stream.peer_addr()?,
        })
    }

    /// To be sent after all that was to be sent before.
    pub(super) fn write(&mut self, bytes: Vec<u8>) {
        self.written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.sent >= CHUNK {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
        if self.unsent.is_empty() {
            self.unsent = bytes;
        } else {
            self.unsent.extend_from_slice(&bytes);
        }
    }

    /// How many bytes wait.
    pub(super) fn left(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// Something was sent that the peer had not acknowledged when it was last looked at.
    pub(super) fn is_unacknowledged(&self) -> bool {
        self.unacknowledged
    }

    /// Looks how many bytes the peer has not acknowledged, sent or not.
    pub(super) fn unacknowledged(&mut self) -> usize {
        let count = self.outstanding();
        self.unacknowledged = count > 0;
        count
    }

    fn outstanding(&self) -> usize {
        // A socket that cannot be asked has broken, which shows when it is read.
        self.left() + tcp::queued(&self.stream).unwrap_or_default()
    }

    /// It was secured by `old`, and is to be by `new` when its other end is, too.
    pub(super) fn change(
        &mut self,
        now: Instant,
        old: &Security,
        new: &Security,
    ) -> Result<(), herald_netsys::Error> {
        let old = match self.transition.take() {
            Some(under_way) => under_way.security(),
            None => old.clone(),
        };
        let unacknowledged = u64::try_from(self.outstanding()).unwrap_or(u64::MAX);
        let acknowledged = self.written.saturating_sub(unacknowledged);
        let transition = Transition::new(now, old, new.clone(), acknowledged);
        let both = transition.security();
        self.transition = Some(transition);
        self.secure(&both)
    }

    /// Goes on with a change. An error keeps what it had.
    pub(super) fn tend(&mut self, now: Instant) -> Result<(), herald_netsys::Error> {
        if self
            .transition
            .as_ref()
            .is_none_or(|it| now < it.next_look())
        {
            return Ok(());
        }
        let unacknowledged = self.outstanding();
        let waiting = u64::try_from(unacknowledged).unwrap_or(u64::MAX);
        let acknowledged = self.written.saturating_sub(waiting);
        let Some(transition) = &mut self.transition else {
            return Ok(());
        };
        let (security, over) = transition.look(now, unacknowledged, acknowledged);
        if over {
            self.transition = None;
        }
        security.map_or(Ok(()), |security| self.secure(&security))
    }

    /// Sets what it is secured by, at once.
    fn secure(&self, security: &Security) -> Result<(), herald_netsys::Error> {
        tcp::set_password(&self.stream, security.password.as_ref())?;
        tcp::set_hops(&self.stream, security.hops)
    }

    /// To be closed when all is sent.
    pub(super) fn close(&mut self, now: Instant) {
        self.closing.get_or_insert(Closing {
            at: now + LAST_WORDS,
            finished: false,
        });
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// When something is due: a connection that is to be closed is closed whatever happens, or one that
    /// changes is to be looked at.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let closing = self.closing.map(|closing| closing.at);
        let look = self.transition.as_ref().map(Transition::next_look);
        closing.into_iter().chain(look).min()
    }

    /// Waits until something can be read, or written if something is to be.
    pub(super) async fn ready(&self) {
        if self.failed.is_some() {
            return;
        }
        let (stream, writes) = (&self.stream, self.left() > 0);
        // Errors show when it is read.
        poll_fn(|context| {
            let reads = stream.poll_read_ready(context).is_ready();
            let may = reads || writes && stream.poll_write_ready(context).is_ready();
            if may { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// What is there to be read. A connection that is to be closed has nothing to say any more.
    pub(super) fn read(&mut self) -> Option<Arrived> {
        if let Some(error) = self.failed.take() {
            return Some(Arrived::End(Some(error)));
        }
        let mut all = Vec::new();
        for _ in 0..TURNS {
            let before = all.len();
            all.resize(before + CHUNK, 0);
            let read = self
                .stream
                .try_read(all.get_mut(before..).unwrap_or_default());
            all.truncate(before + read.as_ref().copied().unwrap_or_default());
            match read {
                Ok(0) if before == 0 => return Some(Arrived::End(None)),
                // The end shows again when it is read next.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if before == 0 => return Some(Arrived::End(Some(error))),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        (!all.is_empty()).then_some(Arrived::Bytes(all))
    }

    /// Sends what the peer takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Goes on with closing. True if it is done.
    pub(super) fn closed(&mut self, now: Instant) -> bool {
        let Some(closing) = self.closing else {
            return false;
        };
        if closing.at <= now || self.flush().is_err() {
            if self.unacknowledged() > 0 {
                // Else the kernel would keep what nobody takes.
                let _ = tcp::reset_when_closed(&self.stream);
            }
            return true;
        }
        if self.left() == 0 && !closing.finished {
            self.closing = Some(Closing {
                finished: true,
                ..closing
            });
            // Of a TCP socket it is done by the first poll.
            let shut = futures::FutureExt::now_or_never(self.stream.shutdown());
            if !matches!(shut, Some(Ok(()))) {
                return true;
            }
        }
        matches!(self.read(), Some(Arrived::End(_)))
    }
}

#[cfg(test)]
mod tests;
