//! Message header errors (RFC 4271, 6.1).

use anyhow::Result;

use super::super::peer::RawPeer;
use super::super::wire::{keepalive, kind, message, message_of_length};
use super::{Case, Outcome, notified};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "h1",
        "a marker with a zero octet",
        "1/1 (RFC 4271, 6.1)",
        |peer| {
            let mut bytes = keepalive();
            bytes[7] = 0;
            answer(peer, &bytes, 1, None)
        },
    ),
    Case::new("h2", "a header of length 18", "1/2 with 0012", |peer| {
        let bytes = message_of_length(kind::KEEPALIVE, &[], 18);
        answer(peer, &bytes, 2, Some(18))
    }),
    Case::new("h3", "an UPDATE of length 4097", "1/2 with 1001", |peer| {
        // The rest would meet a closed socket, whose reset may overtake the answer.
        let bytes = message_of_length(kind::UPDATE, &[], 4097);
        answer(peer, &bytes, 2, Some(4097))
    }),
    Case::new("h4", "a KEEPALIVE of length 20", "1/2 with 0014", |peer| {
        let bytes = message(kind::KEEPALIVE, &[0]);
        answer(peer, &bytes, 2, Some(20))
    }),
    Case::new("h5", "an OPEN of length 28", "1/2 with 001c", |peer| {
        let (mut connection, _) = peer.opened()?;
        connection.send(&message(kind::OPEN, &peer.open().fixed()))?;
        notified(&mut connection, 1, 2, Some(&[0, 28]))
    }),
    Case::new("h6", "an UPDATE of length 22", "1/2 with 0016", |peer| {
        let bytes = message(kind::UPDATE, &[0, 0, 0]);
        answer(peer, &bytes, 2, Some(22))
    }),
    Case::new("h7", "a message of type 9", "1/3 with 09", |peer| {
        let mut connection = peer.establish()?;
        connection.send(&message(9, &[]))?;
        notified(&mut connection, 1, 3, Some(&[9]))
    }),
];

fn answer(peer: &RawPeer, bytes: &[u8], subcode: u8, length: Option<u16>) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    connection.send(bytes)?;
    let data = length.map(u16::to_be_bytes);
    let data = data.as_ref().map(<[u8; 2]>::as_slice);
    notified(&mut connection, 1, subcode, data)
}
