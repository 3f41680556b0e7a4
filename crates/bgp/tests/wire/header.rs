//! RFC 4271 6.1, and messages in pieces.

use herald_bgp::wire::{
    EXTENDED_LIMIT, ErrorCode, Framer, Message, MessageType, Notification, STANDARD_LIMIT,
};

use super::support::{error, header, message};

/// What the framer says about a header alone.
fn judge(bytes: &[u8]) -> Notification {
    let mut framer = Framer::new();
    framer.push(bytes);
    framer.next().expect_err("the header is wrong")
}

#[test]
fn h1_a_marker_that_is_not_all_ones() {
    let mut bytes = header(19, 4);
    bytes[7] = 0xfe;
    assert_eq!(
        judge(&bytes),
        Notification::new(ErrorCode::CONNECTION_NOT_SYNCHRONIZED)
    );
}

#[test]
fn h2_a_length_below_the_header() {
    assert_eq!(
        judge(&header(18, 4)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 18])
    );
    assert_eq!(
        judge(&header(0, 2)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 0])
    );
}

#[test]
fn h3_a_length_above_the_limit() {
    for kind in 1..=5 {
        assert_eq!(
            judge(&header(4097, kind)),
            error(ErrorCode::BAD_MESSAGE_LENGTH, &[0x10, 0x01])
        );
    }
}

#[test]
fn h4_an_unknown_type() {
    for kind in [0, 6, 255] {
        assert_eq!(
            judge(&header(19, kind)),
            error(ErrorCode::BAD_MESSAGE_TYPE, &[kind])
        );
    }
}

#[test]
fn h5_a_keepalive_with_a_body() {
    assert_eq!(
        judge(&header(20, 4)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 20])
    );
}

#[test]
fn h6_an_update_without_its_two_lengths() {
    assert_eq!(
        judge(&header(22, 2)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 22])
    );
}

#[test]
fn h7_an_open_and_a_notification_that_are_too_short() {
    assert_eq!(
        judge(&header(28, 1)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 28])
    );
    assert_eq!(
        judge(&header(20, 3)),
        error(ErrorCode::BAD_MESSAGE_LENGTH, &[0, 20])
    );
}

#[test]
fn the_marker_is_looked_at_before_the_length_and_that_before_the_type() {
    let mut bytes = header(5000, 9);
    assert_eq!(judge(&bytes).error, ErrorCode::BAD_MESSAGE_LENGTH);
    bytes[0] = 0;
    assert_eq!(judge(&bytes).error, ErrorCode::CONNECTION_NOT_SYNCHRONIZED);
}

#[test]
fn an_error_stays() {
    let mut framer = Framer::new();
    framer.push(&header(19, 9));
    let first = framer.next();
    assert!(first.is_err());
    framer.push(&header(19, 4));
    assert_eq!(framer.next(), first);
}

#[test]
fn a_header_that_is_not_complete_is_waited_for() {
    let mut framer = Framer::new();
    framer.push(&[0; 18]);
    assert_eq!(framer.next(), Ok(None));
    framer.push(&[0]);
    assert!(framer.next().is_err());
}

#[test]
fn messages_longer_than_4096_only_where_both_take_them() {
    let body = vec![0; EXTENDED_LIMIT - 19];
    let mut framer = Framer::new();
    framer.set_limit(EXTENDED_LIMIT);
    framer.push(&message(2, &body));
    let update = framer.next().unwrap().unwrap();
    assert_eq!(
        (update.kind, update.body.len()),
        (MessageType::Update, body.len())
    );

    // OPEN and KEEPALIVE stay short (RFC 8654 section 4).
    for kind in [1, 4] {
        framer = Framer::new();
        framer.set_limit(EXTENDED_LIMIT);
        framer.push(&header(4097, kind));
        assert_eq!(
            framer.next(),
            Err(error(ErrorCode::BAD_MESSAGE_LENGTH, &[0x10, 0x01]))
        );
    }
}

#[test]
fn many_messages_in_one_piece_come_out_one_by_one() {
    let mut bytes = Vec::new();
    for _ in 0..3 {
        Message::encode_keepalive(&mut bytes);
    }
    bytes.extend(message(2, &[0, 0, 0, 0]));
    let mut framer = Framer::new();
    framer.push(&bytes);
    let mut kinds = Vec::new();
    while let Some(raw) = framer.next().unwrap() {
        kinds.push(Message::decode(raw).unwrap().kind());
    }
    assert_eq!(kinds[..3], [MessageType::Keepalive; 3]);
    assert_eq!(kinds[3..], [MessageType::Update]);
}

#[test]
fn no_more_is_kept_than_one_incomplete_message() {
    let update = message(2, &vec![0; STANDARD_LIMIT - 19]);
    let taken = allocation_counter::measure(|| {
        let mut framer = Framer::new();
        // Each piece is the rest of a message and the beginning of the next.
        framer.push(&update[..4000]);
        for _ in 0..1000 {
            framer.push(&update[4000..]);
            framer.push(&update[..4000]);
            assert_eq!(framer.next().unwrap().unwrap().kind, MessageType::Update);
            assert_eq!(framer.next(), Ok(None));
            assert_eq!(framer.buffered(), 4000);
        }
    });
    assert!(
        taken.bytes_max < 10 * 4096,
        "{} bytes at a time",
        taken.bytes_max
    );
}
