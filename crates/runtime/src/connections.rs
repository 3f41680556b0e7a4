//! Bounds on the connections of a server, so that clients that say nothing hold nothing for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// What a server grants its clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time; more wait in the queue of the socket.
    pub connections: usize,
    /// From the start of a connection to its first answer.
    pub first_answer: Duration,
    /// From one piece of an answer to the next, so also the time that an idle connection lives.
    pub next_answer: Duration,
}

impl Limits {
    /// Of both servers: scrapers that keep their connection ask every minute or sooner.
    pub(crate) const SERVER: Self = Self {
        connections: 64,
        first_answer: Duration::from_secs(10),
        next_answer: Duration::from_secs(90),
    };

    /// As many slots as connections are granted.
    pub(crate) fn slots(self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.connections))
    }
}

/// Waits for a free slot, then for a connection to put into it.
pub(crate) async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                tracing::warn!(event = "acceptFailed", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A connection that occupies its slot and fails once it has written nothing for too long.
#[derive(Debug)]
pub(crate) struct Limited<Io> {
    io: Io,
    deadline: Pin<Box<Sleep>>,
    next_answer: Duration,
    _slot: OwnedSemaphorePermit,
}

impl<Io> Limited<Io> {
    pub(crate) fn new(io: Io, limits: Limits, slot: OwnedSemaphorePermit) -> Self {
        Self {
            io,
            deadline: Box::pin(tokio::time::sleep(limits.first_answer)),
            next_answer: limits.next_answer,
            _slot: slot,
        }
    }

    /// What is to be answered while the other side keeps us waiting.
    fn waiting<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.deadline
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn written(&mut self, outcome: io::Result<usize>) -> io::Result<usize> {
        if matches!(outcome, Ok(1..)) {
            let deadline = Instant::now() + self.next_answer;
            self.deadline.as_mut().reset(deadline);
        }
        outcome
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Limited<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Also while bytes come: one byte now and then is no request.
        if let Poll::Ready(late) = self.waiting(context) {
            return Poll::Ready(late);
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Limited<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(context, bytes) {
            Poll::Ready(outcome) => Poll::Ready(self.written(outcome)),
            Poll::Pending => self.waiting(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(context, slices) {
            Poll::Ready(outcome) => Poll::Ready(self.written(outcome)),
            Poll::Pending => self.waiting(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.waiting(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.waiting(context),
        }
    }
}

/// Plain connections within limits, as a listener for axum.
pub(crate) struct Listener {
    socket: TcpListener,
    limits: Limits,
    slots: Arc<Semaphore>,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, limits: Limits) -> Self {
        Self {
            socket,
            limits,
            slots: limits.slots(),
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Limited<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer, slot) = accept(&self.socket, &self.slots).await;
        (Limited::new(stream, self.limits, slot), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// One connection at a time, and quick ends.
    const TIGHT: Limits = Limits {
        connections: 1,
        first_answer: Duration::from_millis(200),
        next_answer: Duration::from_millis(400),
    };

    const SOON: Duration = Duration::from_secs(5);

    /// The end of the connection as the client sees it; panics if it does not come.
    async fn ended(client: &mut (impl AsyncRead + Unpin)) {
        let mut rest = Vec::new();
        let end = client.read_to_end(&mut rest);
        // A reset is an end too.
        let _ = tokio::time::timeout(SOON, end).await.expect("closed");
    }

    /// Asks for `path` and gives the first line of the answer.
    async fn ask(client: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 1024];
        let read = tokio::time::timeout(SOON, client.read(&mut answer)).await;
        answer.truncate(read.expect("in time").expect("an answer"));
        let text = String::from_utf8_lossy(&answer);
        text.lines().next().unwrap_or_default().to_owned()
    }

    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("bound");
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "ok" }));
        tokio::spawn(axum::serve(Listener::new(listener, TIGHT), router).into_future());
        address
    }

    #[tokio::test]
    async fn a_silent_client_makes_room_for_the_next() {
        let address = server().await;
        let mut silent = TcpStream::connect(address).await.expect("connects");
        let mut next = TcpStream::connect(address).await.expect("queued");
        let before = Instant::now();
        assert_eq!(ask(&mut next, "/").await, "HTTP/1.1 200 OK");
        assert!(before.elapsed() >= TIGHT.first_answer / 2, "it had to wait");
        ended(&mut silent).await;
        // Idle after an answer is not for ever either.
        ended(&mut next).await;
    }

    #[tokio::test]
    async fn a_request_byte_by_byte_does_not_prolong_the_time() {
        let mut slow = TcpStream::connect(server().await).await.expect("connects");
        let before = Instant::now();
        while slow.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(before.elapsed() < SOON, "served for too long");
        }
    }
}
