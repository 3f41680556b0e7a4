use std::num::NonZeroU32;
use std::sync::Arc;

use herald_announce::bgp::Peers;
use herald_api::config::bgp::{BgpPeer, Connection, PeerAsn, PeerEndpoint, Timers};
use herald_model::{GroupView, LabelSelector, Member, MemberState};

use super::super::tests::*;
use super::super::{EndpointFacts, NodeFacts, PoolFacts, Service, ServiceFacts};
use super::*;

fn bgp_advertisement(name: &str) -> Advertisement {
    Advertisement {
        name: name.to_owned(),
        node_selectors: Vec::new(),
        service_selectors: Vec::new(),
        peers: Peers::All,
        aggregation_length: 32,
        aggregation_length_v6: 128,
        local_pref: None,
        communities: BTreeSet::new(),
        med: None,
        prepend: 0,
        link_bandwidth: false,
        local_host_routes: false,
        max_nodes: None,
    }
}

fn to(name: &str, peer: &str) -> Advertisement {
    Advertisement {
        peers: Peers::named([peer.to_owned()].into()),
        ..bgp_advertisement(name)
    }
}

fn peer(name: &str, rack: Option<&str>) -> BgpPeer {
    let selector = |rack: &str| {
        let labels = [("rack".to_owned(), rack.to_owned())];
        LabelSelector::new(labels.into(), Vec::new())
    };
    BgpPeer {
        name: name.to_owned(),
        my_asn: 65_001,
        peer_asn: PeerAsn::Number(65_002),
        local_asn: None,
        endpoint: PeerEndpoint::Address([192, 0, 2, 254].into()),
        port: 179,
        source_address: None,
        timers: Timers::default(),
        router_id: None,
        node_selectors: rack.map(selector).into_iter().collect(),
        password: None,
        bfd: None,
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security: None,
        connection: Connection::Outbound,
        vrf: String::new(),
        dual_stack: false,
    }
}

fn pools(a: Vec<Advertisement>, b: Vec<Advertisement>) -> Vec<PoolFacts> {
    let with = |pool, bgp_advertisements| PoolFacts {
        bgp_advertisements,
        ..pool
    };
    vec![
        with(pool("a", "192.0.2.0/24", vec![]), a),
        with(pool("b", "2001:db8::/64", vec![]), b),
    ]
}

/// The world of `n1` with `one` in pool `a`, announced to all, and `two` in pool `b`, announced to
/// `tor-b`; of the peers `tor-a` and `tor-b` it has both.
fn announcing() -> World {
    let mut world = World::on("n1".into());
    let b = vec![to("to-b", "tor-b")];
    world.set_pools(pools(vec![bgp_advertisement("all")], b));
    world.set_bgp_peers(
        vec![peer("tor-a", None), peer("tor-b", None)],
        BTreeSet::new(),
    );
    for node in ["n1", "n2"] {
        world.set_node(&node.into(), Some(NodeFacts::default()));
    }
    for (name, address) in [("one", "192.0.2.1"), ("two", "2001:db8::1")] {
        world.set_service(&key(name), Some(service(name, &[address])));
        let facts = (key(name), vec![endpoint(Some("n1"), &[])]);
        world.set_slice(&slice(name), Some(facts));
    }
    assert_eq!(marked(&mut world), ["one", "two"]);
    world
}

/// The Services that were marked, after what follows for each was taken.
fn marked(world: &mut World) -> Vec<String> {
    let outcomes = world.take_announcements(usize::MAX);
    outcomes
        .iter()
        .map(|(key, _)| key.name().to_owned())
        .collect()
}

/// What is announced of a Service, or the word why nothing.
fn prefixes(world: &World, name: &str) -> Result<Vec<String>, &'static str> {
    match world.announcement(&key(name)) {
        Ok(announcement) => {
            let routes = announcement.routes.iter();
            Ok(routes.map(|(prefix, _)| prefix.to_string()).collect())
        }
        Err(why) => Err(why.name()),
    }
}

fn one(prefix: &str) -> Vec<String> {
    vec![prefix.to_owned()]
}

#[test]
fn a_service_with_an_advertisement_a_peer_and_endpoints_is_announced() {
    let mut world = announcing();
    assert_eq!(prefixes(&world, "one"), Ok(one("192.0.2.1/32")));
    assert_eq!(prefixes(&world, "two"), Ok(one("2001:db8::1/128")));
    // On layer 2 nobody does, and nobody is asked to.
    assert_eq!(owner(&world, "one"), None);
    world.set_slice(&slice("one"), None);
    assert_eq!(marked(&mut world), ["one"]);
    assert_eq!(prefixes(&world, "one"), Err("noEndpoints"));
    world.set_service(&key("two"), None);
    assert_eq!(marked(&mut world), ["two"]);
    assert_eq!(prefixes(&world, "two"), Err("notLoadBalancer"));
}

#[test]
fn what_changes_nothing_marks_nothing() {
    let mut world = announcing();
    let b = vec![to("to-b", "tor-b")];
    world.set_pools(pools(vec![bgp_advertisement("all")], b));
    world.set_service(&key("one"), Some(service("one", &["192.0.2.1"])));
    world.set_node(&"n1".into(), Some(NodeFacts::default()));
    world.set_bgp_peers(
        vec![peer("tor-a", None), peer("tor-b", None)],
        BTreeSet::new(),
    );
    // What no decision looks at: labels that nobody selects, timers of a peer.
    world.set_node(&"n1".into(), Some(labelled("rack", "9")));
    let mut slower = peer("tor-a", None);
    slower.timers.connect *= 2;
    world.set_bgp_peers(vec![slower, peer("tor-b", None)], BTreeSet::new());
    assert_eq!(marked(&mut world), [""; 0]);
}

#[test]
fn other_nodes_are_of_no_concern() {
    let mut world = announcing();
    let excluded = NodeFacts {
        excluded: true,
        ..NodeFacts::default()
    };
    world.set_node(&"n2".into(), Some(excluded));
    world.set_node(&"n2".into(), None);
    world.set_node(&"n3".into(), Some(NodeFacts::default()));
    assert_eq!(marked(&mut world), [""; 0]);
}

#[test]
fn a_node_counts_its_own_endpoints() {
    let mut world = announcing();
    let own = |addresses: &[&str]| {
        let own = addresses.iter().map(|a| endpoint(Some("n1"), &[a]));
        Some((key("one"), own.collect::<Vec<_>>()))
    };
    let count = |world: &World| world.announcement(&key("one")).map(|a| a.endpoints);
    world.take_outcomes();
    world.set_slice(&slice("one"), own(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(marked(&mut world), ["one"]);
    assert_eq!(count(&world), Ok(2));
    assert_eq!(dirty(&mut world), [""; 0], "elections do not count");
    // Their other addresses, and one that two slices have.
    world.set_slice(&slice("one-v6"), own(&["2001:db8::1", "2001:db8::2"]));
    world.set_slice(&slice("one-more"), own(&["10.0.0.2"]));
    assert_eq!(marked(&mut world), [""; 0]);
    // Those of others are no more than there or not.
    let others = vec![endpoint(Some("n2"), &[]); 3];
    world.set_slice(&slice("others"), Some((key("one"), others.clone())));
    assert_eq!(marked(&mut world), ["one"]);
    world.set_slice(&slice("many-more"), Some((key("one"), others)));
    assert_eq!(marked(&mut world), [""; 0]);
    assert_eq!(count(&world), Ok(2));
}

#[test]
fn an_endpoint_in_two_slices_counts_once_as_the_better_of_them_says() {
    let mut world = announcing();
    let count = |world: &World| world.announcement(&key("one")).map(|a| a.endpoints);
    let own = |conditions: &[(&str, bool)]| {
        let own = conditions.iter().map(|(address, ready)| EndpointFacts {
            ready: *ready,
            terminating: !ready,
            ..endpoint(Some("n1"), &[address])
        });
        Some((key("one"), own.collect::<Vec<_>>()))
    };
    let all_count = ServiceFacts {
        service: Service {
            publish_not_ready: true,
            ..local("one", &["192.0.2.1"]).service
        },
        ..local("one", &["192.0.2.1"])
    };
    world.set_slice(&slice("one"), own(&[("10.0.0.1", true)]));
    world.set_slice(&slice("stale"), own(&[("10.0.0.1", false)]));
    assert_eq!(count(&world), Ok(1));
    world.set_service(&key("one"), Some(all_count));
    assert_eq!(count(&world), Ok(1), "it is the same one all the same");
    // A family does not outnumber the other by what it says twice.
    let v6 = own(&[("2001:db8::1", true), ("2001:db8::2", true)]);
    world.set_slice(&slice("v6"), v6);
    world.set_slice(&slice("more"), own(&[("10.0.0.1", true)]));
    assert_eq!(count(&world), Ok(2));
}

#[test]
fn an_endpoint_that_only_one_family_says_is_ready_counts_as_other_nodes_see_it() {
    let own = |address: &str, ready| EndpointFacts {
        ready,
        serving: ready,
        ..endpoint(Some("n1"), &[address])
    };
    for (v4_is_ready, v6_is_ready) in [(true, false), (false, true)] {
        let mut world = announcing();
        let v4 = vec![own("10.0.0.1", v4_is_ready)];
        let v6 = vec![
            own("2001:db8::1", v6_is_ready),
            own("2001:db8::2", v6_is_ready),
        ];
        world.set_slice(&slice("one"), Some((key("one"), v4)));
        world.set_slice(&slice("one-v6"), Some((key("one"), v6)));
        let facts = world.service(&key("one")).expect("known");
        let ready = facts.service.endpoints.iter().filter(|e| e.ready);
        assert!(ready.count() > 0, "{:?}", facts.service.endpoints);
    }
}

#[test]
fn an_advertisement_marks_the_services_of_its_pool() {
    let mut world = announcing();
    let preferred = Advertisement {
        local_pref: Some(200),
        ..bgp_advertisement("all")
    };
    world.set_pools(pools(vec![preferred], vec![to("to-b", "tor-b")]));
    assert_eq!(marked(&mut world), ["one"]);
    world.set_pools(pools(vec![], vec![to("to-b", "tor-b")]));
    assert_eq!(marked(&mut world), ["one"]);
    assert_eq!(prefixes(&world, "one"), Err("notOwner"));
}

#[test]
fn the_own_node_marks_what_sees_the_difference() {
    let mut world = announcing();
    let drained = NodeFacts {
        draining: true,
        ..NodeFacts::default()
    };
    world.set_node(&"n1".into(), Some(drained));
    assert_eq!(marked(&mut world), ["one", "two"]);
    let announcement = world.announcement(&key("one")).expect("announced");
    let shut = announcement.routes.iter();
    let mut shut = shut.map(|(_, path)| path.ending);
    assert!(shut.all(|ending| ending));
    world.set_node(&"n1".into(), None);
    assert_eq!(marked(&mut world), ["one", "two"]);
    assert_eq!(prefixes(&world, "one"), Err("nodeUnknown"));
}

#[test]
fn what_the_own_speaker_says_in_the_group_changes_no_route() {
    let mut world = announcing();
    let mut view = GroupView::default();
    world.set_group(&"n1".into(), &view);
    view.me.phase = Phase::Draining;
    world.set_group(&"n1".into(), &view);
    assert_eq!(marked(&mut world), [""; 0]);
    assert_eq!(prefixes(&world, "one"), Ok(one("192.0.2.1/32")));
}

#[test]
fn a_peer_marks_the_services_that_are_announced_to_it() {
    let mut world = announcing();
    let without_a = vec![peer("tor-b", None)];
    world.set_bgp_peers(without_a, BTreeSet::new());
    assert_eq!(marked(&mut world), ["one"], "`two` goes to the other only");
    let elsewhere = vec![peer("tor-b", Some("2"))];
    world.set_bgp_peers(elsewhere, BTreeSet::new());
    assert_eq!(marked(&mut world), ["one", "two"]);
    assert_eq!(prefixes(&world, "two"), Err("noPeer"));
    world.set_node(&"n1".into(), Some(labelled("rack", "2")));
    assert_eq!(marked(&mut world), ["one", "two"]);
    assert_eq!(prefixes(&world, "two"), Ok(one("2001:db8::1/128")));
}

#[test]
fn only_where_their_number_is_limited_other_nodes_count() {
    let mut world = announcing();
    let single = Advertisement {
        max_nodes: NonZeroU32::new(1),
        ..bgp_advertisement("all")
    };
    world.set_pools(pools(vec![single], vec![to("to-b", "tor-b")]));
    let member = |live| Member {
        address: "198.51.100.2:7946".parse().expect("valid"),
        live,
        state: Some(Arc::new(MemberState {
            phase: Phase::Ready,
            ..MemberState::default()
        })),
    };
    let view = |live| GroupView {
        members: [("n2".into(), member(live))].into(),
        ..GroupView::default()
    };
    // The address that the hash gives to the other node.
    let theirs = (1..=20)
        .map(|last| format!("192.0.2.{last}"))
        .find(|address| {
            world.set_service(&key("one"), Some(service("one", &[address])));
            world.set_group(&"n1".into(), &view(true));
            prefixes(&world, "one") == Err("enoughNodes")
        });
    let theirs = theirs.expect("one of twenty");
    world.take_announcements(usize::MAX);
    world.set_group(&"n1".into(), &view(false));
    assert_eq!(marked(&mut world), ["one"]);
    assert_eq!(prefixes(&world, "one"), Ok(one(&format!("{theirs}/32"))));
    world.set_group(&"n1".into(), &view(true));
    assert_eq!(marked(&mut world), ["one"]);
    let drained = NodeFacts {
        draining: true,
        ..NodeFacts::default()
    };
    world.set_node(&"n2".into(), Some(drained));
    assert_eq!(marked(&mut world), ["one"]);
    assert_eq!(prefixes(&world, "one"), Ok(one(&format!("{theirs}/32"))));
}

#[test]
fn sessions_are_asked_for_again_when_their_peers_or_the_node_changed() {
    let mut world = announcing();
    let names = |world: &mut World| {
        let sessions = world.take_sessions()?;
        let peers = sessions.peers.iter().map(|peer| peer.name.clone());
        Some((peers.collect::<Vec<_>>(), sessions.locked.len()))
    };
    let both = vec!["tor-a".to_owned(), "tor-b".to_owned()];
    assert_eq!(names(&mut world), Some((both, 0)));
    assert_eq!(names(&mut world), None);
    let peers = vec![peer("tor-a", Some("2")), peer("tor-b", None)];
    world.set_bgp_peers(peers, ["tor-b".to_owned()].into());
    assert_eq!(names(&mut world), Some((vec![], 1)));
    // What an unknown node has, nobody can say: it stays.
    world.set_node(&"n1".into(), None);
    assert_eq!(names(&mut world), None);
    let facts = NodeFacts {
        internal: Some([192, 0, 2, 11].into()),
        ..labelled("rack", "2")
    };
    world.set_node(&"n1".into(), Some(facts));
    let sessions = world.take_sessions().expect("the node is back");
    assert_eq!(sessions.peers.len(), 1);
    assert_eq!(sessions.address, Some([192, 0, 2, 11].into()));
}

#[test]
fn what_is_saved_announces_the_same_without_any_password() {
    let mut world = announcing();
    let peers = vec![peer("tor-a", None), peer("tor-b", None)];
    world.set_bgp_peers(peers, ["tor-a".to_owned()].into());
    let bytes = postcard::to_stdvec(&world.export()).expect("plain data");
    let mut again = World::on("n1".into());
    again.import(postcard::from_bytes(&bytes).expect("as written"));
    assert_eq!(again.export(), world.export());
    assert_eq!(prefixes(&again, "one"), Ok(one("192.0.2.1/32")));
    let sessions = again.take_sessions().expect("they are new");
    assert_eq!(sessions.locked, ["tor-a"]);
    assert_eq!(sessions.peers.len(), 1);
}

/// Some sets of advertisements of a pool.
fn some_advertisements(which: usize) -> Vec<Advertisement> {
    let limited = Advertisement {
        max_nodes: NonZeroU32::new(1),
        ..to("y", "tor-b")
    };
    match which {
        0 => vec![],
        1 => vec![bgp_advertisement("x")],
        2 => vec![to("x", "tor-a"), limited],
        3 => vec![limited],
        _ => vec![Advertisement {
            node_selectors: peer("", Some("1")).node_selectors,
            ..bgp_advertisement("x")
        }],
    }
}

/// Some states of a node.
fn some_facts(which: usize) -> Option<NodeFacts> {
    match which {
        0 => None,
        1 => Some(NodeFacts::default()),
        2 => Some(labelled("rack", "1")),
        3 => Some(labelled("rack", "2")),
        4 => Some(NodeFacts {
            draining: true,
            ..labelled("rack", "1")
        }),
        _ => Some(NodeFacts {
            excluded: true,
            ..NodeFacts::default()
        }),
    }
}

/// After any sequence of changes, what was taken last is what follows from all that is known: nothing
/// that matters went unmarked.
#[test]
fn nothing_that_matters_goes_unmarked() {
    let mut seed = 11_u64;
    let mut random = move |below: usize| {
        // Knuth's MMIX generator; its upper bits are good enough.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let (mut announced, mut withheld) = (0, 0);
    for round in 0..60 {
        let mut world = announcing();
        let mut view = GroupView::default();
        let mut told = std::collections::BTreeMap::new();
        for key in ["one", "two"].map(key) {
            let now = world.announcement(&key);
            told.insert(key, now);
        }
        for step in 0..60 {
            match random(6) {
                0 => {
                    let node = ["n1", "n1", "n2", "n3"][random(4)];
                    world.set_node(&node.into(), some_facts(random(6)));
                }
                1 => {
                    let phase = [Phase::Ready, Phase::Settling, Phase::Draining][random(3)];
                    let member = Member {
                        address: "198.51.100.2:7946".parse().expect("valid"),
                        live: random(3) > 0,
                        state: Some(Arc::new(MemberState {
                            phase,
                            ..MemberState::default()
                        })),
                    };
                    view.members.insert(["n2", "n3"][random(2)].into(), member);
                    world.set_group(&"n1".into(), &view);
                }
                2 => {
                    let (a, b) = (
                        some_advertisements(random(5)),
                        some_advertisements(random(5)),
                    );
                    world.set_pools(pools(a, b));
                }
                3 => {
                    let racks = [None, Some("1"), Some("2")];
                    let mut peers = vec![peer("tor-a", racks[random(3)])];
                    if random(3) > 0 {
                        peers.push(peer("tor-b", racks[random(3)]));
                    }
                    world.set_bgp_peers(peers, BTreeSet::new());
                }
                4 => {
                    let name = ["one", "two"][random(2)];
                    let node = ["n1", "n2", "n3"][random(3)];
                    let endpoints = vec![endpoint(Some(node), &["10.0.0.1"]); random(2)];
                    world.set_slice(&slice(name), Some((key(name), endpoints)));
                }
                _ => {
                    let address = ["192.0.2.1", "192.0.2.7", "2001:db8::1", "10.9.9.9"];
                    let address = [address[random(4)]];
                    let name = ["one", "two"][random(2)];
                    let facts = match random(3) {
                        0 => service(name, &address),
                        _ => local(name, &address),
                    };
                    world.set_service(&key(name), Some(facts));
                }
            }
            told.extend(world.take_announcements(usize::MAX));
            for (key, told) in &told {
                let now = world.announcement(key);
                assert_eq!(*told, now, "round {round}, step {step}: {key}");
                match now {
                    Ok(_) => announced += 1,
                    Err(_) => withheld += 1,
                }
            }
        }
    }
    assert!(announced > 500 && withheld > 500, "{announced} {withheld}");
}
