//! What holds of decisions from any snapshot.

#[cfg(test)]
mod properties {
    use std::collections::BTreeSet;
    use std::net::IpAddr;
    use std::sync::Arc;

    use herald_announce::{
        Decision, Endpoint, Failback, L2Advertisement, Node, PreferredNodes, Reason, Service,
        Speaker, TrafficPolicy, agree, decide,
    };
    use herald_model::{
        LabelSelector, Labels, LanInterface, MemberState, NodeName, Phase, ServiceKey,
    };
    use proptest::prelude::*;

    const NODES: usize = 6;

    fn name(number: usize) -> NodeName {
        NodeName::new(format!("node-{number}"))
    }

    /// Few keys and values, so that selectors match often enough.
    fn labels() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[ab]", "[xy]", 0..2)
    }

    fn selectors() -> impl Strategy<Value = Vec<LabelSelector>> {
        let selector = labels().prop_map(|labels| LabelSelector::new(labels, Vec::new()));
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(selector, 1..3)]
    }

    fn interfaces() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("eth[0-2]", 0..3)
    }

    fn advertisement() -> impl Strategy<Value = L2Advertisement> {
        let preferred = (1..=100_u32, labels()).prop_map(|(weight, labels)| PreferredNodes {
            weight,
            selector: LabelSelector::new(labels, Vec::new()),
        });
        let preferred = prop::collection::vec(preferred, 0..3);
        let selectors = (selectors(), selectors());
        ("[a-c]", selectors, interfaces(), preferred, failback()).prop_map(
            |(name, (node_selectors, service_selectors), interfaces, preferred_nodes, failback)| {
                L2Advertisement {
                    name,
                    node_selectors,
                    service_selectors,
                    interfaces,
                    preferred_nodes,
                    failback,
                }
            },
        )
    }

    fn failback() -> impl Strategy<Value = Option<Failback>> {
        prop::option::of(prop_oneof![
            Just(Failback::Revertive),
            Just(Failback::Sticky)
        ])
    }

    /// One address or one of each family, in either order.
    fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
        let v4 = (0..4_u8).prop_map(|n| IpAddr::from([10, 0, 0, n]));
        let v6 = (0..4_u16).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
        (v4, v6, 0..4_u8).prop_map(|(v4, v6, which)| match which {
            0 => vec![v4],
            1 => vec![v6],
            2 => vec![v4, v6],
            _ => vec![v6, v4],
        })
    }

    fn state() -> impl Strategy<Value = Arc<MemberState>> {
        let phase = prop_oneof![
            3 => Just(Phase::Ready),
            1 => Just(Phase::Settling),
            1 => Just(Phase::Draining),
        ];
        let prefix = prop::sample::select(vec!["10.0.0.0/24", "192.0.2.0/24", "2001:db8::/64"]);
        let prefixes = prop::collection::btree_set(prefix, 0..3);
        let flags = (prop::bool::weighted(0.8), prop::bool::weighted(0.7));
        let interface = (flags, prefixes);
        let interfaces = prop::collection::btree_map("eth[0-2]", interface, 0..3);
        (phase, interfaces).prop_map(|(phase, interfaces)| {
            let interface = |(name, ((arp, ndp), prefixes)): (String, (_, BTreeSet<&str>))| {
                let prefixes = prefixes.into_iter().map(|p| p.parse().expect("valid"));
                LanInterface {
                    name,
                    mac: [2, 0, 0, 0, 0, 1].into(),
                    arp,
                    ndp,
                    prefixes: prefixes.collect(),
                    canary: None,
                }
            };
            Arc::new(MemberState {
                phase,
                interfaces: interfaces.into_iter().map(interface).collect(),
                unheard: BTreeSet::new(),
            })
        })
    }

    fn speaker() -> impl Strategy<Value = Speaker> {
        prop_oneof![
            3 => prop::option::of(interfaces()).prop_map(|interfaces| Speaker::Unknown { interfaces }),
            1 => prop::option::of(state()).prop_map(|last| Speaker::Down { last }),
            1 => Just(Speaker::Joining),
            6 => state().prop_map(Speaker::Live),
        ]
    }

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        let condition = || prop::option::of(any::<bool>());
        let node = prop::option::of((0..NODES).prop_map(name));
        (node, condition(), condition(), condition())
            .prop_map(|(node, ready, serving, end)| Endpoint::new(node, ready, serving, end))
    }

    fn service() -> impl Strategy<Value = Service> {
        let policy = prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)];
        let endpoints = prop::collection::vec(endpoint(), 0..6);
        let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
        let said = (labels(), failback());
        (said, addresses(), policy, flags, endpoints).prop_map(
            |((labels, failback), addresses, traffic_policy, (sharing, publish), endpoints)| {
                Service {
                    key: ServiceKey::new("default", "web"),
                    labels,
                    addresses,
                    traffic_policy,
                    allows_sharing: sharing,
                    publish_not_ready: publish,
                    failback,
                    endpoints,
                }
            },
        )
    }

    fn nodes() -> impl Strategy<Value = Vec<Node>> {
        let rarely = || prop::bool::weighted(0.1);
        let flags = (rarely(), rarely(), rarely(), rarely(), rarely());
        let node = (labels(), flags, speaker());
        prop::collection::vec(node, 0..=NODES).prop_map(|nodes| {
            let numbered = nodes.into_iter().enumerate();
            let node = |(n, (labels, flags, speaker))| {
                let (network_unavailable, excluded, out_of_service, draining, unheard) = flags;
                Node {
                    name: name(n),
                    labels,
                    network_unavailable,
                    excluded,
                    out_of_service,
                    draining,
                    unheard,
                    speaker,
                }
            };
            numbered.map(node).collect()
        })
    }

    type Snapshot = (Service, Vec<L2Advertisement>, Vec<Node>);

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        (
            service(),
            prop::collection::vec(advertisement(), 0..5),
            nodes(),
        )
    }

    fn shuffled() -> impl Strategy<Value = (Snapshot, Snapshot)> {
        snapshot().prop_flat_map(|(service, advertisements, nodes)| {
            let original = (service.clone(), advertisements.clone(), nodes.clone());
            let endpoints = Just(service.endpoints.clone()).prop_shuffle();
            let parts = (
                endpoints,
                Just(advertisements).prop_shuffle(),
                Just(nodes).prop_shuffle(),
            );
            parts.prop_map(move |(endpoints, advertisements, nodes)| {
                let service = Service {
                    endpoints,
                    ..original.0.clone()
                };
                (original.clone(), (service, advertisements, nodes))
            })
        })
    }

    fn decided((service, advertisements, nodes): &Snapshot) -> Decision {
        decide(service, advertisements, nodes)
    }

    fn owner(decision: &Decision) -> Option<NodeName> {
        decision.owner().map(|owner| owner.node.clone())
    }

    /// Whether the rules let the node announce, written as one condition and not in their order;
    /// and if so, how much of the Service: less is more.
    fn admitted((service, advertisements, _): &Snapshot, node: &Node) -> Option<(bool, u8)> {
        let any = |selectors: &[LabelSelector], labels| {
            selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
        };
        let serves = |e: &&Endpoint| e.ready || e.serving || service.publish_not_ready;
        let mut serving = service.endpoints.iter().filter(serves);
        let has_endpoint = match service.traffic_policy {
            TrafficPolicy::Cluster => serving.next().is_some(),
            TrafficPolicy::Local => serving.any(|e| e.node.as_ref() == Some(&node.name)),
        };
        let selecting: Vec<_> = advertisements
            .iter()
            .filter(|ad| any(&ad.service_selectors, &service.labels))
            .collect();
        let ruled_out =
            service.allows_sharing && selecting.iter().any(|ad| !ad.service_selectors.is_empty());
        let allows = |ad: &L2Advertisement, name: &String| {
            ad.interfaces.is_empty() || ad.interfaces.contains(name)
        };
        let covering: Vec<_> = selecting
            .iter()
            .filter(|ad| any(&ad.node_selectors, &node.labels))
            .collect();
        let usable = |name: &String| covering.iter().any(|ad| allows(ad, name));
        let coverage = match &node.speaker {
            Speaker::Unknown { interfaces: None } if !covering.is_empty() => Some(0),
            Speaker::Unknown {
                interfaces: Some(present),
            } if present.iter().any(usable) => Some(0),
            Speaker::Live(state) => {
                let lans: Vec<_> = state
                    .interfaces
                    .iter()
                    .filter(|i| usable(&i.name))
                    .collect();
                let announced = |address: &IpAddr| match address {
                    IpAddr::V4(_) => lans.iter().any(|lan| lan.arp),
                    IpAddr::V6(_) => lans.iter().any(|lan| lan.ndp),
                };
                let announced: Vec<_> = service.addresses.iter().map(announced).collect();
                match announced[..] {
                    [true] | [true, true] => Some(0),
                    [true, false] => Some(1),
                    [false, true] => Some(2),
                    _ => None,
                }
            }
            _ => None,
        };
        let well = !node.excluded && !node.network_unavailable && !node.out_of_service;
        coverage
            .filter(|_| has_endpoint && !ruled_out && well)
            .map(|coverage| (node.unheard, coverage))
    }

    proptest! {
        #[test]
        fn the_order_of_nodes_advertisements_and_endpoints_does_not_matter(
            (one, other) in shuffled()
        ) {
            prop_assert_eq!(decided(&one), decided(&other));
        }

        #[test]
        fn the_candidates_are_exactly_the_nodes_that_every_rule_admits(snapshot in snapshot()) {
            let decision = decided(&snapshot);
            let candidates: BTreeSet<_> = decision.candidates.iter().map(|c| &c.node).collect();
            let admits = |node| Some((admitted(&snapshot, node)?, node));
            let admitted: Vec<_> = snapshot.2.iter().filter_map(admits).collect();
            let best = admitted.iter().map(|(much, _)| *much).min();
            let admitted: BTreeSet<_> = admitted
                .iter()
                .filter(|(much, _)| Some(*much) == best)
                .map(|(_, node)| &node.name)
                .collect();
            prop_assert_eq!(candidates, admitted);
        }

        #[test]
        fn every_node_is_a_candidate_or_has_its_reason(snapshot in snapshot()) {
            let decision = decided(&snapshot);
            if decision.withheld.is_some() {
                prop_assert!(decision.candidates.is_empty() && decision.rejected.is_empty());
            } else {
                let told = decision.candidates.len() + decision.rejected.len();
                prop_assert_eq!(told, snapshot.2.len());
            }
            let owners = snapshot.2.iter().filter(|n| decision.for_node(&n.name).is_ok());
            prop_assert_eq!(owners.count(), usize::from(decision.owner().is_some()));
        }

        #[test]
        fn without_a_node_that_is_not_the_owner_the_owner_stays(snapshot in snapshot()) {
            let before = owner(&decided(&snapshot));
            for gone in 0..snapshot.2.len() {
                let mut less = snapshot.clone();
                let node = less.2.remove(gone);
                if before.as_ref() != Some(&node.name) {
                    prop_assert_eq!(&owner(&decided(&less)), &before);
                }
            }
        }

        #[test]
        fn the_owner_has_an_interface_to_announce_on(snapshot in snapshot()) {
            let decision = decided(&snapshot);
            if let Some(owner) = decision.owner() {
                let node = snapshot.2.iter().find(|n| n.name == owner.node);
                match node.map(|node| &node.speaker) {
                    Some(Speaker::Unknown { interfaces: None }) => {}
                    Some(Speaker::Unknown { interfaces: Some(present) }) => {
                        prop_assert!(present.iter().any(|name| owner.interfaces.contain(name)));
                    }
                    Some(Speaker::Live(state)) => {
                        let mut lans = state.interfaces.iter();
                        prop_assert!(lans.any(|lan| owner.interfaces.contain(&lan.name)));
                    }
                    other => prop_assert!(false, "owned by {:?}", other),
                }
            }
        }

        /// Who is up has no part in the order, if what they last told is known.
        #[test]
        fn a_node_that_goes_down_keeps_its_place(
            mut snapshot in snapshot(),
            down in prop::collection::vec(any::<bool>(), NODES),
        ) {
            snapshot.2.retain(|node| matches!(node.speaker, Speaker::Live(_)));
            let before = decided(&snapshot);
            for (node, down) in snapshot.2.iter_mut().zip(&down) {
                if let (Speaker::Live(state), true) = (&node.speaker, down) {
                    node.speaker = Speaker::Down { last: Some(Arc::clone(state)) };
                }
            }
            let after = decided(&snapshot);
            prop_assert_eq!(&before.order, &after.order);
            let of_down = |node: &&NodeName| {
                snapshot.2.iter().any(|n| n.name == **node && matches!(n.speaker, Speaker::Down { .. }))
            };
            if before.owner().is_some_and(|owner| !of_down(&&owner.node)) {
                prop_assert_eq!(owner(&before), owner(&after), "who was not the best is not missed");
            }
            let first = after.order.iter().find(|node| !of_down(node));
            prop_assert_eq!(owner(&after), first.cloned());
        }

        /// So two parts of a group that lost each other find out who comes first.
        #[test]
        fn two_nodes_that_never_saw_each_other_agree_on_who_comes_first(snapshot in snapshot()) {
            let live: Vec<_> = snapshot
                .2
                .iter()
                .filter(|node| matches!(node.speaker, Speaker::Live(_)) && !node.unheard)
                .cloned()
                .collect();
            for one in &live {
                for other in &live {
                    // What they tell may differ in all but the phase, and neither knows it.
                    if one.name == other.name || one.phase() != other.phase() {
                        continue;
                    }
                    let alone = |me: &Node, other: &Node| {
                        let mut unknown = other.clone();
                        unknown.speaker = Speaker::Down { last: None };
                        let (service, advertisements, _) = &snapshot;
                        decide(service, advertisements, &[me.clone(), unknown])
                    };
                    let (here, there) = (alone(one, other), alone(other, one));
                    if here.owner().is_some() && there.owner().is_some() {
                        prop_assert_eq!(here.order, there.order);
                    }
                }
            }
        }

        /// Services that share an address with policy Cluster meet without having to agree.
        #[test]
        fn services_with_one_address_and_policy_cluster_have_one_owner(
            snapshot in snapshot(),
            endpoints in prop::collection::vec(endpoint(), 0..6),
        ) {
            let mut one = snapshot;
            one.0.traffic_policy = TrafficPolicy::Cluster;
            let mut other = one.clone();
            other.0.endpoints = endpoints;
            let owners = [owner(&decided(&one)), owner(&decided(&other))];
            let told: BTreeSet<_> = owners.into_iter().flatten().collect();
            prop_assert!(told.len() <= 1, "{:?}", told);
        }

        #[test]
        fn services_that_agreed_have_at_most_one_owner(
            services in prop::collection::vec(service(), 0..4),
            advertisements in prop::collection::vec(advertisement(), 0..4),
            nodes in nodes(),
        ) {
            let before: Vec<Decision> = services
                .iter()
                .map(|service| decide(service, &advertisements, &nodes))
                .collect();
            let mut after = before.clone();
            let numbered = after.iter_mut().enumerate();
            let mut sharers: Vec<_> = numbered
                .map(|(n, decision)| (ServiceKey::new("default", n.to_string()), decision))
                .collect();
            agree(&mut sharers);
            let owners: BTreeSet<_> = after.iter().filter_map(owner).collect();
            prop_assert!(owners.len() <= 1);
            prop_assert_eq!(owners.is_empty(), before.iter().all(|d| d.owner().is_none()));
            let told = after.iter().filter(|d| d.withheld.is_none());
            let orders: BTreeSet<_> = told.map(|d| (&d.order, d.failback)).collect();
            prop_assert!(orders.len() <= 1, "one order and one policy");
            for (before, after) in before.iter().zip(&after) {
                if let Some(owner) = after.owner() {
                    prop_assert!(before.candidates.contains(owner));
                } else if !before.candidates.is_empty() {
                    let elsewhere = matches!(after.withheld, Some(Reason::SharedAddressElsewhere(_)));
                    prop_assert!(elsewhere);
                }
            }
        }
    }
}
