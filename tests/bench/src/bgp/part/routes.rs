//! Many routes announced, replaced and withdrawn, each at one go.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use herald_interop::Router;

use super::super::counter::{Counter, Tally};
use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::super::wire::fewest;
use super::{PATIENCE, grow_old, is_unbroken, wait_established, wait_routes};

/// The community that routers refuse: what is replaced by it goes away there, and so it is seen when
/// the last one is.
const REFUSED: u16 = 2;

/// After so long without a route no more come.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) fn measure(
    sender: Sender,
    receiver: Receiver,
    routes: usize,
    samples: &mut Samples,
) -> Result<()> {
    let ground = Ground::new(1)?;
    let batches = [1, REFUSED, 3].map(|community| Batch::first(routes, community));
    let key = |figure| Key {
        figure,
        sender,
        receiver,
        routes,
    };
    match receiver {
        Receiver::Wire => {
            let counters = ground.counters()?;
            let mut running = Running::start(sender, &ground, &batches[..2])?;
            running.connect(0)?;
            wait_established(&counters)?;
            let counter = counters.first().context("no counter")?;
            on_the_wire(&mut running, counter, routes, |figure, value| {
                samples.add(key(figure), value)
            })?;
        }
        Receiver::Frr | Receiver::Bird => {
            let peer = if receiver == Receiver::Frr {
                ground.frr(REFUSED)?
            } else {
                ground.bird(REFUSED)?
            };
            let own = ground.neighbors[0].own;
            let mut running = Running::start(sender, &ground, &batches)?;
            running.connect(0)?;
            peer.wait_established(own.into(), PATIENCE)?;
            let since = Instant::now();
            thread::sleep(Duration::from_millis(500));
            let timed = at_router(&mut running, &peer, own, routes, since)?;
            for (figure, value) in timed {
                samples.add(key(figure), value)?;
            }
        }
    }
    ground.bare.down();
    Ok(())
}

fn on_the_wire(
    running: &mut Running,
    counter: &Counter,
    routes: usize,
    mut add: impl FnMut(Figure, Option<f64>) -> Result<()>,
) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "there are few messages")]
    let number = |count: usize| Some(count as f64);
    let (seconds, tally) = timed(counter, || running.announce(0), |t| t.announced >= routes)?;
    add(Figure::Announced, Some(seconds))?;
    add(Figure::AnnounceUpdates, number(tally.updates))?;
    add(
        Figure::FewestAnnounce,
        number(fewest(routes, tally.attributes)),
    )?;
    let (seconds, tally) = timed(counter, || running.announce(1), |t| t.announced >= routes)?;
    add(Figure::Replaced, Some(seconds))?;
    add(Figure::ReplaceUpdates, number(tally.updates))?;
    add(Figure::FewestWithdraw, number(fewest(routes, 0)))?;
    match timed(counter, || running.withdraw(1), |t| t.withdrawn >= routes) {
        Ok((seconds, tally)) => {
            add(Figure::Withdrawn, Some(seconds))?;
            add(Figure::WithdrawUpdates, number(tally.updates))
        }
        Err(error) if counter.tally().ended.is_some() => {
            eprintln!("withdrawn: {error:#}");
            add(Figure::Withdrawn, None)?;
            add(Figure::WithdrawUpdates, None)
        }
        Err(error) => Err(error),
    }
}

/// Seconds from a command to the last route, and all that had come in when no more came.
fn timed(
    counter: &Counter,
    command: impl FnOnce() -> Result<Instant>,
    is_all: impl Fn(&Tally) -> bool,
) -> Result<(f64, Tally)> {
    counter.reset();
    let begun = command()?;
    let tally = counter.wait(PATIENCE, is_all)?;
    let last = tally.last.context("no route")?;
    let seconds = last.saturating_duration_since(begun).as_secs_f64();
    thread::sleep(QUIET);
    Ok((seconds, counter.tally()))
}

fn at_router(
    running: &mut Running,
    peer: &Router,
    own: std::net::Ipv4Addr,
    routes: usize,
    since: Instant,
) -> Result<[(Figure, Option<f64>); 3]> {
    let seconds = |begun: Instant, end: Instant| end.saturating_duration_since(begun).as_secs_f64();
    let begun = running.announce(0)?;
    let announced = seconds(begun, wait_routes(peer, own, routes)?);
    let begun = running.announce(1)?;
    let replaced = seconds(begun, wait_routes(peer, own, 0)?);
    running.announce(2)?;
    wait_routes(peer, own, routes)?;
    grow_old(since);
    let begun = running.withdraw(2)?;
    let withdrawn = seconds(begun, wait_routes(peer, own, 0)?);
    // A session that was reset also leaves no route.
    let withdrawn = is_unbroken(peer, own, since)?.then_some(withdrawn);
    Ok([
        (Figure::Announced, Some(announced)),
        (Figure::Replaced, Some(replaced)),
        (Figure::Withdrawn, withdrawn),
    ])
}
