use herald_announce::{Interfaces, L2Advertisement, Speaker, TrafficPolicy};
use herald_model::{LabelSelector, Labels};

use super::*;

pub(super) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

pub(super) fn service(name: &str, addresses: &[&str]) -> ServiceFacts {
    ServiceFacts {
        service: Service {
            key: key(name),
            labels: Labels::new(),
            addresses: addresses
                .iter()
                .map(|a| a.parse().expect("valid"))
                .collect(),
            traffic_policy: TrafficPolicy::Cluster,
            allows_sharing: false,
            publish_not_ready: false,
            failback: None,
            endpoints: Vec::new(),
        },
        uid: format!("uid-{name}"),
    }
}

pub(super) fn local(name: &str, addresses: &[&str]) -> ServiceFacts {
    let mut facts = service(name, addresses);
    facts.service.traffic_policy = TrafficPolicy::Local;
    facts
}

pub(super) fn endpoint(node: Option<&str>, addresses: &[&str]) -> EndpointFacts {
    EndpointFacts {
        node: node.map(NodeName::from),
        addresses: addresses
            .iter()
            .map(|a| a.parse().expect("valid"))
            .collect(),
        ready: true,
        serving: true,
        terminating: false,
    }
}

pub(super) fn slice(name: &str) -> SliceKey {
    ("shop".into(), name.into())
}

pub(super) fn advertisement(name: &str) -> L2Advertisement {
    L2Advertisement {
        name: name.to_owned(),
        node_selectors: Vec::new(),
        service_selectors: Vec::new(),
        interfaces: BTreeSet::new(),
        preferred_nodes: Vec::new(),
        failback: None,
    }
}

pub(super) fn pool(name: &str, cidr: &str, advertisements: Vec<L2Advertisement>) -> PoolFacts {
    PoolFacts {
        name: name.to_owned(),
        cidrs: vec![cidr.parse().expect("valid")],
        advertisements,
        bgp_advertisements: Vec::new(),
    }
}

pub(super) fn labelled(key: &str, value: &str) -> NodeFacts {
    NodeFacts {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..NodeFacts::default()
    }
}

/// Nodes n1 and n2, pools `a` (192.0.2.0/24) and `b` (`2001:db8::/64`) with an advertisement each, and
/// a Service in each: `one` and `two`, with an endpoint on n1.
pub(super) fn world() -> World {
    let mut world = World::new();
    world.set_pools(vec![
        pool("a", "192.0.2.0/24", vec![advertisement("all-a")]),
        pool("b", "2001:db8::/64", vec![advertisement("all-b")]),
    ]);
    for node in ["n1", "n2"] {
        world.set_node(&node.into(), Some(NodeFacts::default()));
    }
    for (name, address) in [("one", "192.0.2.1"), ("two", "2001:db8::1")] {
        world.set_service(&key(name), Some(service(name, &[address])));
        let facts = (key(name), vec![endpoint(Some("n1"), &[])]);
        world.set_slice(&slice(name), Some(facts));
    }
    world.take_outcomes();
    world
}

pub(super) fn dirty(world: &mut World) -> Vec<String> {
    let outcomes = world.take_outcomes();
    outcomes
        .iter()
        .map(|(key, _)| key.name().to_owned())
        .collect()
}

pub(super) fn outcome(world: &World, name: &str) -> Outcome {
    let mut outcomes = world.outcomes_around(&key(name)).into_iter();
    let found = outcomes.find(|(found, _)| *found == key(name));
    found.expect("a group contains its Service").1
}

pub(super) fn owner(world: &World, name: &str) -> Option<String> {
    match outcome(world, name) {
        Outcome::Decided(decision) => decision.owner().map(|c| c.node.to_string()),
        Outcome::NotOurs(_) => None,
    }
}

#[test]
fn a_service_with_pool_advertisement_and_endpoint_has_an_owner() {
    let world = world();
    assert!(owner(&world, "one").is_some());
    assert!(owner(&world, "two").is_some());
}

#[test]
fn what_changes_nothing_marks_nothing() {
    let mut world = world();
    world.set_service(&key("one"), Some(service("one", &["192.0.2.1"])));
    world.set_node(&"n1".into(), Some(NodeFacts::default()));
    let facts = (key("one"), vec![endpoint(Some("n1"), &[]); 3]);
    world.set_slice(&slice("one"), Some(facts));
    world.set_slice(
        &slice("x"),
        Some((key("unknown"), vec![endpoint(None, &["10.0.0.1"])])),
    );
    world.set_pools(vec![
        pool("b", "2001:db8::/64", vec![advertisement("all-b")]),
        pool("a", "192.0.2.0/24", vec![advertisement("all-a")]),
    ]);
    assert_eq!(dirty(&mut world), [""; 0]);
}

#[test]
fn a_slice_marks_its_service_only() {
    let mut world = world();
    let mut gone = endpoint(Some("n1"), &[]);
    (gone.ready, gone.serving) = (false, false);
    world.set_slice(&slice("one"), Some((key("one"), vec![gone])));
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(owner(&world, "one"), None);
    world.set_slice(&slice("two"), None);
    assert_eq!(dirty(&mut world), ["two"]);
    assert_eq!(owner(&world, "two"), None);
}

#[test]
fn a_slice_that_changes_its_service_marks_both() {
    let mut world = world();
    world.set_slice(
        &slice("one"),
        Some((key("two"), vec![endpoint(Some("n2"), &[])])),
    );
    assert_eq!(dirty(&mut world), ["one", "two"]);
    assert_eq!(owner(&world, "one"), None);
}

#[test]
fn slices_may_come_before_their_service() {
    let mut world = world();
    let facts = (key("late"), vec![endpoint(Some("n1"), &[])]);
    world.set_slice(&slice("late"), Some(facts));
    world.set_service(&key("late"), Some(service("late", &["192.0.2.9"])));
    assert_eq!(dirty(&mut world), ["late"]);
    assert!(owner(&world, "late").is_some());
}

#[test]
fn an_advertisement_marks_the_services_of_its_pool() {
    let mut world = world();
    let mut only_n2 = advertisement("all-a");
    only_n2.node_selectors = vec![LabelSelector::new(
        [("rack".to_owned(), "2".to_owned())].into(),
        Vec::new(),
    )];
    world.set_pools(vec![
        pool("a", "192.0.2.0/24", vec![only_n2]),
        pool("b", "2001:db8::/64", vec![advertisement("all-b")]),
    ]);
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(owner(&world, "one"), None);
    // A label that the advertisement of `b` does not look at marks only the Services of `a`.
    world.set_node(&"n2".into(), Some(labelled("rack", "2")));
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(owner(&world, "one").as_deref(), Some("n2"));
}

#[test]
fn a_node_that_is_gone_or_excluded_owns_nothing() {
    let mut world = world();
    world.set_node(&"n2".into(), None);
    assert_eq!(dirty(&mut world), ["one", "two"]);
    assert_eq!(owner(&world, "one").as_deref(), Some("n1"));
    let excluded = NodeFacts {
        excluded: true,
        ..NodeFacts::default()
    };
    world.set_node(&"n1".into(), Some(excluded));
    assert_eq!(owner(&world, "one"), None);
}

#[test]
fn an_address_outside_every_pool_is_not_announced_until_a_pool_has_it() {
    let mut world = world();
    world.set_service(&key("one"), Some(service("one", &["198.51.100.1"])));
    assert_eq!(outcome(&world, "one"), Outcome::NotOurs(NotOurs::NoPool));
    world.take_outcomes();
    world.set_pools(vec![
        pool("a", "192.0.2.0/24", vec![advertisement("all-a")]),
        pool("b", "2001:db8::/64", vec![advertisement("all-b")]),
        pool("c", "198.51.100.0/24", vec![advertisement("all-c")]),
    ]);
    assert_eq!(dirty(&mut world), ["one"]);
    assert!(owner(&world, "one").is_some());
}

#[test]
fn addresses_of_two_pools_are_no_ones() {
    let mut world = world();
    world.set_service(
        &key("one"),
        Some(service("one", &["192.0.2.1", "2001:db8::7"])),
    );
    assert_eq!(outcome(&world, "one"), Outcome::NotOurs(NotOurs::NoPool));
}

#[test]
fn interfaces_take_part_in_the_election() {
    let mut world = world();
    let mut ad = advertisement("lan");
    ad.interfaces = ["lan0".to_owned()].into();
    world.set_pools(vec![pool("a", "192.0.2.0/24", vec![ad])]);
    world.take_outcomes();
    world.set_interfaces(&"n1".into(), Some(["eth0".to_owned()].into()));
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(
        owner(&world, "one").as_deref(),
        Some("n2"),
        "n2 has not said"
    );
    world.set_interfaces(&"n2".into(), Some(BTreeSet::new()));
    assert_eq!(owner(&world, "one"), None);
    world.set_interfaces(&"n1".into(), Some(["lan0".to_owned()].into()));
    let outcome = outcome(&world, "one");
    let named = Interfaces::Named(["lan0".to_owned()].into());
    assert_eq!(verdict(&outcome, &"n1".into()), Ok(named));
}

#[test]
fn interfaces_that_come_before_the_node_are_kept() {
    let mut world = world();
    world.set_interfaces(&"n3".into(), Some(["lan0".to_owned()].into()));
    world.set_node(&"n3".into(), Some(NodeFacts::default()));
    assert_eq!(world.nodes_with_interfaces(), ["n3".into()]);
    let speaker = world
        .nodes
        .get(&"n3".into())
        .map(|node| node.speaker.clone());
    let lan0 = Some(["lan0".to_owned()].into());
    assert_eq!(speaker, Some(Speaker::Unknown { interfaces: lan0 }));
}

#[test]
fn an_endpoint_without_node_is_placed_by_its_address() {
    let mut world = world();
    world.set_service(&key("one"), Some(local("one", &["192.0.2.1"])));
    let by_hand = vec![endpoint(None, &["10.244.2.5"])];
    world.set_slice(&slice("one"), Some((key("one"), by_hand)));
    assert_eq!(owner(&world, "one"), None);
    world.take_outcomes();
    let pods = NodeFacts {
        pod_cidrs: ["10.244.2.0/24".parse().expect("valid")].into(),
        ..NodeFacts::default()
    };
    world.set_node(&"n2".into(), Some(pods));
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(owner(&world, "one").as_deref(), Some("n2"));
    // The node's own address is a closer match than a prefix of pods.
    let host = NodeFacts {
        addresses: ["10.244.2.5".parse().expect("valid")].into(),
        ..NodeFacts::default()
    };
    world.set_node(&"n1".into(), Some(host));
    assert_eq!(owner(&world, "one").as_deref(), Some("n1"));
}

#[test]
fn after_a_gap_what_is_not_listed_is_gone() {
    let mut world = world();
    world.retain_services(&[key("two")].into());
    assert_eq!(dirty(&mut world), ["one"]);
    assert_eq!(
        outcome(&world, "one"),
        Outcome::NotOurs(NotOurs::NotLoadBalancer)
    );
    world.retain_slices(&HashSet::new());
    assert_eq!(dirty(&mut world), ["two"]);
    world.retain_nodes(&["n1".into()].into());
    assert_eq!(dirty(&mut world), ["two"]);
}

#[test]
fn services_that_share_an_address_have_one_owner() {
    let mut world = world();
    world.set_pools(vec![PoolFacts {
        name: "a".to_owned(),
        cidrs: ["192.0.2.0/24", "2001:db8::/64"]
            .map(|c| c.parse().expect("valid"))
            .into(),
        advertisements: vec![advertisement("all")],
        bgp_advertisements: Vec::new(),
    }]);
    // "one" hashes its IPv4 address, "two" the IPv6 address that both have.
    let mut parted = 0;
    for n in 1..=20 {
        let (v4, v6) = (format!("192.0.2.{n}"), format!("2001:db8::{n}"));
        world.set_service(&key("one"), Some(service("one", &[&v4])));
        world.set_service(&key("two"), Some(service("two", &[&v6])));
        parted += usize::from(owner(&world, "one") != owner(&world, "two"));
        world.set_service(&key("one"), Some(service("one", &[&v4, &v6])));
        assert!(owner(&world, "one").is_some());
        assert_eq!(owner(&world, "one"), owner(&world, "two"), "{v4} {v6}");
    }
    assert!(parted > 0, "the hashes alone would not have met");
}

#[test]
fn a_change_of_one_sharer_is_looked_at_for_all_of_them() {
    let mut world = world();
    world.set_service(&key("one"), Some(local("one", &["192.0.2.1"])));
    world.set_service(&key("two"), Some(local("two", &["192.0.2.1"])));
    world.take_outcomes();
    let elsewhere = vec![endpoint(Some("n2"), &[])];
    world.set_slice(&slice("two"), Some((key("two"), elsewhere)));
    assert_eq!(dirty(&mut world), ["one", "two"]);
    let owners = [owner(&world, "one"), owner(&world, "two")];
    assert_eq!(owners, [Some("n1".to_owned()), None], "never two owners");
    world.set_service(&key("one"), Some(local("one", &["192.0.2.9"])));
    assert_eq!(dirty(&mut world), ["one", "two"]);
    assert_eq!(owner(&world, "two").as_deref(), Some("n2"));
    world.set_service(&key("one"), None);
    assert_eq!(dirty(&mut world), ["one"]);
}
