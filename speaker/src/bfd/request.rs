//! What BGP wants of BFD, and what it is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use herald_bfd::{Path, Settings};
use tokio::sync::{Notify, watch};

/// A path that is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where the peer is; IPv4 addresses as such.
    pub path: Path,
    /// The address of this node that packets are sent from.
    pub local: IpAddr,
    /// The VRF that the path is in, by name.
    pub vrf: Option<String>,
    /// What the session is to do.
    pub settings: Settings,
    /// Whom to tell when the path fails.
    pub failed: PathFailed,
}

/// Tells that a path worked and does no longer, until it is taken note of.
#[derive(Debug, Clone, Default)]
pub struct PathFailed(Arc<Notify>);

impl PathFailed {
    pub(super) fn tell(&self) {
        self.0.notify_one();
    }

    /// Waits until the path fails. Cancel-safe.
    pub async fn told(&self) {
        self.0.notified().await;
    }
}

impl PartialEq for PathFailed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PathFailed {}

/// All paths that are to be watched, by the names of the `BGPPeer`s.
type Paths = BTreeMap<String, Request>;

/// Where BGP sessions say what they want. Whoever says it never waits.
#[derive(Debug, Clone)]
pub struct Requests(watch::Sender<Paths>);

/// The other end of [`Requests`].
#[derive(Debug)]
pub struct Requested(pub(super) watch::Receiver<Paths>);

/// The two ends, with no path to watch.
pub fn requests() -> (Requests, Requested) {
    let (sender, receiver) = watch::channel(Paths::new());
    (Requests(sender), Requested(receiver))
}

impl Requests {
    /// The peer's path is to be watched like this from now on, or not any longer.
    pub fn set(&self, peer: &str, request: Option<Request>) {
        self.0.send_if_modified(|paths| match request {
            Some(request) if paths.get(peer) == Some(&request) => false,
            Some(request) => {
                paths.insert(peer.to_owned(), request);
                true
            }
            None => paths.remove(peer).is_some(),
        });
    }
}
