//! RFC 4271 6.2 and what was added to it.

use herald_bgp::wire::{
    Asn, Capabilities, ErrorCode, ExpectedAs, Families, Message, Negotiated, Notification, Open,
};

use super::support::{LOCAL_AS, PEER_AS, decode, error, message, open, ours, refusal, theirs};

const EXPECTED: ExpectedAs = ExpectedAs::Exactly(PEER_AS);

/// An OPEN of AS 65002 with these fields and parameters, whose length is put before them.
fn raw(version: u8, asn: u16, hold: u16, id: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![version];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(id);
    body.push(u8::try_from(parameters.len()).unwrap());
    body.extend(parameters);
    message(1, &body)
}

fn with_parameters(parameters: &[u8]) -> Vec<u8> {
    raw(4, 65_002, 90, [10, 99, 1, 2], parameters)
}

fn accepted(bytes: &[u8]) -> Open {
    match decode(bytes) {
        Ok(Message::Open(open)) => open,
        other => panic!("no OPEN, but {other:?}"),
    }
}

fn capabilities(parameters: &[u8]) -> Capabilities {
    accepted(&with_parameters(parameters)).capabilities
}

#[test]
fn o1_another_version() {
    for version in [3, 5] {
        assert_eq!(
            refusal(&raw(version, 65_002, 90, [10, 99, 1, 2], &[])),
            error(ErrorCode::UNSUPPORTED_VERSION, &[0x00, 0x04])
        );
    }
}

#[test]
fn o2_an_as_that_is_not_expected() {
    let their = accepted(&raw(4, 65_003, 90, [10, 99, 1, 2], &[]));
    let bad = Err(Notification::new(ErrorCode::BAD_PEER_AS));
    assert_eq!(their.check(&ours(), EXPECTED), bad);
    assert_eq!(their.check(&ours(), ExpectedAs::Internal), bad);
    assert_eq!(their.check(&ours(), ExpectedAs::External), Ok(()));
    let sibling = open(LOCAL_AS, [10, 99, 1, 2]);
    assert_eq!(sibling.check(&ours(), ExpectedAs::External), bad);
    assert_eq!(sibling.check(&ours(), ExpectedAs::Internal), Ok(()));
}

#[test]
fn o3_identifier_zero() {
    assert_eq!(
        refusal(&raw(4, 65_002, 90, [0; 4], &[])),
        Notification::new(ErrorCode::BAD_BGP_IDENTIFIER)
    );
    // Any other number is one (RFC 6286), also what is no address of a host.
    accepted(&raw(4, 65_002, 90, [0, 0, 0, 1], &[]));
    accepted(&raw(4, 65_002, 90, [255; 4], &[]));
}

#[test]
fn o4_hold_time_one() {
    assert_eq!(
        refusal(&raw(4, 65_002, 1, [10, 99, 1, 2], &[])),
        Notification::new(ErrorCode::UNACCEPTABLE_HOLD_TIME)
    );
}

#[test]
fn o5_hold_time_two() {
    assert_eq!(
        refusal(&raw(4, 65_002, 2, [10, 99, 1, 2], &[])),
        Notification::new(ErrorCode::UNACCEPTABLE_HOLD_TIME)
    );
    for fine in [0, 3, 65_535] {
        let open = accepted(&raw(4, 65_002, fine, [10, 99, 1, 2], &[]));
        assert_eq!(open.hold_time, fine);
    }
}

#[test]
fn o6_an_unknown_optional_parameter() {
    for kind in [1, 3, 254] {
        assert_eq!(
            refusal(&with_parameters(&[kind, 2, 1, 2])),
            Notification::new(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER)
        );
    }
}

#[test]
fn o7_an_unknown_capability_is_kept_and_of_no_consequence() {
    let parameters = [2, 9, 73, 3, 1, 2, 3, 2, 0, 200, 0];
    let capabilities = capabilities(&parameters);
    let other: Vec<_> = capabilities
        .other
        .iter()
        .map(|one| (one.code, one.value.len()))
        .collect();
    assert_eq!(other, [(73, 3), (200, 0)]);
    assert!(capabilities.route_refresh);
}

#[test]
fn o8_our_own_identifier_is_an_error_within_our_as_only() {
    let sibling = open(LOCAL_AS, [10, 99, 1, 1]);
    assert_eq!(
        sibling.check(&ours(), ExpectedAs::Internal),
        Err(Notification::new(ErrorCode::BAD_BGP_IDENTIFIER))
    );
    assert_eq!(
        open(PEER_AS, [10, 99, 1, 1]).check(&ours(), EXPECTED),
        Ok(())
    );
}

#[test]
fn o9_a_capability_with_another_as() {
    // 65002 in the field, 65003 in the capability.
    assert_eq!(
        refusal(&with_parameters(&[2, 6, 65, 4, 0, 0, 0xfd, 0xeb])),
        Notification::new(ErrorCode::BAD_PEER_AS)
    );
    // The capability is what counts where the field says that it cannot.
    let their = accepted(&raw(
        4,
        23_456,
        90,
        [10, 99, 1, 2],
        &[2, 6, 65, 4, 0, 0, 0xfd, 0xeb],
    ));
    assert_eq!(their.my_as, Asn(65_003));
    assert_eq!(
        their.check(&ours(), EXPECTED),
        Err(Notification::new(ErrorCode::BAD_PEER_AS))
    );
}

#[test]
fn o10_as_zero() {
    let bad = Notification::new(ErrorCode::BAD_PEER_AS);
    assert_eq!(refusal(&raw(4, 0, 90, [10, 99, 1, 2], &[])), bad);
    let zero = [2, 6, 65, 4, 0, 0, 0, 0];
    assert_eq!(refusal(&raw(4, 23_456, 90, [10, 99, 1, 2], &zero)), bad);
    assert_eq!(refusal(&with_parameters(&zero)), bad);
}

#[test]
fn o11_a_capability_that_is_repeated() {
    let ipv4 = [1, 4, 0, 1, 0, 1];
    let mut parameters = vec![2, 18];
    parameters.extend([ipv4, ipv4, [1, 4, 0, 2, 0, 1]].concat());
    assert_eq!(capabilities(&parameters).families, Families::BOTH);
    // Of two graceful restarts the last one counts (RFC 4724 section 3).
    let two = capabilities(&[2, 8, 64, 2, 0x80, 10, 64, 2, 0, 20]);
    let restart = two.graceful_restart.unwrap();
    assert_eq!((restart.restarting, restart.restart_time), (false, 20));
}

#[test]
fn o12_no_capabilities_at_all() {
    let their = accepted(&with_parameters(&[]));
    assert_eq!(their.capabilities, Capabilities::default());
    let negotiated = Negotiated::new(&ours(), &their);
    assert_eq!(
        negotiated.families,
        Families {
            ipv4: true,
            ipv6: false
        }
    );
    assert!(!negotiated.four_octet_as);
    assert!(!negotiated.route_refresh);
    assert_eq!(negotiated.message_limit, 4096);
}

#[test]
fn o13_capabilities_in_several_parameters() {
    let parameters = [
        2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 2, 0, 2, 0, 2, 6, 65, 4, 0, 0, 0xfd, 0xea,
    ];
    let their = accepted(&with_parameters(&parameters));
    assert_eq!(their.my_as, PEER_AS);
    let capabilities = their.capabilities;
    assert!(capabilities.four_octet_as && capabilities.route_refresh);
    assert_eq!(
        capabilities.families,
        Families {
            ipv4: true,
            ipv6: false
        }
    );
}

#[test]
fn o14_a_family_that_is_required_is_named_in_the_refusal() {
    assert_eq!(
        Notification::unsupported_families(Families::BOTH),
        error(
            ErrorCode::UNSUPPORTED_CAPABILITY,
            &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]
        )
    );
}

#[test]
fn o15_parameters_in_the_extended_form() {
    // RFC 9072: 255, 255, a length of two octets, and such lengths in the parameters.
    let mut body = vec![4, 0xfd, 0xea, 0, 90, 10, 99, 1, 2];
    let parameters = [2, 0, 2, 2, 0, 2, 0, 6, 1, 4, 0, 2, 0, 1];
    body.extend([255, 255, 0, 14]);
    body.extend(parameters);
    let capabilities = accepted(&message(1, &body)).capabilities;
    assert!(capabilities.route_refresh);
    assert_eq!(
        capabilities.families,
        Families {
            ipv4: false,
            ipv6: true
        }
    );

    // The length of one octet is ignored as long as it is not 0.
    body[9] = 17;
    assert_eq!(accepted(&message(1, &body)).capabilities, capabilities);
    body[9] = 0;
    assert_eq!(
        refusal(&message(1, &body)),
        Notification::new(ErrorCode::OPEN_UNSPECIFIC)
    );
}

#[test]
fn o16_a_peer_with_ipv6_only() {
    let their = accepted(&with_parameters(&[2, 6, 1, 4, 0, 2, 0, 1]));
    let families = Negotiated::new(&ours(), &their).families;
    assert_eq!(
        families,
        Families {
            ipv4: false,
            ipv6: true
        }
    );
    // A family that is unknown here is one as well: IPv4 is not taken for granted then.
    let their = accepted(&with_parameters(&[2, 6, 1, 4, 0x40, 4, 0, 71]));
    assert!(Negotiated::new(&ours(), &their).families.is_empty());
}

#[test]
fn parameters_that_do_not_add_up() {
    let malformed = Notification::new(ErrorCode::OPEN_UNSPECIFIC);
    let cases: [&[u8]; 9] = [
        &[2],
        &[2, 3, 2, 0],
        &[2, 1, 2],
        &[2, 3, 1, 4, 0],
        // Known capabilities of the wrong length.
        &[2, 5, 1, 3, 0, 1, 1],
        &[2, 4, 65, 2, 0xfd, 0xea],
        &[2, 3, 64, 1, 0],
        &[2, 7, 5, 5, 0, 1, 0, 1, 0],
        &[2, 4, 9, 2, 3, 3],
    ];
    for parameters in cases {
        assert_eq!(
            refusal(&with_parameters(parameters)),
            malformed,
            "{parameters:?}"
        );
    }
    // More than the length says, and less.
    let mut longer = with_parameters(&[2, 2, 2, 0]);
    longer[17] += 1;
    longer.push(0);
    assert_eq!(refusal(&longer), malformed);
    let mut shorter = with_parameters(&[2, 2, 2, 0]);
    shorter[28] += 1;
    assert_eq!(refusal(&shorter), malformed);
}

#[test]
fn the_first_error_of_the_rfc_s_order_is_told() {
    let all_wrong = raw(3, 0, 1, [0; 4], &[9, 0]);
    assert_eq!(refusal(&all_wrong).error, ErrorCode::UNSUPPORTED_VERSION);
    let all_but_version = raw(4, 0, 1, [0; 4], &[9, 0]);
    assert_eq!(refusal(&all_but_version).error, ErrorCode::BAD_PEER_AS);
}

#[test]
fn what_is_written_is_what_rfc_4271_draws() {
    let mut ours = open(Asn(4_200_000_001), [10, 99, 1, 1]);
    ours.capabilities = Capabilities {
        families: Families::BOTH,
        four_octet_as: true,
        ..Capabilities::default()
    };
    let mut bytes = Vec::new();
    ours.encode(&mut bytes);
    let mut body = vec![4, 0x5b, 0xa0, 0, 90, 10, 99, 1, 1, 20, 2, 18];
    body.extend([
        1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, 0xfa, 0x56, 0xea, 0x01,
    ]);
    assert_eq!(bytes, message(1, &body));
}

#[test]
fn without_capabilities_there_is_no_parameter() {
    let mut ours = ours();
    ours.capabilities = Capabilities::default();
    let mut bytes = Vec::new();
    ours.encode(&mut bytes);
    assert_eq!(bytes.len(), 29);
    assert_eq!(bytes.last(), Some(&0));
}

#[test]
fn the_smaller_hold_time_is_negotiated() {
    let mut short = theirs();
    for (their, agreed) in [(30, 30), (180, 90), (0, 0)] {
        short.hold_time = their;
        assert_eq!(Negotiated::new(&ours(), &short).hold_time, agreed);
    }
}
