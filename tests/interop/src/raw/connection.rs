//! One TCP connection of a scripted peer: sends bytes, takes messages, keeps a log of both.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::read::{OpenSeen, UpdateSeen};
use super::wire::kind;

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The type.
    pub kind: u8,
    /// What follows the header.
    pub body: Vec<u8>,
    /// When it was complete.
    pub time: Instant,
}

impl Message {
    /// Code, subcode and data, if it is a NOTIFICATION.
    pub fn notification(&self) -> Option<(u8, u8, &[u8])> {
        match self.body.as_slice() {
            [code, subcode, data @ ..] if self.kind == kind::NOTIFICATION => {
                Some((*code, *subcode, data))
            }
            _ => None,
        }
    }

    /// The OPEN, if it is one that can be read.
    pub fn open(&self) -> Option<Result<OpenSeen>> {
        (self.kind == kind::OPEN).then(|| OpenSeen::read(&self.body))
    }

    /// The UPDATE, if it is one.
    pub fn update(&self) -> Option<Result<UpdateSeen>> {
        (self.kind == kind::UPDATE).then(|| UpdateSeen::read(&self.body))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.notification()) {
            (_, Some((code, subcode, data))) => {
                write!(f, "NOTIFICATION {code}/{subcode}")?;
                if !data.is_empty() {
                    write!(f, " ")?;
                }
                data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            (kind::OPEN, _) => write!(f, "OPEN"),
            (kind::UPDATE, _) => write!(f, "UPDATE of {} octets", self.body.len() + 19),
            (kind::KEEPALIVE, _) => write!(f, "KEEPALIVE"),
            (kind::ROUTE_REFRESH, _) => write!(f, "ROUTE-REFRESH {:?}", self.body),
            (other, _) => write!(f, "message of type {other}"),
        }
    }
}

/// What a connection has to say next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// The other end closed it in order.
    Closed,
    /// The other end reset it.
    Reset,
    /// Nothing until the deadline.
    Silence,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => write!(f, "{message}"),
            Self::Closed => write!(f, "closed"),
            Self::Reset => write!(f, "reset"),
            Self::Silence => write!(f, "silence"),
        }
    }
}

/// A line of a connection's log.
#[derive(Debug, Clone)]
pub struct Record {
    /// When.
    pub time: Instant,
    /// Whether the scripted peer sent it.
    pub sent: bool,
    /// The bytes of a message, or of what was sent in one go; empty for an end.
    pub bytes: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The other end.
    pub remote: SocketAddr,
    opened: Instant,
    buffer: Vec<u8>,
    log: Vec<Record>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            remote,
            opened: Instant::now(),
            buffer: Vec::new(),
            log: Vec::new(),
        })
    }

    /// When it was accepted or dialled.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// All frames so far, with their times.
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// Sends bytes as they are. That the other end has closed shows when something is received.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.log.push(Record {
            time: Instant::now(),
            sent: true,
            bytes: bytes.to_vec(),
        });
        match self.stream.write_all(bytes) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// What comes next until the deadline.
    pub fn receive(&mut self, deadline: Instant) -> Result<Event> {
        let mut chunk = [0; 8192];
        loop {
            if let Some(message) = self.complete() {
                return Ok(Event::Message(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Silence);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Event::Closed),
                Ok(length) => self.buffer.extend(chunk.iter().take(length)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionReset => return Ok(Event::Reset),
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn complete(&mut self) -> Option<Message> {
        let header: &[u8; 19] = self.buffer.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([header[16], header[17]])).max(19);
        let kind = header[18];
        let bytes = self.buffer.get(..length)?.to_vec();
        self.buffer.drain(..length);
        let time = Instant::now();
        let body = bytes.get(19..)?.to_vec();
        self.log.push(Record {
            time,
            sent: false,
            bytes,
        });
        Some(Message { kind, body, time })
    }

    /// The first event for which `wanted` gives something, until the deadline; else the last event:
    /// the end of the connection or silence.
    pub fn receive_until<T>(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&Message) -> Option<T>,
    ) -> Result<std::result::Result<T, Event>> {
        loop {
            match self.receive(deadline)? {
                Event::Message(message) => {
                    if let Some(found) = wanted(&message) {
                        return Ok(Ok(found));
                    }
                }
                other => return Ok(Err(other)),
            }
        }
    }

    /// Closes it with a reset instead of an orderly end.
    pub fn reset(self) -> Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }
}
