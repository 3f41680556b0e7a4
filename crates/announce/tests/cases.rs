//! Decisions from the tables in `tests/cases`.

#[cfg(test)]
mod cases {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::IpAddr;
    use std::sync::Arc;

    use herald_announce::{
        Decision, Endpoint, Failback, Interfaces, L2Advertisement, Node, PreferredNodes, Reason,
        Service, Speaker, TrafficPolicy, decide,
    };
    use herald_model::{
        LabelSelector, Labels, LanInterface, MemberState, NodeName, Phase, ServiceKey,
    };
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Case {
        name: String,
        #[serde(default)]
        service: ServiceSpec,
        #[serde(default = "one_for_all")]
        advertisements: Vec<AdvertisementSpec>,
        nodes: Vec<NodeSpec>,
        /// All candidates, best first.
        #[serde(default)]
        order: Vec<String>,
        /// The same with those that are down or not heard; not looked at if it is absent.
        as_if_up: Option<Vec<String>>,
        /// All rejected nodes.
        #[serde(default)]
        rejected: BTreeMap<String, String>,
        withheld: Option<String>,
        /// Of some candidates.
        #[serde(default)]
        scores: BTreeMap<String, u64>,
        /// Of some candidates.
        #[serde(default)]
        interfaces: BTreeMap<String, InterfacesSpec>,
        /// Not looked at if it is absent.
        failback: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct ServiceSpec {
        addresses: Vec<IpAddr>,
        labels: Labels,
        policy: PolicySpec,
        sharing: bool,
        publish_not_ready: bool,
        failback: Option<String>,
        endpoints: Vec<EndpointSpec>,
    }

    impl Default for ServiceSpec {
        fn default() -> Self {
            Self {
                addresses: vec![IpAddr::from([10, 0, 0, 1])],
                labels: Labels::new(),
                policy: PolicySpec::Cluster,
                sharing: false,
                publish_not_ready: false,
                failback: None,
                endpoints: vec![EndpointSpec::default()],
            }
        }
    }

    #[derive(Deserialize, Clone, Copy)]
    enum PolicySpec {
        Cluster,
        Local,
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
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(clippy::struct_excessive_bools, reason = "as in Node")]
    struct NodeSpec {
        name: String,
        #[serde(default)]
        labels: Labels,
        #[serde(default)]
        network_unavailable: bool,
        #[serde(default)]
        excluded: bool,
        #[serde(default)]
        out_of_service: bool,
        #[serde(default)]
        draining: bool,
        #[serde(default)]
        unheard: bool,
        /// Without a group.
        interfaces: Option<BTreeSet<String>>,
        /// In a group; the next two are what the member told.
        state: Option<StateSpec>,
        #[serde(default = "ready")]
        phase: Phase,
        /// Interfaces by name, each with `arp`, `ndp` and prefixes. A live one without any has
        /// `eth0` with both; one that is down was never seen.
        lans: Option<BTreeMap<String, Vec<String>>>,
    }

    #[derive(Deserialize, Clone, Copy)]
    #[serde(rename_all = "camelCase")]
    enum StateSpec {
        Live,
        Joining,
        Down,
    }

    fn ready() -> Phase {
        Phase::Ready
    }

    impl NodeSpec {
        fn speaker(&self) -> Speaker {
            match self.state {
                None => Speaker::Unknown {
                    interfaces: self.interfaces.clone(),
                },
                Some(StateSpec::Joining) => Speaker::Joining,
                Some(StateSpec::Live) => {
                    let both = || [("eth0".to_owned(), vec!["arp".into(), "ndp".into()])].into();
                    let lans = self.lans.clone().unwrap_or_else(both);
                    Speaker::Live(self.told(&lans))
                }
                Some(StateSpec::Down) => Speaker::Down {
                    last: self.lans.as_ref().map(|lans| self.told(lans)),
                },
            }
        }

        fn told(&self, lans: &BTreeMap<String, Vec<String>>) -> Arc<MemberState> {
            let interface = |(name, words): (&String, &Vec<String>)| LanInterface {
                name: name.clone(),
                mac: [2, 0, 0, 0, 0, 1].into(),
                arp: words.iter().any(|word| word == "arp"),
                ndp: words.iter().any(|word| word == "ndp"),
                prefixes: words
                    .iter()
                    .filter(|word| !["arp", "ndp"].contains(&word.as_str()))
                    .map(|word| word.parse().expect(word))
                    .collect(),
                canary: None,
            };
            Arc::new(MemberState {
                phase: self.phase,
                interfaces: lans.iter().map(interface).collect(),
                unheard: BTreeSet::new(),
            })
        }
    }

    #[derive(Deserialize, Default)]
    #[serde(default, deny_unknown_fields)]
    struct AdvertisementSpec {
        name: String,
        selected: Vec<Labels>,
        services: Vec<Labels>,
        interfaces: BTreeSet<String>,
        preferred: Vec<PreferredSpec>,
        failback: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PreferredSpec {
        weight: u32,
        nodes: Labels,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum InterfacesSpec {
        Word(String),
        Named(BTreeSet<String>),
    }

    fn one_for_all() -> Vec<AdvertisementSpec> {
        vec![AdvertisementSpec::default()]
    }

    fn failback(text: Option<&str>) -> Option<Failback> {
        text.map(|text| text.parse().expect("known"))
    }

    fn selector(labels: Labels) -> LabelSelector {
        LabelSelector::new(labels, Vec::new())
    }

    impl From<ServiceSpec> for Service {
        fn from(spec: ServiceSpec) -> Self {
            let endpoint = |e: EndpointSpec| {
                let node = e.node.map(NodeName::new);
                Endpoint::new(node, e.ready, e.serving, e.terminating)
            };
            Self {
                key: ServiceKey::new("default", "web"),
                labels: spec.labels,
                addresses: spec.addresses,
                traffic_policy: match spec.policy {
                    PolicySpec::Cluster => TrafficPolicy::Cluster,
                    PolicySpec::Local => TrafficPolicy::Local,
                },
                allows_sharing: spec.sharing,
                publish_not_ready: spec.publish_not_ready,
                failback: failback(spec.failback.as_deref()),
                endpoints: spec.endpoints.into_iter().map(endpoint).collect(),
            }
        }
    }

    impl From<NodeSpec> for Node {
        fn from(spec: NodeSpec) -> Self {
            let speaker = spec.speaker();
            Self {
                name: NodeName::new(spec.name),
                labels: spec.labels,
                network_unavailable: spec.network_unavailable,
                excluded: spec.excluded,
                out_of_service: spec.out_of_service,
                draining: spec.draining,
                unheard: spec.unheard,
                speaker,
            }
        }
    }

    impl From<AdvertisementSpec> for L2Advertisement {
        fn from(spec: AdvertisementSpec) -> Self {
            let preferred = |p: PreferredSpec| PreferredNodes {
                weight: p.weight,
                selector: selector(p.nodes),
            };
            Self {
                name: spec.name,
                node_selectors: spec.selected.into_iter().map(selector).collect(),
                service_selectors: spec.services.into_iter().map(selector).collect(),
                interfaces: spec.interfaces,
                preferred_nodes: spec.preferred.into_iter().map(preferred).collect(),
                failback: failback(spec.failback.as_deref()),
            }
        }
    }

    fn check(case: Case) {
        let name = case.name;
        let service = Service::from(case.service);
        let advertisements: Vec<L2Advertisement> =
            case.advertisements.into_iter().map(Into::into).collect();
        let nodes: Vec<Node> = case.nodes.into_iter().map(Into::into).collect();
        let decision = decide(&service, &advertisements, &nodes);

        let order: Vec<_> = decision
            .candidates
            .iter()
            .map(|c| c.node.as_str())
            .collect();
        assert_eq!(order, case.order, "{name}: order");
        if let Some(expected) = &case.as_if_up {
            let order: Vec<_> = decision.order.iter().map(NodeName::as_str).collect();
            assert_eq!(order, *expected, "{name}: order as if all were up");
        }
        if let Some(expected) = failback(case.failback.as_deref()) {
            assert_eq!(decision.failback, expected, "{name}: failback");
        }
        let rejected: BTreeMap<_, _> = decision
            .rejected
            .iter()
            .map(|(node, reason)| (node.to_string(), reason.name().to_owned()))
            .collect();
        assert_eq!(rejected, case.rejected, "{name}: rejected");
        let withheld = decision.withheld.as_ref().map(Reason::name);
        assert_eq!(withheld, case.withheld.as_deref(), "{name}: withheld");
        for candidate in &decision.candidates {
            let node = candidate.node.as_str();
            if let Some(score) = case.scores.get(node) {
                assert_eq!(candidate.score, *score, "{name}: score of {node}");
            }
            let expected = match case.interfaces.get(node) {
                Some(InterfacesSpec::Named(names)) => Interfaces::Named(names.clone()),
                Some(InterfacesSpec::Word(word)) if word == "all" => Interfaces::All,
                Some(InterfacesSpec::Word(word)) => panic!("{name}: interfaces {word:?}"),
                None => continue,
            };
            assert_eq!(
                candidate.interfaces, expected,
                "{name}: interfaces of {node}"
            );
        }
        check_every_node_is_told(&name, &decision, &nodes);
    }

    /// The owner learns where, everybody else why not.
    fn check_every_node_is_told(name: &str, decision: &Decision, nodes: &[Node]) {
        let owner = decision.owner().map(|owner| &owner.node);
        for node in nodes {
            match decision.for_node(&node.name) {
                Ok(_) => assert_eq!(owner, Some(&node.name), "{name}"),
                Err(Reason::NotOwner(other)) => assert_eq!(owner, Some(&other), "{name}"),
                Err(reason) => assert!(
                    decision.withheld.as_ref() == Some(&reason)
                        || decision.rejected.contains(&(node.name.clone(), reason)),
                    "{name}: {}",
                    node.name
                ),
            }
        }
    }

    fn run(table: &str) {
        let cases: Vec<Case> = serde_saphyr::from_str(table).expect("a readable table");
        assert!(!cases.is_empty());
        for case in cases {
            check(case);
        }
    }

    #[test]
    fn order() {
        run(include_str!("cases/order.yaml"));
    }

    #[test]
    fn nodes() {
        run(include_str!("cases/nodes.yaml"));
    }

    #[test]
    fn endpoints() {
        run(include_str!("cases/endpoints.yaml"));
    }

    #[test]
    fn sharing() {
        run(include_str!("cases/sharing.yaml"));
    }

    #[test]
    fn speakers() {
        run(include_str!("cases/speakers.yaml"));
    }

    #[test]
    fn failback_policies() {
        run(include_str!("cases/failback.yaml"));
    }

    #[test]
    fn interfaces() {
        run(include_str!("cases/interfaces.yaml"));
    }
}
