//! The tasks that answer, and what they tell of what they see.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use herald_l2::{Attention, MAX_FRAME_LEN, Nonce, Responder, SightingKind, Verdict};
use herald_model::MacAddress;
use herald_netsys::PacketSocket;
use herald_ownership::{Duty, Kind, Sighting};
use tokio::sync::{mpsc, watch};

use super::{Desired, Lease, Metrics};

/// Longer than any message that matters; the rest of a frame is of no interest.
const FRAME_BUFFER: usize = 2048;

/// What all tasks of a driver have in common.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) lease: Lease,
    pub(super) metrics: Metrics,
    /// The nonce of the driver's detections.
    pub(super) nonce: Nonce,
    sightings: mpsc::Sender<Sighting>,
    /// What is desired now, which the driver may not have got to yet.
    desired: watch::Receiver<Arc<Desired>>,
    /// The MAC addresses of all interfaces of the node.
    own: Arc<ArcSwap<BTreeSet<MacAddress>>>,
}

impl Shared {
    pub(super) fn new(
        lease: Lease,
        metrics: Metrics,
        sightings: mpsc::Sender<Sighting>,
        desired: watch::Receiver<Arc<Desired>>,
    ) -> Self {
        let random = RandomState::new().hash_one(0).to_ne_bytes();
        let [nonce @ .., _, _] = random;
        Self {
            lease,
            metrics,
            nonce: Nonce(nonce),
            sightings,
            desired,
            own: Arc::default(),
        }
    }

    /// What these say is nothing to see: another interface of the node may be on the same LAN.
    pub(super) fn set_own(&self, own: BTreeSet<MacAddress>) {
        if **self.own.load() != own {
            self.own.store(Arc::new(own));
        }
    }

    /// True if questions for the address may be answered at this moment: those that waited while the
    /// thread did not run may be for an address that is another node's by now.
    fn may_answer(&self, address: IpAddr) -> bool {
        let is_desired = || {
            let desired = self.desired.borrow();
            let task = desired.get(&address);
            task.is_some_and(|task| matches!(task.duty, Duty::Announce | Duty::Answer))
        };
        self.lease.is_valid(Instant::now()) && is_desired()
    }

    /// Tells of a sighting, unless it is of the node itself. Never waits.
    fn see(&self, sighting: herald_l2::Sighting) {
        let herald_l2::Sighting { address, mac, kind } = sighting;
        if self.own.load().contains(&mac) {
            return;
        }
        let kind = match kind {
            SightingKind::Announced => Kind::Announced,
            SightingKind::Answered => Kind::Answered,
            SightingKind::Probed => Kind::Probed,
        };
        self.metrics.sighting(kind);
        let sighting = Sighting { address, mac, kind };
        if self.sightings.try_send(sighting).is_err() {
            self.metrics.sightings_dropped.inc();
        }
    }
}

/// Answers until the socket fails. Allocates nothing for a frame.
pub(super) async fn answer(
    socket: &PacketSocket,
    responder: &Responder,
    attention: &ArcSwap<Attention>,
    shared: &Shared,
) -> io::Error {
    let metrics = &shared.metrics;
    let mut buffer = vec![0; FRAME_BUFFER];
    let mut out = [0; MAX_FRAME_LEN];
    loop {
        let received = socket.receive(&mut buffer, |frame| {
            let (len, address) = match responder.handle(frame, &attention.load(), &mut out) {
                Verdict::Ignored(_) => return,
                Verdict::Seen(sighting) => return shared.see(sighting),
                Verdict::Reply { len, address, seen } => {
                    if let Some(sighting) = seen {
                        shared.see(sighting);
                    }
                    (len, address)
                }
            };
            metrics.request(address);
            if !shared.may_answer(address) {
                metrics.refused.inc();
                return;
            }
            tracing::debug!(
                interface = responder.interface().name,
                ip = %address,
                "got {} request for service IP, sending response",
                if address.is_ipv4() { "ARP" } else { "NDP" }
            );
            let sent = out.get(..len).map(|reply| socket.send(reply));
            // A lost answer is asked for again.
            if let Some(Ok(())) = sent {
                metrics.response(address);
            }
        });
        if let Err(error) = received.await {
            return error;
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_announce::Interfaces;
    use herald_ownership::Task;

    use super::*;

    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn seen(mac: MacAddress) -> herald_l2::Sighting {
        herald_l2::Sighting {
            address: "192.0.2.1".parse().expect("valid"),
            mac,
            kind: SightingKind::Announced,
        }
    }

    fn shared(metrics: Metrics, sightings: mpsc::Sender<Sighting>) -> Shared {
        let (_, desired) = watch::channel(Arc::default());
        Shared::new(Lease::default(), metrics, sightings, desired)
    }

    #[test]
    fn what_is_withdrawn_is_answered_for_no_longer_although_the_driver_is_late() {
        let (lease, (sightings, _)) = (Lease::default(), mpsc::channel(1));
        let (sender, desired) = watch::channel(Arc::default());
        let shared = Shared::new(lease.clone(), Metrics::default(), sightings, desired);
        let address: IpAddr = "192.0.2.1".parse().expect("valid");
        let may_answer = |duty: Option<Duty>| {
            let task = duty.map(|duty| Task {
                duty,
                interfaces: Interfaces::All,
            });
            let desired: Desired = task.map(|task| (address, task)).into_iter().collect();
            sender.send_replace(Arc::new(desired));
            shared.may_answer(address)
        };
        assert!(!may_answer(Some(Duty::Announce)), "without a lease");
        lease.renew(Instant::now());
        assert!(may_answer(Some(Duty::Announce)));
        assert!(may_answer(Some(Duty::Answer)));
        assert!(!may_answer(Some(Duty::Watch)));
        assert!(!may_answer(None));
    }

    #[test]
    fn sightings_of_the_node_itself_are_none() {
        let (sender, mut sightings) = mpsc::channel(4);
        let shared = shared(Metrics::default(), sender);
        shared.set_own([OWN].into());
        shared.see(seen(OWN));
        assert!(sightings.try_recv().is_err());
        shared.see(seen(OTHER));
        let sighting = sightings.try_recv().expect("it is another's");
        assert_eq!((sighting.mac, sighting.kind), (OTHER, Kind::Announced));
    }

    #[test]
    fn sightings_without_room_are_counted_and_nobody_waits() {
        let (sender, mut sightings) = mpsc::channel(1);
        let metrics = Metrics::default();
        let shared = shared(metrics.clone(), sender);
        for _ in 0..3 {
            shared.see(seen(OTHER));
        }
        assert!(sightings.try_recv().is_ok());
        assert!(sightings.try_recv().is_err());
        assert_eq!(metrics.sightings_dropped.get(), 2);
    }

    #[test]
    fn every_driver_has_a_nonce_of_its_own() {
        let (sender, _sightings) = mpsc::channel(1);
        let nonce = || shared(Metrics::default(), sender.clone()).nonce;
        assert_ne!(nonce(), nonce());
    }
}
