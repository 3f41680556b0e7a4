use std::collections::BTreeSet;

use proptest::prelude::*;

use super::net::{Net, PORT, SECRET, ms, name};
use crate::envelope::{Envelope, Passed, Sees, Told};
use crate::{Group, Keyring, MAX_DATAGRAM, ProblemKind, Settings};
use herald_model::{MemberState, Standing};

/// A quiet group of three whose traffic of a while is recorded.
fn recorded(seed: u64) -> (Net, Vec<Vec<u8>>) {
    let mut net = Net::new(3, seed);
    net.record = Some(Vec::new());
    net.until(ms(2000), Net::whole);
    net.run(ms(1000));
    let to = net.address(0);
    let record = net.record.take().unwrap();
    let of_one = record
        .into_iter()
        .filter(|(from, receiver, _)| *from == 1 && *receiver == to)
        .map(|(_, _, bytes)| bytes)
        .collect();
    for host in &mut net.hosts {
        host.events.clear();
    }
    (net, of_one)
}

fn give(net: &mut Net, from: usize, bytes: &[u8]) -> Vec<ProblemKind> {
    let (now, from) = (net.now, net.address(from));
    net.hosts[0].events.clear();
    net.hosts[0].group.handle_datagram(now, from, bytes);
    net.run(ms(0));
    net.problems(0)
}

#[test]
fn what_is_garbage_cut_short_too_long_or_of_another_version_is_counted_as_such() {
    let (mut net, record) = recorded(1);
    let good = record.last().unwrap().clone();
    let before = net.view(0).clone();
    assert_eq!(give(&mut net, 1, b"hello"), [ProblemKind::Garbage]);
    assert_eq!(give(&mut net, 1, b""), [ProblemKind::Truncated]);
    for length in [1, 2, 3, 20, 47, 60] {
        let kinds = give(&mut net, 1, &good[..length]);
        assert_eq!(kinds, [ProblemKind::Truncated], "{length}");
    }
    let kinds = give(&mut net, 1, &vec![b'H'; MAX_DATAGRAM + 1]);
    assert_eq!(kinds, [ProblemKind::Oversized]);
    let mut other = good.clone();
    other[1] = 2;
    assert_eq!(give(&mut net, 1, &other), [ProblemKind::Version]);
    let mut other = good.clone();
    other[3] ^= 1;
    assert_eq!(give(&mut net, 1, &other), [ProblemKind::UnknownKey]);
    assert_eq!(net.view(0), &before);
}

#[test]
fn what_is_replayed_is_not_taken_twice_also_not_after_a_restart() {
    for seed in 0..5 {
        let (mut net, record) = recorded(seed);
        assert!(record.len() > 20);
        for bytes in &record {
            // One that overtook the handshake was not taken before.
            give(&mut net, 1, bytes);
            let kinds = give(&mut net, 1, bytes);
            // The greetings are answered, and nothing comes of the answer.
            let greeting = bytes[2] != 3;
            assert!(
                greeting || kinds == [ProblemKind::Replayed],
                "{kinds:?} {}",
                bytes[2]
            );
        }
        net.restart(0, 0);
        // Node 1 is gone, and only its old traffic is there.
        net.hosts[1].dead = true;
        for bytes in &record {
            give(&mut net, 1, bytes);
        }
        net.run(ms(2000));
        for bytes in &record {
            let kinds = give(&mut net, 1, bytes);
            assert!(bytes[2] != 3 || kinds == [ProblemKind::Stale], "{kinds:?}");
            assert!(!net.live(0).contains(&name(1)));
        }
    }
}

#[test]
fn what_comes_from_elsewhere_moves_no_member() {
    let (mut net, record) = recorded(3);
    let before = net.view(0).clone();
    for bytes in &record {
        let kinds = give(&mut net, 2, bytes);
        assert!(!kinds.is_empty());
    }
    assert_eq!(net.view(0), &before);
}

/// A fourth speaker that is set up wrongly, run by hand for a while.
fn intrude(net: &mut Net, me: usize, at: usize, secret: &[u8]) -> BTreeSet<ProblemKind> {
    let address = net.address(at);
    let settings = Settings {
        me: name(me),
        address,
        timers: net.timers,
        keys: Keyring::new([secret]).unwrap(),
        seed: 99,
        generation: 7,
    };
    let mut group = Group::new(net.now, settings, MemberState::default());
    // It looks for them also under names that they do not have.
    let nodes = (0..3)
        .flat_map(|index| [(index, index), (index, 100 + index)])
        .map(|(index, other)| (name(other), BTreeSet::from([net.address(index).ip()])))
        .collect();
    group.set_nodes(net.now, nodes);
    let mut kinds = BTreeSet::new();
    for _ in 0..2000 {
        net.run(ms(1));
        let now = net.now;
        group.handle_timeout(now);
        let mut sent: Vec<_> = std::iter::from_fn(|| group.poll_transmit()).collect();
        while let Some((to, bytes)) = sent.pop() {
            let Some(index) = (0..3).find(|index| net.address(*index) == to) else {
                continue;
            };
            let host = &mut net.hosts[index];
            host.group.handle_datagram(now, address, &bytes);
            while let Some((to, bytes)) = host.group.poll_transmit() {
                if to == address {
                    group.handle_datagram(now, host.address, &bytes);
                }
            }
            sent.extend(std::iter::from_fn(|| group.poll_transmit()));
        }
    }
    for index in 0..3 {
        kinds.extend(net.problems(index));
    }
    kinds
}

#[test]
fn two_nodes_with_one_name_do_not_move_the_first() {
    let (mut net, _) = recorded(4);
    let kinds = intrude(&mut net, 1, 50, SECRET);
    assert!(kinds.contains(&ProblemKind::WrongAddress), "{kinds:?}");
    assert!(kinds.contains(&ProblemKind::OwnName), "{kinds:?}");
    assert!(net.whole());
    assert_eq!(net.view(0).members[&name(1)].address, net.address(1));
    assert_eq!((0..3).map(|index| net.fenced(index)).sum::<usize>(), 0);
}

#[test]
fn two_nodes_with_one_name_do_not_move_the_first_if_no_address_is_known() {
    let (mut net, _) = recorded(4);
    for index in 0..3 {
        let now = net.now;
        net.hosts[index].group.set_nodes(now, [].into());
    }
    let kinds = intrude(&mut net, 1, 50, SECRET);
    assert!(kinds.contains(&ProblemKind::NameTaken), "{kinds:?}");
    assert!(net.whole());
    assert_eq!((0..3).map(|index| net.fenced(index)).sum::<usize>(), 0);
}

#[test]
fn one_with_the_address_of_another_node_does_not_get_in() {
    let (mut net, _) = recorded(5);
    let kinds = intrude(&mut net, 60, 1, SECRET);
    assert!(kinds.contains(&ProblemKind::WrongAddress), "{kinds:?}");
    assert!(!net.view(0).members.contains_key(&name(60)));
    assert!(net.whole());
}

#[test]
fn one_with_another_key_does_not_get_in() {
    let (mut net, _) = recorded(6);
    let kinds = intrude(&mut net, 60, 60, b"another secret of enough bytes");
    assert_eq!(kinds, BTreeSet::from([ProblemKind::UnknownKey]));
    assert_eq!(net.live(0).len(), 2);
}

#[test]
fn keys_are_changed_without_a_member_going_down() {
    let new: &[u8] = b"a new secret of enough bytes";
    let mut net = Net::new(3, 8);
    net.until(ms(2000), Net::whole);
    net.run(ms(500));
    for host in &mut net.hosts {
        host.events.clear();
    }
    for keys in [vec![SECRET, new], vec![new, SECRET], vec![new]] {
        for index in 0..3 {
            let keys = Keyring::new(keys.clone()).unwrap();
            net.hosts[index].group.set_keys(keys);
            net.run(ms(700));
        }
    }
    assert!(net.whole());
    for index in 0..3 {
        assert_eq!(net.fenced(index), 0);
        assert_eq!(net.problems(index), []);
        let changes =
            |host: &super::net::Host| host.events.iter().filter(|(at, _)| *at > ms(2000)).count();
        assert_eq!(changes(&net.hosts[index]), 0);
    }
    let group = net.group(1, 9);
    net.hosts[1].group = group;
    net.introduce(1);
    net.run(ms(1000));
    assert_eq!(
        net.live(0),
        [name(2)],
        "the old key opens nothing any longer"
    );
}

#[test]
fn keys_that_are_sealed_with_too_early_part_the_group_only_until_all_have_them() {
    let new: &[u8] = b"a new secret of enough bytes";
    let mut net = Net::new(3, 8);
    net.until(ms(2000), Net::whole);
    for index in 0..3 {
        let keys = Keyring::new([new, SECRET]).unwrap();
        net.hosts[index].group.set_keys(keys);
        net.run(ms(700));
    }
    net.until(ms(1000), Net::whole);
}

#[test]
fn two_runs_with_one_seed_have_two_sessions() {
    let mut net = Net::new(2, 8);
    let nodes = || [(name(1), BTreeSet::from([([10, 0, 0, 1]).into()]))].into();
    let mut sessions = BTreeSet::new();
    for (index, generation) in [(0, 1), (0, 2), (1, 1)] {
        let settings = Settings {
            me: name(index + 5),
            address: net.address(index + 5),
            timers: net.timers,
            keys: Keyring::new([SECRET]).unwrap(),
            seed: 7,
            generation,
        };
        let mut group = Group::new(net.now, settings, MemberState::default());
        group.set_nodes(net.now, nodes());
        let (_, hello) = group.poll_transmit().unwrap();
        assert!(sessions.insert(hello[7..23].to_vec()));
    }
    net.run(ms(1));
}

#[test]
fn old_traffic_sent_again_from_elsewhere_is_not_answered_there() {
    let (mut net, record) = recorded(9);
    net.restart(0, 0);
    let data = record.iter().rfind(|bytes| bytes[2] == 3).unwrap();
    let now = net.now;
    let group = &mut net.hosts[0].group;
    while group.poll_transmit().is_some() {}
    for last in 100..200 {
        group.handle_datagram(now, ([192, 0, 2, last], PORT).into(), data);
    }
    assert_eq!(group.poll_transmit(), None);
    // The one whose it was may have missed the restart: it is greeted, and not with each.
    for _ in 0..100 {
        group.handle_datagram(now, ([10, 0, 0, 1], PORT).into(), data);
    }
    assert!(std::iter::from_fn(|| group.poll_transmit()).count() <= 1);
}

/// What a member may say, well-formed or not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
    let numbers = prop_oneof![0..4_u64, any::<u64>()];
    let well_formed = (
        proptest::collection::vec(numbers, 5),
        (any::<bool>(), any::<bool>()),
        (bytes(), bytes(), any::<bool>()),
        0..3_usize,
    );
    let well_formed = well_formed.prop_map(|(numbers, flags, (state, swim, tells), index)| {
        let member = name(index);
        let told = Told {
            version: numbers[4],
            state: &state,
        };
        let envelope = Envelope {
            generation: numbers[0],
            known: numbers[1],
            sees: [Sees::Unknown, Sees::Live, Sees::Down][index],
            standing: Standing::default(),
            fitness: 1,
            heard: numbers[2],
            seen: numbers[3],
            reply: flags.0,
            leaving: flags.1,
            told: tells.then_some(told),
            pass: flags.0.then_some(member.as_str()),
            passed: (!tells).then_some(Passed {
                name: member.as_str(),
                generation: numbers[0],
                told,
            }),
            swim: &swim,
        };
        postcard::to_stdvec(&envelope).unwrap()
    });
    let place = any::<prop::sample::Index>();
    prop_oneof![
        bytes(),
        well_formed.clone(),
        (well_formed, place, any::<u8>()).prop_map(|(mut body, place, byte)| {
            let place = place.index(body.len());
            body[place] = byte;
            body
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_member_that_says_anything_at_all_stops_no_other(
        bodies in proptest::collection::vec(body(), 1..20),
    ) {
        let mut net = Net::new(3, 3);
        net.until(ms(1000), Net::whole);
        let to = net.address(0);
        for body in bodies {
            let now = net.now;
            net.hosts[1].group.say(now, to, body);
            net.run(ms(5));
        }
        // What it says of itself may have made it another; the third has said nothing.
        net.run(ms(300));
        prop_assert!(net.view(0).members.len() <= 3);
        prop_assert!(net.hosts[0].group.next_timeout().is_some());
    }

    #[test]
    fn any_bytes_are_refused_and_move_nothing(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        like in any::<bool>(),
        port in any::<u16>(),
    ) {
        if like {
            for (byte, begin) in bytes.iter_mut().zip([b'H', 1, 3]) {
                *byte = begin;
            }
        }
        let mut net = Net::new(1, 1);
        let now = net.now;
        let before = net.view(0).clone();
        net.hosts[0].group.handle_datagram(now, ([10, 0, 0, 9], port.max(PORT)).into(), &bytes);
        prop_assert!(matches!(
            net.hosts[0].group.poll_event(),
            Some(crate::Event::Changed | crate::Event::Problem(_))
        ));
        prop_assert_eq!(net.view(0), &before);
    }

    #[test]
    fn a_datagram_of_a_member_with_a_wrong_byte_is_refused(
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut net = Net::new(2, 2);
        net.until(ms(1000), Net::whole);
        net.record = Some(Vec::new());
        net.run(ms(200));
        let to = net.address(0);
        let record = net.record.take().unwrap();
        let (_, _, bytes) = record.iter().rfind(|(_, receiver, _)| *receiver == to).unwrap();
        let mut bytes = bytes.clone();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let before = net.view(0).clone();
        let kinds = give(&mut net, 1, &bytes);
        prop_assert_eq!(kinds.len(), 1);
        prop_assert_eq!(net.view(0), &before);
    }
}
