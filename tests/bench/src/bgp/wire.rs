//! As much of BGP's messages (RFC 4271 section 4) as it takes to have a session and to count what
//! comes in on it. It shares no code with the speaker that is measured.

use std::net::Ipv4Addr;

/// The longest message without an agreement on longer ones.
const LONGEST: usize = 4096;
/// Marker, length and type.
const HEADER: usize = 19;
/// What an UPDATE has besides prefixes and attributes: the header and two lengths.
const UPDATE: usize = HEADER + 4;
/// A host route of IPv4: its length, and four bytes.
const HOST: usize = 5;

/// A message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Open,
    Update(Update),
    /// Code and subcode.
    Notification(u8, u8),
    Keepalive,
    /// Of no concern here.
    Other,
}

/// What an UPDATE says of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Update {
    /// Prefixes announced.
    pub(crate) announced: usize,
    /// Prefixes withdrawn.
    pub(crate) withdrawn: usize,
    /// Bytes of attributes.
    pub(crate) attributes: usize,
}

/// No message: the NOTIFICATION that a router sends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) u8, pub(crate) u8);

/// The first message in `bytes` and its length; `None` while it is not complete.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Message, usize)>, Fault> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [marker @ .., high, low, kind] = header;
    if marker.iter().any(|byte| *byte != 0xff) {
        return Err(Fault(1, 1));
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(Fault(1, 2));
    }
    let Some(body) = bytes.get(HEADER..length) else {
        return Ok(None);
    };
    let message = match kind {
        1 => Message::Open,
        2 => Message::Update(update(body).ok_or(Fault(3, 1))?),
        3 => match body {
            [code, subcode, ..] => Message::Notification(*code, *subcode),
            _ => return Err(Fault(1, 2)),
        },
        4 => Message::Keepalive,
        _ => Message::Other,
    };
    Ok(Some((message, length)))
}

fn update(body: &[u8]) -> Option<Update> {
    let (withdrawn, rest) = field(body)?;
    let (attributes, announced) = field(rest)?;
    Some(Update {
        announced: prefixes(announced)?,
        withdrawn: prefixes(withdrawn)?,
        attributes: attributes.len(),
    })
}

/// A field behind its length of two bytes, and what follows.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// How many prefixes these are.
fn prefixes(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let Some((bits, rest)) = bytes.split_first() {
        bytes = rest.get(usize::from(*bits).div_ceil(8)..)?;
        count += 1;
    }
    Some(count)
}

/// The fewest UPDATEs that announce so many host routes with so many bytes of attributes; without
/// attributes, that withdraw them.
pub(crate) fn fewest(routes: usize, attributes: usize) -> usize {
    let room = LONGEST.saturating_sub(UPDATE + attributes) / HOST;
    routes.div_ceil(room.max(1))
}

/// A router's OPEN: IPv4 unicast and nothing that makes messages longer.
pub(crate) fn open(asn: u32, id: Ipv4Addr) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 65, 4];
    capabilities.extend(asn.to_be_bytes());
    let mut body = vec![4];
    body.extend(u16::try_from(asn).unwrap_or(23456).to_be_bytes());
    body.extend(90_u16.to_be_bytes());
    body.extend(id.octets());
    let length = u8::try_from(capabilities.len()).unwrap_or(u8::MAX);
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    message(1, &body)
}

/// A KEEPALIVE.
pub(crate) fn keepalive() -> Vec<u8> {
    message(4, &[])
}

/// A NOTIFICATION.
pub(crate) fn notification(fault: Fault) -> Vec<u8> {
    message(3, &[fault.0, fault.1])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut message = vec![0xff; 16];
    message.extend(length.to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update_of(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
        let field = |bytes: &[u8]| {
            let length = u16::try_from(bytes.len()).expect("short");
            [&length.to_be_bytes(), bytes].concat()
        };
        let body = [field(withdrawn), field(attributes), announced.to_vec()].concat();
        message(2, &body)
    }

    #[test]
    fn prefixes_of_every_length_are_counted_once() {
        let announced = [32, 20, 0, 0, 1, 24, 20, 0, 1, 0, 9, 20, 128];
        let bytes = update_of(&[32, 20, 0, 0, 9], &[0x40, 1, 1, 0], &announced);
        let expected = Update {
            announced: 4,
            withdrawn: 1,
            attributes: 4,
        };
        assert_eq!(
            first(&bytes),
            Ok(Some((Message::Update(expected), bytes.len())))
        );
        for cut in 0..bytes.len() {
            assert_eq!(first(&bytes[..cut]), Ok(None));
        }
        let beyond = update_of(&[], &[], &[32, 20, 0, 0]);
        assert_eq!(first(&beyond), Err(Fault(3, 1)));
    }

    #[test]
    fn a_message_is_refused_where_a_router_refuses_it() {
        let withdrawn: Vec<u8> = [32, 20, 0, 0, 1].repeat(814);
        let full = update_of(&withdrawn, &[], &[]);
        assert!(matches!(first(&full), Ok(Some((Message::Update(_), 4093)))));
        let withdrawn: Vec<u8> = [32, 20, 0, 0, 1].repeat(815);
        let beyond = update_of(&withdrawn, &[], &[]);
        assert_eq!(first(&beyond), Err(Fault(1, 2)));
        let mut marker = keepalive();
        marker[3] = 0;
        assert_eq!(first(&marker), Err(Fault(1, 1)));
    }

    #[test]
    fn the_fewest_updates_are_those_that_are_full() {
        assert_eq!([0, 1, 814, 815].map(|count| fewest(count, 0)), [0, 1, 1, 2]);
        assert_eq!(fewest(100_000, 0), 123);
        // ORIGIN, a path of one AS, NEXT_HOP and a community: 4 + 9 + 7 + 7.
        assert_eq!(fewest(809, 27), 1);
        assert_eq!(fewest(810, 27), 2);
        assert_eq!(fewest(10_000, 27), 13);
    }

    #[test]
    fn what_is_sent_is_understood() {
        let bytes = [open(65002, Ipv4Addr::LOCALHOST), keepalive()].concat();
        let (message, length) = first(&bytes).expect("a message").expect("complete");
        assert_eq!(message, Message::Open);
        assert_eq!(first(&bytes[length..]), Ok(Some((Message::Keepalive, 19))));
        let told = notification(Fault(1, 2));
        assert_eq!(first(&told), Ok(Some((Message::Notification(1, 2), 21))));
    }
}
