//! Connections that stay open, to see which of them live through what happens.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::lab::Lab;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";

/// Longer than retransmissions need after a second without a network.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that did not stay.
#[derive(Debug, Clone)]
pub struct Lost {
    /// When it was noticed.
    pub at: Instant,
    /// Reset, closed, or without an answer for five seconds.
    pub why: String,
}

/// TCP connections from a part of the lab to backends, each with one request after the other.
/// Ends with [`Connections::stop`], when dropped, and with the lab.
#[derive(Debug)]
pub struct Connections {
    lost: Arc<Mutex<Vec<Lost>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    /// Opens so many connections, and asks on each of them at an interval. Returns when all are
    /// open.
    pub fn connections(
        &self,
        part: &str,
        address: IpAddr,
        port: u16,
        count: usize,
        every: Duration,
    ) -> Result<Connections> {
        let lost = Arc::new(Mutex::new(Vec::new()));
        let stop = self.shared.end.child_token();
        let (netns, to) = (self.netns(part), SocketAddr::new(address, port));
        let (kept, until) = (Arc::clone(&lost), stop.clone());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let opened = netns.enter().and_then(|()| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let streams = runtime.block_on(open(to, count))?;
                Ok((runtime, streams))
            });
            let (runtime, streams) = match opened {
                Ok(opened) => opened,
                Err(error) => return drop(sender.send(Err(error))),
            };
            // Whoever opened the connections waits for this.
            let _ = sender.send(Ok(()));
            runtime.block_on(until.run_until_cancelled(keep_all(streams, every, kept)));
        });
        receiver
            .recv()
            .context("the thread of the connections panicked")??;
        Ok(Connections {
            lost,
            stop,
            thread: Some(thread),
        })
    }
}

async fn open(to: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(to));
        streams.push(
            connecting
                .await
                .context("no connection in time")?
                .with_context(|| format!("cannot connect to {to}"))?,
        );
    }
    Ok(streams)
}

async fn keep_all(streams: Vec<TcpStream>, every: Duration, lost: Arc<Mutex<Vec<Lost>>>) {
    let mut all = JoinSet::new();
    for stream in streams {
        all.spawn(async move {
            let Err(error) = keep(stream, every).await;
            Lost {
                at: Instant::now(),
                why: format!("{error:#}"),
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        if let Ok(ended) = ended {
            lost.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(ended);
        }
    }
    // Whoever waits for the stop wants to find it alive.
    std::future::pending::<()>().await;
}

/// Asks until something goes wrong.
async fn keep(mut stream: TcpStream, every: Duration) -> Result<std::convert::Infallible> {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        match tokio::time::timeout(PATIENCE, ask(&mut stream)).await {
            Ok(answered) => answered?,
            Err(_) => bail!("no answer within {PATIENCE:?}"),
        }
    }
}

async fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(REQUEST).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .context("the answer has no length")?;
    let mut body = vec![0; length.trim().parse()?];
    stream.read_exact(&mut body).await?;
    Ok(())
}

impl Connections {
    /// Those that are lost so far.
    pub fn lost(&self) -> Vec<Lost> {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Closes all; those that were lost before.
    pub async fn stop(mut self) -> Result<Vec<Lost>> {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && spawn_blocking(move || thread.join()).await?.is_err()
        {
            bail!("the thread of the connections panicked");
        }
        Ok(self.lost())
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
