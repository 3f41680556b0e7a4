//! RFC 7606 as a table: one message for each way in which an attribute can be wrong, and how it ends.
//!
//! Each row is read by itself and by a session. The rows are in `malformed/rows.rs`; those that a
//! scripted peer sends to the speaker itself are named in `docs/bgp-conformance.md`.

mod rows;

use std::time::Instant;

use herald_bgp::session::{Action, Config, Endpoints, Session, State};
use herald_bgp::wire::update::{Consequence, parse};
use herald_bgp::wire::{
    BgpId, ErrorCode, ExpectedAs, Message, Negotiated, Notification, Open, PerFamily,
};

use super::support::{
    AS_PATH, LOCAL_AS, NEXT_HOP, ORIGIN, ROUTE, body, external, internal, message, messages, open,
    plain, theirs,
};
use rows::ROWS;

/// Whose UPDATE it is.
#[derive(Debug, Clone, Copy)]
enum Sender {
    /// A peer in another AS.
    External,
    /// A peer in the own AS.
    Internal,
    /// A peer without any capability: AS numbers of two octets.
    Old,
}

/// What the peer sends.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// A good route with one more attribute.
    More(&'static [u8]),
    /// A good route whose attribute of the same type is this one.
    Instead(&'static [u8]),
    /// A good route that lacks the attribute of this type.
    Without(u8),
    /// Withdrawn routes, attributes and announced routes.
    Fields(&'static [u8], &'static [u8], &'static [u8]),
    /// The whole body.
    Body(&'static [u8]),
}

/// How it ends (RFC 7606 section 2).
#[derive(Debug, Clone, Copy)]
enum End {
    /// The route is there, and nothing is wrong.
    Kept,
    /// The attribute of this type is ignored.
    Discarded(u8),
    /// The route counts as withdrawn because of the attribute of this type.
    Withdrawn(u8),
    /// The session ends with this error.
    Reset(ErrorCode),
}

/// One case.
struct Row {
    /// RFC and section that decide.
    rule: &'static str,
    what: &'static str,
    from: Sender,
    sent: Sent,
    end: End,
}

const fn row(rule: &'static str, what: &'static str, from: Sender, sent: Sent, end: End) -> Row {
    Row {
        rule,
        what,
        from,
        sent,
        end,
    }
}

/// An `AS_PATH` of a peer of two octets: 65002.
const OLD_PATH: [u8; 7] = [0x40, 2, 4, 2, 1, 0xfd, 0xea];

impl Row {
    fn body(&self) -> Vec<u8> {
        let path: &[u8] = match self.from {
            Sender::Old => &OLD_PATH,
            Sender::External | Sender::Internal => &AS_PATH,
        };
        let good: [&[u8]; 3] = [&ORIGIN, path, &NEXT_HOP];
        let with = |attributes: Vec<&[u8]>| body(&[], &attributes, &ROUTE);
        match self.sent {
            Sent::More(more) => with(good.into_iter().chain([more]).collect()),
            Sent::Instead(other) => with(
                good.into_iter()
                    .map(|one| if one[1] == other[1] { other } else { one })
                    .collect(),
            ),
            Sent::Without(number) => {
                with(good.into_iter().filter(|one| one[1] != number).collect())
            }
            Sent::Fields(withdrawn, attributes, announced) => {
                body(withdrawn, &[attributes], announced)
            }
            Sent::Body(body) => body.to_vec(),
        }
    }

    fn negotiated(&self) -> Negotiated {
        match self.from {
            Sender::External => external(),
            Sender::Internal => internal(),
            Sender::Old => plain(),
        }
    }

    /// The peer's OPEN.
    fn open(&self) -> Open {
        let mut theirs = match self.from {
            Sender::External | Sender::Old => theirs(),
            Sender::Internal => open(LOCAL_AS, [10, 99, 1, 2]),
        };
        if matches!(self.from, Sender::Old) {
            theirs.capabilities = herald_bgp::wire::Capabilities::default();
        }
        theirs
    }

    /// What is wrong with how the message is read.
    fn check_parse(&self) -> Result<(), String> {
        let read = parse(&self.body(), &self.negotiated());
        let total = |counts: PerFamily<usize>| counts.ipv4 + counts.ipv6;
        let told = |consequence, number| {
            read.as_ref().is_ok_and(|received| {
                let mut problems = received.problems.iter();
                problems.any(|one| (one.consequence, one.attribute) == (consequence, number))
            })
        };
        let right = match (self.end, &read) {
            (End::Reset(error), Err(notification)) => notification.error == error,
            (End::Kept, Ok(received)) => {
                received.problems.is_empty() && total(received.announced) > 0
            }
            (End::Discarded(number), Ok(received)) => {
                told(Consequence::Discard, number)
                    && !received.treat_as_withdraw
                    && total(received.announced) > 0
            }
            (End::Withdrawn(number), Ok(received)) => {
                told(Consequence::Withdraw, number)
                    && received.treat_as_withdraw
                    && total(received.announced) == 0
                    && total(received.withdrawn) > 0
            }
            _ => false,
        };
        if right {
            Ok(())
        } else {
            Err(format!("{read:?}"))
        }
    }

    /// What is wrong with what a session makes of it.
    fn check_session(&self) -> Result<(), String> {
        let mut peer = Peer::established(self);
        let said = peer.receive(&message(2, &self.body()));
        let counters = peer.session.counters();
        let withdrawals = counters.treated_as_withdrawal;
        let state = peer.session.state();
        let right = match self.end {
            End::Reset(error) => {
                state != State::Established && said.iter().any(|told| told.error == error)
            }
            End::Kept => counters.malformed_attributes == 0,
            End::Discarded(_) => counters.malformed_attributes > 0 && withdrawals == 0,
            End::Withdrawn(_) => counters.malformed_attributes > 0 && withdrawals == 1,
        };
        let ends = matches!(self.end, End::Reset(_));
        if right && (ends || state == State::Established && said.is_empty()) {
            Ok(())
        } else {
            Err(format!("{state}, {said:?}, {counters:?}"))
        }
    }
}

/// A session that is up with the peer of a row.
struct Peer {
    session: Session,
    now: Instant,
    connection: herald_bgp::session::ConnectionId,
}

impl Peer {
    fn established(row: &Row) -> Self {
        let peer_as = match row.from {
            Sender::External | Sender::Old => ExpectedAs::External,
            Sender::Internal => ExpectedAs::Internal,
        };
        let config = Config::new(LOCAL_AS, peer_as, BgpId([10, 99, 1, 1].into()));
        let mut session = Session::new(config, 1);
        let now = Instant::now();
        session.start(now);
        let connection = std::iter::from_fn(|| session.poll_action())
            .find_map(|action| match action {
                Action::Connect(connection) => Some(connection),
                _ => None,
            })
            .expect("it dials");
        let endpoints = Endpoints {
            local: ([10, 99, 1, 1], 40_000).into(),
            peer: ([10, 99, 1, 2], 179).into(),
        };
        session.handle_connected(now, connection, endpoints);
        let mut peer = Self {
            session,
            now,
            connection,
        };
        let mut bytes = Vec::new();
        row.open().encode(&mut bytes);
        Message::encode_keepalive(&mut bytes);
        assert!(peer.receive(&bytes).is_empty());
        assert_eq!(peer.session.state(), State::Established);
        peer
    }

    /// Sends bytes; the NOTIFICATIONs that are the answer.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Notification> {
        self.session
            .handle_received(self.now, self.connection, bytes);
        let mut written = Vec::new();
        while let Some(action) = self.session.poll_action() {
            if let Action::Write(_, bytes) = action {
                written.extend(bytes);
            }
        }
        messages(&written, 4096)
            .into_iter()
            .filter_map(|raw| match Message::decode(raw) {
                Ok(Message::Notification(notification)) => Some(notification),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn every_wrong_attribute_ends_as_its_rfc_says() {
    let mut wrong = Vec::new();
    for row in ROWS {
        for found in [row.check_parse(), row.check_session()] {
            if let Err(found) = found {
                let Row {
                    rule, what, end, ..
                } = row;
                wrong.push(format!(
                    "RFC {rule}, {what}: expected {end:?}, found {found}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No attribute of RFC 7606 section 7 is left out, nor one of the ends.
#[test]
fn the_rows_are_of_every_attribute_and_every_end() {
    for section in 1..=16 {
        let rule = format!("7606 7.{section}");
        assert!(ROWS.iter().any(|row| row.rule == rule), "{rule}");
    }
    let count = |wanted: fn(&End) -> bool| ROWS.iter().filter(|row| wanted(&row.end)).count();
    assert!(count(|end| matches!(end, End::Withdrawn(_))) >= 58);
    assert!(count(|end| matches!(end, End::Discarded(_))) >= 26);
    assert!(count(|end| matches!(end, End::Reset(_))) >= 4);
    assert!(count(|end| matches!(end, End::Kept)) >= 10);
}
