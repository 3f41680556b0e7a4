//! What holds of decisions from any snapshot.

#[cfg(test)]
mod properties {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};

    use herald_announce::{
        Decision, Endpoint, Interfaces, L2Advertisement, Node, PreferredNodes, Reason, Service,
        TrafficPolicy, agree, decide,
    };
    use herald_model::{LabelSelector, Labels, NodeName, ServiceKey};
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
        ("[a-c]", selectors(), selectors(), interfaces(), preferred).prop_map(
            |(name, node_selectors, service_selectors, interfaces, preferred_nodes)| {
                L2Advertisement {
                    name,
                    node_selectors,
                    service_selectors,
                    interfaces,
                    preferred_nodes,
                }
            },
        )
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
        (labels(), 0..4_u8, policy, flags, endpoints).prop_map(
            |(labels, address, traffic_policy, (sharing, publish), endpoints)| Service {
                key: ServiceKey::new("default", "web"),
                labels,
                addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, address))],
                traffic_policy,
                allows_sharing: sharing,
                publish_not_ready: publish,
                endpoints,
            },
        )
    }

    fn nodes() -> impl Strategy<Value = Vec<Node>> {
        let node = (
            labels(),
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
            prop::option::of(interfaces()),
        );
        prop::collection::vec(node, 0..=NODES).prop_map(|nodes| {
            let numbered = nodes.into_iter().enumerate();
            numbered
                .map(
                    |(n, (labels, network_unavailable, excluded, interfaces))| Node {
                        name: name(n),
                        labels,
                        network_unavailable,
                        excluded,
                        interfaces,
                    },
                )
                .collect()
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

    /// Whether the rules let the node announce, written as one condition and not in their order.
    fn admitted((service, advertisements, _): &Snapshot, node: &Node) -> bool {
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
        let has_place = selecting
            .iter()
            .filter(|ad| any(&ad.node_selectors, &node.labels))
            .any(|ad| match &node.interfaces {
                None => true,
                Some(present) if ad.interfaces.is_empty() => !present.is_empty(),
                Some(present) => present.iter().any(|name| ad.interfaces.contains(name)),
            });
        has_endpoint && !ruled_out && has_place && !node.excluded && !node.network_unavailable
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
            let admitted: BTreeSet<_> = snapshot
                .2
                .iter()
                .filter(|node| admitted(&snapshot, node))
                .map(|node| &node.name)
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
                let present = node.and_then(|node| node.interfaces.as_ref());
                match (&owner.interfaces, present) {
                    (_, None) => {}
                    (Interfaces::All, Some(present)) => prop_assert!(!present.is_empty()),
                    (Interfaces::Named(named), Some(present)) => {
                        prop_assert!(!named.is_disjoint(present));
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
