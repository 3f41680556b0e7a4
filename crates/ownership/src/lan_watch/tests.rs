use std::net::SocketAddr;

use herald_model::{Cidr, LanInterface, Member, MemberState, Phase};

use super::*;

fn mac(node: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, node])
}

fn canary(node: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, node])
}

/// Whose canary this is: of the one LAN or, as [`with_management`] makes it, of the other.
fn station_with(address: IpAddr) -> MacAddress {
    let IpAddr::V4(v4) = address else {
        panic!("{address}");
    };
    match v4.octets() {
        [192, 0, 2, node] => mac(node),
        [198, 51, 100, node] => MacAddress([2, 0, 0, 0, 1, node]),
        _ => panic!("{address}"),
    }
}

fn name(node: u8) -> NodeName {
    NodeName::new(format!("n{node:03}"))
}

fn state(node: u8, prefix: &str) -> MemberState {
    let prefix: Option<Cidr> = (!prefix.is_empty()).then(|| prefix.parse().unwrap());
    MemberState {
        phase: Phase::Ready,
        interfaces: vec![LanInterface {
            name: "eth0".to_owned(),
            mac: mac(node),
            arp: true,
            ndp: true,
            prefixes: prefix.into_iter().collect(),
            canary: Some(canary(node)),
        }],
        unheard: BTreeSet::new(),
    }
}

/// A group of `count` nodes on one LAN as `me` sees it.
fn group(me: u8, count: u8) -> GroupView {
    let others = (0..count).filter(|node| *node != me).map(|node| {
        let member = Member {
            address: SocketAddr::from(([192, 0, 2, node], 7946)),
            live: true,
            state: Some(state(node, "192.0.2.0/24").into()),
        };
        (name(node), member)
    });
    GroupView {
        members: others.collect(),
        me: state(me, "192.0.2.0/24"),
        ..GroupView::default()
    }
}

fn accuse(view: &mut GroupView, by: u8, whom: u8) {
    let member = view.members.get_mut(&name(by));
    let told = member.and_then(|member| member.state.as_mut().map(Arc::make_mut));
    told.unwrap_or(&mut view.me).unheard.insert(name(whom));
}

/// A watch and the time.
struct Rounds {
    watch: LanWatch,
    now: Instant,
}

impl Rounds {
    fn new(view: &GroupView) -> Self {
        let now = Instant::now();
        let mut watch = LanWatch::new(name(0));
        watch.set_group(now, view);
        Self { watch, now }
    }

    fn run(&mut self, rounds: u32, answering: &[u8]) {
        for _ in 0..rounds {
            self.now = self.watch.next_timeout().unwrap().max(self.now);
            self.watch.handle_timeout(self.now);
            for command in self.watch.take_commands() {
                let Command::Ask { address, station } = command else {
                    panic!("{command:?}");
                };
                assert_eq!(station, station_with(address));
                for node in answering.iter().filter(|node| canary(**node) == address) {
                    self.watch.saw(
                        self.now,
                        Sighting {
                            address,
                            mac: mac(*node),
                            kind: Kind::Answered,
                        },
                    );
                }
            }
        }
    }

    fn unheard(&self) -> Vec<&str> {
        self.watch.unheard.iter().map(NodeName::as_str).collect()
    }
}

#[test]
fn each_node_watches_three_and_is_watched_by_three() {
    let mut by = BTreeMap::<IpAddr, u32>::new();
    for node in 0..40 {
        let mut watch = LanWatch::new(name(node));
        watch.set_group(Instant::now(), &group(node, 40));
        assert_eq!(watch.tasks().len(), 3);
        for address in watch.tasks().keys() {
            *by.entry(*address).or_default() += 1;
        }
    }
    assert_eq!(by.len(), 40);
    assert!(by.values().all(|count| *count == 3), "{by:?}");
}

#[test]
fn nodes_of_another_lan_are_passed_over() {
    let mut view = group(0, 9);
    for node in [1, 2, 4] {
        let member = view.members.get_mut(&name(node)).unwrap();
        member.state = Some(state(node, "198.51.100.0/24").into());
    }
    let mut watch = LanWatch::new(name(0));
    watch.set_group(Instant::now(), &view);
    let watched: Vec<IpAddr> = watch.tasks().keys().copied().collect();
    assert_eq!(watched, [canary(3), canary(5), canary(6)]);
}

#[test]
fn a_node_without_known_prefixes_may_be_on_any_lan() {
    let mut view = group(0, 2);
    view.members.get_mut(&name(1)).unwrap().state = Some(state(1, "").into());
    let mut watch = LanWatch::new(name(0));
    watch.set_group(Instant::now(), &view);
    assert_eq!(watch.tasks().len(), 1);
}

#[test]
fn nobody_is_watched_without_a_canary_or_an_interface() {
    let mut view = group(0, 3);
    let member = view.members.get_mut(&name(1)).unwrap();
    member.state.as_mut().map(Arc::make_mut).unwrap().interfaces[0].canary = None;
    let mut watch = LanWatch::new(name(0));
    watch.set_group(Instant::now(), &view);
    assert_eq!(watch.tasks().len(), 1);
    view.me.interfaces.clear();
    watch.set_group(Instant::now(), &view);
    assert!(watch.tasks().is_empty());
    assert_eq!(watch.next_timeout(), None);
}

#[test]
fn five_missed_rounds_make_a_member_unheard_and_eight_answered_ones_heard() {
    let mut rounds = Rounds::new(&group(0, 3));
    rounds.run(100, &[1, 2]);
    assert_eq!(rounds.unheard(), [""; 0]);
    // What was missed shows in the round after.
    rounds.run(5, &[1]);
    assert_eq!(rounds.unheard(), [""; 0]);
    rounds.run(1, &[1]);
    assert_eq!(rounds.unheard(), ["n002"]);
    rounds.run(8, &[1, 2]);
    assert_eq!(rounds.unheard(), ["n002"]);
    rounds.run(1, &[1, 2]);
    assert_eq!(rounds.unheard(), [""; 0]);
}

#[test]
fn a_silent_member_is_found_within_260_ms_by_a_watch_that_has_just_begun_too() {
    for answered in [1, 5, 10, 20, 100] {
        let mut rounds = Rounds::new(&group(0, 3));
        rounds.run(answered, &[1, 2]);
        let last_answer = rounds.now;
        while rounds.unheard().is_empty() {
            rounds.run(1, &[1]);
        }
        assert_eq!(rounds.now - last_answer, Duration::from_millis(260));
    }
}

#[test]
fn on_a_lan_that_loses_a_fifth_it_takes_nine_misses() {
    let mut rounds = Rounds::new(&group(0, 3));
    for _ in 0..60 {
        rounds.run(4, &[1, 2]);
        rounds.run(1, &[1]);
    }
    rounds.run(1, &[1, 2]);
    rounds.run(9, &[1]);
    assert_eq!(rounds.unheard(), [""; 0]);
    rounds.run(1, &[1]);
    assert_eq!(rounds.unheard(), ["n002"]);
}

#[test]
fn four_missed_rounds_and_an_answer_change_nothing() {
    let mut rounds = Rounds::new(&group(0, 3));
    for _ in 0..10 {
        rounds.run(4, &[1]);
        rounds.run(1, &[1, 2]);
        assert_eq!(rounds.unheard(), [""; 0]);
    }
}

#[test]
fn an_answer_from_another_station_is_none() {
    let mut rounds = Rounds::new(&group(0, 2));
    for _ in 0..7 {
        rounds.run(1, &[]);
        for mac in [mac(9), mac(0)] {
            let kind = Kind::Answered;
            let address = canary(1);
            rounds
                .watch
                .saw(rounds.now, Sighting { address, mac, kind });
        }
    }
    assert_eq!(rounds.unheard(), ["n001"]);
}

#[test]
fn who_asks_and_announces_but_does_not_answer_is_unheard() {
    let mut rounds = Rounds::new(&group(0, 3));
    for _ in 0..7 {
        rounds.run(1, &[1]);
        for kind in [Kind::Announced, Kind::Probed] {
            let (address, mac) = (canary(2), mac(2));
            rounds
                .watch
                .saw(rounds.now, Sighting { address, mac, kind });
        }
    }
    assert_eq!(rounds.unheard(), ["n002"]);
}

#[test]
fn rounds_that_come_late_count_for_nothing() {
    let mut rounds = Rounds::new(&group(0, 3));
    for _ in 0..20 {
        rounds.now += Duration::from_millis(400);
        rounds.run(1, &[]);
    }
    assert_eq!(rounds.unheard(), [""; 0]);
}

#[test]
fn one_who_hears_nobody_tells_all_the_same() {
    let mut rounds = Rounds::new(&group(0, 4));
    rounds.run(7, &[]);
    assert_eq!(rounds.unheard(), ["n001", "n002", "n003"]);
    rounds.run(9, &[2]);
    assert_eq!(rounds.unheard(), ["n001", "n003"]);
}

#[test]
fn one_who_is_down_or_out_of_reach_is_unheard_no_longer() {
    let mut view = group(0, 3);
    let mut rounds = Rounds::new(&view);
    rounds.run(7, &[1]);
    assert_eq!(rounds.unheard(), ["n002"]);
    view.members.get_mut(&name(2)).unwrap().live = false;
    rounds.watch.set_group(rounds.now, &view);
    assert_eq!(rounds.unheard(), [""; 0]);
}

#[test]
fn the_tasks_stay_the_same_while_the_group_does() {
    let mut view = group(0, 3);
    let mut rounds = Rounds::new(&view);
    let before = rounds.watch.tasks();
    view.me.unheard.insert(name(1));
    rounds.watch.set_group(rounds.now, &view);
    assert!(Arc::ptr_eq(&before, &rounds.watch.tasks()));
}

#[test]
fn the_votes_of_most_watchers_decide() {
    // n004 is watched by n001, n002 and n003.
    let mut view = group(0, 6);
    accuse(&mut view, 1, 4);
    assert_eq!(not_heard(&name(0), &view), BTreeSet::new());
    accuse(&mut view, 3, 4);
    assert_eq!(not_heard(&name(0), &view), BTreeSet::from([name(4)]));
}

#[test]
fn who_does_not_watch_a_member_has_no_vote() {
    let mut view = group(0, 8);
    accuse(&mut view, 5, 4);
    accuse(&mut view, 6, 4);
    view.me.unheard.insert(name(4));
    assert_eq!(not_heard(&name(0), &view), BTreeSet::new());
}

#[test]
fn the_node_itself_votes_and_is_voted_about() {
    let mut view = group(0, 3);
    view.me.unheard.insert(name(1));
    accuse(&mut view, 2, 1);
    assert_eq!(not_heard(&name(0), &view), BTreeSet::from([name(1)]));
    let mut view = group(0, 3);
    accuse(&mut view, 1, 0);
    accuse(&mut view, 2, 0);
    assert_eq!(not_heard(&name(0), &view), BTreeSet::from([name(0)]));
}

#[test]
fn of_two_nodes_neither_can_outvote_the_other() {
    let mut view = group(0, 2);
    view.me.unheard.insert(name(1));
    accuse(&mut view, 1, 0);
    assert_eq!(not_heard(&name(0), &view), BTreeSet::new());
}

#[test]
fn a_node_whose_port_is_dead_is_the_only_one_voted_out() {
    // n002 hears nobody and is heard by nobody.
    for count in 3..20 {
        let mut view = group(0, count);
        for node in 0..count {
            let own = group(node, count);
            for target in Ring::of(&name(node), &own).targets(&name(node)) {
                if node == 2 || *target.name == name(2) {
                    let whom = (0..count).find(|other| name(*other) == *target.name);
                    accuse(&mut view, node, whom.unwrap());
                }
            }
        }
        assert_eq!(not_heard(&name(0), &view), BTreeSet::from([name(2)]));
    }
}

/// Gives every node a second interface on a network of management.
fn with_management(view: &mut GroupView, prefix: &str) {
    let others = view.members.values_mut();
    let states = others.filter_map(|member| member.state.as_mut().map(Arc::make_mut));
    for state in states.chain([&mut view.me]) {
        let [.., node] = state.interfaces[0].mac.0;
        let prefix: Option<Cidr> = (!prefix.is_empty()).then(|| prefix.parse().unwrap());
        state.interfaces.push(LanInterface {
            name: "mgmt0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 1, node]),
            prefixes: prefix.into_iter().collect(),
            canary: Some(IpAddr::from([198, 51, 100, node])),
            ..state.interfaces[0].clone()
        });
    }
}

impl Rounds {
    /// Rounds in which the interfaces of management of these nodes answer too.
    fn run_both(&mut self, rounds: u32, answering: &[u8], managed: &[u8]) {
        for _ in 0..rounds {
            self.run(1, answering);
            for node in managed {
                self.watch.saw(
                    self.now,
                    Sighting {
                        address: IpAddr::from([198, 51, 100, *node]),
                        mac: MacAddress([2, 0, 0, 0, 1, *node]),
                        kind: Kind::Answered,
                    },
                );
            }
        }
    }
}

#[test]
fn who_is_silent_on_one_lan_is_unheard_although_another_carries_it() {
    let mut view = group(0, 3);
    with_management(&mut view, "198.51.100.0/24");
    let mut rounds = Rounds::new(&view);
    rounds.run_both(5, &[1, 2], &[1, 2]);
    assert_eq!(rounds.unheard(), [""; 0]);
    rounds.run_both(7, &[1], &[1, 2]);
    assert_eq!(rounds.unheard(), ["n002"]);
    rounds.run_both(9, &[1, 2], &[1, 2]);
    assert_eq!(rounds.unheard(), [""; 0]);
}

#[test]
fn a_link_that_never_carried_anything_and_may_be_none_accuses_nobody() {
    let mut view = group(0, 3);
    with_management(&mut view, "");
    let mut rounds = Rounds::new(&view);
    rounds.run_both(10, &[1, 2], &[]);
    assert_eq!(rounds.unheard(), [""; 0]);
    rounds.run_both(9, &[1, 2], &[1, 2]);
    rounds.run_both(8, &[1, 2], &[1]);
    assert_eq!(rounds.unheard(), ["n002"], "it was heard there once");
}

#[test]
fn bridges_with_one_address_on_all_nodes_are_no_lan() {
    let mut view = group(0, 3);
    with_management(&mut view, "198.51.100.0/24");
    let others = view.members.values_mut();
    let states = others.filter_map(|member| member.state.as_mut().map(Arc::make_mut));
    for state in states.chain([&mut view.me]) {
        state.interfaces[1].canary = Some(IpAddr::from([198, 51, 100, 1]));
    }
    let mut rounds = Rounds::new(&view);
    rounds.run(10, &[1, 2]);
    assert_eq!(rounds.unheard(), [""; 0]);
    assert_eq!(rounds.watch.tasks().len(), 2);
}

#[test]
fn how_long_answers_take_is_known_by_the_slow_ones_of_late() {
    let mut rounds = Rounds::new(&group(0, 3));
    let millis = Duration::from_millis;
    assert_eq!(rounds.watch.answer_time(), Duration::ZERO);
    let answer = |rounds: &mut Rounds, after| {
        rounds.run(1, &[]);
        let sighting = Sighting {
            address: canary(1),
            mac: mac(1),
            kind: Kind::Answered,
        };
        rounds.watch.saw(rounds.now + after, sighting);
        // Heard again, by a duplicate: that is no answer to this question.
        rounds.watch.saw(rounds.now + millis(70), sighting);
    };
    answer(&mut rounds, millis(3));
    assert_eq!(rounds.watch.answer_time(), millis(3));
    answer(&mut rounds, millis(20));
    for _ in 0..30 {
        answer(&mut rounds, millis(1));
    }
    let time = rounds.watch.answer_time();
    assert!((millis(14)..millis(20)).contains(&time), "{time:?}");
    for _ in 0..600 {
        answer(&mut rounds, millis(1));
    }
    assert_eq!(rounds.watch.answer_time(), millis(1));
}
