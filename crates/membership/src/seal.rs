//! Sessions between two speakers: the handshake, the seal of each datagram, and what was seen.
//!
//! ```text
//!  0       1       2       3       7              23              39        47
//!  +-------+-------+-------+-------+---------------+---------------+---------+------------+
//!  | 'H'   |version| kind  | key id| from: session | to: session   | counter | sealed ... |
//!  +-------+-------+-------+-------+---------------+---------------+---------+------------+
//! ```
//!
//! A session is a random number of one run of one speaker. The key of a datagram is
//! HKDF-SHA256(secret, salt = sender's session, info = kind and receiver's session), its nonce the
//! counter, its additional data the header: what was sealed for an earlier run of the receiver does
//! not open for this one.
//!
//! A speaker takes data only of a peer that proved to be here now:
//!
//! ```text
//!  A: Hello (my session, my epoch)          ->  B keeps nothing
//!  A knows B's session                      <-  B: Welcome (A's epoch, B's epoch, "I want yours")
//!  A: Welcome (B's epoch)                   ->  B knows A's session
//! ```
//!
//! The epoch of a speaker is another each time that it forgets a peer, so that an old Welcome, which
//! would let in the forgotten peer's old traffic, is worth nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use herald_model::NodeName;
use ring::aead;
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::identity::same;
use crate::keyring::{KeyId, Keyring};
use crate::replay::Window;
use crate::{MAX_DATAGRAM, MAX_MEMBERS, ProblemKind};

const MAGIC: u8 = b'H';
const VERSION: u8 = 1;
const HEADER: usize = 47;
/// What a seal adds to a message.
pub(crate) const OVERHEAD: usize = HEADER + 16;
/// How many datagrams wait for one peer's handshake.
const PENDING_PER_PEER: usize = 4;
/// How long they wait.
const PENDING_FOR: Duration = Duration::from_millis(500);
/// How often one address is sent a Hello at most.
const HELLO_EVERY: Duration = Duration::from_millis(40);
/// For so long a datagram that was sent may serve as proof of when the peer could still hear.
const SAMPLES: usize = 16;
const SAMPLE_EVERY: Duration = Duration::from_millis(10);

type SessionId = [u8; 16];
const NOBODY: SessionId = [0; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello = 1,
    Welcome = 2,
    Data = 3,
}

/// Inside a Hello or a Welcome.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    name: NodeName,
    /// The sender's address as it knows it.
    address: SocketAddr,
    /// Where it is sent to.
    to: SocketAddr,
    /// The sender's epoch.
    epoch: u64,
    /// The receiver's epoch as it told it; 0 in a Hello.
    echo: u64,
    /// The counters of data from the sender are greater.
    floor: u64,
    /// The sender does not know the receiver's session yet.
    wanted: bool,
}

/// A peer that proved to be here.
#[derive(Debug)]
struct Peer {
    session: SessionId,
    name: NodeName,
    counter: u64,
    sealing: (KeyId, [u8; 32]),
    opening: Option<(KeyId, [u8; 32])>,
    window: Window,
    heard: Instant,
    /// Datagrams sent lately: counter and when.
    samples: VecDeque<(u64, Instant)>,
}

/// What waits for a handshake.
#[derive(Debug)]
struct Pending {
    since: Instant,
    bodies: VecDeque<Vec<u8>>,
}

/// What came out of a datagram.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The peer's name.
    pub(crate) name: NodeName,
    /// What it says.
    pub(crate) body: Vec<u8>,
}

/// A datagram that was not taken.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) kind: ProblemKind,
    pub(crate) node: Option<NodeName>,
}

impl From<ProblemKind> for Refused {
    fn from(kind: ProblemKind) -> Self {
        Self { kind, node: None }
    }
}

/// The seal of one run of one speaker.
#[derive(Debug)]
pub(crate) struct Seal {
    me: NodeName,
    address: SocketAddr,
    keys: Keyring,
    session: SessionId,
    epoch: u64,
    /// Counts Hellos and Welcomes.
    greetings: u64,
    /// No counter of data is above it for any peer that was forgotten.
    high_water: u64,
    peers: BTreeMap<SocketAddr, Peer>,
    pending: BTreeMap<SocketAddr, Pending>,
    hellos: BTreeMap<SocketAddr, Instant>,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Seal {
    pub(crate) fn new(
        me: NodeName,
        address: SocketAddr,
        keys: Keyring,
        session: SessionId,
        epoch: u64,
    ) -> Self {
        Self {
            me,
            address,
            keys,
            session,
            epoch: epoch.max(1),
            greetings: 0,
            high_water: 0,
            peers: BTreeMap::new(),
            pending: BTreeMap::new(),
            hellos: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    pub(crate) fn set_keys(&mut self, keys: Keyring) {
        self.keys = keys;
        for peer in self.peers.values_mut() {
            peer.opening = None;
        }
    }

    /// The next sealed datagram.
    pub(crate) fn poll(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    /// Seals `body` for whoever is at `to`; what that needs first is done first.
    pub(crate) fn send(&mut self, now: Instant, to: SocketAddr, body: Vec<u8>) {
        if body.len() + OVERHEAD > MAX_DATAGRAM {
            return;
        }
        if self.peers.contains_key(&to) {
            self.send_data(now, to, &body);
            return;
        }
        if !self.pending.contains_key(&to) && self.pending.len() >= MAX_MEMBERS {
            self.pending
                .retain(|_, pending| now.saturating_duration_since(pending.since) < PENDING_FOR);
            if self.pending.len() >= MAX_MEMBERS {
                return;
            }
        }
        let pending = self.pending.entry(to).or_insert_with(|| Pending {
            since: now,
            bodies: VecDeque::new(),
        });
        if pending.bodies.len() >= PENDING_PER_PEER {
            pending.bodies.pop_front();
        }
        pending.since = now;
        pending.bodies.push_back(body);
        self.hello(now, to);
    }

    fn send_data(&mut self, now: Instant, to: SocketAddr, body: &[u8]) {
        let primary = self.keys.primary();
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        if peer.sealing.0 != primary {
            let Some(key) = derive(&self.keys, primary, Kind::Data, self.session, peer.session)
            else {
                return;
            };
            peer.sealing = (primary, key);
        }
        peer.counter += 1;
        let spaced = peer
            .samples
            .back()
            .is_none_or(|(_, sent)| now.saturating_duration_since(*sent) >= SAMPLE_EVERY);
        if spaced {
            if peer.samples.len() >= SAMPLES {
                peer.samples.pop_front();
            }
            peer.samples.push_back((peer.counter, now));
        }
        let header = Header {
            kind: Kind::Data,
            key: primary,
            from: self.session,
            to: peer.session,
            counter: peer.counter,
        };
        if let Some(datagram) = header.seal(&peer.sealing.1, body) {
            self.out.push_back((to, datagram));
        }
    }

    fn hello(&mut self, now: Instant, to: SocketAddr) {
        if let Some(last) = self.hellos.get(&to)
            && now.saturating_duration_since(*last) < HELLO_EVERY
        {
            return;
        }
        if self.hellos.len() >= MAX_MEMBERS {
            self.hellos
                .retain(|_, last| now.saturating_duration_since(*last) < HELLO_EVERY);
            if self.hellos.len() >= MAX_MEMBERS {
                return;
            }
        }
        self.hellos.insert(to, now);
        self.greet(Kind::Hello, to, NOBODY, 0, true);
    }

    fn greet(&mut self, kind: Kind, to: SocketAddr, session: SessionId, echo: u64, wanted: bool) {
        self.greetings += 1;
        let greeting = Greeting {
            name: self.me.clone(),
            address: self.address,
            to,
            epoch: self.epoch,
            echo,
            floor: self
                .peers
                .get(&to)
                .map_or(self.high_water, |peer| peer.counter),
            wanted,
        };
        let header = Header {
            kind,
            key: self.keys.primary(),
            from: self.session,
            to: session,
            counter: self.greetings,
        };
        let Some(key) = derive(&self.keys, header.key, kind, header.from, header.to) else {
            return;
        };
        let Ok(body) = postcard::to_stdvec(&greeting) else {
            return;
        };
        if let Some(datagram) = header.seal(&key, &body) {
            self.out.push_back((to, datagram));
        }
    }

    /// Opens a datagram. `Ok(None)` if it was part of a handshake.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        directory: &Directory,
    ) -> Result<Option<Opened>, Refused> {
        let (header, aad, sealed) = Header::parse(bytes)?;
        if header.from == self.session {
            return Err(ProblemKind::Replayed.into());
        }
        match header.kind {
            Kind::Data => self
                .open_data(now, from, &header, (aad, sealed), directory)
                .map(Some),
            Kind::Hello | Kind::Welcome => {
                let key = derive(&self.keys, header.key, header.kind, header.from, header.to)
                    .ok_or(ProblemKind::UnknownKey)?;
                let body = open(&key, header.counter, aad, sealed)?;
                let greeting: Greeting =
                    postcard::from_bytes(&body).map_err(|_| ProblemKind::Malformed)?;
                directory
                    .check(&greeting.name, from)
                    .map_err(|kind| Refused {
                        kind,
                        node: Some(greeting.name.clone()),
                    })?;
                self.greeted(now, from, &header, &greeting)?;
                Ok(None)
            }
        }
    }

    fn open_data(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        (aad, sealed): (&[u8], &[u8]),
        directory: &Directory,
    ) -> Result<Opened, Refused> {
        let derived = || {
            derive(&self.keys, header.key, header.kind, header.from, header.to)
                .ok_or(ProblemKind::UnknownKey)
        };
        let known = self
            .peers
            .get(&from)
            .filter(|peer| peer.session == header.from && self.session == header.to);
        let Some(peer) = known else {
            // It had the key, but no session with this run of this speaker. It may also be an old
            // datagram that somebody sends again from anywhere.
            open(&derived()?, header.counter, aad, sealed)?;
            if directory.has(from) {
                self.hello(now, from);
            }
            return Err(ProblemKind::Stale.into());
        };
        let node = Some(peer.name.clone());
        let key = match peer.opening {
            Some((id, key)) if id == header.key => key,
            _ => derived()?,
        };
        if !peer.window.is_new(header.counter) {
            return Err(Refused {
                kind: ProblemKind::Replayed,
                node,
            });
        }
        let body = open(&key, header.counter, aad, sealed)?;
        let name = peer.name.clone();
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.opening = Some((header.key, key));
            peer.window.mark(header.counter);
            peer.heard = now;
        }
        Ok(Opened { name, body })
    }

    fn greeted(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        greeting: &Greeting,
    ) -> Result<(), Refused> {
        let refused = |kind| Refused {
            kind,
            node: Some(greeting.name.clone()),
        };
        if greeting.name == self.me {
            return Err(refused(ProblemKind::OwnName));
        }
        if !same(greeting.address, from) || !same(greeting.to, self.address) {
            return Err(refused(ProblemKind::WrongAddress));
        }
        if header.kind == Kind::Welcome {
            if header.to != self.session || greeting.echo != self.epoch {
                return Err(refused(ProblemKind::Stale));
            }
            self.admit(now, from, header, greeting);
        }
        let knows = self
            .peers
            .get(&from)
            .is_some_and(|peer| peer.session == header.from);
        if greeting.wanted {
            self.greet(Kind::Welcome, from, header.from, greeting.epoch, !knows);
        }
        if knows && let Some(pending) = self.pending.remove(&from) {
            let fresh = now.saturating_duration_since(pending.since) < PENDING_FOR;
            for body in pending.bodies.into_iter().filter(|_| fresh) {
                self.send_data(now, from, &body);
            }
        }
        Ok(())
    }

    fn admit(&mut self, now: Instant, from: SocketAddr, header: &Header, greeting: &Greeting) {
        if let Some(peer) = self.peers.get(&from)
            && peer.session == header.from
        {
            return;
        }
        let primary = self.keys.primary();
        let Some(sealing) = derive(&self.keys, primary, Kind::Data, self.session, header.from)
        else {
            return;
        };
        self.forget(from);
        if self.peers.len() >= MAX_MEMBERS {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
            if let Some(address) = oldest.map(|(address, _)| *address) {
                self.forget(address);
            }
        }
        self.peers.insert(
            from,
            Peer {
                session: header.from,
                name: greeting.name.clone(),
                counter: self.high_water,
                sealing: (primary, sealing),
                opening: None,
                window: Window::above(greeting.floor),
                heard: now,
                samples: VecDeque::new(),
            },
        );
    }

    fn forget(&mut self, address: SocketAddr) {
        if let Some(peer) = self.peers.remove(&address) {
            self.high_water = self.high_water.max(peer.counter);
            self.epoch = self.epoch.wrapping_add(1).max(1);
        }
    }

    /// The run of the peer at `address`, as a number that is another after a restart.
    pub(crate) fn run(&self, address: SocketAddr) -> Option<u128> {
        let peer = self.peers.get(&address)?;
        Some(u128::from_be_bytes(peer.session))
    }

    /// The greatest counter received from the peer, for it to know what arrived.
    pub(crate) fn received(&self, address: SocketAddr) -> u64 {
        self.peers
            .get(&address)
            .map_or(0, |peer| peer.window.greatest())
    }

    /// When the newest datagram that the peer has received, going by `counter`, was sent.
    pub(crate) fn sent(&mut self, address: SocketAddr, counter: u64) -> Option<Instant> {
        let samples = &mut self.peers.get_mut(&address)?.samples;
        let mut newest = None;
        while let Some((sample, sent)) = samples.front()
            && *sample <= counter
        {
            newest = Some(*sent);
            samples.pop_front();
        }
        newest
    }
}

struct Header {
    kind: Kind,
    key: KeyId,
    from: SessionId,
    to: SessionId,
    counter: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), ProblemKind> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(ProblemKind::Oversized);
        }
        match bytes {
            [MAGIC, VERSION, ..] => {}
            [] | [MAGIC] => return Err(ProblemKind::Truncated),
            [MAGIC, ..] => return Err(ProblemKind::Version),
            _ => return Err(ProblemKind::Garbage),
        }
        let (aad, sealed) = bytes
            .split_at_checked(HEADER)
            .filter(|(_, sealed)| sealed.len() >= 16)
            .ok_or(ProblemKind::Truncated)?;
        let mut rest = aad.get(2..).unwrap_or_default();
        let [kind] = take(&mut rest).ok_or(ProblemKind::Truncated)?;
        let header = Self {
            kind: match kind {
                1 => Kind::Hello,
                2 => Kind::Welcome,
                3 => Kind::Data,
                _ => return Err(ProblemKind::Garbage),
            },
            key: take(&mut rest).ok_or(ProblemKind::Truncated)?,
            from: take(&mut rest).ok_or(ProblemKind::Truncated)?,
            to: take(&mut rest).ok_or(ProblemKind::Truncated)?,
            counter: u64::from_be_bytes(take(&mut rest).ok_or(ProblemKind::Truncated)?),
        };
        Ok((header, aad, sealed))
    }

    fn seal(&self, key: &[u8; 32], body: &[u8]) -> Option<Vec<u8>> {
        let mut datagram = Vec::with_capacity(body.len() + OVERHEAD);
        datagram.extend([MAGIC, VERSION, self.kind as u8]);
        datagram.extend(self.key);
        datagram.extend(self.from);
        datagram.extend(self.to);
        datagram.extend(self.counter.to_be_bytes());
        let mut sealed = body.to_vec();
        cipher(key)
            .seal_in_place_append_tag(nonce(self.counter), aead::Aad::from(&datagram), &mut sealed)
            .ok()?;
        datagram.append(&mut sealed);
        Some(datagram)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn derive(
    keys: &Keyring,
    id: KeyId,
    kind: Kind,
    from: SessionId,
    to: SessionId,
) -> Option<[u8; 32]> {
    keys.derive(
        id,
        &from,
        &[b"herald membership", &[VERSION, kind as u8], &to],
    )
}

fn cipher(key: &[u8; 32]) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key)
        .expect("a key of ChaCha20-Poly1305 has 32 bytes");
    aead::LessSafeKey::new(key)
}

fn nonce(counter: u64) -> aead::Nonce {
    let mut nonce = [0; 12];
    let (_, end) = nonce.split_at_mut(4);
    end.copy_from_slice(&counter.to_be_bytes());
    aead::Nonce::assume_unique_for_key(nonce)
}

fn open(key: &[u8; 32], counter: u64, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, ProblemKind> {
    let mut body = sealed.to_vec();
    let length = cipher(key)
        .open_in_place(nonce(counter), aead::Aad::from(aad), &mut body)
        .map_err(|_| ProblemKind::Forged)?
        .len();
    body.truncate(length);
    Ok(body)
}
