//! Hold time and KEEPALIVEs (RFC 4271, 4.4, 6.5, 10).

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::connection::Event;
use super::super::peer::RawPeer;
use super::super::wire::{keepalive, kind};
use super::{Case, Outcome, verdict};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "t1",
        "silence, with a hold time of 3 s",
        "4/0 after 3 s (RFC 4271, 6.5)",
        expiry,
    ),
    Case::new(
        "t2",
        "a hold time of 9 s",
        "KEEPALIVEs every 2.25 to 3 s, jittered (RFC 4271, 10)",
        jitter,
    ),
    Case::new(
        "t3",
        "a hold time of 0",
        "no KEEPALIVEs, and no expiry (RFC 4271, 4.4)",
        never,
    ),
];

fn expiry(peer: &RawPeer) -> Result<Outcome> {
    let mut open = peer.open();
    open.hold = 3;
    let (mut connection, _) = peer.establish_with(&open)?;
    // Some speakers count from the second one.
    connection.send(&keepalive())?;
    let start = Instant::now();
    Ok(match verdict(&mut connection)? {
        Ok(message) => {
            let after = message.time.duration_since(start).as_secs_f64();
            let right = message
                .notification()
                .is_some_and(|(c, s, _)| (c, s) == (4, 0));
            // A machine that is busy may be late, never early.
            let right = right && (2.8..4.0).contains(&after);
            Outcome::of(right, format!("{message} after {after:.1} s"))
        }
        Err(event) => Outcome::Otherwise(event.to_string()),
    })
}

fn jitter(peer: &RawPeer) -> Result<Outcome> {
    let mut open = peer.open();
    open.hold = 9;
    let (mut connection, _) = peer.establish_with(&open)?;
    let mut times = Vec::new();
    let mut own = Instant::now();
    while times.len() < 5 {
        if own.elapsed() > Duration::from_secs(3) {
            own = Instant::now();
            connection.send(&keepalive())?;
        }
        match connection.receive(Instant::now() + Duration::from_millis(500))? {
            Event::Message(message) if message.kind == kind::KEEPALIVE => times.push(message.time),
            Event::Message(message) if message.kind == kind::NOTIFICATION => bail!("{message}"),
            Event::Message(_) | Event::Silence => {}
            other => bail!("the session ended: {other}"),
        }
    }
    // The first one answers the OPEN; routes sent in between postpone the second.
    let gaps: Vec<f64> = times
        .windows(2)
        .skip(1)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64())
        .collect();
    let seen: Vec<String> = gaps.iter().map(|gap| format!("{gap:.2}")).collect();
    let within = gaps.iter().all(|gap| (2.2..3.2).contains(gap));
    let least = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let seen = format!("gaps of {} s", seen.join(", "));
    Ok(Outcome::of(within && least < 2.93, seen))
}

fn never(peer: &RawPeer) -> Result<Outcome> {
    let mut open = peer.open();
    open.hold = 0;
    let (mut connection, _) = peer.establish_with(&open)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = 0;
    loop {
        match connection.receive(deadline)? {
            Event::Message(message) if message.kind == kind::KEEPALIVE => seen += 1,
            Event::Message(message) if message.kind == kind::NOTIFICATION => {
                return Ok(Outcome::Otherwise(message.to_string()));
            }
            Event::Message(_) => {}
            Event::Silence => break,
            other => return Ok(Outcome::Otherwise(other.to_string())),
        }
    }
    // One more may answer the peer's OPEN.
    Ok(Outcome::of(
        seen <= 1,
        format!("{seen} more KEEPALIVEs in 5 s"),
    ))
}
