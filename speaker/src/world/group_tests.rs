//! The world with the group in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use herald_announce::Interfaces;
use herald_model::{GroupView, LanInterface, MacAddress, Member, MemberState, Phase, Standing};

use super::tests::*;
use super::*;

fn lan(name: &str, prefixes: &[&str]) -> LanInterface {
    LanInterface {
        name: name.to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        arp: true,
        ndp: true,
        prefixes: prefixes.iter().map(|p| p.parse().expect("valid")).collect(),
        canary: None,
    }
}

fn ready() -> MemberState {
    MemberState {
        phase: Phase::Ready,
        interfaces: vec![lan("eth0", &["192.0.2.0/24", "2001:db8::/64"])],
        unheard: BTreeSet::new(),
    }
}

fn member(live: bool, state: Option<MemberState>) -> Member {
    Member {
        address: "192.0.2.201:7946".parse().expect("valid"),
        live,
        state: state.map(Arc::new),
    }
}

/// The view of n1, which is ready, as these others are.
fn view(others: &[(&str, Member)]) -> GroupView {
    let others = others.iter().cloned();
    GroupView {
        members: others.map(|(name, member)| (name.into(), member)).collect(),
        me: ready(),
        standing: Standing::Majority,
        fenced: false,
    }
}

/// The world of n1 and n2, both ready.
fn grouped() -> (World, GroupView) {
    let mut world = world();
    let view = view(&[("n2", member(true, Some(ready())))]);
    world.set_group(&"n1".into(), &view);
    world.take_outcomes();
    (world, view)
}

fn state<'a>(view: &'a mut GroupView, name: &str) -> &'a mut MemberState {
    let member = view.members.get_mut(name).expect("a member");
    Arc::make_mut(member.state.as_mut().expect("told"))
}

fn decision(world: &World, name: &str) -> Decision {
    match outcome(world, name) {
        Outcome::Decided(decision) => decision,
        Outcome::NotOurs(why) => panic!("{why}"),
    }
}

#[test]
fn nodes_without_a_live_member_announce_nothing() {
    let mut world = world();
    world.set_group(&"n1".into(), &view(&[]));
    assert_eq!(dirty(&mut world), ["one", "two"], "n2 is not in the group");
    for name in ["one", "two"] {
        assert_eq!(owner(&world, name).as_deref(), Some("n1"));
        let rejected = decision(&world, name).rejected;
        assert_eq!(rejected, [("n2".into(), Reason::NodeDown)]);
    }
    world.set_group(&"n1".into(), &view(&[("n2", member(true, None))]));
    let rejected = decision(&world, "one").rejected;
    assert_eq!(rejected, [("n2".into(), Reason::NodeJoining)]);
    // What the API said of interfaces does not count beside the group.
    world.set_interfaces(&"n2".into(), Some(["eth0".to_owned()].into()));
    assert_eq!(owner(&world, "one").as_deref(), Some("n1"));
}

#[test]
fn a_member_without_a_node_object_is_no_candidate() {
    let (mut world, mut view) = grouped();
    view.members
        .insert("n0".into(), member(true, Some(ready())));
    world.set_group(&"n1".into(), &view);
    assert_eq!(dirty(&mut world), [""; 0]);
    assert!(decision(&world, "one").candidate(&"n0".into()).is_none());
    // Once the object is there, what the member told before counts.
    world.set_node(&"n0".into(), Some(NodeFacts::default()));
    let marked = dirty(&mut world);
    for name in ["one", "two"] {
        let owner = owner(&world, name).expect("somebody");
        assert_eq!(marked.iter().any(|n| n == name), owner != "n2", "{name}");
    }
    assert!(decision(&world, "one").candidate(&"n0".into()).is_some());
}

#[test]
fn only_what_elections_see_of_a_member_marks_services() {
    let (mut world, mut view) = grouped();
    let set = |world: &mut World, view: &GroupView| {
        world.set_group(&"n1".into(), view);
        dirty(world)
    };
    assert_eq!(set(&mut world, &view), [""; 0], "the same again");
    let told = state(&mut view, "n2");
    told.interfaces[0].mac = MacAddress([2, 0, 0, 0, 0, 2]);
    told.interfaces[0].canary = Some("192.0.2.9".parse().expect("valid"));
    told.unheard.insert("n1".into());
    view.standing = Standing::Half;
    view.fenced = true;
    view.me.unheard.insert("n2".into());
    assert_eq!(set(&mut world, &view), [""; 0]);
    let known = world.node(&"n2".into()).and_then(|n| n.speaker.state());
    assert_eq!(known, view.members["n2"].state.as_ref(), "but it is kept");
    let changes: [fn(&mut MemberState); 5] = [
        |told| told.phase = Phase::Settling,
        |told| told.interfaces[0].name = "eth1".to_owned(),
        |told| told.interfaces[0].ndp = false,
        |told| told.interfaces[0].prefixes.clear(),
        |told| told.interfaces.clear(),
    ];
    for change in changes {
        change(state(&mut view, "n2"));
        assert_eq!(set(&mut world, &view), ["one", "two"]);
        change(&mut view.me);
        assert_eq!(set(&mut world, &view), ["one", "two"], "of this node too");
    }
}

#[test]
fn a_member_that_goes_down_marks_the_services_it_owns_and_no_others() {
    let mut world = world();
    let mut view = view(&[
        ("n2", member(true, Some(ready()))),
        ("n3", member(true, Some(ready()))),
    ]);
    world.set_node(&"n3".into(), Some(NodeFacts::default()));
    world.set_group(&"n1".into(), &view);
    for n in 1..=30 {
        let name = format!("s{n}");
        world.set_service(
            &key(&name),
            Some(service(&name, &[&format!("192.0.2.{n}")])),
        );
        let facts = (key(&name), vec![endpoint(Some("n1"), &[])]);
        world.set_slice(&slice(&name), Some(facts));
    }
    let owned_by = |outcomes: &[(ServiceKey, Outcome)], node: &str| -> BTreeSet<ServiceKey> {
        let owned = outcomes
            .iter()
            .filter(|(_, o)| o.owner() == Some(&node.into()));
        owned.map(|(key, _)| key.clone()).collect()
    };
    let before = world.take_outcomes();
    let lost = owned_by(&before, "n2");
    assert!(!lost.is_empty() && lost.len() < before.len());
    let order = decision(&world, "s1").order;
    let down = view
        .members
        .get_mut(&NodeName::from("n2"))
        .expect("a member");
    down.live = false;
    world.set_group(&"n1".into(), &view);
    let after = world.take_outcomes();
    let marked: BTreeSet<_> = after.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(marked, lost);
    assert!(owned_by(&after, "n2").is_empty());
    assert_eq!(decision(&world, "s1").order, order, "as if it were up");
}

#[test]
fn a_member_that_changes_marks_what_it_may_own_and_what_this_node_owns() {
    let mut world = World::new();
    world.set_pools(vec![pool("a", "192.0.2.0/24", vec![advertisement("all")])]);
    let others: Vec<_> = (2..=20).map(|n| format!("n{n}")).collect();
    let members = others
        .iter()
        .map(|name| (name.as_str(), member(true, Some(ready()))));
    let mut view = view(&members.collect::<Vec<_>>());
    for name in others.iter().map(String::as_str).chain(["n1"]) {
        world.set_node(&name.into(), Some(NodeFacts::default()));
    }
    for n in 1..=250 {
        let name = format!("s{n}");
        let facts = service(&name, &[&format!("192.0.2.{n}")]);
        world.set_service(&key(&name), Some(facts));
        let facts = (key(&name), vec![endpoint(Some("n1"), &[])]);
        world.set_slice(&slice(&name), Some(facts));
    }
    let mut set = |view: &GroupView| {
        world.set_group(&"n1".into(), view);
        world.take_outcomes()
    };
    let owned = |outcomes: &[(ServiceKey, Outcome)]| -> BTreeSet<ServiceKey> {
        let owned = outcomes
            .iter()
            .filter(|(_, o)| o.owner() == Some(&"n2".into()));
        owned.map(|(key, _)| key.clone()).collect()
    };
    let all = set(&view);
    assert_eq!(all.len(), 250);
    let of_n2 = owned(&all);
    state(&mut view, "n2").phase = Phase::Settling;
    let after = set(&view);
    assert!(after.len() < 50, "{} marked", after.len());
    assert!(owned(&after).is_empty());
    state(&mut view, "n2").phase = Phase::Ready;
    let after = set(&view);
    assert!(after.len() < 50, "{} marked", after.len());
    assert_eq!(owned(&after), of_n2);
}

#[test]
fn a_member_that_goes_down_marks_what_it_kept_from_a_sharer() {
    let (mut world, mut view) = grouped();
    let mut both = pool("c", "198.51.100.0/24", vec![advertisement("all-c")]);
    both.cidrs.push("2001:db8:1::/64".parse().expect("valid"));
    world.set_pools(vec![both]);
    let shared = "198.51.100.1";
    for (name, facts) in [
        ("one", local("one", &[shared])),
        ("two", local("two", &[shared])),
        ("dual", service("dual", &[shared, "2001:db8:1::1"])),
    ] {
        world.set_service(&key(name), Some(facts));
        let endpoints = vec![endpoint(Some("n1"), &[])];
        world.set_slice(&slice(name), Some((key(name), endpoints)));
    }
    view.me.interfaces[0].ndp = false;
    world.set_group(&"n1".into(), &view);
    world.take_outcomes();
    // Only n2 can announce both addresses, but the others want n1.
    assert_eq!(owner(&world, "one").as_deref(), Some("n1"));
    assert_eq!(owner(&world, "dual"), None);
    let n2 = view.members.get_mut(&NodeName::from("n2"));
    n2.expect("a member").live = false;
    world.set_group(&"n1".into(), &view);
    assert_eq!(dirty(&mut world), ["dual", "one", "two"]);
    assert_eq!(owner(&world, "dual").as_deref(), Some("n1"));
}

#[test]
fn a_node_that_is_not_heard_owns_only_what_no_other_can() {
    let (mut world, mut view) = grouped();
    let owner_of = |world: &World| owner(world, "one").expect("somebody");
    let first = owner_of(&world);
    let other = if first == "n1" { "n2" } else { "n1" };
    world.set_not_heard([NodeName::from(&*first), "unknown".into()].into());
    assert_eq!(dirty(&mut world), ["one", "two"]);
    assert_eq!(owner_of(&world), other);
    world.set_not_heard([NodeName::from(&*first)].into());
    assert_eq!(dirty(&mut world), [""; 0], "nothing is known of the other");
    world.set_not_heard(["n1".into(), "n2".into()].into());
    assert_eq!(owner_of(&world), first, "never the last ones");
    // A node that is new is heard or not like any other.
    view.members
        .insert("n3".into(), member(true, Some(ready())));
    world.set_group(&"n1".into(), &view);
    world.set_not_heard(["n1".into(), "n2".into(), "n3".into()].into());
    world.set_node(&"n3".into(), Some(NodeFacts::default()));
    world.set_not_heard(["n1".into(), "n3".into()].into());
    assert_eq!(owner_of(&world), "n2");
}

#[test]
fn a_drained_node_is_passed_over_and_one_out_of_service_is_none() {
    let (mut world, _) = grouped();
    let draining = NodeFacts {
        draining: true,
        ..NodeFacts::default()
    };
    let dead = NodeFacts {
        out_of_service: true,
        ..NodeFacts::default()
    };
    world.set_node(&"n2".into(), Some(draining.clone()));
    assert_eq!(dirty(&mut world), ["one", "two"]);
    assert_eq!(owner(&world, "one").as_deref(), Some("n1"));
    world.set_node(&"n1".into(), Some(draining));
    assert!(owner(&world, "one").is_some());
    world.set_node(&"n1".into(), Some(dead));
    assert_eq!(owner(&world, "one").as_deref(), Some("n2"));
}

/// What a node makes of an outcome: the owner, its own part, and who comes before it if that is it.
fn what_matters(
    outcome: &Outcome,
    me: &NodeName,
) -> (Option<NodeName>, Result<Interfaces, Why>, Vec<NodeName>) {
    let owner = outcome.owner().cloned();
    let order = match outcome {
        Outcome::Decided(decision) if owner.as_ref() == Some(me) => decision.order.clone(),
        _ => Vec::new(),
    };
    (owner, verdict(outcome, me), order)
}

/// After any sequence of changes, what was taken last is what a world that learns everything at
/// once says: nothing that matters went unmarked.
#[test]
fn nothing_that_matters_goes_unmarked() {
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        // Knuth's MMIX generator; its upper bits are good enough.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    for round in 0..40 {
        let mut world = World::new();
        let mut lately = advertisement("rack");
        lately.interfaces = ["eth0".to_owned()].into();
        let mut both = pool("c", "198.51.100.0/24", vec![advertisement("all-c")]);
        both.cidrs.push("2001:db8:1::/64".parse().expect("valid"));
        world.set_pools(vec![
            pool("a", "192.0.2.0/24", vec![advertisement("all-a")]),
            pool("b", "2001:db8::/64", vec![lately]),
            both,
        ]);
        let mut group = view(&[]);
        let mut nodes: BTreeMap<NodeName, NodeFacts> = BTreeMap::new();
        let mut unheard = BTreeSet::new();
        for n in 0..12_u64 {
            let (name, host) = (format!("s{n}"), n / 2 + 1);
            let address = match n % 2 {
                0 => format!("192.0.2.{host}"),
                _ => format!("2001:db8::{host}"),
            };
            // Some share an address.
            let mut facts = service(&name, &[&address]);
            if n > 8 {
                facts.service.addresses = vec!["192.0.2.1".parse().expect("valid")];
            }
            world.set_service(&key(&name), Some(facts));
            let facts = (key(&name), vec![endpoint(Some("n1"), &[])]);
            world.set_slice(&slice(&name), Some(facts));
        }
        // Two on the nodes of their endpoints share an address with one of both families.
        for (name, node) in [("u1", "n1"), ("u2", "n1"), ("u3", "n2")] {
            world.set_service(&key(name), Some(local(name, &["198.51.100.1"])));
            let facts = (key(name), vec![endpoint(Some(node), &[])]);
            world.set_slice(&slice(name), Some(facts));
        }
        let dual = ["198.51.100.1", "2001:db8:1::1"];
        world.set_service(&key("dual"), Some(service("dual", &dual)));
        let facts = (key("dual"), vec![endpoint(Some("n1"), &[])]);
        world.set_slice(&slice("dual"), Some(facts));
        let mut taken = HashMap::new();
        for _ in 0..60 {
            let name = NodeName::from(&*format!("n{}", random(5)));
            let mut interface = lan(&format!("eth{}", random(2)), &["192.0.2.0/24"][..random(2)]);
            (interface.arp, interface.ndp) = (random(4) > 0, random(3) > 0);
            let told = MemberState {
                phase: [Phase::Ready, Phase::Settling, Phase::Draining][random(3)],
                interfaces: vec![interface],
                unheard: BTreeSet::new(),
            };
            match random(7) {
                0 => {
                    let facts = NodeFacts {
                        draining: random(4) == 0,
                        excluded: random(6) == 0,
                        ..NodeFacts::default()
                    };
                    nodes.insert(name.clone(), facts.clone());
                    world.set_node(&name, Some(facts));
                }
                1 if random(3) == 0 => {
                    nodes.remove(&name);
                    world.set_node(&name, None);
                }
                2 => {
                    if !unheard.remove(&name) {
                        unheard.insert(name);
                    }
                    world.set_not_heard(unheard.clone());
                }
                3 => group.me = told,
                4 | 5 => {
                    if let Some(member) = group.members.get_mut(&name) {
                        member.live = !member.live;
                    }
                }
                _ => {
                    group.members.insert(name, member(true, Some(told)));
                }
            }
            world.set_group(&"n0".into(), &group);
            for (key, outcome) in world.take_outcomes() {
                taken.insert(key, what_matters(&outcome, &"n0".into()));
            }
            let mut fresh = World::new();
            fresh.import(world.export());
            fresh.set_group(&"n0".into(), &group);
            fresh.set_not_heard(unheard.clone());
            for (key, outcome) in fresh.take_outcomes() {
                let wanted = what_matters(&outcome, &"n0".into());
                assert_eq!(taken[&key], wanted, "round {round}: {key}");
            }
        }
    }
}
