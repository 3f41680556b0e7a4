//! Capabilities that an OPEN carries: their values, and OPENs that are longer than usual.

use herald_bgp::wire::{
    Capabilities, Capability, EXTENDED_LIMIT, ErrorCode, ExpectedAs, Families, GracefulRestart,
    LongLived, Message, Negotiated, Notification, Open, PerFamily, Role,
};

use super::support::{decode, ours, refusal, theirs};

fn encoded(open: &Open) -> Vec<u8> {
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    bytes
}

fn everything() -> Capabilities {
    Capabilities {
        extended_message: true,
        role: Some(Role::Customer),
        graceful_restart: Some(GracefulRestart {
            restarting: true,
            notification: true,
            restart_time: 120,
            families: Families::BOTH,
            forwarding: Families {
                ipv4: true,
                ipv6: false,
            },
        }),
        long_lived_graceful_restart: Some(PerFamily {
            ipv4: Some(LongLived {
                forwarding: true,
                stale_time: 86_400,
            }),
            ipv6: None,
        }),
        ..ours().capabilities
    }
}

#[test]
fn every_capability_is_written_as_its_rfc_draws_it() {
    let mut open = ours();
    open.capabilities = everything();
    let bytes = encoded(&open);
    #[rustfmt::skip]
    let expected = [
        1, 4, 0, 1, 0, 1,
        1, 4, 0, 2, 0, 1,
        2, 0,
        5, 6, 0, 1, 0, 1, 0, 2,
        6, 0,
        9, 1, 3,
        64, 10, 0xc0, 120, 0, 1, 1, 0x80, 0, 2, 1, 0,
        65, 4, 0, 0, 0xfd, 0xe9,
        70, 0,
        71, 7, 0, 1, 1, 0x80, 0x01, 0x51, 0x80,
    ];
    assert_eq!(bytes[31..], expected);
    assert_eq!(decode(&bytes), Ok(Message::Open(open)));
}

#[test]
fn the_extended_form_is_used_only_where_there_is_no_room() {
    let mut open = ours();
    for size in [0, 1, 200, 213, 214, 215, 250] {
        open.capabilities.other = vec![Capability {
            code: 250,
            value: vec![7; size],
        }];
        let bytes = encoded(&open);
        // Version to identifier, one length, then the parameter's type and length.
        let capabilities = bytes.len() - 19 - 12;
        let extended = bytes[28..30] == [255, 255];
        assert_eq!(extended, capabilities > 252, "{size} bytes");
        assert_eq!(decode(&bytes), Ok(Message::Open(open.clone())));
    }
}

#[test]
fn capabilities_that_no_message_has_room_for_are_left_out() {
    let mut open = ours();
    let big = Capability {
        code: 250,
        value: vec![7; 255],
    };
    open.capabilities.other = vec![big; 100];
    let bytes = encoded(&open);
    assert!(
        (3800..=4096).contains(&bytes.len()),
        "{} bytes",
        bytes.len()
    );
    let Ok(Message::Open(back)) = decode(&bytes) else {
        panic!("no OPEN");
    };
    assert_eq!(back.capabilities.other.len(), 15);
    assert!(back.capabilities.four_octet_as);
}

#[test]
fn what_only_one_can_do_is_not_negotiated() {
    let mut our = ours();
    our.capabilities = everything();
    let alone = Negotiated::new(&our, &theirs());
    assert_eq!(alone.message_limit, 4096);
    assert_eq!(alone.graceful_restart, None);
    assert_eq!(alone.long_lived_graceful_restart, None);
    assert!(!alone.notification_restart);

    let mut their = theirs();
    their.capabilities = everything();
    let both = Negotiated::new(&our, &their);
    assert_eq!(both.message_limit, EXTENDED_LIMIT);
    assert_eq!(both.graceful_restart, everything().graceful_restart);
    assert!(both.notification_restart);
    let stale = both.long_lived_graceful_restart.unwrap();
    assert_eq!(stale, everything().long_lived_graceful_restart.unwrap());

    // Long-lived restarts are of no use without the others (RFC 9494 4.2).
    their.capabilities.graceful_restart = None;
    let without = Negotiated::new(&our, &their);
    assert_eq!(without.long_lived_graceful_restart, None);
}

#[test]
fn roles_that_do_not_fit() {
    let (mut our, mut their) = (ours(), theirs());
    let check = |our: &Open, their: &Open| their.check(our, ExpectedAs::External);
    let mismatch = Err(Notification::new(ErrorCode::ROLE_MISMATCH));
    our.capabilities.role = Some(Role::Customer);
    assert_eq!(check(&our, &their), Ok(()));
    for (role, verdict) in [
        (Role::Provider, Ok(())),
        (Role::Customer, mismatch.clone()),
        (Role::Peer, mismatch.clone()),
        (Role::RouteServer, mismatch.clone()),
        (Role::Unknown(9), mismatch.clone()),
    ] {
        their.capabilities.role = Some(role);
        assert_eq!(check(&our, &their), verdict, "{role:?}");
    }
    our.capabilities.role = None;
    assert_eq!(check(&our, &their), Ok(()));

    // Two roles that are not the same, in one OPEN.
    their.capabilities.role = None;
    their.capabilities.other = [0, 3]
        .map(|role| Capability {
            code: 9,
            value: vec![role],
        })
        .to_vec();
    assert_eq!(Err(refusal(&encoded(&their))), mismatch);
    their.capabilities.other = vec![
        Capability {
            code: 9,
            value: vec![3]
        };
        2
    ];
    assert!(decode(&encoded(&their)).is_ok());
}

#[test]
fn families_that_are_unknown_here_are_kept_or_skipped() {
    let mut their = theirs();
    // Multiprotocol for VPNs, graceful restart for IPv4 unicast and for VPNs.
    their.capabilities.other = vec![
        Capability {
            code: 1,
            value: vec![0, 1, 0, 128],
        },
        Capability {
            code: 64,
            value: vec![0, 90, 0, 1, 1, 0, 0, 1, 128, 0x80],
        },
        Capability {
            code: 5,
            value: vec![0, 1, 0, 128, 0, 2],
        },
    ];
    let Ok(Message::Open(back)) = decode(&encoded(&their)) else {
        panic!("no OPEN");
    };
    assert_eq!(back.capabilities.families, Families::BOTH);
    assert_eq!(back.capabilities.other, their.capabilities.other[..1]);
    assert_eq!(
        back.capabilities.graceful_restart,
        Some(GracefulRestart {
            restart_time: 90,
            families: Families {
                ipv4: true,
                ipv6: false
            },
            ..GracefulRestart::default()
        })
    );
}
