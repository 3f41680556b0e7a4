//! ROUTE-REFRESH (RFC 2918, RFC 7313).

use herald_bgp::wire::{ErrorCode, Family, Message, RefreshKind, RouteRefresh};

use super::support::{decode, error, message, refusal};

#[test]
fn each_kind_for_each_family() {
    for (kind, number) in [
        (RefreshKind::Request, 0),
        (RefreshKind::Begin, 1),
        (RefreshKind::End, 2),
    ] {
        for (family, afi) in [(Family::Ipv4Unicast, 1), (Family::Ipv6Unicast, 2)] {
            let refresh = RouteRefresh::new(family, kind);
            let mut bytes = Vec::new();
            refresh.encode(&mut bytes);
            assert_eq!(bytes, message(5, &[0, afi, number, 1]));
            assert_eq!(decode(&bytes), Ok(Message::RouteRefresh(refresh)));
            assert_eq!(refresh.family(), Some(family));
        }
    }
}

#[test]
fn what_is_to_be_ignored_can_be_told() {
    let Ok(Message::RouteRefresh(refresh)) = decode(&message(5, &[0x40, 4, 0, 71])) else {
        panic!("no ROUTE-REFRESH");
    };
    assert_eq!(
        (refresh.family(), refresh.afi, refresh.safi),
        (None, 0x4004, 71)
    );
    for body in [[0, 1, 255, 1].as_slice(), &[0, 1, 3, 1, 9, 9]] {
        let Ok(Message::RouteRefresh(refresh)) = decode(&message(5, body)) else {
            panic!("no ROUTE-REFRESH");
        };
        assert_eq!(refresh.kind, RefreshKind::Other(body[2]));
    }
}

#[test]
fn r4_a_wrong_length_is_told_with_the_whole_message() {
    let bodies: [&[u8]; 6] = [
        &[],
        &[0, 1, 0],
        &[0, 1, 200],
        &[0, 1, 0, 1, 0],
        &[0, 1, 1, 1, 0],
        &[0, 1, 2, 1, 0, 0],
    ];
    for body in bodies {
        let bytes = message(5, body);
        assert_eq!(
            refusal(&bytes),
            error(ErrorCode::INVALID_REFRESH_LENGTH, &bytes)
        );
    }
}
