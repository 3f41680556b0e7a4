//! What does not change in a run: the nodes and the addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use herald_announce::{Endpoint, Failback, L2Advertisement, Service, TrafficPolicy};
use herald_model::{Cidr, LanInterface, MacAddress, NodeName, ServiceKey};

/// The port of the group.
const PORT: u16 = 7946;

/// The one interface that every node announces on.
const INTERFACE: &str = "eth0";

/// The nodes and the addresses of a cluster.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<NodeName>,
    pub(crate) services: Vec<Service>,
    /// One for all.
    pub(crate) advertisement: L2Advertisement,
    numbers: BTreeMap<IpAddr, usize>,
}

impl Plan {
    /// `failbacks` gives one Service with one address for each; every other one is of IPv6.
    pub(crate) fn new(nodes: usize, failbacks: &[Failback]) -> Self {
        let nodes: Vec<_> = (0..nodes).map(name).collect();
        let endpoint = Endpoint::new(nodes.first().cloned(), None, None, None);
        let service = |(number, failback): (usize, &Failback)| Service {
            key: ServiceKey::new("default", format!("s{number}")),
            labels: BTreeMap::default(),
            addresses: vec![virtual_address(number)],
            traffic_policy: TrafficPolicy::Cluster,
            allows_sharing: false,
            publish_not_ready: false,
            failback: Some(*failback),
            endpoints: vec![endpoint.clone()],
        };
        let numbers = (0..nodes.len()).map(|node| (address(node), node));
        Self {
            services: failbacks.iter().enumerate().map(service).collect(),
            advertisement: L2Advertisement {
                name: "all".to_owned(),
                node_selectors: Vec::new(),
                service_selectors: Vec::new(),
                interfaces: BTreeSet::new(),
                preferred_nodes: Vec::new(),
                failback: None,
            },
            numbers: numbers.collect(),
            nodes,
        }
    }

    /// The addresses that Services have.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (0..self.services.len()).map(virtual_address)
    }

    /// The node whose own address this is.
    pub(crate) fn node_of(&self, address: IpAddr) -> Option<usize> {
        self.numbers.get(&address).copied()
    }

    /// What the API says of all nodes' addresses.
    pub(crate) fn node_addresses(&self) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .map(|(node, name)| (name.clone(), BTreeSet::from([address(node)])))
            .collect()
    }

    pub(crate) fn roster(&self) -> BTreeSet<NodeName> {
        self.nodes.iter().cloned().collect()
    }
}

fn name(node: usize) -> NodeName {
    NodeName::new(format!("n{node}"))
}

fn low_bytes(number: usize) -> [u8; 2] {
    let [.., high, low] = number.to_be_bytes();
    [high, low]
}

/// A node's own address.
fn address(node: usize) -> IpAddr {
    let [high, low] = low_bytes(node + 1);
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// Where a node's speaker is reached by the others.
pub(crate) fn socket(node: usize) -> SocketAddr {
    SocketAddr::new(address(node), PORT)
}

/// A node's hardware address.
pub(crate) fn mac(node: usize) -> MacAddress {
    let [high, low] = low_bytes(node + 1);
    MacAddress([2, 0, 0, 0, high, low])
}

/// Whose hardware address it is.
pub(crate) fn node_at(mac: MacAddress) -> Option<usize> {
    let [.., high, low] = mac.0;
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}

/// The address of a Service.
pub(crate) fn virtual_address(number: usize) -> IpAddr {
    let [high, low] = low_bytes(number + 1);
    if number.is_multiple_of(2) {
        IpAddr::V4(Ipv4Addr::new(10, 0, 100 + high, low))
    } else {
        let segment = u16::from_be_bytes([high, low]);
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, segment))
    }
}

/// What a node tells of its interface while that has carrier. The canary is the node's own
/// address, which its kernel answers for.
pub(crate) fn interface(node: usize) -> LanInterface {
    let subnets = [(address(0), 16), (virtual_address(1), 64)];
    let prefixes = subnets.map(|(address, length)| Cidr::new(address, length));
    LanInterface {
        name: INTERFACE.to_owned(),
        mac: mac(node),
        arp: true,
        ndp: true,
        prefixes: prefixes.into_iter().flatten().collect(),
        canary: Some(address(node)),
    }
}
