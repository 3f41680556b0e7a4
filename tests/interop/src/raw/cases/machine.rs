//! The state machine: messages in wrong states (RFC 6608), collisions (RFC 4271, 6.8), dialling
//! again.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::connection::{Connection, Event};
use super::super::peer::{RawPeer, SOON};
use super::super::wire::{keepalive, kind, notification, update};
use super::{Case, Outcome, notified};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "f1",
        "an UPDATE before the OPEN",
        "5/1 (RFC 6608)",
        |peer| {
            let (mut connection, _) = peer.opened()?;
            connection.send(&update(&[], &[], &[]))?;
            notified(&mut connection, 5, 1, None)
        },
    ),
    Case::new(
        "f2",
        "a KEEPALIVE before the OPEN",
        "5/1 (RFC 6608)",
        |peer| {
            let (mut connection, _) = peer.opened()?;
            connection.send(&keepalive())?;
            notified(&mut connection, 5, 1, None)
        },
    ),
    Case::new(
        "f3",
        "an UPDATE after the OPEN, before a KEEPALIVE",
        "5/2 (RFC 6608)",
        |peer| {
            let (mut connection, _) = peer.opened()?;
            connection.send(&peer.open().message())?;
            connection.send(&update(&[], &[], &[]))?;
            notified(&mut connection, 5, 2, None)
        },
    ),
    Case::new("f4", "an OPEN in the session", "5/3 (RFC 6608)", |peer| {
        let mut connection = peer.establish()?;
        connection.send(&peer.open().message())?;
        notified(&mut connection, 5, 3, None)
    }),
    Case::new(
        "f5l",
        "a second connection, with the lower identifier",
        "6/7 on it (RFC 4271, 6.8)",
        |peer| collision(peer, Ipv4Addr::new(1, 0, 0, 1), false),
    )
    .dials(),
    Case::new(
        "f5h",
        "a second connection, with the higher identifier",
        "6/7 on the first",
        |peer| collision(peer, Ipv4Addr::new(223, 0, 0, 1), true),
    )
    .dials(),
    Case::new("f6", "Cease", "dials again, not at once", |peer| {
        let mut connection = peer.establish()?;
        connection.send(&notification(6, 4, &[]))?;
        let start = Instant::now();
        drop(connection);
        peer.accept(peer.speaker.redial + SOON)?;
        let after = start.elapsed();
        let right = after > Duration::from_millis(300);
        Ok(Outcome::of(
            right,
            format!("after {:.1} s", after.as_secs_f64()),
        ))
    }),
    Case::new(
        "f7",
        "resets of every connection",
        "dials again with pauses",
        redials,
    ),
];

/// Both connections are in `OpenConfirm` when the speaker has to choose: one must stay.
fn collision(peer: &RawPeer, id: Ipv4Addr, dialled_stays: bool) -> Result<Outcome> {
    let mut open = peer.open();
    open.id = id;
    // The speaker's own connection waits in `OpenSent` while the peer dials.
    let (mut accepted, _) = peer.opened()?;
    let mut dialled = peer.dial()?;
    dialled.send(&open.message())?;
    thread::sleep(Duration::from_millis(200));
    accepted.send(&open.message())?;
    let (kept, closed) = if dialled_stays {
        (&mut dialled, &mut accepted)
    } else {
        (&mut accepted, &mut dialled)
    };
    let outcome = notified(closed, 6, 7, None)?;
    kept.send(&keepalive())?;
    let stays = keeps(kept)?;
    Ok(match outcome {
        Outcome::AsExpected(seen) => {
            Outcome::of(stays, format!("{seen}, the other stays: {stays}"))
        }
        Outcome::Otherwise(seen) => Outcome::Otherwise(format!("{seen}, the other stays: {stays}")),
    })
}

/// Whether a connection becomes a session and is one still after a moment.
fn keeps(connection: &mut Connection) -> Result<bool> {
    let deadline = Instant::now() + SOON;
    let alive = connection.receive_until(deadline, |message| {
        (message.kind == kind::KEEPALIVE).then_some(())
    })?;
    if alive.is_err() {
        return Ok(false);
    }
    let ended = connection.receive_until(Instant::now() + Duration::from_secs(1), |message| {
        (message.kind == kind::NOTIFICATION).then_some(())
    })?;
    Ok(ended == Err(Event::Silence))
}

fn redials(peer: &RawPeer) -> Result<Outcome> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let connection = peer.accept(peer.speaker.redial + SOON)?;
        times.push(connection.opened());
        connection.reset()?;
    }
    let gaps: Vec<f64> = times
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64())
        .collect();
    let seen: Vec<String> = gaps.iter().map(|gap| format!("{gap:.1}")).collect();
    // Never twice in the same moment.
    let right = gaps.iter().all(|gap| *gap > 0.3);
    Ok(Outcome::of(right, format!("gaps of {} s", seen.join(", "))))
}
