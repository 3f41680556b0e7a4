//! OPEN: what is said, what is accepted, and what is refused with which words.

use super::script::{OUR_AS, PEER_AS, Script, config, id, peer_open, raw};
use crate::session::{Config, Event, Reason, RoleConfig, State};
use crate::wire::{
    Asn, BgpId, Capabilities, ErrorCode, ExpectedAs, Families, Family, Negotiated, Notification,
    Open, Role,
};

/// The body of an OPEN byte by byte.
fn open_body(version: u8, asn: u16, hold: u16, id: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![version];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(id);
    body.push(u8::try_from(parameters.len()).unwrap());
    body.extend(parameters);
    body
}

/// The session gets an OPEN of these bytes.
fn answer(body: &[u8]) -> (Script, crate::session::ConnectionId) {
    let (mut script, connection) = Script::connected(config());
    script.bytes(connection, &raw(1, body));
    (script, connection)
}

fn negotiated(config: Config, open: &Open) -> Negotiated {
    let (script, _) = Script::established(config, open);
    Negotiated::clone(script.session.negotiated().unwrap())
}

#[track_caller]
fn refused(config: Config, open: &Open, error: ErrorCode, data: &[u8]) -> Reason {
    let (mut script, connection) = Script::connected(config);
    script.open(connection, open);
    script.assert_ended(connection, error, data);
    assert_eq!(script.session.state(), State::Idle);
    assert!(matches!(script.events.last(), Some((_, Event::Failed(_)))));
    script.reason().clone()
}

#[test]
fn the_own_open_says_all_that_is_configured() {
    let (script, connection) = Script::connected(Config {
        role: Some(RoleConfig {
            role: Role::Customer,
            strict: false,
        }),
        ..config()
    });
    let open = script.sent_open(connection);
    assert_eq!(open.my_as, OUR_AS);
    assert_eq!(open.hold_time, 90);
    assert_eq!(open.id, id(1));
    let capabilities = &open.capabilities;
    assert_eq!(capabilities.families, Families::BOTH);
    assert!(capabilities.route_refresh && capabilities.enhanced_route_refresh);
    assert!(capabilities.four_octet_as && capabilities.extended_message);
    assert!(capabilities.extended_next_hop);
    assert_eq!(capabilities.role, Some(Role::Customer));
    assert_eq!(capabilities.graceful_restart, None);
    assert_eq!(capabilities.long_lived_graceful_restart, None);
}

#[test]
fn walks_through_the_states_of_rfc_4271() {
    let (script, connection) = Script::established(config(), &peer_open());
    let expected = [
        State::Connect,
        State::OpenSent,
        State::OpenConfirm,
        State::Established,
    ];
    assert_eq!(script.states, expected);
    assert!(matches!(script.events[..], [(_, Event::Up(_))]));
    assert_eq!(script.keepalives(connection).len(), 1);
    assert_eq!(script.session.counters().ups, 1);
}

#[test]
fn o1_another_version_is_refused_with_the_version_spoken_here() {
    let (script, connection) = answer(&open_body(3, 65_002, 90, [10, 99, 1, 2], &[]));
    script.assert_ended(connection, ErrorCode::UNSUPPORTED_VERSION, &[0, 4]);
}

#[test]
fn o2_another_as_is_refused() {
    let open = Open {
        my_as: Asn(65_003),
        ..peer_open()
    };
    let reason = refused(config(), &open, ErrorCode::BAD_PEER_AS, &[]);
    assert_eq!(
        reason.to_string(),
        "the peer is in AS 65003, not in AS 65002 as configured"
    );
}

#[test]
fn o3_the_identifier_0_is_refused() {
    let (script, connection) = answer(&open_body(4, 65_002, 90, [0; 4], &[]));
    script.assert_ended(connection, ErrorCode::BAD_BGP_IDENTIFIER, &[]);
}

#[test]
fn o4_o5_hold_times_of_one_and_two_seconds_are_refused() {
    for hold in [1, 2] {
        let (script, connection) = answer(&open_body(4, 65_002, hold, [10, 99, 1, 2], &[]));
        script.assert_ended(connection, ErrorCode::UNACCEPTABLE_HOLD_TIME, &[]);
    }
}

#[test]
fn o6_an_unknown_parameter_is_refused() {
    let parameters = [1, 1, 0];
    let (script, connection) = answer(&open_body(4, 65_002, 90, [10, 99, 1, 2], &parameters));
    script.assert_ended(connection, ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER, &[]);
}

#[test]
fn o7_o11_o13_o14_unknown_repeated_and_split_capabilities_are_taken() {
    let as4 = [65, 4, 0, 0, 0xfd, 0xea];
    let (v4, v6, unknown) = ([1, 4, 0, 1, 0, 1], [1, 4, 0, 2, 0, 1], [200, 2, 1, 2]);
    let parameter = |capabilities: &[&[u8]]| {
        let value = capabilities.concat();
        [vec![2, u8::try_from(value.len()).unwrap()], value].concat()
    };
    for parameters in [
        parameter(&[&as4, &v4, &v6, &unknown]),
        [
            parameter(&[&as4]),
            parameter(&[&v4]),
            parameter(&[&v6]),
            parameter(&[&unknown]),
        ]
        .concat(),
        parameter(&[&v4, &v4, &v6, &as4, &as4, &unknown, &unknown]),
    ] {
        let (mut script, connection) =
            answer(&open_body(4, 65_002, 90, [10, 99, 1, 2], &parameters));
        script.keepalive(connection);
        let negotiated = script.session.negotiated().unwrap();
        assert_eq!(negotiated.families, Families::BOTH);
        assert!(negotiated.four_octet_as);
        assert!(!negotiated.route_refresh);
    }
}

#[test]
fn o8_the_own_identifier_is_refused_within_the_as_and_taken_from_another_as() {
    let internal = Config {
        peer_as: ExpectedAs::Internal,
        ..config()
    };
    let open = Open {
        my_as: OUR_AS,
        id: id(1),
        ..peer_open()
    };
    let reason = refused(internal, &open, ErrorCode::BAD_BGP_IDENTIFIER, &[]);
    assert_eq!(
        reason.to_string(),
        "the peer has the router ID of this speaker, 10.99.1.1: give one of them another"
    );

    let open = Open {
        id: id(1),
        ..peer_open()
    };
    assert_eq!(negotiated(config(), &open).peer_id, id(1));
}

#[test]
fn o9_o10_an_as_capability_that_disagrees_or_is_0_is_refused() {
    for asn in [65_003_u32, 0] {
        let mut parameters = vec![2, 6, 65, 4];
        parameters.extend(asn.to_be_bytes());
        let (script, connection) = answer(&open_body(4, 65_002, 90, [10, 99, 1, 2], &parameters));
        script.assert_ended(connection, ErrorCode::BAD_PEER_AS, &[]);
    }
    let (script, connection) = answer(&open_body(4, 0, 90, [10, 99, 1, 2], &[]));
    script.assert_ended(connection, ErrorCode::BAD_PEER_AS, &[]);
}

#[test]
fn o12_a_peer_without_capabilities_has_ipv4_and_as_numbers_of_two_octets() {
    let (mut script, connection) = answer(&open_body(4, 65_002, 90, [10, 99, 1, 2], &[]));
    script.keepalive(connection);
    let negotiated = script.session.negotiated().unwrap();
    assert_eq!(negotiated.families, Families::only(Family::Ipv4Unicast));
    assert!(!negotiated.four_octet_as && !negotiated.route_refresh);
    assert_eq!(negotiated.message_limit, 4096);
}

#[test]
fn rfc_5492_a_peer_without_optional_parameters_is_asked_again_without_capabilities() {
    let (mut script, connection) = Script::connected(Config {
        local_as: Asn(4_200_000_001),
        ..config()
    });
    let refusal = Notification::new(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER);
    script.notify(connection, &refusal);
    script.until_dial();
    let connection = script.connect();
    let open = script.sent_open(connection).clone();
    assert_eq!(open.capabilities, Capabilities::default());
    // RFC 6793 section 4.2.2: what stands for it in two octets.
    assert_eq!(open.my_as, Asn::TRANS);
    script.bytes(
        connection,
        &raw(1, &open_body(4, 65_002, 90, [10, 99, 1, 2], &[])),
    );
    script.keepalive(connection);
    let negotiated = script.session.negotiated().unwrap();
    assert_eq!(negotiated.families, Families::only(Family::Ipv4Unicast));
    assert!(!negotiated.four_octet_as);

    // The router may be another one when it is back.
    script.session.handle_closed(script.now, connection, None);
    script.drain();
    script.until_dial();
    let connection = script.connect();
    assert_eq!(
        script.sent_open(connection).capabilities.families,
        Families::BOTH
    );
}

#[test]
fn rfc_5492_without_ipv4_there_is_nothing_to_ask_again_for() {
    let (mut script, connection) = Script::connected(Config {
        families: Families::only(Family::Ipv6Unicast),
        ..config()
    });
    let refusal = Notification::new(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER);
    script.notify(connection, &refusal);
    script.until_dial();
    let connection = script.connect();
    let families = script.sent_open(connection).capabilities.families;
    assert_eq!(families, Families::only(Family::Ipv6Unicast));
}

#[test]
fn o15_the_extended_form_of_rfc_9072_is_taken() {
    let capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfd, 0xea];
    let mut body = open_body(4, 65_002, 90, [10, 99, 1, 2], &[]);
    *body.last_mut().unwrap() = 255;
    body.extend([255, 0, 15, 2, 0, 12]);
    body.extend(capabilities);
    let (mut script, connection) = answer(&body);
    script.keepalive(connection);
    assert_eq!(script.session.state(), State::Established);
}

#[test]
fn o16_only_families_of_both_are_negotiated() {
    let mut open = peer_open();
    open.capabilities.families = Families::only(Family::Ipv6Unicast);
    let negotiated = negotiated(config(), &open);
    assert_eq!(negotiated.families, Families::only(Family::Ipv6Unicast));
}

#[test]
fn a_peer_with_no_common_family_is_told_what_it_lacks() {
    let config = Config {
        families: Families::only(Family::Ipv6Unicast),
        ..config()
    };
    let mut open = peer_open();
    open.capabilities.families = Families::only(Family::Ipv4Unicast);
    let missing = [1, 4, 0, 2, 0, 1];
    let error = ErrorCode::UNSUPPORTED_CAPABILITY;
    assert_eq!(
        refused(config, &open, error, &missing),
        Reason::NoCommonFamily
    );
}

#[test]
fn the_as_may_be_any_of_inside_or_outside() {
    let with = |peer_as| Config {
        peer_as,
        ..config()
    };
    let from = |asn| Open {
        my_as: Asn(asn),
        ..peer_open()
    };
    assert!(negotiated(with(ExpectedAs::Internal), &from(65_001)).is_internal());
    for asn in [65_002, 4_200_000_001] {
        assert_eq!(
            negotiated(with(ExpectedAs::External), &from(asn)).peer_as,
            Asn(asn)
        );
    }
    let error = ErrorCode::BAD_PEER_AS;
    let reason = refused(with(ExpectedAs::Internal), &from(65_002), error, &[]);
    assert_eq!(
        reason.to_string(),
        "the peer is in AS 65002, not in the own AS 65001"
    );
    let reason = refused(with(ExpectedAs::External), &from(65_001), error, &[]);
    assert_eq!(
        reason.to_string(),
        "the peer is in AS 65001, which is the own one"
    );
}

#[test]
fn a_large_as_of_this_side_is_told_in_the_capability() {
    let (script, connection) = Script::connected(Config {
        local_as: Asn(4_200_000_001),
        ..config()
    });
    assert_eq!(script.sent_open(connection).my_as, Asn(4_200_000_001));
}

#[test]
fn roles_must_fit_and_a_strict_side_wants_one() {
    let with = |strict| Config {
        role: Some(RoleConfig {
            role: Role::Customer,
            strict,
        }),
        ..config()
    };
    let from = |role| Open {
        capabilities: Capabilities {
            role,
            ..peer_open().capabilities
        },
        ..peer_open()
    };
    let error = ErrorCode::ROLE_MISMATCH;
    assert_eq!(
        negotiated(with(true), &from(Some(Role::Provider))).peer_role,
        Some(Role::Provider)
    );
    negotiated(with(false), &from(None));
    let reason = refused(with(false), &from(Some(Role::Customer)), error, &[]);
    assert_eq!(
        reason.to_string(),
        "the roles do not fit (RFC 9234): Customer here, Customer at the peer"
    );
    let reason = refused(with(true), &from(None), error, &[]);
    assert!(matches!(reason, Reason::WrongRole { theirs: None, .. }));
}

#[test]
fn a_role_is_not_told_within_the_as() {
    let config = Config {
        peer_as: ExpectedAs::Exactly(OUR_AS),
        role: Some(RoleConfig {
            role: Role::Customer,
            strict: true,
        }),
        ..config()
    };
    let open = Open {
        my_as: OUR_AS,
        ..peer_open()
    };
    let (script, connection) = Script::established(config, &open);
    assert_eq!(script.sent_open(connection).capabilities.role, None);
}

#[test]
fn the_lower_hold_time_counts() {
    for (ours, theirs, lower) in [(90, 30, 30), (9, 90, 9), (0, 90, 0), (90, 0, 0), (3, 3, 3)] {
        let mut config = config();
        config.timers.hold = ours;
        let open = Open {
            hold_time: theirs,
            ..peer_open()
        };
        assert_eq!(negotiated(config, &open).hold_time, lower);
    }
}

#[test]
fn long_messages_need_both_sides() {
    for (ours, theirs, limit) in [
        (true, true, 65_535),
        (true, false, 4096),
        (false, true, 4096),
    ] {
        let config = Config {
            extended_messages: ours,
            ..config()
        };
        let mut open = peer_open();
        open.capabilities.extended_message = theirs;
        assert_eq!(negotiated(config, &open).message_limit, limit);
    }
}

#[test]
fn the_peers_identifier_may_be_any_but_0() {
    let open = Open {
        id: BgpId([255, 255, 255, 255].into()),
        ..peer_open()
    };
    negotiated(config(), &open);
    assert_eq!(PEER_AS, open.my_as);
}
