//! Route refresh (RFC 2918, 7313), End-of-RIB (RFC 4724), the form of UPDATEs, the end of a speaker.

use std::time::Instant;

use anyhow::Result;

use super::super::connection::Message;
use super::super::peer::{RawPeer, SOON};
use super::super::wire::{capability, four_octet_as, kind, message, multiprotocol, route_refresh};
use super::{Case, Outcome, notified, verdict};
use crate::router::Prefix;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "r1",
        "asks for all routes",
        "all of them again (RFC 2918)",
        refresh,
    ),
    Case::new(
        "r2",
        "asks for all routes, having agreed on the enhanced form",
        "them between BoRR and EoRR (RFC 7313)",
        enhanced,
    ),
    Case::new(
        "r3",
        "a ROUTE-REFRESH one octet too long",
        "7/1 (RFC 7313, 5)",
        |peer| {
            let mut connection = peer.establish()?;
            connection.send(&message(kind::ROUTE_REFRESH, &[0, 1, 0, 1, 0]))?;
            notified(&mut connection, 7, 1, None)
        },
    ),
    Case::new(
        "r4",
        "asks for routes of a family not agreed on",
        "nothing (RFC 2918, 4)",
        |peer| {
            let (mut connection, _) = peer.establish_with(&peer.plain())?;
            peer.settle(&mut connection)?;
            connection.send(&route_refresh(25, 0, 70))?;
            connection.send(&route_refresh(1, 0, 1))?;
            let prefixes = prefixes(&peer.settle(&mut connection)?)?;
            let seen = format!("{} routes for the next question", prefixes.len());
            Ok(Outcome::of(!prefixes.is_empty(), seen))
        },
    ),
    Case::new(
        "e1",
        "nothing",
        "an End-of-RIB for each family (RFC 4724)",
        ends,
    ),
    Case::new("w1", "nothing", "UPDATEs of right form and order", form),
    Case::new(
        "w2",
        "is in the same AS",
        "LOCAL_PREF, an empty AS_PATH (RFC 4271, 5.1)",
        internal,
    )
    .internal(),
    Case::new(
        "c1",
        "the speaker is asked to end",
        "6/2 or 6/3 (RFC 4486)",
        |peer| {
            let mut connection = peer.establish()?;
            peer.settle(&mut connection)?;
            (peer.speaker.terminate)()?;
            Ok(match verdict(&mut connection)? {
                Ok(message) => {
                    let code = message
                        .notification()
                        .map(|(code, subcode, _)| (code, subcode));
                    Outcome::of(matches!(code, Some((6, 2 | 3 | 9))), message.to_string())
                }
                Err(event) => Outcome::Otherwise(event.to_string()),
            })
        },
    ),
];

/// All prefixes announced in messages, ordered.
fn prefixes(messages: &[Message]) -> Result<Vec<Prefix>> {
    let mut all = Vec::new();
    for message in messages {
        if let Some(update) = message.update() {
            all.extend(update?.announced);
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// IPv4 routes among prefixes.
fn four(prefixes: &[Prefix]) -> Vec<Prefix> {
    let all = prefixes.iter().copied();
    all.filter(|prefix| prefix.address.is_ipv4()).collect()
}

fn refresh(peer: &RawPeer) -> Result<Outcome> {
    let (mut connection, _) = peer.establish_with(&peer.plain())?;
    let first = four(&prefixes(&peer.settle(&mut connection)?)?);
    connection.send(&route_refresh(1, 0, 1))?;
    let again = four(&prefixes(&peer.settle(&mut connection)?)?);
    let seen = format!("{} routes, then {}", first.len(), again.len());
    Ok(Outcome::of(!first.is_empty() && first == again, seen))
}

fn enhanced(peer: &RawPeer) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    let first = four(&prefixes(&peer.settle(&mut connection)?)?);
    connection.send(&route_refresh(1, 0, 1))?;
    let mut between = Vec::new();
    let mut begun = false;
    let ended = connection.receive_until(Instant::now() + SOON, |message| {
        match (message.kind, message.body.as_slice()) {
            (kind::ROUTE_REFRESH, [0, 1, 1, 1]) => begun = true,
            (kind::ROUTE_REFRESH, [0, 1, 2, 1]) => return Some(true),
            (kind::NOTIFICATION, _) => return Some(false),
            _ if begun => between.push(message.clone()),
            _ => {}
        }
        None
    })?;
    let routes = four(&prefixes(&between)?);
    let right = begun && ended == Ok(true) && !first.is_empty() && routes == first;
    let seen = format!(
        "BoRR {begun}, {} routes of {}, EoRR {ended:?}",
        routes.len(),
        first.len()
    );
    Ok(Outcome::of(right, seen))
}

fn ends(peer: &RawPeer) -> Result<Outcome> {
    let all = [
        multiprotocol(1, 1),
        multiprotocol(2, 1),
        four_octet_as(peer.asn),
        // A receiving speaker: no family kept, a restart time of 120 s (RFC 4724, 3).
        capability(64, &[0, 120]),
    ];
    let open = peer.open().capabilities(&all);
    let (mut connection, _) = peer.establish_with(&open)?;
    let mut ends = Vec::new();
    for message in peer.settle(&mut connection)? {
        if let Some(update) = message.update() {
            ends.extend(update?.end_of_rib);
        }
    }
    ends.sort_unstable();
    Ok(Outcome::of(ends == [(1, 1), (2, 1)], format!("{ends:?}")))
}

fn form(peer: &RawPeer) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    let messages = peer.settle(&mut connection)?;
    let mut updates = 0;
    for message in &messages {
        let Some(update) = message.update() else {
            continue;
        };
        let update = update?;
        updates += 1;
        if let Err(error) = update.check() {
            return Ok(Outcome::Otherwise(error.to_string()));
        }
        let path = update.attribute(2);
        let own = [&[2, 1], peer.speaker.asn.to_be_bytes().as_slice()].concat();
        if path.is_some_and(|path| path != own) {
            return Ok(Outcome::Otherwise(format!("AS_PATH {path:?}")));
        }
        if update.attribute(5).is_some() {
            return Ok(Outcome::Otherwise("LOCAL_PREF to another AS".into()));
        }
    }
    let routes = prefixes(&messages)?.len();
    let seen = format!("{routes} routes in {updates} UPDATEs");
    Ok(Outcome::of(routes > 0, seen))
}

fn internal(peer: &RawPeer) -> Result<Outcome> {
    let mut connection = peer.establish()?;
    let mut routes = 0;
    for message in peer.settle(&mut connection)? {
        let Some(update) = message.update().transpose()? else {
            continue;
        };
        if update.announced.is_empty() {
            continue;
        }
        routes += update.announced.len();
        let right = update.attribute(2) == Some(&[]) && update.attribute(5).is_some();
        if !right {
            let seen = format!("AS_PATH {:?}", update.attribute(2));
            return Ok(Outcome::Otherwise(seen));
        }
    }
    Ok(Outcome::of(routes > 0, format!("{routes} routes")))
}
