//! The measurements, each on namespaces of its own that are gone afterwards.

pub(super) mod cut;
pub(super) mod load;
pub(super) mod memory;
pub(super) mod one_more;
pub(super) mod routes;
pub(super) mod sessions;
pub(super) mod withdrawals;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use herald_interop::Router;

use super::counter::Counter;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a router is asked.
const POLL: Duration = Duration::from_millis(2);

/// Waits until a session is established, and what both sides say at first is said.
fn wait_established(counters: &[Counter]) -> Result<()> {
    for counter in counters {
        counter.wait(PATIENCE, |tally| tally.established.is_some())?;
    }
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Waits until a router has so many routes; when that was.
fn wait_routes(peer: &Router, speaker: Ipv4Addr, routes: usize) -> Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = prefixes(peer, speaker)?;
        let now = Instant::now();
        if found == Some(routes) {
            return Ok(now);
        }
        if now > deadline {
            bail!("{} has {found:?} of {routes} routes", peer.name());
        }
        thread::sleep(POLL);
    }
}

/// How many routes a router has of the speaker; `None` without a session.
fn prefixes(peer: &Router, speaker: Ipv4Addr) -> Result<Option<usize>> {
    let neighbor = peer.neighbor(speaker.into())?;
    Ok(neighbor
        .filter(|neighbor| neighbor.uptime.is_some())
        .map(|neighbor| neighbor.prefixes))
}

/// Whether a router's session is the one that was there at `since`. It has to be some seconds old,
/// because routers tell its age in whole seconds.
fn is_unbroken(peer: &Router, speaker: Ipv4Addr, since: Instant) -> Result<bool> {
    let neighbor = peer.neighbor(speaker.into())?;
    let uptime = neighbor
        .context("the router does not know the speaker")?
        .uptime;
    Ok(uptime.is_some_and(|uptime| is_as_old(uptime, since.elapsed())))
}

fn is_as_old(uptime: Duration, elapsed: Duration) -> bool {
    uptime + Duration::from_millis(1500) >= elapsed
}

/// Sleeps until `since` is old enough for [`is_unbroken`].
fn grow_old(since: Instant) {
    thread::sleep(Duration::from_secs(4).saturating_sub(since.elapsed()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_began_anew_is_younger_than_whole_seconds_explain() {
        let seconds = Duration::from_secs;
        assert!(is_as_old(seconds(4), Duration::from_millis(4900)));
        assert!(!is_as_old(seconds(0), seconds(4)));
        assert!(!is_as_old(seconds(2), seconds(4)));
    }
}
