//! What holds of any cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::bgp::{
    Advertisement, Announcement, Attributes, Community, Path, Peer, Peers, Reason, Route, Table,
    decide,
};
use herald_announce::{Endpoint, Node, Service, Speaker, TrafficPolicy};
use herald_model::{Cidr, IpFamily, LabelSelector, Labels, NodeName, ServiceKey};
use proptest::prelude::*;

const NODES: usize = 5;
const SERVICES: usize = 6;
/// Longer than any weight has to wait.
const LATER: Duration = Duration::from_mins(1);

fn node_name(number: usize) -> NodeName {
    NodeName::new(format!("node-{number}"))
}

/// Few keys and values, so that selectors match often enough.
fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[ab]", "[xy]", 0..2)
}

fn selectors() -> impl Strategy<Value = Vec<LabelSelector>> {
    let selector = labels().prop_map(|labels| LabelSelector::new(labels, Vec::new()));
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(selector, 1..3)]
}

fn peer_names() -> impl Strategy<Value = Peers> {
    prop::collection::btree_set("tor-[a-d]", 0..3).prop_map(Peers::named)
}

fn communities() -> impl Strategy<Value = BTreeSet<Community>> {
    let standard = (1..4_u16).prop_map(|n| Community::Standard(65000, n));
    let large = (1..4_u32).prop_map(|n| Community::Large(65000, 0, n));
    prop::collection::btree_set(prop_oneof![standard, large], 0..4)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let some = || prop::option::of(0..3_u32);
    (some(), some(), 0..3_u8, communities()).prop_map(|(local_pref, med, prepend, communities)| {
        Attributes {
            local_pref,
            med,
            prepend,
            communities,
        }
    })
}

fn advertisements() -> impl Strategy<Value = Vec<Advertisement>> {
    let v4 = prop::sample::select(vec![24_u8, 29, 32]);
    let v6 = prop::sample::select(vec![64_u8, 125, 128]);
    // Mostly one preference, or nearly everything would conflict.
    let preference = prop_oneof![8 => Just(None), 1 => Just(Some(100))];
    let attributes = (attributes(), preference);
    let flags = (any::<bool>(), any::<bool>());
    let most = prop::option::weighted(0.3, 1..4_u32);
    let advertisement = (
        (selectors(), selectors(), peer_names()),
        (v4, v6),
        attributes,
        flags,
        most,
    );
    prop::collection::vec(advertisement, 0..4).prop_map(|advertisements| {
        let numbered = advertisements.into_iter().enumerate();
        let named = numbered.map(|(n, (selection, lengths, attributes, flags, most))| {
            let (node_selectors, service_selectors, peers) = selection;
            let (attributes, local_pref) = attributes;
            Advertisement {
                name: format!("adv-{n}"),
                node_selectors,
                service_selectors,
                peers,
                aggregation_length: lengths.0,
                aggregation_length_v6: lengths.1,
                local_pref,
                communities: attributes.communities,
                med: attributes.med,
                prepend: attributes.prepend,
                link_bandwidth: flags.0,
                local_host_routes: flags.1,
                max_nodes: most.and_then(NonZeroU32::new),
            }
        });
        named.collect()
    })
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let peers = prop::collection::btree_map("tor-[a-d]", selectors(), 0..4);
    peers.prop_map(|peers| {
        let peer = |(name, node_selectors)| Peer {
            name,
            node_selectors,
        };
        peers.into_iter().map(peer).collect()
    })
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = (0..40_u8).prop_map(|n| IpAddr::from([10, 0, 0, n]));
    let v6 = (0..40_u16).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
    prop_oneof![
        v4.clone().prop_map(|v4| vec![v4]),
        v6.clone().prop_map(|v6| vec![v6]),
        (v4, v6).prop_map(|(v4, v6)| vec![v4, v6]),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let node = prop::option::weighted(0.9, (0..NODES).prop_map(node_name));
    let condition = || prop::option::of(any::<bool>());
    (node, condition(), condition(), condition())
        .prop_map(|(node, ready, serving, end)| Endpoint::new(node, ready, serving, end))
}

fn service() -> impl Strategy<Value = Service> {
    let policy = prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)];
    let endpoints = prop::collection::vec(endpoint(), 0..8);
    let key = (0..SERVICES).prop_map(|n| ServiceKey::new("default", format!("web-{n}")));
    let publish = prop::bool::weighted(0.2);
    (key, labels(), addresses(), policy, publish, endpoints).prop_map(
        |(key, labels, addresses, traffic_policy, publish_not_ready, endpoints)| Service {
            key,
            labels,
            addresses,
            traffic_policy,
            allows_sharing: false,
            publish_not_ready,
            failback: None,
            endpoints,
        },
    )
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let rarely = || prop::bool::weighted(0.1);
    let flags = (rarely(), rarely(), rarely(), rarely());
    let speaker = prop_oneof![
        8 => Just(Speaker::default()),
        1 => Just(Speaker::Joining),
        1 => Just(Speaker::Down { last: None }),
    ];
    let node = (labels(), flags, speaker);
    prop::collection::vec(node, 1..=NODES).prop_map(|nodes| {
        let numbered = nodes.into_iter().enumerate();
        let node = |(n, (labels, flags, speaker))| {
            let (network_unavailable, excluded, out_of_service, draining) = flags;
            Node {
                name: node_name(n),
                labels,
                network_unavailable,
                excluded,
                out_of_service,
                draining,
                unheard: false,
                speaker,
            }
        };
        numbered.map(node).collect()
    })
}

#[derive(Debug, Clone)]
struct Cluster {
    advertisements: Vec<Advertisement>,
    peers: Vec<Peer>,
    nodes: Vec<Node>,
}

impl Cluster {
    fn decide(&self, service: &Service, node: &Node) -> Result<Announcement, Reason> {
        decide(
            service,
            &self.advertisements,
            &self.peers,
            node,
            &self.nodes,
        )
    }
}

fn cluster() -> impl Strategy<Value = Cluster> {
    (advertisements(), peers(), nodes()).prop_map(|(advertisements, peers, nodes)| Cluster {
        advertisements,
        peers,
        nodes,
    })
}

fn shuffled() -> impl Strategy<Value = (Cluster, Cluster)> {
    cluster().prop_flat_map(|original| {
        let parts = (
            Just(original.advertisements.clone()).prop_shuffle(),
            Just(original.peers.clone()).prop_shuffle(),
            Just(original.nodes.clone()).prop_shuffle(),
        );
        parts.prop_map(move |(advertisements, peers, nodes)| {
            let other = Cluster {
                advertisements,
                peers,
                nodes,
            };
            (original.clone(), other)
        })
    })
}

/// Whether the rules let the node announce by the advertisement if nothing conflicts, written as one
/// condition and not in their order; without limits.
fn admitted(cluster: &Cluster, service: &Service, node: &Node, ad: &Advertisement) -> bool {
    let any = |selectors: &[LabelSelector], labels| {
        selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
    };
    let serves = |e: &&Endpoint| e.ready || e.serving || service.publish_not_ready;
    let mut serving = service.endpoints.iter().filter(serves);
    let has_endpoint = match service.traffic_policy {
        TrafficPolicy::Cluster => serving.next().is_some(),
        TrafficPolicy::Local => serving.any(|e| e.node.as_ref() == Some(&node.name)),
    };
    let mut peers = cluster.peers.iter();
    let heard = peers.any(|peer| {
        let named = match &ad.peers {
            Peers::All => true,
            Peers::Named(names) => names.contains(&peer.name),
        };
        named && any(&peer.node_selectors, &node.labels)
    });
    let willing = !(node.network_unavailable || node.excluded || node.out_of_service);
    any(&ad.node_selectors, &node.labels)
        && any(&ad.service_selectors, &service.labels)
        && has_endpoint
        && heard
        && willing
}

/// The prefixes that the advertisement makes of the Service.
fn prefixes(service: &Service, ad: &Advertisement) -> BTreeSet<Cidr> {
    let host = ad.local_host_routes && service.traffic_policy == TrafficPolicy::Local;
    let of_address = |address: &IpAddr| {
        let bits = IpFamily::of(*address).bits();
        let length = if bits == 32 {
            ad.aggregation_length
        } else {
            ad.aggregation_length_v6
        };
        let lengths = [Some(length), host.then_some(bits)].into_iter().flatten();
        let address = *address;
        lengths.filter_map(move |length| Cidr::new(address, length))
    };
    service.addresses.iter().flat_map(of_address).collect()
}

/// What a node may announce for a Service, with few prefixes, so that Services meet on them.
fn announcement() -> impl Strategy<Value = Announcement> {
    let prefix = prop::sample::select(vec!["10.0.0.0/24", "10.0.0.1/32", "2001:db8::/64"]);
    let prefix = prefix.prop_map(|text| text.parse::<Cidr>().expect("valid"));
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.8));
    let path = (peer_names(), attributes(), flags);
    let path = path.prop_map(|(peers, attributes, (ending, weighted))| Path {
        peers,
        attributes,
        ending,
        weighted,
    });
    let routes = prop::collection::btree_set((prefix, path), 1..4);
    (routes, 1..20_u32).prop_map(|(routes, endpoints)| {
        let routes = routes
            .into_iter()
            .map(|(prefix, path)| (prefix, Arc::new(path)));
        Announcement {
            routes: routes.collect(),
            endpoints,
        }
    })
}

/// What a node does, one step after the other.
#[derive(Debug, Clone)]
enum Step {
    Set(usize, Announcement),
    Remove(usize),
    Take(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..SERVICES, announcement()).prop_map(|(n, announcement)| Step::Set(n, announcement)),
        1 => (0..SERVICES).prop_map(Step::Remove),
        2 => (0..8_000_u64).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 1..25)
}

/// The routes that somebody knows who only reads changes.
#[derive(Default)]
struct Follower(BTreeMap<Cidr, Arc<Route>>);

impl Follower {
    fn follow(&mut self, table: &mut Table, now: Instant) {
        let routes = table.take_routes(now);
        assert!(routes.iter().all(|change| change.route.is_some()));
        let parts = std::iter::from_fn(|| table.take_part(now, 2));
        for change in routes.into_iter().chain(parts.flatten()) {
            let before = self.0.get(&change.prefix);
            assert_ne!(before, change.route.as_ref(), "a change changes something");
            match change.route {
                Some(route) => self.0.insert(change.prefix, route),
                None => self.0.remove(&change.prefix),
            };
        }
        let routes: BTreeMap<_, _> = table.routes().map(|(p, r)| (p, Arc::clone(r))).collect();
        assert_eq!(self.0, routes, "the changes are all there is");
    }
}

proptest! {
    #[test]
    fn the_order_of_what_is_known_does_not_matter(
        (one, other) in shuffled(),
        service in service(),
    ) {
        for node in &one.nodes {
            prop_assert_eq!(one.decide(&service, node), other.decide(&service, node));
        }
    }

    #[test]
    fn a_node_announces_exactly_what_the_rules_admit(
        mut cluster in cluster(),
        service in service(),
    ) {
        for ad in &mut cluster.advertisements {
            ad.max_nodes = None;
        }
        for node in &cluster.nodes {
            let mut expected = BTreeSet::new();
            for ad in &cluster.advertisements {
                if admitted(&cluster, &service, node, ad) {
                    expected.extend(prefixes(&service, ad));
                }
            }
            match cluster.decide(&service, node) {
                Ok(announcement) => {
                    let found: BTreeSet<_> = announcement.routes.iter().map(|(p, _)| *p).collect();
                    prop_assert!(!found.is_empty());
                    prop_assert_eq!(found, expected);
                }
                Err(Reason::ConflictingAdvertisements { first, second }) => {
                    let ad = |name: &String| {
                        let mut all = cluster.advertisements.iter();
                        all.find(|ad| ad.name == *name).expect("known")
                    };
                    let (first, second) = (ad(&first), ad(&second));
                    prop_assert_ne!(first.local_pref, second.local_pref);
                    let common = prefixes(&service, second);
                    prop_assert!(prefixes(&service, first).intersection(&common).next().is_some());
                }
                Err(_) => prop_assert!(expected.is_empty()),
            }
        }
    }

    #[test]
    fn no_two_paths_of_a_prefix_and_a_peer_differ_in_preference(
        cluster in cluster(),
        service in service(),
    ) {
        for node in &cluster.nodes {
            let Ok(announcement) = cluster.decide(&service, node) else { continue };
            let routes = &announcement.routes;
            prop_assert!(routes.is_sorted_by(|one, other| one < other), "each pair once");
            for (prefix, one) in routes {
                for (_, other) in routes.iter().filter(|(other, _)| other == prefix) {
                    if one.peers.overlap(&other.peers) {
                        prop_assert_eq!(one.attributes.local_pref, other.attributes.local_pref);
                    }
                }
            }
        }
    }

    #[test]
    fn limits_hold_and_are_used_to_the_full(mut cluster in cluster(), service in service()) {
        // One advertisement, so that there is nothing to conflict with.
        cluster.advertisements.truncate(1);
        let Some(ad) = cluster.advertisements.first().cloned() else { return Ok(()) };
        // What goes on for a while after its time takes nobody's place.
        let ending = |node: &Node| {
            service.traffic_policy == TrafficPolicy::Local
                && service.staying_nodes().all(|name| *name != node.name)
        };
        let up = |node: &&Node| {
            !node.draining && !ending(node) && matches!(node.speaker, Speaker::Live(_) | Speaker::Unknown { .. })
        };
        let announces = |node: &&Node| cluster.decide(&service, node).is_ok();
        let steady = || cluster.nodes.iter().filter(up);
        let able = steady().filter(|node| admitted(&cluster, &service, node, &ad)).count();
        let most = ad.max_nodes.map_or(usize::MAX, |most| most.get() as usize);
        prop_assert_eq!(steady().filter(announces).count(), able.min(most));
        // Among those that are up, the ones that announce do not depend on those that are not.
        let alone = Cluster { nodes: steady().cloned().collect(), ..cluster.clone() };
        for node in steady() {
            prop_assert_eq!(cluster.decide(&service, node), alone.decide(&service, node));
        }
    }

    #[test]
    fn a_node_that_goes_moves_no_other(cluster in cluster(), service in service(), gone in 0..NODES) {
        let mut less = cluster.clone();
        less.nodes.retain(|node| node.name != node_name(gone));
        for node in &less.nodes {
            if cluster.decide(&service, node).is_ok() {
                prop_assert!(less.decide(&service, node).is_ok(), "{} stops", node.name);
            }
        }
    }

    #[test]
    fn no_aggregate_without_a_member_that_is_served_and_none_missing(
        cluster in cluster(),
        services in prop::collection::vec(service(), 0..10),
    ) {
        for node in &cluster.nodes {
            let mut table = Table::new();
            let mut announced: BTreeMap<ServiceKey, (&Service, Announcement)> = BTreeMap::new();
            for service in &services {
                let decision = cluster.decide(service, node).ok();
                table.set(&service.key, decision.clone());
                match decision {
                    Some(decision) => announced.insert(service.key.clone(), (service, decision)),
                    None => announced.remove(&service.key),
                };
            }
            table.take_changes(Instant::now());
            for (prefix, _) in table.routes() {
                let mut addresses = announced.values().flat_map(|(service, _)| &service.addresses);
                prop_assert!(addresses.any(|address| prefix.contains(*address)), "{prefix}");
            }
            let sessions = cluster.peers.iter().filter(|peer| peer.runs_on(node));
            let sessions: Vec<_> = sessions.map(|peer| peer.name.as_str()).collect();
            for (service, decision) in announced.values() {
                let served = decision.peers(sessions.iter().copied());
                prop_assert!(!served.is_empty());
                for address in &service.addresses {
                    let mut routes = table.routes();
                    let covered = routes.any(|(prefix, route)| {
                        prefix.contains(*address)
                            && served.iter().any(|peer| route.for_peer(peer).is_some())
                    });
                    prop_assert!(covered, "{address}");
                }
            }
        }
    }

    #[test]
    fn the_routes_follow_from_the_services_whatever_came_before(
        history in steps(),
    ) {
        let key = |number| ServiceKey::new("default", format!("web-{number}"));
        let (mut now, mut table) = (Instant::now(), Table::new());
        let mut follower = Follower::default();
        let mut services = BTreeMap::new();
        for step in history {
            match step {
                Step::Set(number, announcement) => {
                    table.set(&key(number), Some(announcement.clone()));
                    services.insert(key(number), announcement);
                }
                Step::Remove(number) => {
                    table.set(&key(number), None);
                    services.remove(&key(number));
                }
                Step::Take(milliseconds) => {
                    now += Duration::from_millis(milliseconds);
                    follower.follow(&mut table, now);
                    prop_assert!(table.next_timeout().is_none_or(|when| when > now));
                }
            }
        }
        follower.follow(&mut table, now);
        // Whoever only comes back when asked to misses nothing.
        while let Some(when) = table.next_timeout() {
            prop_assert!(when > now && when < now + LATER);
            now = when;
            follower.follow(&mut table, now);
        }

        let mut fresh = Table::new();
        for (key, announcement) in services.into_iter().rev() {
            fresh.set(&key, Some(announcement));
        }
        fresh.take_changes(now);
        let expected: BTreeMap<_, _> = fresh.routes().map(|(p, r)| (p, Arc::clone(r))).collect();
        prop_assert_eq!(follower.0, expected);
    }

    #[test]
    fn merging_depends_on_neither_order_nor_repetition(
        a in attributes(),
        b in attributes(),
        c in attributes(),
    ) {
        prop_assert_eq!(a.merge(&b), b.merge(&a));
        prop_assert_eq!(a.merge(&a), a.clone());
        prop_assert_eq!(a.merge(&b).merge(&c), a.merge(&b.merge(&c)));
    }
}
