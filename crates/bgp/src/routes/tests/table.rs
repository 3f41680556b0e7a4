//! What is written for which change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::routes::{Addresses, Audience, OutboundId, Path, RouteAttributes, Table, View};
use crate::wire::{
    Asn, BgpId, Community, ExtendedCommunity, Families, Family, LargeCommunity, Negotiated,
    NextHop, Prefix,
};

pub(super) fn negotiated() -> Negotiated {
    Negotiated {
        local_as: Asn(65_001),
        peer_as: Asn(65_002),
        peer_id: BgpId(Ipv4Addr::new(10, 99, 1, 2)),
        hold_time: 90,
        families: Families::BOTH,
        extended_next_hop: false,
        four_octet_as: true,
        route_refresh: true,
        enhanced_route_refresh: true,
        message_limit: 4096,
        graceful_restart: None,
        notification_restart: false,
        long_lived_graceful_restart: None,
        peer_role: None,
    }
}

pub(super) fn own() -> Addresses {
    Addresses {
        v4: Some(Ipv4Addr::new(10, 99, 1, 1)),
        v6: Some("fd99:1::1".parse().unwrap()),
        link_local: None,
    }
}

pub(super) fn view_of(name: &str, negotiated: Negotiated) -> View {
    let local = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1));
    View::new(name, Arc::new(negotiated), local, own())
}

pub(super) fn view(name: &str) -> View {
    view_of(name, negotiated())
}

pub(super) fn v4(number: u32) -> Prefix {
    Prefix::new(Ipv4Addr::from(0x0a00_0000 + number).into(), 32).unwrap()
}

pub(super) fn v6(number: u32) -> Prefix {
    let address = Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number));
    Prefix::new(address.into(), 128).unwrap()
}

/// Paths that differ by `mark`.
pub(super) fn marked(mark: u32) -> Path {
    Path {
        audience: Audience::Everyone,
        attributes: RouteAttributes {
            communities: vec![Community(mark)],
            ..RouteAttributes::default()
        },
    }
}

/// Writes all that waits; returns how many UPDATEs that were.
fn flush(table: &mut Table, id: OutboundId) -> u64 {
    let mut buffer = Vec::new();
    let written = table.poll_messages(id, usize::MAX, &mut buffer);
    assert_eq!(table.waiting(id), 0);
    written.updates
}

fn complete() -> Table {
    let mut table = Table::new();
    table.set_complete(true);
    table
}

fn attributes_of(view: View, path: Path, prefix: Prefix) -> Option<crate::wire::Attributes> {
    let mut table = complete();
    table.set(prefix, &[path]);
    let id = table.open(view);
    flush(&mut table, id);
    let mut told = table.advertised(id);
    let attributes = told.next().map(|(_, attributes)| (**attributes).clone());
    assert!(told.next().is_none());
    attributes
}

#[test]
fn a_prefix_that_changes_twice_before_it_was_sent_is_sent_once() {
    let mut table = complete();
    let id = table.open(view("a"));
    assert_eq!(flush(&mut table, id), 2, "the two End-of-RIB");
    table.set(v4(1), &[marked(1)]);
    table.set(v4(1), &[marked(2)]);
    table.set(v4(1), &[marked(3)]);
    assert_eq!(table.waiting(id), 1);
    assert_eq!(flush(&mut table, id), 1);
    table.set(v4(1), &[marked(4)]);
    table.set(v4(1), &[marked(3)]);
    assert_eq!(flush(&mut table, id), 0, "it is as the peer has it");
    table.set(v4(2), &[marked(4)]);
    table.remove(v4(2));
    assert_eq!(flush(&mut table, id), 0, "the peer never had it");
    table.remove(v4(1));
    table.set(v4(1), &[marked(3)]);
    assert_eq!(flush(&mut table, id), 0, "the peer has it still");
}

#[test]
fn what_changes_nothing_is_no_change() {
    let mut table = complete();
    assert!(table.set(v4(1), &[marked(1)]));
    assert!(!table.set(v4(1), &[marked(1)]));
    assert!(!table.remove(v4(2)));
    assert!(table.set(v4(1), &[]));
    assert!(!table.set(v4(1), &[]));
    assert!(table.is_empty());
    assert_eq!(table.distinct_paths(), 0);
}

#[test]
fn what_is_set_at_once_is_as_if_it_were_set_one_by_one() {
    let (mut at_once, mut one_by_one) = (complete(), complete());
    let ids = [&mut at_once, &mut one_by_one].map(|table| table.open(view("a")));
    let one = [marked(1)];
    let steps = [
        (0..100, vec![marked(1)]),
        (50..150, vec![marked(2)]),
        (20..120, vec![]),
    ];
    for (numbers, paths) in steps {
        at_once.set_all(numbers.clone().map(v4), &paths);
        for number in numbers {
            one_by_one.set(v4(number), &paths);
        }
        let mut buffers = [Vec::new(), Vec::new()];
        let tables = [&mut at_once, &mut one_by_one].into_iter();
        for ((table, buffer), id) in tables.zip(&mut buffers).zip(ids) {
            table.poll_messages(id, usize::MAX, buffer);
        }
        assert_eq!(buffers[0], buffers[1]);
        assert_eq!(at_once.distinct_paths(), one_by_one.distinct_paths());
        assert_eq!(at_once.len(), one_by_one.len());
    }
    assert_eq!(at_once.paths(v4(10)), one);
    at_once.set_all((0..20).map(v4), &one);
    let mut buffer = Vec::new();
    at_once.poll_messages(ids[0], usize::MAX, &mut buffer);
    assert!(buffer.is_empty(), "nothing has changed");
    at_once.set_all((0..150).map(v4), &[]);
    assert_eq!((at_once.len(), at_once.distinct_paths()), (0, 0));
}

#[test]
fn replacing_all_changes_only_what_differs() {
    let mut table = complete();
    let id = table.open(view("a"));
    let (one, two) = ([marked(1)], [marked(2)]);
    let routes = (0..100).map(|number| (v4(number), &one[..]));
    assert_eq!(table.replace(routes), 100);
    flush(&mut table, id);
    let routes = (50..150).map(|number| (v4(number), if number < 60 { &two[..] } else { &one }));
    assert_eq!(table.replace(routes), 50 + 10 + 50);
    assert_eq!(table.len(), 100);
    let mut buffer = Vec::new();
    let written = table.poll_messages(id, usize::MAX, &mut buffer);
    assert_eq!((written.withdrawn, written.announced), (50, 60));
    assert_eq!(written.updates, 3, "withdrawals and two sets");
    let routes = [(v4(50), &one[..0]), (v4(51), &two[..])];
    assert_eq!(table.replace(routes), 99);
    assert_eq!(table.paths(v4(51)), two);
    assert!(table.paths(v4(50)).is_empty());
}

#[test]
fn numbers_of_prefixes_are_used_again_only_after_all_peers_let_go() {
    let mut table = complete();
    let (fast, slow) = (table.open(view("fast")), table.open(view("slow")));
    for round in 0..50 {
        table.set(v4(round), &[marked(1)]);
        flush(&mut table, fast);
        flush(&mut table, slow);
        table.remove(v4(round));
        flush(&mut table, fast);
        // A family that comes to the same number must not be mixed up.
        table.set(v6(round), &[marked(2)]);
        flush(&mut table, fast);
        let mut buffer = Vec::new();
        let written = table.poll_messages(slow, usize::MAX, &mut buffer);
        assert_eq!((written.withdrawn, written.announced), (1, 1));
        table.remove(v6(round));
        flush(&mut table, fast);
        flush(&mut table, slow);
    }
    for id in [fast, slow] {
        assert_eq!(table.advertised(id).count(), 0);
        assert_eq!(table.told(id, Family::Ipv4Unicast), 0);
        assert_eq!(table.told(id, Family::Ipv6Unicast), 0);
    }
}

#[test]
fn a_session_that_ends_holds_nothing_back() {
    let mut table = complete();
    let (gone, stays) = (table.open(view("gone")), table.open(view("stays")));
    table.set(v4(1), &[marked(1)]);
    flush(&mut table, gone);
    flush(&mut table, stays);
    table.remove(v4(1));
    flush(&mut table, stays);
    table.close(gone);
    table.close(gone);
    table.set(v4(2), &[marked(1)]);
    assert_eq!(flush(&mut table, stays), 1);
    assert_eq!(flush(&mut table, gone), 0);
    assert!(table.view(gone).is_none());
}

#[test]
fn each_session_tells_the_first_path_that_is_for_it() {
    let mut table = complete();
    let only = |names: &[&str], mark| Path {
        audience: Audience::only(names.iter().copied()),
        ..marked(mark)
    };
    table.set(v4(1), &[only(&["a"], 1), only(&["a", "b"], 2)]);
    table.set(v4(2), &[only(&["b"], 3), marked(4)]);
    table.set(v4(3), &[only(&["nobody"], 5)]);
    let told = |table: &mut Table, name| {
        let id = table.open(view(name));
        flush(table, id);
        let mut told: Vec<_> = table
            .advertised(id)
            .map(|(prefix, attributes)| (prefix, attributes.communities()[0].0))
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(told(&mut table, "a"), [(v4(1), 1), (v4(2), 4)]);
    assert_eq!(told(&mut table, "b"), [(v4(1), 2), (v4(2), 3)]);
    assert_eq!(told(&mut table, "c"), [(v4(2), 4)]);
}

#[test]
fn a_route_for_one_session_is_nothing_to_the_others() {
    let mut table = complete();
    let (a, b) = (table.open(view("a")), table.open(view("b")));
    flush(&mut table, a);
    flush(&mut table, b);
    let path = Path {
        audience: Audience::only(["a"]),
        ..marked(1)
    };
    table.set(v4(1), &[path]);
    assert_eq!((table.waiting(a), table.waiting(b)), (1, 0));
    flush(&mut table, a);
    table.remove(v4(1));
    assert_eq!((table.waiting(a), table.waiting(b)), (1, 0));
}

#[test]
fn external_peers_are_told_the_as_path_and_internal_ones_the_preference() {
    let path = Path {
        attributes: RouteAttributes {
            local_pref: Some(200),
            med: Some(7),
            prepend: 2,
            communities: vec![Community::NO_EXPORT],
            large: vec![LargeCommunity {
                global: 1,
                local1: 2,
                local2: 3,
            }],
            extended: vec![ExtendedCommunity([0, 2, 0, 1, 0, 0, 0, 1])],
            link_bandwidth: Some(125_000),
        },
        ..Path::default()
    };
    let told = attributes_of(view("a"), path.clone(), v4(1)).unwrap();
    assert_eq!(told.as_path(), [Asn(65_001); 3]);
    assert_eq!((told.local_pref(), told.med()), (None, Some(7)));
    assert_eq!(told.communities(), [Community::NO_EXPORT]);
    assert_eq!(told.large().len(), 1);
    let bandwidth = ExtendedCommunity::link_bandwidth(Asn(65_001), 125_000.0);
    assert!(told.extended().contains(&bandwidth) && told.extended().len() == 2);

    let internal = Negotiated {
        peer_as: Asn(65_001),
        ..negotiated()
    };
    let told = attributes_of(view_of("a", internal.clone()), path, v4(1)).unwrap();
    assert!(told.as_path().is_empty());
    assert_eq!((told.local_pref(), told.med()), (Some(200), Some(7)));
    let told = attributes_of(view_of("a", internal), Path::default(), v4(1)).unwrap();
    assert_eq!(told.local_pref(), Some(100));
}

#[test]
fn draining_marks_all_routes_and_leaves_the_table_alone() {
    let mut table = complete();
    for number in 0..10 {
        table.set(v4(number), &[marked(number)]);
        table.set(v6(number), &[marked(number)]);
    }
    let id = table.open(view("a"));
    flush(&mut table, id);
    let before = table.distinct_paths();
    let draining = View {
        draining: true,
        ..view("a")
    };
    table.set_view(id, draining.clone());
    assert_eq!(table.waiting(id), 20);
    flush(&mut table, id);
    for (_, attributes) in table.advertised(id) {
        assert!(
            attributes
                .communities()
                .contains(&Community::GRACEFUL_SHUTDOWN)
        );
        assert_eq!(attributes.communities().len(), 2);
    }
    assert_eq!(table.distinct_paths(), before);
    table.set_view(id, draining);
    assert_eq!(table.waiting(id), 0);
    table.set_view(id, view("a"));
    flush(&mut table, id);
    assert!(
        table
            .advertised(id)
            .all(|(_, attributes)| attributes.communities().len() == 1)
    );

    let internal = View {
        draining: true,
        ..view_of(
            "a",
            Negotiated {
                peer_as: Asn(65_001),
                ..negotiated()
            },
        )
    };
    let told = attributes_of(internal, Path::default(), v4(1)).unwrap();
    assert_eq!(told.local_pref(), Some(0));
}

#[test]
fn a_family_that_is_not_negotiated_is_never_told() {
    let mut table = complete();
    table.set(v4(1), &[marked(1)]);
    table.set(v6(1), &[marked(1)]);
    let only_v6 = Negotiated {
        families: Families::only(Family::Ipv6Unicast),
        ..negotiated()
    };
    let id = table.open(view_of("a", only_v6));
    assert_eq!(flush(&mut table, id), 2, "one route and its End-of-RIB");
    table.set(v4(2), &[marked(1)]);
    table.remove(v4(1));
    table.refresh(id, Family::Ipv4Unicast);
    assert_eq!(flush(&mut table, id), 0);
    assert_eq!(table.told(id, Family::Ipv4Unicast), 0);
    assert_eq!(table.told(id, Family::Ipv6Unicast), 1);
}

#[test]
fn next_hops_are_the_own_addresses() {
    let global: Ipv6Addr = "fd99:1::1".parse().unwrap();
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let v4_address = Ipv4Addr::new(10, 99, 1, 1);
    let next_hops = |local: IpAddr, others: Addresses, extended_next_hop| {
        let negotiated = Negotiated {
            extended_next_hop,
            ..negotiated()
        };
        let view = View::new("a", Arc::new(negotiated), local, others);
        (
            view.next_hop(Family::Ipv4Unicast),
            view.next_hop(Family::Ipv6Unicast),
        )
    };
    let none = Addresses::default();
    let (plain4, plain6) = (
        Some(NextHop::V4(v4_address)),
        Some(NextHop::V6 {
            global,
            link_local: None,
        }),
    );
    // Over IPv4, also where the socket says so in IPv6's way.
    assert_eq!(next_hops(v4_address.into(), none, true), (plain4, None));
    assert_eq!(
        next_hops(v4_address.to_ipv6_mapped().into(), none, false),
        (plain4, None)
    );
    assert_eq!(next_hops(v4_address.into(), own(), true), (plain4, plain6));
    // Over IPv6.
    assert_eq!(next_hops(global.into(), none, false), (None, plain6));
    assert_eq!(next_hops(global.into(), own(), false), (plain4, plain6));
    assert_eq!(next_hops(global.into(), own(), true), (plain6, plain6));
    // Over link-local addresses, with and without a global one.
    let both = Some(NextHop::V6 {
        global,
        link_local: Some(link_local),
    });
    let alone = Some(NextHop::V6 {
        global: link_local,
        link_local: Some(link_local),
    });
    assert_eq!(next_hops(link_local.into(), own(), true), (both, both));
    assert_eq!(next_hops(link_local.into(), none, true), (alone, alone));
    assert_eq!(next_hops(link_local.into(), none, false), (None, alone));
}

#[test]
fn without_a_next_hop_the_family_is_not_announced_until_there_is_one() {
    let mut table = complete();
    table.set(v6(1), &[marked(1)]);
    let local = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1));
    let bare = View::new("a", Arc::new(negotiated()), local, Addresses::default());
    let id = table.open(bare.clone());
    assert_eq!(flush(&mut table, id), 2, "the two End-of-RIB");
    table.set_view(id, view("a"));
    assert_eq!(flush(&mut table, id), 1);
    assert_eq!(table.told(id, Family::Ipv6Unicast), 1);
    table.set_view(id, bare);
    assert_eq!(flush(&mut table, id), 1);
    assert_eq!(table.told(id, Family::Ipv6Unicast), 0);
}

#[test]
fn a_route_that_fits_into_no_message_is_withdrawn_and_counted() {
    let mut table = complete();
    let id = table.open(view("a"));
    table.set(v4(1), &[marked(1)]);
    table.set(v4(2), &[marked(1)]);
    flush(&mut table, id);
    let mut long = marked(1);
    long.attributes.communities = (0..2000).map(Community).collect();
    table.set(v4(1), &[long.clone()]);
    table.set(v4(3), &[long]);
    let mut buffer = Vec::new();
    let written = table.poll_messages(id, usize::MAX, &mut buffer);
    assert_eq!(written.unsendable, 2);
    assert_eq!((written.withdrawn, written.announced), (1, 0));
    assert_eq!(table.told(id, Family::Ipv4Unicast), 1);
    assert_eq!(table.waiting(id), 0);
    table.set(v4(1), &[marked(2)]);
    assert_eq!(flush(&mut table, id), 1);
    assert_eq!(table.told(id, Family::Ipv4Unicast), 2);
}

#[test]
fn a_budget_is_kept_to_within_one_message() {
    let mut table = complete();
    for number in 0..10_000 {
        table.set(v4(number), &[marked(number % 3)]);
    }
    let id = table.open(view("a"));
    let (mut total, mut calls) = (0, 0);
    loop {
        let mut buffer = vec![0; 5];
        let written = table.poll_messages(id, 10_000, &mut buffer);
        assert!(buffer.len() - 5 < 10_000 + 4096);
        if written == crate::routes::Written::default() {
            break;
        }
        total += written.announced;
        calls += 1;
    }
    assert_eq!((total, calls), (10_000, 5));
    assert_eq!(table.poll_messages(id, 0, &mut Vec::new()).updates, 0);
}

#[test]
fn the_number_of_updates_is_the_least_there_can_be() {
    let mut table = complete();
    for number in 0..100_000 {
        table.set(v4(number), &[marked(number % 4)]);
    }
    let id = table.open(view("a"));
    let updates = flush(&mut table, id);
    // Header, lengths, ORIGIN, AS_PATH of one, NEXT_HOP and one community.
    let room = 4096 - (23 + 4 + 9 + 7 + 7);
    let optimum = 4 * 25_000_u64.div_ceil(room / 5);
    assert_eq!(updates, optimum + 2);
}
