//! OPEN messages, wrong and unusual (RFC 4271, 6.2; RFC 5492, 6286, 6793, 7607, 9072).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::peer::RawPeer;
use super::super::wire::{Open, capability, four_octet_as, kind, message, multiprotocol};
use super::{Case, Outcome, notified};

pub(super) const CASES: &[Case] = &[
    Case::new("o1", "version 3", "2/1 with 0004 (RFC 4271, 6.2)", |peer| {
        refused(peer, |open| open.version = 3, 1, Some(&[0, 4]))
    }),
    Case::new("o2", "another AS than configured", "2/2", |peer| {
        let other = Open::new(peer.asn + 1000, peer.local);
        refused(peer, |open| *open = other.clone(), 2, None)
    }),
    Case::new(
        "o3",
        "the BGP identifier 0.0.0.0",
        "2/3 (RFC 6286)",
        |peer| refused(peer, |open| open.id = Ipv4Addr::UNSPECIFIED, 3, None),
    ),
    Case::new("o4", "a hold time of 1 s", "2/6", |peer| {
        refused(peer, |open| open.hold = 1, 6, None)
    }),
    Case::new("o5", "a hold time of 2 s", "2/6", |peer| {
        refused(peer, |open| open.hold = 2, 6, None)
    }),
    Case::new("o6", "an optional parameter of type 77", "2/4", |peer| {
        refused(peer, |open| open.parameters.extend([77, 1, 0]), 4, None)
    }),
    Case::new(
        "o7",
        "unknown capabilities",
        "a session (RFC 5492)",
        |peer| {
            Ok(accepted(peer, |open| {
                open.parameters.extend([2, 6, 200, 0, 239, 2, 1, 2]);
            }))
        },
    ),
    Case::new(
        "o8",
        "AS 0 without the capability",
        "2/2 (RFC 7607)",
        |peer| {
            refused(
                peer,
                |open| {
                    *open = open.clone().capabilities(&[multiprotocol(1, 1)]);
                    open.asn = 0;
                },
                2,
                None,
            )
        },
    ),
    Case::new(
        "o9",
        "another AS in capability 65 than in the AS field",
        "2/2",
        |peer| {
            let other = peer.asn + 1000;
            let both = [multiprotocol(1, 1), four_octet_as(other)];
            refused(
                peer,
                |open| *open = open.clone().capabilities(&both),
                2,
                None,
            )
        },
    ),
    Case::new("o10", "AS 0 in capability 65", "2/2 (RFC 7607)", |peer| {
        let both = [multiprotocol(1, 1), four_octet_as(0)];
        refused(
            peer,
            |open| *open = open.clone().capabilities(&both),
            2,
            None,
        )
    }),
    Case::new(
        "o11",
        "each capability in a parameter of its own",
        "a session (RFC 5492, 4)",
        |peer| {
            let asn = peer.asn;
            Ok(accepted(peer, |open| {
                let each = [
                    multiprotocol(1, 1),
                    multiprotocol(2, 1),
                    capability(2, &[]),
                    four_octet_as(asn),
                ];
                let parameters = each.iter().flat_map(|one| {
                    let length = u8::try_from(one.len()).unwrap_or(u8::MAX);
                    [&[2, length], one.as_slice()].concat()
                });
                open.parameters = parameters.collect();
            }))
        },
    ),
    Case::new(
        "o12",
        "no capabilities",
        "a session, IPv4, AS numbers of two octets",
        no_capabilities,
    ),
    Case::new(
        "o13",
        "each capability twice",
        "a session (RFC 5492, 4)",
        |peer| {
            Ok(accepted(peer, |open| {
                open.parameters.extend(open.parameters.clone());
            }))
        },
    ),
    Case::new(
        "o14",
        "a parameter of capabilities without any",
        "a session",
        |peer| Ok(accepted(peer, |open| open.parameters.extend([2, 0]))),
    ),
    Case::new(
        "o15",
        "parameters with lengths of two octets",
        "a session (RFC 9072)",
        |peer| {
            let each = [
                multiprotocol(1, 1),
                capability(2, &[]),
                four_octet_as(peer.asn),
            ];
            let body = peer.open().extended_body(&[(2, each.concat())]);
            let session = peer.establish_with_bytes(&message(kind::OPEN, &body));
            Ok(alive(session.map(drop)))
        },
    ),
    Case::new("o16", "IPv6 alone", "no IPv4 routes (RFC 4760)", ipv6_alone),
    Case::new(
        "o18",
        "its own identifier is the speaker's, in the speaker's AS",
        "2/3 (RFC 6286, 2.2)",
        |peer| {
            let id = peer.speaker.id;
            refused(peer, |open| open.id = id, 3, None)
        },
    )
    .internal(),
    Case::new(
        "o19",
        "its own identifier is the speaker's, in another AS",
        "a session (RFC 6286, 2.1)",
        |peer| {
            let id = peer.speaker.id;
            Ok(accepted(peer, |open| open.id = id))
        },
    ),
    Case::new(
        "o20",
        "a family that the speaker has not, and no other",
        "2/7 with the families that it wants (RFC 5492, 5)",
        |peer| {
            let only = [multiprotocol(25, 70), four_octet_as(peer.asn)];
            let wanted = [multiprotocol(1, 1), multiprotocol(2, 1)].concat();
            refused(
                peer,
                |open| *open = open.clone().capabilities(&only),
                7,
                Some(&wanted),
            )
        },
    ),
    Case::new(
        "o21",
        "lengths of two octets after a length of 4",
        "a session (RFC 9072, 2)",
        |peer| {
            let each = [multiprotocol(1, 1), four_octet_as(peer.asn)];
            let mut body = peer.open().extended_body(&[(2, each.concat())]);
            body[9] = 4;
            let session = peer.establish_with_bytes(&message(kind::OPEN, &body));
            Ok(alive(session.map(drop)))
        },
    ),
    Case::new(
        "o17",
        "parameters longer than the message",
        "2/0 (RFC 4271, 6.2)",
        |peer| {
            let (mut connection, _) = peer.opened()?;
            let mut body = peer.open().body();
            body[9] += 1;
            connection.send(&message(kind::OPEN, &body))?;
            notified(&mut connection, 2, 0, None)
        },
    ),
];

fn refused(
    peer: &RawPeer,
    change: impl Fn(&mut Open),
    subcode: u8,
    data: Option<&[u8]>,
) -> Result<Outcome> {
    let (mut connection, _) = peer.opened()?;
    let mut open = peer.open();
    change(&mut open);
    connection.send(&open.message())?;
    notified(&mut connection, 2, subcode, data)
}

fn alive(session: Result<()>) -> Outcome {
    match session {
        Ok(()) => Outcome::AsExpected("a session".into()),
        Err(error) => Outcome::Otherwise(error.to_string()),
    }
}

fn accepted(peer: &RawPeer, change: impl Fn(&mut Open)) -> Outcome {
    let mut open = peer.open();
    change(&mut open);
    alive(peer.establish_with(&open).map(drop))
}

/// The routes must come, with an `AS_PATH` that a peer of the last century reads.
fn no_capabilities(peer: &RawPeer) -> Result<Outcome> {
    let open = peer.open().capabilities(&[]);
    let open = Open {
        parameters: Vec::new(),
        ..open
    };
    let (mut connection, _) = peer.establish_with(&open)?;
    let path = connection.receive_until(Instant::now() + Duration::from_secs(8), |message| {
        let update = message.update()?.ok()?;
        (!update.announced.is_empty()).then_some(update)
    })?;
    Ok(match path {
        Ok(update) => {
            let path = update.attribute(2).unwrap_or_default().to_vec();
            let own = u16::try_from(peer.speaker.asn)
                .unwrap_or(23456)
                .to_be_bytes();
            let right = path == [&[2, 1], own.as_slice()].concat();
            let four = update
                .announced
                .iter()
                .all(|prefix| prefix.address.is_ipv4());
            Outcome::of(right && four, format!("UPDATE with AS_PATH {path:?}"))
        }
        Err(event) => Outcome::Otherwise(event.to_string()),
    })
}

fn ipv6_alone(peer: &RawPeer) -> Result<Outcome> {
    let only = [multiprotocol(2, 1), four_octet_as(peer.asn)];
    let open = peer.open().capabilities(&only);
    let (mut connection, _) = peer.establish_with(&open)?;
    let (mut four, mut six, mut end4) = (0, 0, false);
    let mut messages = peer.settle(&mut connection)?;
    if messages.iter().all(|message| message.kind != kind::UPDATE) {
        // One with many peers may take its time.
        messages.extend(peer.settle(&mut connection)?);
    }
    for message in messages {
        let Some(update) = message.update().transpose()? else {
            continue;
        };
        for prefix in update.announced.iter().chain(&update.withdrawn) {
            if prefix.address.is_ipv4() {
                four += 1;
            } else {
                six += 1;
            }
        }
        end4 |= update.end_of_rib == Some((1, 1));
    }
    let seen = format!("{four} IPv4 and {six} IPv6 prefixes, IPv4 End-of-RIB: {end4}");
    Ok(Outcome::of(four == 0 && six > 0 && !end4, seen))
}
