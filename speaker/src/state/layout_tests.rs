//! The layout of the state file stays what its version says it is.
//!
//! postcard writes neither names nor types, so a field that is added, taken away or moved makes a file
//! that reads as something else, or not at all. A sample of each version that has been written is kept
//! beside this file.

use std::net::Ipv6Addr;
use std::path::Path;

use herald_announce::bgp::{Administrator, Advertisement, Community, ExtendedCommunity, Peers};
use herald_announce::{Failback, L2Advertisement, PreferredNodes, Service, TrafficPolicy};
use herald_api::config::bgp::{
    BfdProfile, BgpPeer, Connection, PeerAsn, PeerBfd, PeerEndpoint, Timers,
};
use herald_api::kinds::DynamicAsn;
use herald_model::{
    Cidr, IpFamily, LabelSelector, LanInterface, MacAddress, MemberState, Operator, Phase,
    Requirement, ServiceKey,
};
use serde_json::json;

use super::file::{self, VERSION};
use super::*;
use crate::engine::Kept;
use crate::world::{self, EndpointFacts, NodeFacts, PoolFacts, ServiceFacts};

/// Set to write the sample of a new version.
const WRITE: &str = "HERALD_WRITE_STATE_SAMPLE";

fn me() -> NodeName {
    NodeName::from("n1")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("valid")
}

fn cidr(text: &str) -> Cidr {
    text.parse().expect("valid")
}

fn selector(operator: Operator) -> LabelSelector {
    let labels = [("rack".to_owned(), "7".to_owned())].into();
    let values = match operator {
        Operator::In | Operator::NotIn => vec!["a".to_owned(), "b".to_owned()],
        Operator::Exists | Operator::DoesNotExist => Vec::new(),
    };
    let key = "zone".to_owned();
    LabelSelector::new(
        labels,
        vec![Requirement {
            key,
            operator,
            values,
        }],
    )
}

fn services() -> Vec<ServiceFacts> {
    let service = |name: &str, traffic_policy, failback| ServiceFacts {
        service: Service {
            key: ServiceKey::new("shop", name),
            labels: [("app".to_owned(), name.to_owned())].into(),
            addresses: vec![address("192.0.2.1"), address("2001:db8::1")],
            traffic_policy,
            allows_sharing: true,
            publish_not_ready: true,
            failback,
            endpoints: Vec::new(),
        },
        uid: format!("uid-{name}"),
    };
    vec![
        service("a", TrafficPolicy::Cluster, Some(Failback::Revertive)),
        service("b", TrafficPolicy::Local, Some(Failback::Sticky)),
        service("c", TrafficPolicy::Local, None),
    ]
}

fn endpoints() -> Vec<EndpointFacts> {
    let endpoint = |node: Option<&str>, conditions: [bool; 3]| {
        let [ready, serving, terminating] = conditions;
        EndpointFacts {
            node: node.map(NodeName::from),
            addresses: vec![address("10.244.1.5")],
            ready,
            serving,
            terminating,
        }
    };
    vec![
        endpoint(None, [false, true, false]),
        endpoint(Some("n1"), [true, false, false]),
        endpoint(Some("n2"), [false, false, true]),
    ]
}

fn node() -> NodeFacts {
    NodeFacts {
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        network_unavailable: true,
        excluded: false,
        out_of_service: true,
        draining: false,
        // It is not written.
        shutting_down: false,
        addresses: [address("198.51.100.1"), address("2001:db8:1::1")].into(),
        internal: Some([198, 51, 100, 1].into()),
        pod_cidrs: [cidr("10.244.1.0/24"), cidr("fd00:1::/64")].into(),
    }
}

fn pool() -> PoolFacts {
    let communities = [
        Community::Standard(65_001, 7),
        Community::Large(1, 2, 3),
        Community::Extended(ExtendedCommunity::RouteTarget(Administrator::As2(1, 2))),
        Community::Extended(ExtendedCommunity::RouteOrigin(Administrator::Ipv4(
            [192, 0, 2, 9].into(),
            4,
        ))),
        Community::Extended(ExtendedCommunity::RouteTarget(Administrator::As4(5, 6))),
        Community::Extended(ExtendedCommunity::LinkBandwidth {
            asn: 65_001,
            bytes_per_second: 125_000,
        }),
    ];
    let layer2 = L2Advertisement {
        name: "l2".to_owned(),
        node_selectors: vec![selector(Operator::In), selector(Operator::NotIn)],
        service_selectors: vec![selector(Operator::Exists)],
        interfaces: ["eth0".to_owned()].into(),
        preferred_nodes: vec![PreferredNodes {
            weight: 9,
            selector: selector(Operator::DoesNotExist),
        }],
        failback: Some(Failback::Sticky),
    };
    let bgp = |name: &str, peers| Advertisement {
        name: name.to_owned(),
        node_selectors: vec![selector(Operator::In)],
        service_selectors: vec![selector(Operator::Exists)],
        peers,
        aggregation_length: 24,
        aggregation_length_v6: 64,
        local_pref: Some(200),
        communities: communities.into(),
        med: Some(30),
        prepend: 2,
        link_bandwidth: true,
        local_host_routes: false,
        max_nodes: std::num::NonZeroU32::new(3),
    };
    PoolFacts {
        name: "public".to_owned(),
        cidrs: vec![cidr("192.0.2.0/24"), cidr("2001:db8::/64")],
        advertisements: vec![layer2],
        bgp_advertisements: vec![
            bgp("to-all", Peers::All),
            bgp("to-one", Peers::Named(["tor".to_owned()].into())),
        ],
    }
}

fn peers() -> Vec<BgpPeer> {
    let link_local: Ipv6Addr = "fe80::1".parse().expect("valid");
    let interface = "eth1".to_owned();
    let kinds = [
        (
            PeerAsn::Number(65_100),
            PeerEndpoint::Address(address("198.51.100.9")),
            Connection::Outbound,
        ),
        (
            PeerAsn::Dynamic(DynamicAsn::Internal),
            PeerEndpoint::LinkLocal {
                address: link_local,
                interface: interface.clone(),
            },
            Connection::Inbound,
        ),
        (
            PeerAsn::Dynamic(DynamicAsn::External),
            PeerEndpoint::Interface(interface),
            Connection::Both,
        ),
        (
            PeerAsn::Number(4_200_000_000),
            PeerEndpoint::DefaultGateway(IpFamily::V6),
            Connection::Both,
        ),
    ];
    let kinds = kinds.into_iter().enumerate();
    let peers = kinds.map(|(n, (peer_asn, endpoint, connection))| BgpPeer {
        name: format!("tor{n}"),
        my_asn: 65_001,
        peer_asn,
        local_asn: Some(65_009),
        endpoint,
        port: 1179,
        source_address: Some(address("198.51.100.1")),
        timers: Timers {
            hold: Duration::from_secs(9),
            keepalive: Duration::from_secs(3),
            connect: Duration::from_millis(1500),
        },
        router_id: Some([198, 51, 100, 1].into()),
        node_selectors: vec![selector(Operator::NotIn)],
        // It is not written.
        password: None,
        bfd: Some(PeerBfd {
            name: "fast".to_owned(),
            profile: BfdProfile {
                receive_interval: Duration::from_millis(50),
                transmit_interval: Duration::from_millis(60),
                detect_multiplier: 5,
                echo_interval: Duration::from_millis(70),
                echo_mode: true,
                passive_mode: false,
                minimum_ttl: Some(254),
            },
        }),
        graceful_restart: true,
        ebgp_multi_hop: false,
        ttl_security: Some(1),
        connection,
        vrf: "blue".to_owned(),
        dual_stack: true,
    });
    peers.collect()
}

/// Something of everything that can be in a state. No field is left to a default, so that a new one
/// has to be added here.
fn sample() -> Kept {
    let member = |address: &str, phase| Member {
        address: address.parse().expect("valid"),
        live: phase != Phase::Ready,
        state: Some(
            MemberState {
                phase,
                interfaces: vec![LanInterface {
                    name: "eth0".to_owned(),
                    mac: MacAddress([2, 0, 0, 0, 0, 1]),
                    arp: true,
                    ndp: false,
                    prefixes: [cidr("198.51.100.0/24")].into(),
                    canary: Some([198, 51, 100, 2].into()),
                }],
                unheard: [NodeName::from("n9")].into(),
            }
            .into(),
        ),
    };
    Saved {
        world: world::Saved {
            services: services(),
            slices: vec![(
                ("shop".into(), "a-1".into()),
                ServiceKey::new("shop", "a"),
                endpoints(),
            )],
            nodes: vec![(me(), node())],
            interfaces: vec![(me(), ["eth0".to_owned()].into())],
            pools: vec![pool()],
            peers: peers(),
            locked_peers: ["tor1".to_owned()].into(),
        },
        members: [
            ("n2".into(), member("198.51.100.2:7946", Phase::Ready)),
            ("n3".into(), member("[2001:db8::3]:7946", Phase::Settling)),
            ("n4".into(), member("198.51.100.4:7946", Phase::Draining)),
        ]
        .into(),
        damping: serde_json::from_value(json!({ "node": 3, "interfaces": { "eth0": 1 } }))
            .expect("counts of departures"),
        generation: 7,
        held: [address("192.0.2.1"), address("2001:db8::1")].into(),
        left_cleanly: true,
        boot: Some("4f1c6a2e-0d3b-4a5e-9c7f-2b8d1e6a3c90".to_owned()),
    }
}

#[test]
fn what_a_version_looks_like_does_not_change() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/state/samples")
        .join(format!("version-{VERSION}.state"));
    let mut bytes = Vec::new();
    let header = file::measure(&me(), &sample()).expect("it can be encoded");
    file::write(&me(), &sample(), &header, &mut bytes).expect("memory takes it");
    if std::env::var_os(WRITE).is_some() && !place.exists() {
        std::fs::write(&place, &bytes).expect("writable");
    }
    let known = std::fs::read(&place).unwrap_or_else(|error| {
        panic!("{}: {error}; {WRITE}=1 writes it", place.display());
    });
    let read = file::read::<Kept>(&me(), &known);
    let same = read.as_ref().is_ok_and(|read| *read == sample()) && known == bytes;
    assert!(
        same,
        "the layout of the state changed: raise VERSION in state/file.rs, keep {}, and write the \
         next one with {WRITE}=1; now it reads as {read:?}",
        place.display()
    );
}
