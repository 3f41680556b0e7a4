//! A node that has thousands of addresses and takes many more at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_netsys::EtherType;
use herald_ownership::{Duty, Task};
use herald_speaker::layer2::Desired;

use crate::frames::capture_timed;
use crate::harness::{Namespace, Node, mac_of, with_node};

const HELD: u32 = 5_000;
const TAKEN: u32 = 1_700;

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a01_0000 + n).into()
}

fn v6(n: u32) -> IpAddr {
    Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0000_u128 + 0x1_0000 + u128::from(n)).into()
}

fn desire(node: &Node, addresses: impl Iterator<Item = IpAddr>) {
    let task = Task {
        duty: Duty::Announce,
        interfaces: Interfaces::All,
    };
    let desired: Desired = addresses.map(|address| (address, task.clone())).collect();
    node.desired.send_replace(Arc::new(desired));
}

/// When each address was announced first.
fn firsts(
    frames: &[(Instant, Vec<u8>)],
    address: impl Fn(&[u8]) -> Option<u32>,
) -> Vec<(Instant, u32)> {
    let mut seen = BTreeSet::new();
    let announced = frames
        .iter()
        .filter_map(|(at, frame)| Some((*at, address(frame)?)));
    announced
        .filter(|(_, address)| seen.insert(*address))
        .collect()
}

fn word(frame: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

/// Takes `TAKEN` addresses beside those held, and returns when each was announced first, counted
/// from when that was asked for.
async fn take_many(
    node: &Node,
    of: fn(u32) -> IpAddr,
    ether_type: EtherType,
    address: impl Fn(&[u8]) -> Option<u32>,
) -> Vec<(Duration, u32)> {
    desire(node, (0..HELD).map(of));
    // All rounds of these take 8 s, and some more as they are so many.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (asked, frames) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let asked = Instant::now();
            desire(node, (0..HELD + TAKEN).map(of));
            asked
        },
        capture_timed(node, ether_type, Duration::from_secs(2))
    );
    let firsts = firsts(&frames, address).into_iter();
    let firsts = firsts.map(|(at, address)| (at.saturating_duration_since(asked), address));
    firsts.collect()
}

/// An idle machine announces the first within 10 ms and the last after 0.17 s; a busy one that tests
/// other things too is given its time.
fn in_time(announced: &[(Duration, u32)]) {
    let (first, last) = (announced[0].0, announced[announced.len() - 1].0);
    assert!(
        first < Duration::from_millis(300),
        "the first after {first:?}"
    );
    assert!(last < Duration::from_secs(1), "the last after {last:?}");
}

#[test]
#[ignore = "needs root: run by make test"]
fn many_addresses_are_announced_in_order_and_the_first_at_once() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        let all = take_many(node, v4, EtherType::Arp, |frame| {
            word(frame, 28).filter(|address| address >> 16 == 0x0a01)
        })
        .await;
        let of: Vec<u32> = all.iter().map(|(_, address)| *address).collect();
        let wanted: Vec<u32> = (HELD..HELD + TAKEN).map(|n| 0x0a01_0000 + n).collect();
        assert_eq!(of, wanted, "in the order in which they were taken");
        in_time(&all);
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn groups_that_are_joined_delay_neither_announcements_nor_answers() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        while !node.can("lan", IpAddr::from([0; 16])) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let all = take_many(node, v6, EtherType::Ipv6, |frame| {
            // An advertisement.
            (frame.get(54) == Some(&136)).then(|| word(frame, 74))?
        })
        .await;
        let announced: BTreeMap<u32, Duration> = all.iter().map(|(at, a)| (*a, *at)).collect();
        assert_eq!(announced.len(), usize::try_from(TAKEN).expect("small"));
        in_time(&all);
        // Whoever asks later is answered too.
        let jobs = Namespace {
            path: String::new(),
            jobs: node.client.jobs.clone(),
        };
        let last = v6(HELD + TAKEN - 1).to_string();
        let found = tokio::task::spawn_blocking(move || jobs.resolve(&last));
        assert_eq!(found.await.expect("no panic"), Some(mac_of("lan")));
    });
}
