//! The tasks that answer, and what they tell of what they see.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use herald_l2::{Attention, MAX_FRAME_LEN, Nonce, Responder, SightingKind, Verdict};
use herald_model::MacAddress;
use herald_netsys::PacketSocket;
use herald_ownership::{Duty, Kind, Sighting};
use tokio::sync::{mpsc, watch};

use super::{Desired, Lease, Metrics};
use crate::precedence;

/// Longer than any message that matters; the rest of a frame is of no interest.
const FRAME_BUFFER: usize = 2048;

/// For how long nothing is answered for an address that is handed over once another station has
/// announced it. What that means is decided meanwhile: mostly that the hand-over is at its end.
const HUSH: Duration = Duration::from_millis(100);

/// Addresses that are handed over and that another station has announced just now. To go on until
/// it is decided would be to answer the next question too, beside the successor.
#[derive(Debug, Default)]
struct Hushed(BTreeMap<IpAddr, Instant>);

impl Hushed {
    fn add(&mut self, now: Instant, address: IpAddr) {
        self.0.retain(|_, end| *end > now);
        self.0.insert(address, now + HUSH);
    }

    fn contains(&self, now: Instant, address: IpAddr) -> bool {
        self.0.get(&address).is_some_and(|end| *end > now)
    }
}

/// How many frames are taken in before a task rests if there are more: it goes before the threads of
/// others, and a flood must not give it all of a processor.
const FLOOD: usize = 512;

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
    fn may_answer(&self, now: Instant, address: IpAddr, hushed: &Hushed) -> bool {
        let may = match self.duty(address) {
            Some(Duty::Announce) => true,
            Some(Duty::Answer) => !hushed.contains(now, address),
            Some(Duty::Watch) | None => false,
        };
        may && self.lease.is_valid(now)
    }

    fn duty(&self, address: IpAddr) -> Option<Duty> {
        self.desired.borrow().get(&address).map(|task| task.duty)
    }

    /// Tells of a sighting, unless it is of the node itself. Never waits.
    fn see(&self, now: Instant, sighting: herald_l2::Sighting, hushed: &mut Hushed) {
        let herald_l2::Sighting { address, mac, kind } = sighting;
        if self.own.load().contains(&mac) {
            return;
        }
        if kind == SightingKind::Announced && self.duty(address) == Some(Duty::Answer) {
            hushed.add(now, address);
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

/// Answers until the socket fails. Allocates nothing for a question.
pub(super) async fn answer(
    socket: &PacketSocket,
    responder: &Responder,
    attention: &ArcSwap<Attention>,
    shared: &Shared,
) -> io::Error {
    let metrics = &shared.metrics;
    let mut buffer = vec![0; FRAME_BUFFER];
    let mut out = [0; MAX_FRAME_LEN];
    let mut hushed = Hushed::default();
    let mut in_a_row = 0;
    loop {
        let received = socket.receive(&mut buffer, |frame| {
            let now = Instant::now();
            let (len, address) = match responder.handle(frame, &attention.load(), &mut out) {
                Verdict::Ignored(_) => return,
                Verdict::Seen(sighting) => return shared.see(now, sighting, &mut hushed),
                Verdict::Reply { len, address, seen } => {
                    if let Some(sighting) = seen {
                        shared.see(now, sighting, &mut hushed);
                    }
                    (len, address)
                }
            };
            metrics.request(address);
            if !shared.may_answer(now, address, &hushed) {
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
        match received.await {
            Ok(taken) if taken < PacketSocket::BATCH => in_a_row = 0,
            Ok(taken) => in_a_row += taken,
            Err(error) => return error,
        }
        if in_a_row >= FLOOD {
            in_a_row = 0;
            tokio::time::sleep(precedence::REST).await;
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

    /// What is desired if that is the duty for the address.
    fn desired(address: IpAddr, duty: Option<Duty>) -> Arc<Desired> {
        let task = duty.map(|duty| Task {
            duty,
            interfaces: Interfaces::All,
        });
        Arc::new(task.map(|task| (address, task)).into_iter().collect())
    }

    #[test]
    fn what_is_withdrawn_is_answered_for_no_longer_although_the_driver_is_late() {
        let (lease, (sightings, _)) = (Lease::default(), mpsc::channel(1));
        let (sender, receiver) = watch::channel(Arc::default());
        let shared = Shared::new(lease.clone(), Metrics::default(), sightings, receiver);
        let address: IpAddr = "192.0.2.1".parse().expect("valid");
        let may_answer = |duty: Option<Duty>| {
            sender.send_replace(desired(address, duty));
            shared.may_answer(Instant::now(), address, &Hushed::default())
        };
        assert!(!may_answer(Some(Duty::Announce)), "without a lease");
        lease.renew(Instant::now());
        assert!(may_answer(Some(Duty::Announce)));
        assert!(may_answer(Some(Duty::Answer)));
        assert!(!may_answer(Some(Duty::Watch)));
        assert!(!may_answer(None));
    }

    #[test]
    fn what_is_handed_over_is_not_answered_for_once_the_successor_announces_it() {
        let (lease, (sightings, _kept)) = (Lease::default(), mpsc::channel(8));
        let (sender, receiver) = watch::channel(Arc::default());
        let shared = Shared::new(lease.clone(), Metrics::default(), sightings, receiver);
        shared.set_own([OWN].into());
        let (start, address) = (Instant::now(), seen(OTHER).address);
        lease.renew(start);
        let answered = |duty: Duty, sighting: herald_l2::Sighting, after: Duration| {
            sender.send_replace(desired(address, Some(duty)));
            let mut hushed = Hushed::default();
            shared.see(start, sighting, &mut hushed);
            shared.may_answer(start + after, address, &hushed)
        };
        let at_once = Duration::ZERO;
        assert!(!answered(Duty::Answer, seen(OTHER), at_once));
        assert!(answered(Duty::Answer, seen(OTHER), HUSH), "not decided");
        assert!(answered(Duty::Answer, seen(OWN), at_once));
        assert!(answered(Duty::Announce, seen(OTHER), at_once));
        let probed = herald_l2::Sighting {
            kind: SightingKind::Probed,
            ..seen(OTHER)
        };
        assert!(answered(Duty::Answer, probed, at_once));
    }

    #[test]
    fn sightings_of_the_node_itself_are_none() {
        let (sender, mut sightings) = mpsc::channel(4);
        let shared = shared(Metrics::default(), sender);
        shared.set_own([OWN].into());
        let (now, mut hushed) = (Instant::now(), Hushed::default());
        shared.see(now, seen(OWN), &mut hushed);
        assert!(sightings.try_recv().is_err());
        shared.see(now, seen(OTHER), &mut hushed);
        let sighting = sightings.try_recv().expect("it is another's");
        assert_eq!((sighting.mac, sighting.kind), (OTHER, Kind::Announced));
    }

    #[test]
    fn sightings_without_room_are_counted_and_nobody_waits() {
        let (sender, mut sightings) = mpsc::channel(1);
        let metrics = Metrics::default();
        let shared = shared(metrics.clone(), sender);
        for _ in 0..3 {
            shared.see(Instant::now(), seen(OTHER), &mut Hushed::default());
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
