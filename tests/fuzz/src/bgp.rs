//! The messages of BGP, each by its own decoder.

use herald_bgp::wire::update::{self, Change};
use herald_bgp::wire::{
    Asn, BgpId, Capabilities, EXTENDED_LIMIT, Families, Family, Framer, HEADER_LEN, Message,
    MessageType, Negotiated, Notification, Open, PerFamily, RawMessage, STANDARD_LIMIT,
};

/// An OPEN that offers everything.
pub(crate) fn open_of(asn: u32, last: u8, capable: bool) -> Open {
    Open {
        my_as: Asn(asn),
        hold_time: 90,
        id: BgpId([10, 0, 0, last].into()),
        capabilities: Capabilities {
            families: if capable {
                Families::BOTH
            } else {
                Families::NONE
            },
            extended_next_hop: capable,
            route_refresh: capable,
            enhanced_route_refresh: capable,
            extended_message: capable,
            four_octet_as: capable,
            ..Capabilities::default()
        },
    }
}

/// A stream, by whatever pieces it comes in, gives the same messages or the same error.
pub(crate) fn framing(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    for limit in [STANDARD_LIMIT, EXTENDED_LIMIT] {
        let whole = messages(&[stream], limit);
        let size = usize::from(*cut).max(1);
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(whole, messages(&pieces, limit), "pieces of {size}");
    }
}

/// The messages of a stream, and what ended it.
fn messages(pieces: &[&[u8]], limit: usize) -> (Vec<RawMessage>, Option<Notification>) {
    let mut framer = Framer::new();
    framer.set_limit(limit);
    let mut all = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(message)) => {
                    assert!(message.body.len() + HEADER_LEN <= limit);
                    all.push(message);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.next(), Err(error.clone()), "the error stays");
                    check_notification(&error);
                    return (all, Some(error));
                }
            }
        }
        assert!(
            framer.buffered() < limit,
            "no more than one message is kept"
        );
    }
    (all, None)
}

fn decode(kind: MessageType, body: &[u8]) -> Result<Message, Notification> {
    let body = body.to_vec();
    Message::decode(RawMessage { kind, body })
}

/// What is read of an OPEN can be written, and is read the same again.
pub(crate) fn open(body: &[u8]) {
    if body.len() > STANDARD_LIMIT - HEADER_LEN {
        return;
    }
    let open = match decode(MessageType::Open, body) {
        Ok(Message::Open(open)) => open,
        Ok(other) => unreachable!("an OPEN is read as {:?}", other.kind()),
        Err(error) => return check_notification(&error),
    };
    assert!(!matches!(open.hold_time, 1 | 2));
    assert_ne!(open.my_as, Asn(0));
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    assert!(bytes.len() <= STANDARD_LIMIT);
    let again = decode(
        MessageType::Open,
        bytes.get(HEADER_LEN..).unwrap_or_default(),
    );
    assert_eq!(again, Ok(Message::Open(open.clone())));
    let ours = open_of(65_001, 1, true);
    if let Ok(()) = open.check(&ours, herald_bgp::wire::ExpectedAs::External) {
        let negotiated = Negotiated::new(&ours, &open);
        assert!(negotiated.hold_time <= ours.hold_time);
    }
}

/// An UPDATE is read by sessions of all kinds: what is counted is what is told.
pub(crate) fn update(body: &[u8]) {
    for negotiated in sessions() {
        let mut seen = PerFamily::<(usize, usize)>::default();
        let mut wrong = 0;
        let visited = update::visit(body, &negotiated, |change| {
            let (prefix, announced) = match change {
                Change::Announced(prefix) => (prefix, true),
                Change::Withdrawn(prefix) => (prefix, false),
            };
            let family = Family::of(prefix);
            let (up, down) = seen.get_mut(family);
            *up += usize::from(announced);
            *down += usize::from(!announced);
            wrong += usize::from(!negotiated.families.contains(family));
        });
        assert_eq!(update::parse(body, &negotiated), visited);
        match visited {
            Ok(received) => {
                assert_eq!(wrong, 0, "a family that was not agreed on");
                for family in Family::ALL {
                    let counted = (
                        *received.announced.get(family),
                        *received.withdrawn.get(family),
                    );
                    assert_eq!(*seen.get(family), counted);
                    assert!(!received.treat_as_withdraw || counted.0 == 0);
                }
                for problem in &received.problems {
                    assert!(!problem.to_string().is_empty());
                }
            }
            Err(error) => {
                assert_eq!(error.error.code, 3, "an error of an UPDATE");
                check_notification(&error);
            }
        }
    }
}

fn sessions() -> [Negotiated; 4] {
    let ours = open_of(65_001, 1, true);
    let mut four_only = open_of(65_002, 2, true);
    four_only.capabilities.families = Families::only(Family::Ipv4Unicast);
    [
        open_of(65_002, 2, true),
        open_of(65_001, 2, true),
        open_of(65_002, 2, false),
        four_only,
    ]
    .map(|theirs| Negotiated::new(&ours, &theirs))
}

/// What is read of a NOTIFICATION can be told in words and written again.
pub(crate) fn notification(body: &[u8]) {
    match decode(MessageType::Notification, body) {
        Ok(Message::Notification(notification)) => check_notification(&notification),
        Ok(other) => unreachable!("a NOTIFICATION is read as {:?}", other.kind()),
        Err(error) => assert!(body.len() < 2, "{error}"),
    }
}

fn check_notification(notification: &Notification) {
    let words = notification.to_string();
    assert!(
        !words.is_empty() && !words.contains(char::is_control),
        "{words:?}"
    );
    let mut bytes = Vec::new();
    notification.encode(&mut bytes);
    assert!(bytes.len() <= STANDARD_LIMIT);
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    let Ok(Message::Notification(again)) = decode(MessageType::Notification, body) else {
        unreachable!("what was written is read");
    };
    assert_eq!(again.error, notification.error);
    assert!(notification.data.starts_with(&again.data));
}

/// What is read of a ROUTE-REFRESH is written the same.
pub(crate) fn refresh(body: &[u8]) {
    match decode(MessageType::RouteRefresh, body) {
        Ok(Message::RouteRefresh(refresh)) => {
            let mut bytes = Vec::new();
            refresh.encode(&mut bytes);
            let written = bytes.get(HEADER_LEN..).unwrap_or_default();
            assert!(body.starts_with(written), "{body:?} {written:?}");
        }
        Ok(other) => unreachable!("a ROUTE-REFRESH is read as {:?}", other.kind()),
        Err(error) => {
            assert_eq!((error.error.code, error.error.subcode), (7, 1));
            assert!(error.data.ends_with(body), "the whole message is told");
        }
    }
}
