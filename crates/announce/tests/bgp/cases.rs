//! Clusters from tables: what every node announces to every peer, and why it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use herald_announce::bgp::{Advertisement, Announced, Community, Peer, Peers, Table, decide};
use herald_announce::{Endpoint, Node, Service, Speaker, TrafficPolicy};
use herald_model::{Cidr, LabelSelector, Labels, MemberState, NodeName, Phase, ServiceKey};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "one::<ServiceSpec>")]
    services: Vec<ServiceSpec>,
    #[serde(default = "one::<AdvertisementSpec>")]
    advertisements: Vec<AdvertisementSpec>,
    #[serde(default = "one::<PeerSpec>")]
    peers: Vec<PeerSpec>,
    #[serde(default = "one::<NodeSpec>")]
    nodes: Vec<NodeSpec>,
    /// Of every node that announces something, what each peer gets.
    #[serde(default)]
    routes: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Of every node, the Services that it does not announce, and why.
    #[serde(default)]
    reasons: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ServiceSpec {
    name: String,
    addresses: Vec<IpAddr>,
    labels: Labels,
    local: bool,
    publish_not_ready: bool,
    endpoints: Vec<EndpointSpec>,
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self {
            name: "web".to_owned(),
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            labels: Labels::new(),
            local: false,
            publish_not_ready: false,
            endpoints: vec![EndpointSpec::default()],
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct EndpointSpec {
    node: Option<String>,
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct AdvertisementSpec {
    name: String,
    selected: Vec<Labels>,
    services: Vec<Labels>,
    peers: BTreeSet<String>,
    length: u8,
    length_v6: u8,
    local_pref: Option<u32>,
    communities: Vec<String>,
    med: Option<u32>,
    prepend: u8,
    weighted: bool,
    hosts: bool,
    most: Option<NonZeroU32>,
}

impl Default for AdvertisementSpec {
    fn default() -> Self {
        Self {
            name: "all".to_owned(),
            selected: Vec::new(),
            services: Vec::new(),
            peers: BTreeSet::new(),
            length: 32,
            length_v6: 128,
            local_pref: None,
            communities: Vec::new(),
            med: None,
            prepend: 0,
            weighted: false,
            hosts: false,
            most: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PeerSpec {
    name: String,
    selected: Vec<Labels>,
}

impl Default for PeerSpec {
    fn default() -> Self {
        Self {
            name: "tor".to_owned(),
            selected: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "as in Node")]
struct NodeSpec {
    name: String,
    labels: Labels,
    network_unavailable: bool,
    excluded: bool,
    out_of_service: bool,
    draining: bool,
    state: StateSpec,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "camelCase")]
enum StateSpec {
    /// There is no group.
    #[default]
    Unknown,
    Live,
    /// In the group, and about to leave it.
    Leaving,
    Joining,
    Down,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            name: "node-a".to_owned(),
            labels: Labels::new(),
            network_unavailable: false,
            excluded: false,
            out_of_service: false,
            draining: false,
            state: StateSpec::Unknown,
        }
    }
}

fn one<T: Default>() -> Vec<T> {
    vec![T::default()]
}

fn selectors(selected: Vec<Labels>) -> Vec<LabelSelector> {
    let selected = selected.into_iter();
    selected
        .map(|labels| LabelSelector::new(labels, Vec::new()))
        .collect()
}

impl From<ServiceSpec> for Service {
    fn from(spec: ServiceSpec) -> Self {
        let endpoint = |e: EndpointSpec| {
            let node = e.node.map(NodeName::new);
            Endpoint::new(node, e.ready, e.serving, e.terminating)
        };
        Self {
            key: ServiceKey::new("default", spec.name),
            labels: spec.labels,
            addresses: spec.addresses,
            traffic_policy: if spec.local {
                TrafficPolicy::Local
            } else {
                TrafficPolicy::Cluster
            },
            allows_sharing: false,
            publish_not_ready: spec.publish_not_ready,
            failback: None,
            endpoints: spec.endpoints.into_iter().map(endpoint).collect(),
        }
    }
}

impl From<AdvertisementSpec> for Advertisement {
    fn from(spec: AdvertisementSpec) -> Self {
        let community = |text: &String| text.parse::<Community>().expect("a community");
        Self {
            name: spec.name,
            node_selectors: selectors(spec.selected),
            service_selectors: selectors(spec.services),
            peers: Peers::named(spec.peers),
            aggregation_length: spec.length,
            aggregation_length_v6: spec.length_v6,
            local_pref: spec.local_pref,
            communities: spec.communities.iter().map(community).collect(),
            med: spec.med,
            prepend: spec.prepend,
            link_bandwidth: spec.weighted,
            local_host_routes: spec.hosts,
            max_nodes: spec.most,
        }
    }
}

impl From<PeerSpec> for Peer {
    fn from(spec: PeerSpec) -> Self {
        Self {
            name: spec.name,
            node_selectors: selectors(spec.selected),
        }
    }
}

impl From<NodeSpec> for Node {
    fn from(spec: NodeSpec) -> Self {
        let told = |phase| {
            Arc::new(MemberState {
                phase,
                interfaces: Vec::new(),
                unheard: BTreeSet::new(),
            })
        };
        Self {
            name: NodeName::new(spec.name),
            labels: spec.labels,
            network_unavailable: spec.network_unavailable,
            excluded: spec.excluded,
            out_of_service: spec.out_of_service,
            draining: spec.draining,
            unheard: false,
            speaker: match spec.state {
                StateSpec::Unknown => Speaker::default(),
                StateSpec::Live => Speaker::Live(told(Phase::Ready)),
                StateSpec::Leaving => Speaker::Live(told(Phase::Draining)),
                StateSpec::Joining => Speaker::Joining,
                StateSpec::Down => Speaker::Down {
                    last: Some(told(Phase::Ready)),
                },
            },
        }
    }
}

/// A route in a line: what it says only where it says something.
fn text(prefix: Cidr, announced: &Announced) -> String {
    let attributes = &announced.attributes;
    let prepend = u32::from(attributes.prepend);
    let numbers = [
        ("local-pref", attributes.local_pref),
        ("med", attributes.med),
        ("prepend", Some(prepend).filter(|times| *times > 0)),
        ("weight", announced.weight),
    ];
    let numbers = numbers
        .into_iter()
        .filter_map(|(word, value)| Some(format!("{word} {}", value?)));
    let communities = attributes.communities.iter().map(ToString::to_string);
    let words = [prefix.to_string()].into_iter();
    let words: Vec<_> = words.chain(numbers).chain(communities).collect();
    words.join(" ")
}

fn check(case: Case) {
    let name = &case.name;
    let services: Vec<Service> = case.services.into_iter().map(Into::into).collect();
    let advertisements: Vec<Advertisement> =
        case.advertisements.into_iter().map(Into::into).collect();
    let peers: Vec<Peer> = case.peers.into_iter().map(Into::into).collect();
    let nodes: Vec<Node> = case.nodes.into_iter().map(Into::into).collect();

    let mut reasons: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut routes: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for node in &nodes {
        let mut table = Table::new();
        for service in &services {
            match decide(service, &advertisements, &peers, node, &nodes) {
                Ok(announcement) => table.set(&service.key, Some(announcement)),
                Err(reason) => {
                    let of_node = reasons.entry(node.name.to_string()).or_default();
                    of_node.insert(service.key.name().to_owned(), reason.name().to_owned());
                }
            }
        }
        for change in table.take_changes(Instant::now()) {
            let route = change.route.expect("nothing was there before");
            for peer in peers.iter().filter(|peer| peer.runs_on(node)) {
                if let Some(announced) = route.for_peer(&peer.name) {
                    let of_node = routes.entry(node.name.to_string()).or_default();
                    let of_peer = of_node.entry(peer.name.clone()).or_default();
                    of_peer.push(text(change.prefix, announced));
                }
            }
        }
    }
    assert_eq!(reasons, case.reasons, "{name}: reasons");
    assert_eq!(routes, case.routes, "{name}: routes");
}

fn run(table: &str) {
    let cases: Vec<Case> = serde_saphyr::from_str(table).expect("a readable table");
    assert!(!cases.is_empty());
    for case in cases {
        check(case);
    }
}

#[test]
fn rules() {
    run(include_str!("cases/rules.yaml"));
}

#[test]
fn attributes() {
    run(include_str!("cases/attributes.yaml"));
}

#[test]
fn aggregates() {
    run(include_str!("cases/aggregates.yaml"));
}

#[test]
fn weights() {
    run(include_str!("cases/weights.yaml"));
}

#[test]
fn limited_nodes() {
    run(include_str!("cases/limited.yaml"));
}
