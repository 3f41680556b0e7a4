//! Connections that peers make: only from peers that may, and only while there is one that may.
//!
//! A socket for each family and VRF that such a peer is in. It takes any address, and the kernel knows
//! the passwords of those that have one. Whoever is no peer is closed without a word.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::select_all;
use herald_model::IpFamily;
use herald_netsys::interface_name;
use herald_netsys::tcp::{self, Hops, ListenOptions, Listener, Password};
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpStream;

use super::plan::Remote;
use super::transition::Security;

/// How often a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long nothing is accepted after that failed, as with too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// How often strangers are told of at most.
const TELL_STRANGERS: Duration = Duration::from_mins(1);

/// A peer that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guest {
    /// The name of its `BGPPeer`.
    pub(super) name: String,
    pub(super) vrf: Option<String>,
    pub(super) remote: Remote,
    /// The own address that it has to connect to; any if `None`.
    pub(super) local: Option<IpAddr>,
    pub(super) hops: Hops,
    pub(super) password: Option<Password>,
}

/// A connection that a peer has made.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// What it was made with: the plan of its session may be another by now.
    pub(super) security: Security,
}

/// Guests that cannot be let in, and why, in words: they have a link-local address in common with one of
/// another interface, and another password. The kernel finds a password by the address alone (for
/// interfaces, `TCP_MD5SIG_FLAG_IFINDEX` knows VRFs and nothing else).
pub(super) fn clashes(guests: &[Guest]) -> BTreeMap<String, String> {
    let mut first: BTreeMap<(Place, IpAddr), &Guest> = BTreeMap::new();
    let mut clashes = BTreeMap::new();
    for guest in guests {
        let Some(interface) = &guest.remote.interface else {
            continue;
        };
        let address = guest.remote.address;
        let first = first.entry((guest.place(), address)).or_insert(guest);
        let elsewhere = first
            .remote
            .interface
            .as_ref()
            .filter(|it| *it != interface);
        if let Some(elsewhere) = elsewhere.filter(|_| first.password != guest.password) {
            let problem = format!(
                "it cannot connect: {address} on {interface} is also the address of the BGPPeer {} on \
                 {elsewhere}, which has another password, and the kernel does not tell the two apart; \
                 give the BGPPeers {} and {} one password, or one of the routers another address, or \
                 leave it to this node to connect (annotation {}: outbound)",
                first.name,
                first.name,
                guest.name,
                herald_api::annotations::BGP_CONNECTION
            );
            clashes.insert(guest.name.clone(), problem);
        }
    }
    clashes
}

/// As many are accepted before their turn as the kernel keeps for a socket.
const MOST_MADE: usize = 64;

/// What a socket listens to.
type Place = (IpFamily, Option<String>);

impl Guest {
    fn place(&self) -> Place {
        (IpFamily::of(self.remote.address), self.vrf.clone())
    }

    /// The connection `from` there, `to` here, is this peer's. `name_of` knows interfaces by index.
    fn is(
        &self,
        from: SocketAddr,
        to: IpAddr,
        name_of: impl FnOnce(u32) -> Option<String>,
    ) -> bool {
        if from.ip() != self.remote.address || self.local.is_some_and(|local| local != to) {
            return false;
        }
        match (&self.remote.interface, from) {
            (Some(interface), SocketAddr::V6(from)) => {
                name_of(from.scope_id()).as_ref() == Some(interface)
            }
            _ => true,
        }
    }
}

/// The sockets that listen.
#[derive(Debug)]
pub(super) struct Listeners {
    port: u16,
    guests: Vec<Guest>,
    sockets: BTreeMap<Place, Socket>,
    /// Connections of peers that were made before the guests were others.
    made: VecDeque<(String, Accepted)>,
    /// What cannot be listened to, and why.
    failures: BTreeMap<Place, String>,
    /// When that is tried again.
    retry: Option<Instant>,
    /// Until then nothing is accepted.
    pause: Option<Instant>,
    strangers: Strangers,
}

#[derive(Debug)]
struct Socket {
    listener: Listener,
    hops: Hops,
    passwords: BTreeMap<IpAddr, Password>,
}

impl Listeners {
    /// None, until there is somebody to listen to at this port.
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            guests: Vec::new(),
            sockets: BTreeMap::new(),
            made: VecDeque::new(),
            failures: BTreeMap::new(),
            retry: None,
            pause: None,
            strangers: Strangers::default(),
        }
    }

    /// Strangers are counted there.
    pub(super) fn count_strangers(&mut self, counter: Counter) {
        self.strangers.refused = counter;
    }

    /// Listens to exactly these, sorted by what they are preferred by where an address is that of
    /// several.
    pub(super) fn set_guests(&mut self, guests: Vec<Guest>) {
        if guests != self.guests {
            self.accept_made();
            self.guests = guests;
            self.update();
        }
    }

    /// Looks after the sockets, for the interfaces of this node have changed: a VRF that is made anew
    /// needs another socket, and one that was missing may be there.
    pub(super) fn review(&mut self) {
        let before = self.sockets.len();
        self.sockets
            .retain(|_, socket| !socket.listener.is_stranded());
        if self.sockets.len() < before || !self.failures.is_empty() {
            self.update();
        }
    }

    /// Why this peer cannot connect, if it cannot.
    pub(super) fn failure(&self, guest: &Guest) -> Option<&str> {
        self.failures.get(&guest.place()).map(String::as_str)
    }

    /// Makes the sockets be as the guests need them.
    fn update(&mut self) {
        let mut wanted: BTreeMap<Place, Vec<&Guest>> = BTreeMap::new();
        for guest in &self.guests {
            wanted.entry(guest.place()).or_default().push(guest);
        }
        for guests in wanted.values_mut() {
            guests.sort_by_key(|guest| guest.local.is_none());
        }
        self.sockets.retain(|place, _| wanted.contains_key(place));
        self.failures.retain(|place, _| wanted.contains_key(place));
        for (place, guests) in wanted {
            let opened = if self.sockets.contains_key(&place) {
                Ok(())
            } else {
                Socket::open(&place, self.port, &guests).map(|socket| {
                    self.sockets.insert(place.clone(), socket);
                })
            };
            let socket = self.sockets.get_mut(&place);
            let result = opened.and_then(|()| socket.map_or(Ok(()), |it| it.update(&guests)));
            match result {
                Ok(()) => drop(self.failures.remove(&place)),
                Err(error) => {
                    let error = error.to_string();
                    if self.failures.get(&place) != Some(&error) {
                        tracing::error!(event = "cannotListen", error, "peers cannot connect");
                        self.failures.insert(place, error);
                    }
                }
            }
        }
        self.retry = (!self.failures.is_empty()).then(|| Instant::now() + RETRY);
    }

    /// The next connection of a peer, with the peer's name; `None` if the sockets have been tried
    /// anew. Cancel-safe.
    pub(super) async fn accept(&mut self) -> Option<(String, Accepted)> {
        loop {
            if let Some(pause) = self.pause {
                tokio::time::sleep_until(pause.into()).await;
                self.pause = None;
            }
            if let Some(accepted) = self.made.pop_front() {
                return Some(accepted);
            }
            let accepted = self.sockets.iter().map(|(place, socket)| {
                let accepted = socket.listener.accept();
                Box::pin(accepted.map(move |accepted| (place, accepted)))
            });
            let accepted: Vec<_> = accepted.collect();
            let accepted = async {
                if accepted.is_empty() {
                    return std::future::pending().await;
                }
                select_all(accepted).await.0
            };
            let retry = async {
                match self.retry {
                    Some(retry) => tokio::time::sleep_until(retry.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (place, accepted) = accepted => match accepted {
                    Ok((stream, from)) => {
                        let place = place.clone();
                        if let Some(accepted) = self.admit(&place, stream, from) {
                            return Some(accepted);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a BGP connection");
                        self.pause = Some(Instant::now() + PAUSE);
                    }
                },
                () = retry => {
                    self.update();
                    return None;
                }
            }
        }
    }

    /// Accepts what is there: after a change nobody could tell what it was made with.
    fn accept_made(&mut self) {
        let places: Vec<Place> = self.sockets.keys().cloned().collect();
        for place in places {
            for _ in self.made.len()..MOST_MADE {
                let socket = self.sockets.get(&place);
                let Some((stream, from)) = socket.and_then(|it| it.listener.accept_made()) else {
                    break;
                };
                let admitted = self.admit(&place, stream, from);
                self.made.extend(admitted);
            }
        }
    }

    /// Lets a connection in, if it is a peer's.
    fn admit(
        &mut self,
        place: &Place,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Option<(String, Accepted)> {
        if let Some(owner) = self.owner(place, &stream, from) {
            let socket = self.sockets.get(place);
            let password = socket.and_then(|it| it.passwords.get(&from.ip()));
            let security = Security {
                hops: owner.hops,
                password: password.cloned(),
            };
            return Some((owner.name.clone(), Accepted { stream, security }));
        }
        // A reset leaves nothing behind, however many come.
        let _ = tcp::reset_when_closed(&stream);
        self.strangers.note(Instant::now(), from);
        None
    }

    /// The peer that a connection is from.
    fn owner(&self, place: &Place, stream: &TcpStream, from: SocketAddr) -> Option<&Guest> {
        let to = stream.local_addr().ok()?.ip();
        let guests = self.guests.iter().filter(|guest| guest.place() == *place);
        // The one whose password the socket has.
        guests
            .filter(|guest| guest.is(from, to, interface_name))
            .min_by_key(|guest| guest.local.is_none())
    }
}

impl Socket {
    fn open(place: &Place, port: u16, guests: &[&Guest]) -> Result<Self, herald_netsys::Error> {
        let (family, vrf) = place;
        let local: IpAddr = match family {
            IpFamily::V4 => Ipv4Addr::UNSPECIFIED.into(),
            IpFamily::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let options = ListenOptions {
            interface: vrf.clone(),
            hops: hops(guests),
            ..ListenOptions::at(SocketAddr::new(local, port))
        };
        let listener = tcp::listen(&options)?;
        let vrf = vrf.as_deref().unwrap_or_default();
        tracing::info!(event = "listening", %family, port, vrf, "listening for BGP peers");
        Ok(Self {
            listener,
            hops: options.hops,
            passwords: BTreeMap::new(),
        })
    }

    fn update(&mut self, guests: &[&Guest]) -> Result<(), herald_netsys::Error> {
        let hops = hops(guests);
        if hops != self.hops {
            self.listener.set_hops(hops)?;
            self.hops = hops;
        }
        let mut wanted = BTreeMap::new();
        for guest in guests {
            if let Some(password) = &guest.password {
                wanted.entry(guest.remote.address).or_insert(password);
            }
        }
        let length = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let mut result = Ok(());
        // One that the kernel does not take keeps the others from nothing.
        let gone = self.passwords.keys().filter(|it| !wanted.contains_key(it));
        for address in gone.copied().collect::<Vec<_>>() {
            let removed = self.listener.set_password(address, length(address), None);
            match removed {
                Ok(()) => drop(self.passwords.remove(&address)),
                Err(error) => result = Err(error),
            }
        }
        for (address, password) in wanted {
            if self.passwords.get(&address) == Some(password) {
                continue;
            }
            let set = self
                .listener
                .set_password(address, length(address), Some(password));
            match set {
                Ok(()) => drop(self.passwords.insert(address, password.clone())),
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// TTL security holds for handshakes if no peer is without it; with several, that of the farthest.
fn hops(guests: &[&Guest]) -> Hops {
    let farthest = guests.iter().map(|guest| match guest.hops {
        Hops::Within(hops) => Some(hops),
        Hops::Limit(_) => None,
    });
    let farthest: Option<Vec<_>> = farthest.collect();
    let farthest = farthest.and_then(|all| all.into_iter().max());
    farthest.map_or(Hops::ANY, Hops::Within)
}

/// Those who connect and are no peers.
#[derive(Debug, Default)]
struct Strangers {
    /// All of them.
    refused: Counter,
    /// How many there were since they were last told of.
    untold: u64,
    /// When they may be told of again.
    next: Option<Instant>,
}

impl Strangers {
    fn note(&mut self, now: Instant, from: SocketAddr) {
        if let Some(count) = self.count(now) {
            tracing::warn!(
                event = "strangerRefused",
                %from,
                count,
                "closed connections to the BGP port from addresses of no peer that may connect: if \
                 this is one, give its BGPPeer the annotation {}: both",
                herald_api::annotations::BGP_CONNECTION
            );
        }
    }

    /// One more. How many there were if it is time to tell.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.refused.inc();
        self.untold += 1;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + TELL_STRANGERS);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests;
