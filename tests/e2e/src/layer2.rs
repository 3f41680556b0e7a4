//! Who answers on the LAN, and who should.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{ServiceL2Status, ServiceL2StatusStatus};
use herald_lab::{Arp, Lab, LabBuilder, Mac, NAMESPACE, PacketSocket, eventually};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::objects::{SOON, pool};

/// The client's address on the LAN.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 100);

/// The range of [`start`]'s pool, for addresses that a test requests: the last byte is 1 to 99.
pub const POOL: [u8; 3] = [192, 168, 10];

/// A lab with Herald on it: a controller, a speaker on every node, a pool of both families, and an
/// advertisement `all` of it on all nodes and interfaces.
pub async fn start(lab: LabBuilder) -> Result<Lab> {
    let lab = lab.start().await?;
    pool(
        &lab,
        "lan",
        &["192.168.10.1-192.168.10.99", "fd10::a:1-fd10::a:99"],
    )
    .await?;
    advertise_with(&lab, "all", json!({})).await?;
    lab.start_herald().await?;
    Ok(lab)
}

/// Applies an `L2Advertisement` with this spec.
pub async fn advertise_with(lab: &Lab, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    });
    lab.apply_yaml(&object.to_string()).await?;
    Ok(())
}

/// The node that MetalLB's order puts first for an address (compat.md 4.1): the least SHA-256 of
/// `node#address`. `first` is the Service's first address, `nodes` those that may announce it.
///
/// # Panics
///
/// If `nodes` is empty.
pub fn elected(first: IpAddr, nodes: &[&str]) -> String {
    let rank = |node: &&&str| Sha256::digest(format!("{node}#{first}")).to_vec();
    (*nodes
        .iter()
        .min_by_key(rank)
        .expect("an election has candidates"))
    .to_owned()
}

/// An IPv4 address of [`start`]'s pool that this node of these announces. Addresses differ for
/// different `skip`s.
///
/// # Panics
///
/// If `node` is not one of `nodes`, or `skip` is larger than the node's share of the pool.
pub fn address_of(node: &str, nodes: &[&str], skip: usize) -> IpAddr {
    let [a, b, c] = POOL;
    (1..=99)
        .map(|d| IpAddr::from([a, b, c, d]))
        .filter(|address| elected(*address, nodes) == node)
        .nth(skip)
        .expect("the node has a share of the pool")
}

/// Waits until one node alone answers for an address; its name.
pub async fn owner(lab: &Lab, address: IpAddr) -> Result<String> {
    eventually(SOON, &format!("one owner of {address}"), async || {
        let nodes = lab.owner_nodes(address).await?;
        let [node] = nodes.as_slice() else {
            anyhow::bail!("{nodes:?} answer")
        };
        Ok(Some(node.clone()))
    })
    .await
}

/// Waits until this node alone answers for an address.
pub async fn wait_owner(lab: &Lab, address: IpAddr, node: &str) -> Result<()> {
    eventually(
        SOON,
        &format!("{node} alone to answer for {address}"),
        async || {
            let nodes = lab.owner_nodes(address).await?;
            ensure!(nodes == [node], "{nodes:?} answer");
            Ok(Some(()))
        },
    )
    .await
}

/// Waits until nobody answers for an address.
pub async fn wait_nobody(lab: &Lab, address: IpAddr) -> Result<()> {
    eventually(
        SOON,
        &format!("nobody to answer for {address}"),
        async || {
            let macs = lab.owners(address).await?;
            ensure!(macs.is_empty(), "{macs:?} answer");
            Ok(Some(()))
        },
    )
    .await
}

/// The Ethernet addresses that answer one ARP request of the client's within the time.
pub fn answers(
    socket: &PacketSocket,
    address: Ipv4Addr,
    within: Duration,
) -> Result<BTreeSet<Mac>> {
    let deadline = Instant::now() + within;
    socket.send(&Arp::request(socket.mac(), CLIENT, address).to_frame())?;
    let mut macs = BTreeSet::new();
    while let Some(frame) = socket.receive(deadline)? {
        let arp = Arp::parse(&frame.bytes).filter(|_| !frame.outgoing);
        let reply = arp.filter(|arp| arp.operation == 2 && arp.sender == address);
        // A gratuitous reply is news, not an answer.
        macs.extend(
            reply
                .filter(|arp| arp.to != Mac::BROADCAST)
                .map(|arp| arp.sender_mac),
        );
    }
    Ok(macs)
}

/// Waits until this node alone answers ARP for an address; how long after `since` that was. Looks
/// more often than [`wait_owner`].
pub async fn takes_over(
    lab: &Lab,
    address: IpAddr,
    node: &str,
    since: Instant,
) -> Result<Duration> {
    let IpAddr::V4(v4) = address else {
        anyhow::bail!("{address} is not asked for by ARP")
    };
    let mac = lab.mac(node, "lan0")?;
    let socket = lab.packet_socket("client", "lan0")?;
    eventually(
        SOON,
        &format!("{node} to take over {address}"),
        async || {
            let macs = answers(&socket, v4, Duration::from_millis(20))?;
            ensure!(macs == BTreeSet::from([mac]), "{macs:?} answer");
            Ok(Some(since.elapsed()))
        },
    )
    .await
}

/// What the `ServiceL2Status` objects say of a Service of `default`.
pub async fn statuses(lab: &Lab, service: &str) -> Result<Vec<ServiceL2StatusStatus>> {
    let api: Api<ServiceL2Status> = Api::namespaced(lab.client(), NAMESPACE);
    let all = api.list(&ListParams::default()).await?.items;
    let all = all.into_iter().filter_map(|object| object.status);
    Ok(all
        .filter(|status| status.service_name == service)
        .collect())
}

/// Waits until one `ServiceL2Status` names this node for a Service of `default`, and no other is
/// left.
pub async fn wait_status(lab: &Lab, service: &str, node: &str) -> Result<ServiceL2StatusStatus> {
    eventually(
        SOON,
        &format!("a ServiceL2Status of {service} on {node}"),
        async || {
            let all = statuses(lab, service).await?;
            ensure!(
                all.len() == 1 && all.iter().all(|status| status.node == node),
                "there are {all:?}"
            );
            Ok(all.into_iter().next())
        },
    )
    .await
}

/// The value of a sample in the text format, by its name and labels as they are written.
pub fn sample(metrics: &str, series: &str) -> Option<f64> {
    let lines = metrics.lines().filter_map(|line| line.rsplit_once(' '));
    let found = lines.into_iter().find(|(name, _)| *name == series);
    found.and_then(|(_, value)| value.parse().ok())
}

/// The nodes' names.
pub fn names(lab: &Lab) -> Vec<&str> {
    lab.nodes().iter().map(|node| node.name.as_str()).collect()
}

/// The IPv4 address among a Service's.
pub fn v4(addresses: &[IpAddr]) -> Result<IpAddr> {
    addresses
        .iter()
        .copied()
        .find(IpAddr::is_ipv4)
        .context("the Service has no IPv4 address")
}

/// The IPv6 address among a Service's.
pub fn v6(addresses: &[IpAddr]) -> Result<IpAddr> {
    addresses
        .iter()
        .copied()
        .find(IpAddr::is_ipv6)
        .context("the Service has no IPv6 address")
}
