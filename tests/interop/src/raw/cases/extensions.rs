//! What was agreed on beside RFC 4271: long messages (RFC 8654), the marks of a refresh (RFC 7313), and
//! the words at the end of a session (RFC 8538, 9003).

use std::time::Instant;

use anyhow::Result;

use super::super::peer::{RawPeer, SOON};
use super::super::wire::{
    attribute, capability, flag, four_octet_as, multiprotocol, notification, route_refresh,
};
use super::update::{BOTH, Good, session_goes_on};
use super::{Case, Outcome};

/// The capability of long messages.
const LONG: u8 = 6;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "x1",
        "an UPDATE of 60,000 octets, having agreed on long messages",
        "the session goes on (RFC 8654, 4)",
        long_update,
    ),
    Case::new(
        "x2",
        "begins and ends a refresh of its own",
        "the session goes on (RFC 7313, 4.2)",
        |peer| {
            let marks = [route_refresh(1, 1, 1), route_refresh(1, 2, 1)].concat();
            goes_on_after(peer, &marks)
        },
    ),
    Case::new(
        "x3",
        "a ROUTE-REFRESH of subtype 9",
        "nothing (RFC 7313, 5)",
        |peer| goes_on_after(peer, &route_refresh(1, 9, 1)),
    ),
    Case::new(
        "x4",
        "a shutdown with a text that is longer than the message",
        "dials again (RFC 9003, 2)",
        |peer| comes_back_after(peer, &notification(6, 2, &[200, b'b', b'y', b'e'])),
    ),
    Case::new(
        "x5",
        "a shutdown with a text that is no UTF-8",
        "dials again (RFC 9003, 2)",
        |peer| comes_back_after(peer, &notification(6, 4, &[2, 0xc3, 0x28])),
    ),
    Case::new("x6", "a hard reset", "dials again (RFC 8538, 3)", |peer| {
        comes_back_after(peer, &notification(6, 9, &[6, 2, 3, b'b', b'y', b'e']))
    }),
];

fn long_update(peer: &RawPeer) -> Result<Outcome> {
    let capabilities = [
        multiprotocol(1, 1),
        capability(2, &[]),
        capability(LONG, &[]),
        four_octet_as(peer.asn),
    ];
    let open = peer.open().capabilities(&capabilities);
    let (mut connection, seen) = peer.establish_with(&open)?;
    if seen.capability(LONG).is_empty() {
        return Ok(Outcome::Otherwise("long messages are not offered".into()));
    }
    peer.settle(&mut connection)?;
    let mut good = Good::of(peer);
    let communities: Vec<u8> = (0..15_000_u32).flat_map(u32::to_be_bytes).collect();
    good.more = attribute(BOTH | flag::EXTENDED, 8, &communities);
    connection.send(&good.message())?;
    Ok(match session_goes_on(&mut connection)? {
        None => Outcome::AsExpected("the session goes on".into()),
        Some(end) => Outcome::Otherwise(end),
    })
}

fn goes_on_after(peer: &RawPeer, message: &[u8]) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    peer.settle(&mut connection)?;
    connection.send(message)?;
    Ok(match session_goes_on(&mut connection)? {
        None => Outcome::AsExpected("the session goes on".into()),
        Some(end) => Outcome::Otherwise(end),
    })
}

/// Whether a speaker that is told so has a session again.
fn comes_back_after(peer: &RawPeer, message: &[u8]) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    connection.send(message)?;
    let start = Instant::now();
    let answer = connection.receive_until(Instant::now() + SOON, |message| {
        message.notification().is_some().then(|| message.clone())
    })?;
    if let Ok(answer) = answer {
        return Ok(Outcome::Otherwise(format!("answers with {answer}")));
    }
    drop(connection);
    Ok(match peer.establish() {
        Ok(_) => {
            let after = start.elapsed().as_secs_f64();
            Outcome::AsExpected(format!("a session after {after:.1} s"))
        }
        Err(error) => Outcome::Otherwise(error.to_string()),
    })
}
