//! What the driver sees of other stations, what it asks them, and when it keeps silent.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_netsys::EtherType;
use herald_ownership::{Command, Duty, Kind, Sighting};

use crate::frames::capture;
use crate::harness::{Node, V4, V6, ip, mac_of, with_node};

fn all(addresses: &[&'static str]) -> Vec<(&'static str, Interfaces)> {
    addresses.iter().map(|a| (*a, Interfaces::All)).collect()
}

/// The next sighting; none within two seconds fails the test.
async fn next(node: &mut Node) -> Sighting {
    tokio::time::timeout(Duration::from_secs(2), node.sightings.recv())
        .await
        .expect("something is seen")
        .expect("the driver runs")
}

async fn nothing_more(node: &mut Node) {
    let more = tokio::time::timeout(Duration::from_millis(300), node.sightings.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

async fn probe(node: &Node, address: &str) {
    let address = address.parse().expect("valid");
    let sent = node.commands.send(Command::Probe(address)).await;
    sent.expect("the driver runs");
}

#[test]
#[ignore = "needs root: run by make test"]
fn the_station_that_has_a_watched_address_answers_a_probe() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        while !node.can("lan", IpAddr::from([0; 16])) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.want_to(Duty::Watch, &all(&[V4, V6]));
        for address in [V4, V6] {
            probe(node, address).await;
            nothing_more(node).await;
        }
        let mac = node.client.run(|| mac_of("lan"));
        // A host answers a detection to all nodes, which makes it an announcement.
        for (address, prefix, kind) in [(V4, 24, Kind::Answered), (V6, 64, Kind::Announced)] {
            node.client
                .ip(&format!("addr add {address}/{prefix} dev lan nodad"));
            // The host may announce a new address by itself.
            tokio::time::sleep(Duration::from_millis(100)).await;
            while node.sightings.try_recv().is_ok() {}
            probe(node, address).await;
            let sighting = next(node).await;
            assert_eq!(sighting.address.to_string(), address);
            assert_eq!(
                (sighting.mac.to_string(), sighting.kind),
                (mac.clone(), kind)
            );
        }
        assert!(node.metric("herald_layer2_probes_sent_total") >= 4);
        assert!(node.metric("herald_layer2_sightings_total{kind=\"answered\"}") >= 1);
        assert_eq!(
            node.resolve(V4).await,
            None,
            "who only looks does not answer"
        );
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_host_that_wants_a_watched_address_is_seen_before_it_has_it() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        while !node.can("lan", IpAddr::from([0; 16])) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.want_to(Duty::Watch, &all(&[V6]));
        tokio::time::sleep(Duration::from_millis(50)).await;
        // The kernel detects duplicates for an address that is not marked.
        node.client.ip(&format!("addr add {V6}/64 dev lan"));
        let sighting = next(node).await;
        assert_eq!(sighting.kind, Kind::Probed);
        assert_eq!(sighting.address.to_string(), V6);
        assert_eq!(
            node.metric("herald_layer2_sightings_total{kind=\"probed\"}"),
            1
        );
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn an_address_that_is_handed_over_is_answered_for_and_not_announced() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        let time = Duration::from_millis(500);
        let ((), frames) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                node.want_to(Duty::Answer, &all(&[V4]));
            },
            capture(node, EtherType::Arp, time)
        );
        assert_eq!(frames.len(), 0, "{frames:x?}");
        let mac = mac_of("lan");
        assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn without_a_lease_nothing_is_answered_and_announcements_wait() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        node.lease.revoke();
        let (learnt, frames) = tokio::join!(
            async {
                node.want(&all(&[V4]));
                node.resolve(V4).await
            },
            capture_off_client(node, Duration::from_millis(500))
        );
        assert_eq!(learnt, None);
        assert_eq!(frames, 0);
        assert!(node.metric("herald_layer2_answers_refused_total") > 0);
        node.lease.renew(Instant::now());
        let mac = mac_of("lan");
        assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
        assert!(node.metric_of("metallb_layer2_gratuitous_sent", V4) > 0);
    });
}

/// How many announcements of [`V4`] were counted within `time`; the client is busy elsewhere.
async fn capture_off_client(node: &Node, time: Duration) -> u64 {
    tokio::time::sleep(time).await;
    node.metric_of("metallb_layer2_gratuitous_sent", V4)
}

#[test]
#[ignore = "needs root: run by make test"]
fn what_another_interface_of_the_node_sends_is_not_seen() {
    with_node(async |node| {
        node.client.ip("link add br0 type bridge forward_delay 0");
        node.client.ip("link set br0 up");
        for name in ["lan", "second"] {
            node.cable(name);
            node.client.ip(&format!("link set {name} master br0"));
        }
        node.announces_on(&["lan", "second"]).await;
        while !node.can("second", IpAddr::from([0; 16])) || !node.can("lan", IpAddr::from([0; 16]))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.want_to(Duty::Watch, &all(&[V4, V6]));
        for address in [V4, V6] {
            probe(node, address).await;
        }
        nothing_more(node).await;
        node.both();
        nothing_more(node).await;
        // The same LAN carries what others say.
        node.client.ip("addr flush dev lan");
        node.client.ip("addr add 192.0.2.100/24 dev br0");
        node.want_to(Duty::Watch, &all(&[V4]));
        probe(node, V4).await;
        assert_eq!(next(node).await.kind, Kind::Answered);
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn the_group_is_told_of_an_interface_and_of_its_end() {
    with_node(async |node| {
        node.cable("lan");
        node.announces_on(&["lan"]).await;
        ip("addr add 192.0.2.2/24 dev lan");
        let prefix = "192.0.2.0/24".parse().expect("valid");
        let told = node.interfaces.wait_for(|interfaces| {
            let interfaces = interfaces.as_deref().unwrap_or_default();
            interfaces.iter().any(|i| i.prefixes.contains(&prefix))
        });
        let told = tokio::time::timeout(Duration::from_secs(2), told).await;
        let lan = told
            .expect("told")
            .expect("runs")
            .as_deref()
            .map(<[_]>::to_vec);
        let lan = lan.unwrap_or_default();
        assert_eq!(lan.len(), 1);
        assert_eq!(lan[0].mac.to_string(), mac_of("lan"));
        assert!(lan[0].arp);
        assert_eq!(lan[0].canary, "192.0.2.2".parse().ok());
        node.want(&all(&[V4]));
        // Of the second loss within a second the kernel tells late. Both ends have one index, which
        // makes them look like real interfaces.
        for _ in 0..3 {
            node.client.ip("link set lan down");
            let begun = Instant::now();
            node.announces_on(&[]).await;
            let lost = begun.elapsed();
            assert!(lost < Duration::from_millis(150), "known after {lost:?}");
            node.client.ip("link set lan up");
            node.announces_on(&["lan"]).await;
        }
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn what_is_seen_counts_only_in_the_subnet_of_the_address() {
    with_node(async |node| {
        for name in ["lan", "mgmt"] {
            node.cable(name);
        }
        node.announces_on(&["lan", "mgmt"]).await;
        let all = all(&[V4]);
        // Both can have it: it is asked for and seen on either.
        node.client.ip("addr add 192.0.2.100/24 dev mgmt");
        node.client.run(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").expect("written");
        });
        node.want_to(Duty::Watch, &all);
        probe(node, V4).await;
        let [mgmt, lan] = ["mgmt", "lan"].map(|name| node.client.run(move || mac_of(name)));
        assert_eq!(next(node).await.mac.to_string(), mgmt);
        // The LAN has the subnet: only what is there counts, for a holder as well.
        ip("addr add 192.0.2.2/24 dev lan");
        tokio::time::sleep(Duration::from_millis(200)).await;
        while node.sightings.try_recv().is_ok() {}
        probe(node, V4).await;
        nothing_more(node).await;
        node.client.ip("addr flush dev mgmt");
        node.client.ip("addr add 192.0.2.100/24 dev lan");
        probe(node, V4).await;
        assert_eq!(next(node).await.mac.to_string(), lan);
        // Questions are answered everywhere all the same.
        node.client.ip("addr flush dev lan");
        node.client.ip("addr add 192.0.2.1/24 dev mgmt");
        node.want_to(Duty::Announce, &all);
        let own = mac_of("mgmt");
        assert_eq!(node.resolve(V4).await.as_deref(), Some(own.as_str()));
        // Without the subnet all count again.
        ip("addr del 192.0.2.2/24 dev lan");
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.want_to(Duty::Watch, &all);
        node.client.ip("addr add 192.0.2.100/24 dev mgmt");
        tokio::time::sleep(Duration::from_millis(100)).await;
        while node.sightings.try_recv().is_ok() {}
        probe(node, V4).await;
        assert_eq!(next(node).await.mac.to_string(), mgmt);
    });
}
