//! NOTIFICATION: its words, its texts, and the reset that is final.

use herald_bgp::wire::{ErrorCode, Message, Notification};

use super::support::{decode, error, message};

fn round_trip(notification: &Notification) -> Notification {
    let mut bytes = Vec::new();
    notification.encode(&mut bytes);
    match decode(&bytes) {
        Ok(Message::Notification(back)) => back,
        other => panic!("no NOTIFICATION, but {other:?}"),
    }
}

#[test]
fn it_is_written_as_rfc_4271_draws_it() {
    let mut bytes = Vec::new();
    error(ErrorCode::BAD_MESSAGE_LENGTH, &[0x10, 0x01]).encode(&mut bytes);
    assert_eq!(bytes, message(3, &[1, 2, 0x10, 0x01]));
}

#[test]
fn every_code_has_words() {
    let cases = [
        (ErrorCode::HOLD_TIMER_EXPIRED, "hold timer expired (4/0)"),
        (ErrorCode::BFD_DOWN, "BFD down (6/10)"),
        (ErrorCode::BAD_PEER_AS, "bad peer AS (2/2)"),
        (
            ErrorCode {
                code: 3,
                subcode: 99,
            },
            "UPDATE message error (3/99)",
        ),
        (
            ErrorCode {
                code: 99,
                subcode: 1,
            },
            "unknown error (99/1)",
        ),
    ];
    for (code, words) in cases {
        assert_eq!(code.to_string(), words);
        assert_eq!(round_trip(&Notification::new(code)).to_string(), words);
    }
}

#[test]
fn a_shutdown_says_why() {
    let shutdown = Notification::with_text(
        ErrorCode::ADMINISTRATIVE_SHUTDOWN,
        "node worker-1 is drained",
    );
    assert_eq!(shutdown.data[0], 24);
    let back = round_trip(&shutdown);
    assert_eq!(back.text().as_deref(), Some("node worker-1 is drained"));
    assert_eq!(
        back.to_string(),
        "administrative shutdown (6/2): \"node worker-1 is drained\""
    );
}

#[test]
fn a_text_is_cut_between_characters() {
    let text = "\u{20ac}".repeat(100);
    let reset = Notification::with_text(ErrorCode::ADMINISTRATIVE_RESET, &text);
    assert_eq!(round_trip(&reset).text().unwrap().chars().count(), 85);
    assert_eq!(reset.data.len(), 256);
    let two = "\u{e9}".repeat(200);
    let reset = Notification::with_text(ErrorCode::ADMINISTRATIVE_RESET, &two);
    assert_eq!(reset.data[0], 254);
}

#[test]
fn a_text_that_is_not_one_does_no_harm() {
    let text = |data: &[u8]| error(ErrorCode::ADMINISTRATIVE_SHUTDOWN, data).text();
    assert_eq!(text(&[]), None);
    assert_eq!(text(&[0]), None);
    assert_eq!(text(&[5, b'h', b'i']), None);
    assert_eq!(text(&[2, b'h', b'i', 9]).as_deref(), Some("hi"));
    assert_eq!(text(&[2, 0xc3, 0x28]).as_deref(), Some("\u{fffd}("));
    // Control characters are not told as they are.
    let nasty = error(ErrorCode::ADMINISTRATIVE_SHUTDOWN, b"\x03a\n\x1b");
    assert_eq!(
        nasty.to_string(),
        "administrative shutdown (6/2): \"a\\n\\u{1b}\""
    );
    // RFC 9003 section 2: that it is malformed is to be told.
    for malformed in [&[5, b'h', b'i'][..], &[2, 0xc3, 0x28]] {
        let words = error(ErrorCode::ADMINISTRATIVE_RESET, malformed).to_string();
        assert!(
            words.ends_with("(with a text that is not as RFC 9003 says)"),
            "{words}"
        );
    }
    // Other errors have no text.
    assert_eq!(error(ErrorCode::HOLD_TIMER_EXPIRED, b"\x02hi").text(), None);
}

#[test]
fn a_hard_reset_has_its_reason_within() {
    let why = Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, "gone");
    let hard = Notification::hard_reset(&why);
    let mut expected = vec![6, 2, 4];
    expected.extend(b"gone");
    assert_eq!(hard, error(ErrorCode::HARD_RESET, &expected));
    let back = round_trip(&hard);
    assert_eq!(back.within_hard_reset(), Some(why));
    assert_eq!(
        back.to_string(),
        "hard reset (6/9): administrative shutdown (6/2): \"gone\""
    );
    assert_eq!(error(ErrorCode::HARD_RESET, &[6]).within_hard_reset(), None);
    let nested = Notification::hard_reset(&hard);
    assert_eq!(nested.within_hard_reset(), None);
    assert_eq!(nested.text(), None);
}

#[test]
fn more_data_than_fits_is_cut_off() {
    let long = error(ErrorCode::INVALID_REFRESH_LENGTH, &[7; 5000]);
    let mut bytes = Vec::new();
    long.encode(&mut bytes);
    assert_eq!(bytes.len(), 4096);
    assert_eq!(round_trip(&long).data.len(), 4096 - 21);
}
