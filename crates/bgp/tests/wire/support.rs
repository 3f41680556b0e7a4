//! What the cases have in common: two speakers, and messages byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_bgp::wire::update::{self, Change};
use herald_bgp::wire::{
    Asn, BgpId, Capabilities, ErrorCode, Families, Framer, HEADER_LEN, Message, Negotiated,
    Notification, Open, Prefix, RawMessage,
};

pub(crate) const LOCAL_AS: Asn = Asn(65_001);
pub(crate) const PEER_AS: Asn = Asn(65_002);

/// The OPEN of a speaker that can do all that is asked for here.
pub(crate) fn open(asn: Asn, id: [u8; 4]) -> Open {
    Open {
        my_as: asn,
        hold_time: 90,
        id: BgpId(id.into()),
        capabilities: Capabilities {
            families: Families::BOTH,
            extended_next_hop: true,
            route_refresh: true,
            enhanced_route_refresh: true,
            four_octet_as: true,
            ..Capabilities::default()
        },
    }
}

pub(crate) fn ours() -> Open {
    open(LOCAL_AS, [10, 99, 1, 1])
}

pub(crate) fn theirs() -> Open {
    open(PEER_AS, [10, 99, 1, 2])
}

/// A session with another AS that has negotiated everything but extended messages.
pub(crate) fn external() -> Negotiated {
    Negotiated::new(&ours(), &theirs())
}

/// The same with a peer in the own AS.
pub(crate) fn internal() -> Negotiated {
    Negotiated::new(&ours(), &open(LOCAL_AS, [10, 99, 1, 2]))
}

/// The same with a peer without any capability.
pub(crate) fn plain() -> Negotiated {
    let mut theirs = theirs();
    theirs.capabilities = Capabilities::default();
    Negotiated::new(&ours(), &theirs)
}

/// A message whose header says what it should.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(HEADER_LEN + body.len()).unwrap();
    let mut bytes = header(len, kind);
    bytes.extend(body);
    bytes
}

pub(crate) fn header(len: u16, kind: u8) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(len.to_be_bytes());
    bytes.push(kind);
    bytes
}

/// All messages of a stream of bytes that has no error.
pub(crate) fn messages(bytes: &[u8], limit: usize) -> Vec<RawMessage> {
    let mut framer = Framer::new();
    framer.set_limit(limit);
    framer.push(bytes);
    std::iter::from_fn(|| framer.next().unwrap()).collect()
}

/// The one message that the bytes are.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, Notification> {
    let mut framer = Framer::new();
    framer.push(bytes);
    let message = framer.next()?.expect("a whole message");
    assert_eq!(framer.next(), Ok(None));
    Message::decode(message)
}

/// What an OPEN with this body is answered with, if it is refused.
pub(crate) fn refusal(bytes: &[u8]) -> Notification {
    decode(bytes).expect_err("it should be refused")
}

pub(crate) fn error(code: ErrorCode, data: &[u8]) -> Notification {
    Notification::with_data(code, data)
}

/// All that the UPDATEs among the bytes say, in their order.
pub(crate) fn changes(bytes: &[u8], negotiated: &Negotiated) -> Vec<Change> {
    let mut changes = Vec::new();
    for message in messages(bytes, negotiated.message_limit) {
        let Message::Update(body) = Message::decode(message).unwrap() else {
            panic!("only UPDATEs are expected");
        };
        let received = update::visit(&body, negotiated, |change| changes.push(change)).unwrap();
        assert_eq!(received.problems, []);
    }
    changes
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Distinct addresses as prefixes of full length.
pub(crate) fn hosts(v6: bool, count: u32) -> Vec<Prefix> {
    (0..count)
        .map(|number| {
            let address: IpAddr = if v6 {
                Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number)).into()
            } else {
                Ipv4Addr::from(0x0a00_0000 + number).into()
            };
            Prefix::new(address, if v6 { 128 } else { 32 }).unwrap()
        })
        .collect()
}

/// The attributes that every route has: `ORIGIN` IGP, `AS_PATH` 65002, `NEXT_HOP`
/// 10.99.1.2.
pub(crate) const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
pub(crate) const AS_PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
pub(crate) const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 10, 99, 1, 2];
/// 198.51.100.1/32.
pub(crate) const ROUTE: [u8; 5] = [32, 198, 51, 100, 1];

/// The body of an UPDATE.
pub(crate) fn body(withdrawn: &[u8], attributes: &[&[u8]], announced: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let len = |field: &[u8]| u16::try_from(field.len()).unwrap().to_be_bytes();
    let mut body = len(withdrawn).to_vec();
    body.extend(withdrawn);
    body.extend(len(&attributes));
    body.extend(attributes);
    body.extend(announced);
    body
}

/// The body of an UPDATE that announces a route with these attributes besides the three.
pub(crate) fn announcing(more: &[&[u8]]) -> Vec<u8> {
    let mut attributes: Vec<&[u8]> = vec![&ORIGIN, &AS_PATH, &NEXT_HOP];
    attributes.extend(more);
    body(&[], &attributes, &ROUTE)
}
