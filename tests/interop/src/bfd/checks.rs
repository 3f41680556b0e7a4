//! What a scripted BFD peer checks of a speaker.
//!
//! The speaker's session wants 50 ms both ways with a multiplier of 3. Each check uses a peer of its
//! own, so that all run at the same time.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::packet::{ADMIN_DOWN, DOWN, INIT, Packet, UP};
use super::peer::{RawBfd, Received};
use crate::raw::cases::Outcome;

type Script = fn(&mut RawBfd) -> Result<Outcome>;

/// A check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its short name.
    pub id: &'static str,
    /// What the speaker should do, with the rule.
    pub expected: &'static str,
    script: Script,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Check {
    const fn new(id: &'static str, expected: &'static str, script: Script) -> Self {
        Self {
            id,
            expected,
            script,
        }
    }

    /// Runs the script. An error is one that could not be carried out.
    pub fn run(&self, peer: &mut RawBfd) -> Result<Outcome> {
        (self.script)(peer)
    }
}

/// All checks.
pub fn all() -> Vec<Check> {
    [SESSION, WRONG].concat()
}

const DROPPED: &str = "the packet is dropped (RFC 5880, 6.8.6)";

/// A session as it should be.
const SESSION: &[Check] = &[
    Check::new(
        "slow",
        "a second and more between packets while down (RFC 5880, 6.8.3)",
        slow,
    ),
    Check::new("form", "version 1, 24 octets, TTL 255 (RFC 5881, 5)", form),
    Check::new("port", "a source port of 49152 or more (RFC 5881, 4)", port),
    Check::new("states", "Down, Init, Up (RFC 5880, 6.2)", states),
    Check::new(
        "jitter",
        "75 to 100 % of 50 ms when up (RFC 5880, 6.8.7)",
        jitter,
    ),
    Check::new("poll", "Final at once (RFC 5880, 6.5)", poll),
    Check::new(
        "detection",
        "Down with diagnostic 1 after 150 ms (RFC 5880, 6.8.4)",
        detection,
    ),
    Check::new(
        "admin-down",
        "Down with diagnostic 3 (RFC 5880, 6.8.6)",
        admin_down,
    ),
    Check::new(
        "receive-zero",
        "no more packets (RFC 5880, 6.8.1)",
        receive_zero,
    ),
    Check::new(
        "receive-300",
        "packets every 225 to 300 ms (RFC 5880, 6.8.2)",
        receive_slower,
    ),
];

/// Packets that a speaker must not hear.
const WRONG: &[Check] = &[
    Check::new("ttl-254", "the packet is dropped (RFC 5881, 5)", |peer| {
        ignored(peer, &|down| (down.to_bytes(), 254))
    }),
    Check::new("version-0", DROPPED, |peer| {
        ignored(peer, &|down| {
            (Packet { version: 0, ..down }.to_bytes(), 255)
        })
    }),
    Check::new("multiplier-0", DROPPED, |peer| {
        ignored(peer, &|down| {
            (
                Packet {
                    multiplier: 0,
                    ..down
                }
                .to_bytes(),
                255,
            )
        })
    }),
    Check::new("length-23", DROPPED, |peer| {
        ignored(peer, &|down| {
            (Packet { length: 23, ..down }.to_bytes(), 255)
        })
    }),
    Check::new("length-25", DROPPED, |peer| {
        ignored(peer, &|down| {
            (Packet { length: 25, ..down }.to_bytes(), 255)
        })
    }),
    Check::new("truncated", DROPPED, |peer| {
        ignored(peer, &|down| {
            let mut bytes = down.to_bytes();
            bytes.truncate(20);
            (bytes, 255)
        })
    }),
    Check::new("my-discriminator-0", DROPPED, |peer| {
        ignored(peer, &|down| (Packet { mine: 0, ..down }.to_bytes(), 255))
    }),
    Check::new("your-discriminator-0", DROPPED, |peer| {
        ignored(peer, &|down| {
            let up = Packet {
                yours: 0,
                state: UP,
                ..down
            };
            // Only Down and AdminDown may lack it; a change that is heard tells.
            (Packet { receive: 0, ..up }.to_bytes(), 255)
        })
    }),
    Check::new("your-discriminator-wrong", DROPPED, |peer| {
        ignored(peer, &|down| {
            (
                Packet {
                    yours: down.yours ^ 0x5555,
                    ..down
                }
                .to_bytes(),
                255,
            )
        })
    }),
    Check::new("multipoint", DROPPED, |peer| {
        ignored(peer, &|down| {
            (
                Packet {
                    multipoint: true,
                    ..down
                }
                .to_bytes(),
                255,
            )
        })
    }),
    Check::new("authentication", DROPPED, |peer| {
        ignored(peer, &|down| {
            (
                Packet {
                    authentication: true,
                    ..down
                }
                .to_bytes(),
                255,
            )
        })
    }),
];

fn gaps(received: &[Received]) -> Vec<f64> {
    let pairs = received.windows(2);
    pairs
        .filter_map(|pair| match pair {
            [one, two] => two.time.duration_since(one.time).ok(),
            _ => None,
        })
        .map(|gap| gap.as_secs_f64() * 1000.0)
        .collect()
}

/// The median of gaps in milliseconds: single late packets are the machine's.
fn median(mut gaps: Vec<f64>) -> f64 {
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures again what came out wrong: a machine that is busy spoils a measurement now and then, and a
/// speaker that is wrong is so every time.
fn best_of(times: u8, mut measure: impl FnMut() -> Result<Outcome>) -> Result<Outcome> {
    let mut outcome = measure()?;
    for _ in 1..times {
        if matches!(outcome, Outcome::AsExpected(_)) {
            break;
        }
        outcome = measure()?;
    }
    Ok(outcome)
}

fn slow(peer: &mut RawBfd) -> Result<Outcome> {
    peer.silent = true;
    best_of(3, || {
        let received = peer.run(Duration::from_millis(4600))?;
        let all = gaps(&received);
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let right = all.len() >= 3 && least > 740.0 && median(all.clone()) < 1100.0;
        let down = received.iter().all(|one| one.packet.state == DOWN);
        let wanted = received.iter().all(|one| one.packet.transmit >= 1_000_000);
        let seen = format!("gaps of {all:.0?} ms, all Down: {down}, 1 s wanted: {wanted}");
        Ok(Outcome::of(right && down && wanted, seen))
    })
}

fn form(peer: &mut RawBfd) -> Result<Outcome> {
    let received = peer.up()?;
    let right = received.iter().all(|one| {
        (one.ttl, one.length, one.packet.version, one.packet.length) == (255, 24, 1, 24)
            && one.packet.mine != 0
            && !one.packet.multipoint
            && one.packet.multiplier == 3
    });
    Ok(Outcome::of(right, format!("{:?}", received.last())))
}

fn port(peer: &mut RawBfd) -> Result<Outcome> {
    let received = peer.up()?;
    let ports: Vec<u16> = received.iter().map(|one| one.port).collect();
    let port = ports.first().copied().unwrap_or(0);
    let right = port >= 49152 && ports.iter().all(|one| *one == port);
    Ok(Outcome::of(right, format!("port {port}")))
}

fn states(peer: &mut RawBfd) -> Result<Outcome> {
    // A peer that is Down is answered by Init, one that is in Init by Up.
    let (_, init) = peer.run_until(Duration::from_secs(8), |one| one.packet.state == INIT)?;
    peer.packet.state = INIT;
    let (_, up) = peer.run_until(Duration::from_secs(4), |one| one.packet.state == UP)?;
    peer.packet.state = UP;
    peer.run(Duration::from_secs(1))?;
    peer.packet.state = DOWN;
    let (all, down) = peer.run_until(Duration::from_secs(4), |one| one.packet.state == DOWN)?;
    let diagnostic = all.last().map(|one| one.packet.diagnostic);
    let seen = format!("Init {init}, Up {up}, Down {down} with diagnostic {diagnostic:?}");
    Ok(Outcome::of(
        init && up && down && diagnostic == Some(3),
        seen,
    ))
}

fn jitter(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    best_of(5, || {
        let all = gaps(&peer.run(Duration::from_secs(2))?);
        let middle = median(all.clone());
        // A late packet is followed by an early one.
        let short = all.iter().filter(|gap| **gap < 36.0).count();
        let distinct = all.iter().any(|gap| (gap - middle).abs() > 2.0);
        let right = (37.5..51.0).contains(&middle) && short * 8 < all.len() && distinct;
        let seen = format!("{} gaps, median {middle:.1} ms, {short} short", all.len());
        Ok(Outcome::of(right, seen))
    })
}

fn poll(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    best_of(5, || {
        let question = Packet {
            poll: true,
            ..peer.packet
        };
        let start = SystemTime::now();
        peer.send(&question.to_bytes(), 255)?;
        let (all, answered) = peer.run_until(Duration::from_secs(1), |one| one.packet.final_)?;
        let last = all
            .last()
            .and_then(|one| one.time.duration_since(start).ok());
        let after = last.unwrap_or_default();
        let right = answered && after < Duration::from_millis(30);
        Ok(Outcome::of(
            right,
            format!("Final {answered} after {after:.1?}"),
        ))
    })
}

fn detection(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    // Until now a stall of the machine did not matter.
    peer.packet.multiplier = 3;
    for _ in 0..3 {
        peer.send_packet()?;
    }
    let start = SystemTime::now();
    peer.silent = true;
    let (all, down) = peer.run_until(Duration::from_secs(5), |one| one.packet.state == DOWN)?;
    let Some(last) = all.last().filter(|_| down) else {
        return Ok(Outcome::Otherwise("it stays up".into()));
    };
    let after = last.time.duration_since(start)?.as_secs_f64() * 1000.0;
    let diagnostic = last.packet.diagnostic;
    // The news may wait for the next packet, which then is a slow one; never is it early.
    let right = diagnostic == 1 && (140.0..2500.0).contains(&after);
    Ok(Outcome::of(
        right,
        format!("diagnostic {diagnostic} after {after:.0} ms"),
    ))
}

fn admin_down(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    peer.packet.state = ADMIN_DOWN;
    peer.send_packet()?;
    let (all, down) = peer.run_until(Duration::from_secs(3), |one| one.packet.state == DOWN)?;
    let diagnostic = all.last().map(|one| one.packet.diagnostic);
    let seen = format!("Down {down}, diagnostic {diagnostic:?}");
    Ok(Outcome::of(down && diagnostic == Some(3), seen))
}

fn receive_zero(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    peer.packet.receive = 0;
    best_of(3, || {
        peer.run(Duration::from_millis(500))?;
        let all = peer.run(Duration::from_secs(1))?;
        Ok(Outcome::of(
            all.is_empty(),
            format!("{} packets in a second", all.len()),
        ))
    })
}

fn receive_slower(peer: &mut RawBfd) -> Result<Outcome> {
    peer.up()?;
    peer.packet.receive = 300_000;
    best_of(3, || {
        peer.run(Duration::from_millis(500))?;
        let all = gaps(&peer.run(Duration::from_secs(2))?);
        let middle = median(all.clone());
        let right = (225.0..310.0).contains(&middle);
        Ok(Outcome::of(
            right,
            format!("{} gaps, median {middle:.0} ms", all.len()),
        ))
    })
}

/// Sends a packet that would end the session if it were heard (it says Down), made wrong in one
/// respect, five times; the session must stay up, and so the peer must hear the usual interval.
fn ignored(peer: &mut RawBfd, wrong: &dyn Fn(Packet) -> (Vec<u8>, u32)) -> Result<Outcome> {
    peer.up()?;
    for _ in 0..5 {
        let down = Packet {
            state: DOWN,
            ..peer.packet
        };
        let (bytes, ttl) = wrong(down);
        peer.send(&bytes, ttl)?;
        let start = Instant::now();
        let news = |one: &Received| one.packet.state != UP;
        let (mut all, mut fell) = peer.run_until(Duration::from_millis(150), news)?;
        while all.is_empty() && start.elapsed() < Duration::from_secs(3) {
            (all, fell) = peer.run_until(Duration::from_millis(150), news)?;
        }
        if fell {
            let after = start.elapsed();
            return Ok(Outcome::Otherwise(format!(
                "the session went down after {after:.0?}"
            )));
        }
        if all.is_empty() {
            return Ok(Outcome::Otherwise("the speaker fell silent".into()));
        }
    }
    Ok(Outcome::AsExpected("the session stays up".into()))
}
