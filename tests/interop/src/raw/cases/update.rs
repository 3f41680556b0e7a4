//! Wrong UPDATEs (RFC 7606): which end a session, which withdraw, which lose an attribute.
//!
//! Each first announces a good route, then changes it by the UPDATE in question. Where the speaker
//! lets its routes be seen, they tell withdrawn from kept; always the session does.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::connection::{Connection, Event};
use super::super::peer::{RawPeer, SOON};
use super::super::wire::{
    as_path, attribute, flag, med, mp_reach, next_hop, nlri, origin, route_refresh, update,
};
use super::{Case, Outcome, notified};
use crate::router::Prefix;
use crate::wait::eventually;

pub(super) const WELL_KNOWN: u8 = flag::TRANSITIVE;
pub(super) const BOTH: u8 = flag::OPTIONAL | flag::TRANSITIVE;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "u1",
        "ORIGIN 5",
        "treat-as-withdraw (RFC 7606, 7.1)",
        |peer| withdraws(peer, |good| good.origin = attribute(WELL_KNOWN, 1, &[5])),
    ),
    Case::new(
        "u2",
        "ORIGIN of two octets",
        "treat-as-withdraw (RFC 7606, 7.1)",
        |peer| withdraws(peer, |good| good.origin = attribute(WELL_KNOWN, 1, &[0, 0])),
    ),
    Case::new(
        "u3",
        "no ORIGIN",
        "treat-as-withdraw (RFC 7606, 3 d)",
        |peer| withdraws(peer, |good| good.origin.clear()),
    ),
    Case::new(
        "u4",
        "no NEXT_HOP",
        "treat-as-withdraw (RFC 7606, 3 d)",
        |peer| withdraws(peer, |good| good.hop.clear()),
    ),
    Case::new(
        "u5",
        "AS_PATH with a segment of type 7",
        "treat-as-withdraw (RFC 7606, 7.2)",
        |peer| {
            let path = attribute(WELL_KNOWN, 2, &[7, 1, 0, 0, 0xfd, 0xe9]);
            withdraws(peer, |good| good.path.clone_from(&path))
        },
    ),
    Case::new(
        "u6",
        "NEXT_HOP of five octets",
        "treat-as-withdraw (RFC 7606, 7.3)",
        |peer| {
            withdraws(peer, |good| {
                good.hop = attribute(WELL_KNOWN, 3, &[10, 0, 0, 1, 0]);
            })
        },
    ),
    Case::new(
        "u7",
        "ORIGIN flagged optional",
        "treat-as-withdraw (RFC 7606, 3 c)",
        |peer| withdraws(peer, |good| good.origin = attribute(BOTH, 1, &[0])),
    ),
    Case::new(
        "u8",
        "an unknown well-known attribute",
        "3/2 (RFC 4271, 6.3)",
        |peer| resets(peer, 2, |good| good.more = attribute(WELL_KNOWN, 99, &[1])),
    ),
    Case::new(
        "u9",
        "an unknown optional transitive attribute",
        "the route (RFC 4271, 9)",
        |peer| keeps(peer, |good| good.more = attribute(BOTH, 99, &[1])),
    ),
    Case::new(
        "u10",
        "an unknown optional attribute, not transitive",
        "the route (RFC 4271, 9)",
        |peer| keeps(peer, |good| good.more = attribute(flag::OPTIONAL, 99, &[1])),
    ),
    Case::new(
        "u11",
        "an attribute longer than all together",
        "treat-as-withdraw (RFC 7606, 4)",
        |peer| withdraws(peer, |good| good.more = vec![BOTH, 8, 200, 0, 0, 0, 1]),
    ),
    Case::new(
        "u12",
        "a prefix of 33 bits",
        "3/10 (RFC 7606, 5.3)",
        |peer| resets(peer, 10, |good| good.nlri = vec![33, 203, 0, 113, 1, 0]),
    ),
    Case::new(
        "u13",
        "COMMUNITIES of five octets",
        "treat-as-withdraw (RFC 7606, 7.8)",
        |peer| {
            withdraws(peer, |good| {
                good.more = attribute(BOTH, 8, &[0, 1, 0, 1, 0]);
            })
        },
    ),
    Case::new(
        "u14",
        "MULTI_EXIT_DISC twice",
        "the first is kept (RFC 7606, 3 g)",
        |peer| keeps(peer, |good| good.more = [med(5), med(6)].concat()),
    ),
    Case::new(
        "u15",
        "MP_REACH_NLRI twice",
        "3/1 (RFC 7606, 3 g)",
        |peer| {
            let six = reach();
            resets(peer, 1, |good| {
                good.more = [six.clone(), six.clone()].concat();
            })
        },
    ),
    Case::new(
        "u16",
        "MP_REACH_NLRI with a next hop of five octets",
        "3/9 (RFC 7606, 7.11)",
        |peer| {
            let mut value = vec![0, 2, 1, 5, 1, 2, 3, 4, 5, 0];
            value.extend([64, 0xfd, 0x97, 0, 0, 0, 0, 0, 0]);
            resets(peer, 9, |good| {
                good.more = attribute(flag::OPTIONAL, 14, &value);
            })
        },
    ),
    Case::new(
        "u17",
        "ATOMIC_AGGREGATE of one octet",
        "the route without it (RFC 7606, 7.6)",
        |peer| keeps(peer, |good| good.more = attribute(WELL_KNOWN, 6, &[0])),
    ),
    Case::new(
        "u18",
        "MP_UNREACH_NLRI of a family not agreed on",
        "nothing (RFC 4760, 7)",
        |peer| {
            keeps(peer, |good| {
                good.more = attribute(flag::OPTIONAL, 15, &[0x40, 4, 71]);
            })
        },
    ),
    Case::new(
        "u19",
        "AGGREGATOR of five octets",
        "the route without it (RFC 7606, 7.7)",
        |peer| {
            keeps(peer, |good| {
                good.more = attribute(BOTH, 7, &[0, 1, 2, 3, 4]);
            })
        },
    ),
    Case::new(
        "u20",
        "attributes longer than the message",
        "3/1 (RFC 4271, 6.3)",
        |peer| {
            let mut connection = announced(peer)?;
            let mut bytes = Good::of(peer).message();
            // The length of the attributes is after the header and that of the withdrawn routes.
            bytes[21..23].copy_from_slice(&200_u16.to_be_bytes());
            connection.send(&bytes)?;
            notified(&mut connection, 3, 1, None)
        },
    ),
];

fn reach() -> Vec<u8> {
    let hop = std::net::Ipv6Addr::new(0xfd99, 1, 0, 0, 0, 0, 0, 0x77);
    mp_reach(hop, &nlri("fd97::".parse().unwrap_or(IpAddr::V6(hop)), 64))
}

/// The parts of a good UPDATE.
pub(super) struct Good {
    origin: Vec<u8>,
    pub(super) path: Vec<u8>,
    hop: Vec<u8>,
    pub(super) more: Vec<u8>,
    nlri: Vec<u8>,
}

/// The prefix of a peer's routes: nobody else's.
fn prefix(peer: &RawPeer) -> Prefix {
    let [.., last] = peer.local.octets();
    Prefix::host(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)))
}

impl Good {
    pub(super) fn of(peer: &RawPeer) -> Self {
        Self {
            origin: origin(),
            path: as_path(&[peer.asn], true),
            hop: next_hop(peer.local),
            more: Vec::new(),
            nlri: nlri(prefix(peer).address, 32),
        }
    }

    pub(super) fn message(self) -> Vec<u8> {
        let attributes = [self.origin, self.path, self.hop, self.more];
        update(&[], &attributes, &self.nlri)
    }
}

/// A session in which the good route is announced and, where that can be seen, accepted.
fn announced(peer: &RawPeer) -> Result<Connection> {
    let (mut connection, _) = peer.establish_with(&peer.plain())?;
    peer.settle(&mut connection)?;
    connection.send(&Good::of(peer).message())?;
    if let Some(look) = &peer.speaker.has_route {
        eventually(SOON, "the good route", || {
            Ok(look(prefix(peer))?.then_some(()))
        })?;
    }
    Ok(connection)
}

/// Sends the good route, changed; the session it was sent in.
fn changed(peer: &RawPeer, change: impl Fn(&mut Good)) -> Result<Connection> {
    let mut connection = announced(peer)?;
    let mut good = Good::of(peer);
    change(&mut good);
    connection.send(&good.message())?;
    Ok(connection)
}

/// Whether the session goes on: the speaker still answers what is asked.
pub(super) fn session_goes_on(connection: &mut Connection) -> Result<Option<String>> {
    connection.send(&route_refresh(1, 0, 1))?;
    let answer = connection.receive_until(Instant::now() + SOON, |message| {
        let end = message.notification().is_some() || message.update().is_some();
        end.then(|| message.clone())
    })?;
    Ok(match answer {
        Ok(message) if message.notification().is_none() => None,
        Ok(message) => Some(message.to_string()),
        Err(Event::Silence) => Some("no answer to a refresh".into()),
        Err(event) => Some(event.to_string()),
    })
}

pub(super) fn withdraws(peer: &RawPeer, change: impl Fn(&mut Good)) -> Result<Outcome> {
    stays(peer, change, false)
}

pub(super) fn keeps(peer: &RawPeer, change: impl Fn(&mut Good)) -> Result<Outcome> {
    stays(peer, change, true)
}

fn stays(peer: &RawPeer, change: impl Fn(&mut Good), kept: bool) -> Result<Outcome> {
    let mut connection = changed(peer, change)?;
    if let Some(ended) = session_goes_on(&mut connection)? {
        return Ok(Outcome::Otherwise(ended));
    }
    let Some(look) = &peer.speaker.has_route else {
        return Ok(Outcome::AsExpected("the session goes on".into()));
    };
    // The answer to the refresh came after the UPDATE was taken; a table may follow a moment later.
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut there = look(prefix(peer))?;
    while there && !kept && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        there = look(prefix(peer))?;
    }
    let seen = if there {
        "the route is there"
    } else {
        "the route is gone"
    };
    Ok(Outcome::of(there == kept, seen))
}

fn resets(peer: &RawPeer, subcode: u8, change: impl Fn(&mut Good)) -> Result<Outcome> {
    let mut connection = changed(peer, change)?;
    let outcome = notified(&mut connection, 3, subcode, None)?;
    if let (Some(look), Outcome::AsExpected(_)) = (&peer.speaker.has_route, &outcome) {
        let gone = eventually(SOON, "the end of the route", || {
            Ok((!look(prefix(peer))?).then_some(()))
        });
        ensure!(
            gone.is_ok(),
            "the session has ended and the route is still there"
        );
    }
    Ok(outcome)
}
