//! Whatever bytes there are: no panic, the same messages in whatever pieces, and what is written is
//! what is read.

use std::net::{Ipv4Addr, Ipv6Addr};

use herald_bgp::wire::update::{Change, Consequence, Writer, visit};
use herald_bgp::wire::{
    Asn, Attributes, BgpId, Capabilities, Capability, Community, EXTENDED_LIMIT, ErrorCode,
    ExtendedCommunity, Families, Framer, GracefulRestart, LargeCommunity, LongLived, Message,
    Negotiated, NextHop, Notification, Open, PerFamily, Prefix, RawMessage, RefreshKind, Role,
    RouteRefresh, STANDARD_LIMIT,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::second_parser;
use super::support::{announcing, changes, decode, external, internal, message, messages};

fn families() -> impl Strategy<Value = Families> {
    (any::<bool>(), any::<bool>()).prop_map(|(ipv4, ipv6)| Families { ipv4, ipv6 })
}

fn graceful_restart() -> impl Strategy<Value = GracefulRestart> {
    (any::<[bool; 2]>(), 0..4096_u16, families(), families()).prop_map(
        |([restarting, notification], restart_time, families, forwarding)| GracefulRestart {
            restarting,
            notification,
            restart_time,
            families,
            forwarding: forwarding.intersection(families),
        },
    )
}

fn long_lived() -> impl Strategy<Value = PerFamily<Option<LongLived>>> {
    let one = || {
        option::of(
            (any::<bool>(), 0..1_u32 << 24).prop_map(|(forwarding, stale_time)| LongLived {
                forwarding,
                stale_time,
            }),
        )
    };
    (one(), one()).prop_map(|(ipv4, ipv6)| PerFamily { ipv4, ipv6 })
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![
        Role::Provider,
        Role::RouteServer,
        Role::RouteServerClient,
        Role::Customer,
        Role::Peer,
        Role::Unknown(5),
        Role::Unknown(255),
    ])
}

fn unknown() -> impl Strategy<Value = Capability> {
    prop_oneof![
        (100..=255_u8, vec(any::<u8>(), 0..=255))
            .prop_map(|(code, value)| Capability { code, value }),
        Just(Capability {
            code: 1,
            value: vec![0, 25, 0, 70]
        }),
    ]
}

prop_compose! {
    fn capabilities()(
        (families, flags, role) in (families(), any::<[bool; 5]>(), option::of(role())),
        graceful_restart in option::of(graceful_restart()),
        long_lived_graceful_restart in option::of(long_lived()),
        other in vec(unknown(), 0..10),
    ) -> Capabilities {
        Capabilities {
            families,
            extended_next_hop: flags[0],
            route_refresh: flags[1],
            enhanced_route_refresh: flags[2],
            extended_message: flags[3],
            four_octet_as: flags[4],
            graceful_restart,
            long_lived_graceful_restart,
            role,
            other,
        }
    }
}

prop_compose! {
    fn open()(
        asn in 1..=u32::MAX,
        hold_time in prop_oneof![Just(0), 3..=u16::MAX],
        id in 1..=u32::MAX,
        capabilities in capabilities(),
    ) -> Open {
        let asn = if capabilities.four_octet_as { asn } else { asn % 65_535 + 1 };
        Open { my_as: Asn(asn), hold_time, id: BgpId(Ipv4Addr::from(id)), capabilities }
    }
}

fn session() -> impl Strategy<Value = Negotiated> {
    (any::<[bool; 4]>()).prop_map(|[extended_next_hop, four_octet_as, internal_peer, long]| {
        Negotiated {
            extended_next_hop,
            four_octet_as,
            message_limit: if long { EXTENDED_LIMIT } else { STANDARD_LIMIT },
            ..if internal_peer {
                internal()
            } else {
                external()
            }
        }
    })
}

fn next_hop() -> impl Strategy<Value = NextHop> {
    prop_oneof![
        (0x0a00_0000..0x0aff_ffff_u32).prop_map(|bits| NextHop::V4(Ipv4Addr::from(bits))),
        (any::<u128>(), option::of(any::<u128>())).prop_map(|(global, link_local)| NextHop::V6 {
            global: Ipv6Addr::from(global),
            link_local: link_local.map(Ipv6Addr::from),
        }),
    ]
}

prop_compose! {
    fn attributes()(
        next_hop in next_hop(),
        path in vec(1..=u32::MAX, 0..300),
        med in option::of(any::<u32>()),
        local_pref in option::of(any::<u32>()),
        communities in vec(any::<u32>(), 0..300),
        large in vec(any::<[u32; 3]>(), 0..60),
        extended in vec(any::<[u8; 8]>(), 0..60),
    ) -> Attributes {
        Attributes::new(next_hop)
            .with_as_path(path.into_iter().map(Asn))
            .with_med(med)
            .with_local_pref(local_pref)
            .with_communities(communities.into_iter().map(Community))
            .with_large(large.into_iter().map(|[global, local1, local2]| LargeCommunity {
                global,
                local1,
                local2,
            }))
            .with_extended(extended.into_iter().map(ExtendedCommunity))
    }
}

/// Not the default route: the other parser takes it for a path identifier.
fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
    let ipv4 = || {
        (any::<u32>(), 1..=32_u8)
            .prop_map(|(bits, len)| Prefix::new(Ipv4Addr::from(bits).into(), len).unwrap())
    };
    let ipv6 = || {
        (any::<u128>(), 1..=128_u8)
            .prop_map(|(bits, len)| Prefix::new(Ipv6Addr::from(bits).into(), len).unwrap())
    };
    prop_oneof![vec(ipv4(), 0..2000), vec(ipv6(), 0..500)]
}

/// Messages and what is none, one after the other.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => (1..=5_u8, vec(any::<u8>(), 0..200)).prop_map(|(kind, body)| {
            let body = if kind == 4 { Vec::new() } else { body };
            message(kind, &body)
        }),
        1 => vec(any::<u8>(), 0..40),
        1 => (any::<u16>(), 0..8_u8).prop_map(|(len, kind)| super::support::header(len, kind)),
    ];
    vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// All messages until the first error.
fn read(pieces: &[&[u8]], limit: usize) -> (Vec<RawMessage>, Option<Notification>) {
    let (mut framer, mut found) = (Framer::new(), Vec::new());
    framer.set_limit(limit);
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(framer.buffered() < limit);
    }
    (found, None)
}

/// A message that was correct, with bytes changed.
fn damaged(mut bytes: Vec<u8>, changes: &[(Index, u8)]) -> Vec<u8> {
    for (at, value) in changes {
        let len = bytes.len();
        bytes[at.index(len)] = *value;
    }
    bytes
}

/// Asserts what holds for every body of an UPDATE.
fn assert_sound(body: &[u8], negotiated: &Negotiated) {
    let (mut announced, mut withdrawn) = (0, 0);
    let Ok(received) = visit(body, negotiated, |change| match change {
        Change::Announced(_) => announced += 1,
        Change::Withdrawn(_) => withdrawn += 1,
    }) else {
        assert_eq!(
            (announced, withdrawn),
            (0, 0),
            "nothing is told before it is certain"
        );
        return;
    };
    assert_eq!(announced, received.announced.ipv4 + received.announced.ipv6);
    assert_eq!(withdrawn, received.withdrawn.ipv4 + received.withdrawn.ipv6);
    assert!(announced == 0 || !received.treat_as_withdraw);
    assert!(received.problems.len() <= 8);
    let severe = received
        .problems
        .iter()
        .any(|problem| problem.consequence == Consequence::Withdraw);
    assert!(received.treat_as_withdraw || !severe);
}

proptest! {
    #[test]
    fn a_stream_gives_the_same_messages_in_whatever_pieces(
        bytes in stream(),
        cuts in vec(any::<Index>(), 0..30),
        long in any::<bool>(),
    ) {
        let limit = if long { EXTENDED_LIMIT } else { STANDARD_LIMIT };
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = read(&[&bytes], limit);
        prop_assert_eq!(read(&pieces, limit), whole.clone());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(read(&single, limit), whole);
    }

    #[test]
    fn no_message_makes_a_decoder_panic(kind in 1..=5_u8, body in vec(any::<u8>(), 0..300)) {
        for message in read(&[&message(kind, &body)], EXTENDED_LIMIT).0 {
            if let Err(error) | Ok(Message::Notification(error)) = Message::decode(message) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
        for negotiated in [external(), internal()] {
            assert_sound(&body, &negotiated);
        }
    }

    #[test]
    fn an_update_with_some_bytes_changed_is_judged_soundly(
        attributes in attributes(),
        prefixes in prefixes(),
        negotiated in session(),
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = Vec::new();
        let writer = Writer::new(&negotiated);
        if writer.announce(&attributes, prefixes.iter().copied().take(20), &mut bytes).is_ok()
            && !bytes.is_empty()
        {
            assert_sound(&damaged(bytes[19..].to_vec(), &changes), &negotiated);
        }
        assert_sound(&damaged(announcing(&[]), &changes), &negotiated);
    }

    #[test]
    fn an_open_is_read_as_it_was_written(open in open()) {
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        prop_assert_eq!(decode(&bytes), Ok(Message::Open(open)));
    }

    #[test]
    fn an_open_that_is_taken_means_the_same_when_it_is_written_again(
        open in open(),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        let body = damaged(bytes[19..].to_vec(), &changes);
        if let Ok(Message::Open(taken)) = decode(&message(1, &body)) {
            let mut again = Vec::new();
            taken.encode(&mut again);
            prop_assert_eq!(decode(&again), Ok(Message::Open(taken)));
        }
    }

    #[test]
    fn a_notification_is_read_as_it_was_written(
        [code, subcode] in any::<[u8; 2]>(),
        data in vec(any::<u8>(), 0..300),
    ) {
        let notification = Notification::with_data(ErrorCode { code, subcode }, data);
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        prop_assert_eq!(decode(&bytes), Ok(Message::Notification(notification)));
    }

    #[test]
    fn a_text_is_read_as_it_was_written(text in "\\PC{0,300}") {
        let shutdown = Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, &text);
        let hard = Notification::hard_reset(&shutdown);
        let told = shutdown.text().unwrap_or_default();
        prop_assert!(text.starts_with(&told));
        prop_assert!(told == text || told.len() > 251);
        prop_assert_eq!(hard.text().unwrap_or_default(), told);
    }

    #[test]
    fn a_refresh_is_read_as_it_was_written(afi in any::<u16>(), [safi, kind] in any::<[u8; 2]>()) {
        let kind = match kind {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Other(other),
        };
        let refresh = RouteRefresh { afi, safi, kind };
        let mut bytes = Vec::new();
        refresh.encode(&mut bytes);
        prop_assert_eq!(decode(&bytes), Ok(Message::RouteRefresh(refresh)));
    }

}

proptest! {
    // Each case is hundreds of routes, read twice.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_announced_and_withdrawn_is_read_by_both_parsers(
        attributes in attributes(),
        prefixes in prefixes(),
        negotiated in session(),
    ) {
        let writer = Writer::new(&negotiated);
        let (mut bytes, mut rest) = (Vec::new(), prefixes.as_slice());
        while !rest.is_empty() {
            match writer.announce(&attributes, rest.iter().copied(), &mut bytes) {
                Ok(taken) => rest = &rest[taken..],
                Err(_) => break,
            }
        }
        let announced = &prefixes[..prefixes.len() - rest.len()];
        let withdrawn_from = bytes.len();
        let mut rest = prefixes.as_slice();
        while !rest.is_empty() {
            let taken = writer.withdraw(rest.iter().copied(), &mut bytes).unwrap();
            prop_assert!(taken > 0);
            rest = &rest[taken..];
        }
        let expected: Vec<Change> = announced
            .iter()
            .copied()
            .map(Change::Announced)
            .chain(prefixes.iter().copied().map(Change::Withdrawn))
            .collect();
        let limit = negotiated.message_limit;
        let room_left = |bytes: &[u8]| {
            let lengths: Vec<_> =
                messages(bytes, limit).iter().map(|one| 19 + one.body.len()).collect();
            lengths.split_last().is_none_or(|(_, full)| full.iter().all(|len| limit - len <= 17))
        };
        prop_assert!(room_left(&bytes[..withdrawn_from]));
        prop_assert!(room_left(&bytes[withdrawn_from..]));
        prop_assert!(changes(&bytes, &negotiated) == expected);
        let theirs = second_parser::changes(&bytes, limit, negotiated.four_octet_as);
        prop_assert!(theirs == expected);
    }
}
