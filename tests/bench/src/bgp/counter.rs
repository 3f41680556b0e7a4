//! A router that keeps nothing: it has a session and counts what comes in, when it comes in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use herald_lab::Netns;

use super::wire::{self, Message};

/// How often a KEEPALIVE is sent: a third of the hold time.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// When the last connection was accepted.
    pub(crate) accepted: Option<Instant>,
    /// When its session was established: with the first KEEPALIVE after the OPEN.
    pub(crate) established: Option<Instant>,
    /// Why the last session ended, if it did.
    pub(crate) ended: Option<String>,
    /// UPDATEs with routes in them.
    pub(crate) updates: usize,
    /// Prefixes announced.
    pub(crate) announced: usize,
    /// Prefixes withdrawn.
    pub(crate) withdrawn: usize,
    /// Bytes of attributes in the UPDATE that had most of them.
    pub(crate) attributes: usize,
    /// When the last route came in.
    pub(crate) last: Option<Instant>,
}

/// The router. It ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Counter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tally: Mutex<Tally>,
    news: Condvar,
}

impl Counter {
    /// Listens in a namespace.
    pub(crate) fn start(netns: &Netns, address: Ipv4Addr, asn: u32) -> Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind(SocketAddr::from((address, 179))))?
            .with_context(|| format!("cannot listen on {address}"))?;
        let counter = Self(Arc::default());
        let here = counter.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let ended = stream
                    .map_err(anyhow::Error::from)
                    .and_then(|stream| here.session(stream, asn, address));
                let reason = ended.map_or_else(|error| format!("{error:#}"), |()| "FIN".to_owned());
                here.change(|tally| tally.ended = Some(reason));
            }
        });
        Ok(counter)
    }

    /// What came in since the last [`reset`](Self::reset).
    pub(crate) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Counts anew from here on.
    pub(crate) fn reset(&self) {
        self.change(|tally| {
            *tally = Tally {
                accepted: tally.accepted,
                established: tally.established,
                ended: tally.ended.take(),
                ..Tally::default()
            };
        });
    }

    /// Waits until the tally is as wanted. An error if a session ends before, or time runs out.
    pub(crate) fn wait(&self, timeout: Duration, wanted: impl Fn(&Tally) -> bool) -> Result<Tally> {
        let deadline = Instant::now() + timeout;
        let mut tally = self.lock();
        loop {
            if wanted(&tally) {
                return Ok(tally.clone());
            }
            if let Some(reason) = &tally.ended {
                bail!("the session ended: {reason}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited {timeout:?} in vain: {:?}", *tally);
            }
            let timed = self.0.news.wait_timeout(tally, left);
            tally = timed.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn session(&self, mut stream: TcpStream, asn: u32, id: Ipv4Addr) -> Result<()> {
        self.change(|tally| {
            *tally = Tally {
                accepted: Some(Instant::now()),
                ..Tally::default()
            };
        });
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(&wire::open(asn, id))?;
        let mut sent = Instant::now();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 256 * 1024];
        loop {
            if sent.elapsed() > KEEPALIVE {
                stream.write_all(&wire::keepalive())?;
                sent = Instant::now();
            }
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => bytes.extend(chunk.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let used = self.count(&bytes, Instant::now(), &mut stream)?;
            bytes.drain(..used);
        }
    }

    /// Counts the complete messages. How many bytes they have.
    fn count(&self, bytes: &[u8], now: Instant, stream: &mut TcpStream) -> Result<usize> {
        let mut used = 0;
        let mut tally = self.lock();
        while let Some(rest) = bytes.get(used..) {
            let (message, length) = match wire::first(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(fault) => {
                    stream.write_all(&wire::notification(fault))?;
                    bail!("NOTIFICATION {}/{} sent", fault.0, fault.1);
                }
            };
            used += length;
            match message {
                Message::Open => stream.write_all(&wire::keepalive())?,
                Message::Keepalive => {
                    tally.established.get_or_insert(now);
                }
                Message::Notification(code, subcode) => {
                    bail!("NOTIFICATION {code}/{subcode} received");
                }
                // End-of-RIB has no routes.
                Message::Update(update) if update.announced + update.withdrawn > 0 => {
                    tally.updates += 1;
                    tally.announced += update.announced;
                    tally.withdrawn += update.withdrawn;
                    tally.attributes = tally.attributes.max(update.attributes);
                    tally.last = Some(now);
                }
                Message::Update(_) | Message::Other => {}
            }
        }
        drop(tally);
        self.0.news.notify_all();
        Ok(used)
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.lock());
        self.0.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, and a counter that counts what arrives on it.
    fn counted() -> Result<(TcpStream, Counter)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        let counter = Counter(Arc::default());
        let here = counter.clone();
        thread::spawn(move || {
            let ended = here.session(far, 65002, Ipv4Addr::LOCALHOST);
            let reason = ended.map_or_else(|error| error.to_string(), |()| "FIN".to_owned());
            here.change(|tally| tally.ended = Some(reason));
        });
        Ok((near, counter))
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_session_is_established_by_a_keepalive_and_routes_are_counted() -> Result<()> {
        let (mut near, counter) = counted()?;
        near.write_all(&wire::open(65001, Ipv4Addr::LOCALHOST))?;
        near.write_all(&wire::keepalive())?;
        counter.wait(SOON, |tally| tally.established.is_some())?;
        let mut update = vec![0xff; 16];
        update.extend([0, 33, 2, 0, 10, 32, 20, 0, 0, 1, 32, 20, 0, 0, 2, 0, 0]);
        // In two parts, as TCP may have it.
        near.write_all(&update[..20])?;
        near.write_all(&update[20..])?;
        let tally = counter.wait(SOON, |tally| tally.updates == 1)?;
        assert_eq!((tally.withdrawn, tally.announced), (2, 0));
        counter.reset();
        let tally = counter.tally();
        assert!(tally.established.is_some() && tally.last.is_none());
        Ok(())
    }

    #[test]
    fn the_end_of_a_session_ends_the_wait_for_more() -> Result<()> {
        let (near, counter) = counted()?;
        drop(near);
        let error = counter.wait(SOON, |tally| tally.updates > 0);
        assert!(error.is_err_and(|error| error.to_string().contains("ended")));
        Ok(())
    }
}
