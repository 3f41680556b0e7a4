//! Strange hosts on the LAN that have an address of ours: told of, never fought, and not displaced.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use herald_api::kinds::ConfigurationState;
use herald_e2e::failover::{Cluster, OWNER};
use herald_e2e::layer2::{elected, names, wait_owner};
use herald_e2e::objects::{SOON, events_of, ip, wait_event};
use herald_lab::{
    Advertisement, Arp, Capture, Frame, Lab, Mac, NAMESPACE, Service, Solicitation, always,
    checksum, eventually, ipv6_frame,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;

const SECOND: Duration = Duration::from_secs(1);

/// What a station says to all about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    /// It asks whether anybody has it (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
    Asked,
    /// It has it.
    Announced,
}

fn said(frame: &Frame, address: IpAddr) -> Option<(Saying, Mac, SystemTime)> {
    let (saying, mac) = match address {
        IpAddr::V4(v4) => {
            let arp = Arp::parse(&frame.bytes).filter(|arp| arp.target == v4)?;
            if arp.sender == v4 {
                (Saying::Announced, arp.sender_mac)
            } else if arp.sender.is_unspecified() && arp.operation == 1 {
                (Saying::Asked, arp.sender_mac)
            } else {
                return None;
            }
        }
        IpAddr::V6(v6) => {
            let asked = Solicitation::parse(&frame.bytes)
                .filter(|asked| asked.target == v6 && asked.source.is_unspecified());
            let announced = Advertisement::parse(&frame.bytes)
                .filter(|told| told.target == v6 && !told.solicited);
            match (asked, announced) {
                (Some(asked), _) => (Saying::Asked, asked.mac),
                (None, Some(told)) => (Saying::Announced, told.from),
                (None, None) => return None,
            }
        }
    };
    Some((saying, mac, frame.time))
}

/// The frame in which a station says to all that it has an address.
fn announcement(mac: Mac, address: IpAddr) -> Vec<u8> {
    let target = match address {
        IpAddr::V4(target) => {
            let arp = Arp {
                operation: 2,
                target_mac: Mac::BROADCAST,
                ..Arp::request(mac, target, target)
            };
            return arp.to_frame();
        }
        IpAddr::V6(target) => target,
    };
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // An unsolicited advertisement that overrides, with its link-layer address.
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(mac.0);
    let sum = checksum(target, all, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let to = Mac([0x33, 0x33, 0, 0, 0, 1]);
    ipv6_frame(to, mac, target, all, 255, &message)
}

/// A Service with these addresses, one of each family.
async fn service(lab: &Lab, name: &str, addresses: [IpAddr; 2]) -> Result<Service> {
    let both = addresses.map(|address| address.to_string()).join(",");
    let service = lab.service(name).dual_stack().selector("app", "web");
    let service = service.annotation("metallb.io/loadBalancerIPs", &both);
    let service = service.create().await?;
    service.wait_addresses(2).await?;
    Ok(service)
}

/// Makes sure that a station asked three times whether anybody has the address before it announced
/// it for the first time.
fn ensure_asked_first(capture: &Capture, address: IpAddr, mac: Mac) -> Result<()> {
    let mut all = capture.find(|frame| said(frame, address));
    all.retain(|(_, from, _)| *from == mac);
    let first = all.iter().position(|(said, ..)| *said == Saying::Announced);
    let (before, after) = all.split_at(first.unwrap_or(all.len()));
    ensure!(
        before.len() >= 3 && !after.is_empty(),
        "{address}: {mac} said {all:?}"
    );
    // 3 questions, and a pause of 66 ms after each.
    let (begin, end) = (before[before.len() - 3].2, after[0].2);
    let listened = end.duration_since(begin)?;
    ensure!(
        listened > Duration::from_millis(150),
        "{address} was announced {listened:?} after it was first asked for"
    );
    Ok(())
}

/// The condition about conflicts of a node's speaker.
async fn condition(lab: &Lab, node: &str) -> Result<Option<Condition>> {
    let states: Api<ConfigurationState> = Api::namespaced(lab.client(), NAMESPACE);
    let state = states.get(&format!("speaker-{node}")).await?;
    let conditions = state.status.unwrap_or_default().conditions;
    let mut conditions = conditions.into_iter();
    Ok(conditions.find(|condition| condition.type_ == "herald.io/AddressConflict"))
}

/// Waits until a node's speaker shows conflicts over exactly these addresses with a station.
async fn wait_condition(lab: &Lab, node: &str, addresses: &[IpAddr], mac: Mac) -> Result<()> {
    let wanted = if addresses.is_empty() {
        ("False", "NoConflict")
    } else {
        ("True", "ForeignStation")
    };
    let lines: BTreeSet<String> = addresses
        .iter()
        .map(|address| format!("{address} is used by the station {mac}"))
        .collect();
    let what = format!("{node} to show {lines:?}");
    eventually(SOON, &what, async || {
        let condition = condition(lab, node).await?;
        let shown = condition.as_ref().is_some_and(|condition| {
            let told: BTreeSet<String> = condition.message.lines().map(String::from).collect();
            (condition.status.as_str(), condition.reason.as_str()) == wanted && told == lines
        });
        ensure!(shown, "it shows {condition:?}");
        Ok(Some(()))
    })
    .await
}

/// How often all speakers have counted a conflict over an address.
async fn conflicts(cluster: &Cluster, address: IpAddr) -> Result<u64> {
    let series = format!("herald_address_conflicts_total{{ip=\"{address}\"}}");
    cluster.total(&series).await
}

/// Makes sure that a conflict was counted, and at most once in each minute since it began.
async fn ensure_counted(cluster: &Cluster, address: IpAddr, since: Instant) -> Result<()> {
    let counted = conflicts(cluster, address).await?;
    let most = 1 + since.elapsed().as_secs() / 60;
    ensure!(
        (1..=most).contains(&counted),
        "{address}: {counted} conflicts"
    );
    Ok(())
}

/// Waits until a node's speaker shows this state of an address.
async fn wait_state(cluster: &Cluster, node: &str, address: IpAddr, state: &str) -> Result<()> {
    let series = format!("herald_address_state{{ip=\"{address}\",state=\"{state}\"}}");
    let what = format!("{address} to be {state} at {node}");
    eventually(SOON, &what, async || {
        Ok((cluster.sample(node, &series).await? == Some(1)).then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn an_address_that_a_strange_host_has_is_not_taken_before_the_host_is_gone() -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let lab = &cluster.lab;
    let capture = lab.capture("router", "lan0")?;
    let free = [ip("192.168.10.80"), ip("fd10::a:80")];
    let node = elected(free[0], &names(lab));
    service(lab, "free", free).await?;
    for address in free {
        wait_owner(lab, address, &node).await?;
        ensure_asked_first(&capture, address, cluster.mac(&node)?)?;
        assert_eq!(conflicts(&cluster, address).await?, 0);
    }

    let taken = [ip("192.168.10.90"), ip("fd10::a:90")];
    let node = elected(taken[0], &names(lab));
    lab.add_host("stranger", &taken).await?;
    let stranger = lab.mac("stranger", "lan0")?;
    let start = Instant::now();
    service(lab, "late", taken).await?;
    for address in taken {
        wait_state(&cluster, &node, address, "in_use").await?;
        let text = format!("{address} is also used by the station {stranger}");
        let told = wait_event(lab, "late", "AddressConflict", &text).await?;
        ensure!(told.contains("does not announce"), "{told}");
    }
    wait_condition(lab, &node, &taken, stranger).await?;
    let left = async || {
        for address in taken {
            if lab.owners(address).await? != [stranger] {
                return Ok(false);
            }
        }
        Ok(true)
    };
    always(SECOND * 3, "the stranger alone answers", left).await?;
    for address in taken {
        let mut spoken = capture.find(|frame| said(frame, address));
        spoken.retain(|(said, mac, _)| *said == Saying::Announced && *mac != stranger);
        ensure!(spoken.is_empty(), "{address}: {spoken:?}");
        ensure_counted(&cluster, address, start).await?;
    }
    let events = events_of(lab, "late").await?;
    let mut reasons = events.iter().filter_map(|event| event.reason.as_deref());
    ensure!(reasons.all(|reason| reason != "nodeAssigned"), "{events:?}");

    lab.remove_host("stranger").await?;
    // It looks again after half a second at first, and ever later up to five.
    for address in taken {
        wait_owner(lab, address, &node).await?;
        ensure_asked_first(&capture, address, cluster.mac(&node)?)?;
        wait_state(&cluster, &node, address, "held").await?;
        ensure_counted(&cluster, address, start).await?;
    }
    wait_event(lab, "late", "nodeAssigned", &node).await?;
    wait_condition(lab, &node, &[], stranger).await?;
    cluster.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_strange_host_that_comes_to_have_an_address_of_ours_is_not_fought() -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let lab = &cluster.lab;
    let capture = lab.capture("router", "lan0")?;
    let addresses = cluster.addresses;
    let start = Instant::now();
    lab.add_host("thief", &addresses).await?;
    let (owner, thief) = (cluster.mac(OWNER)?, lab.mac("thief", "lan0")?);
    // Its kernel answers whoever asks, and it announces both again and again.
    for _ in 0..30 {
        for address in addresses {
            lab.send_frame("thief", "lan0", &announcement(thief, address))?;
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    for address in addresses {
        let macs: BTreeSet<_> = lab.owners(address).await?.into_iter().collect();
        assert_eq!(macs, BTreeSet::from([owner, thief]), "{address}");
        wait_state(&cluster, OWNER, address, "held").await?;
        let mut announced = capture.find(|frame| said(frame, address));
        announced.retain(|(said, mac, _)| *said == Saying::Announced && *mac == owner);
        ensure!(announced.len() < 10, "{} announcements", announced.len());

        let text = format!("{address} is also used by the station {thief}");
        let told = wait_event(lab, "web", "AddressConflict", &text).await?;
        ensure!(told.contains("announces it all the same"), "{told}");
        ensure_counted(&cluster, address, start).await?;
    }
    wait_condition(lab, OWNER, &addresses, thief).await?;
    let log = cluster.speaker(OWNER)?.log();
    let lines = log.lines().filter(|line| line.contains("addressConflict"));
    let most = 2 * (1 + start.elapsed().as_secs() / 60);
    ensure!(lines.count() as u64 <= most, "{log}");

    lab.remove_host("thief").await?;
    cluster.steady(OWNER).await?;
    cluster.down().await
}
