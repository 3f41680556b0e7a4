//! One Service more, beside many.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::memory::PEERS;
use super::{PATIENCE, wait_established};

/// How many there are already.
pub(crate) const EXISTING: usize = 5_000;
/// How many are added in a round, one after the other.
pub(crate) const TRIES: usize = 50;
/// The pause between two, in which nothing more may come of the first.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn measure(sender: Sender, samples: &mut Samples) -> Result<()> {
    let ground = Ground::new(PEERS)?;
    let counters = ground.counters()?;
    let more = (0..TRIES).map(|number| Batch {
        from: EXISTING + number,
        count: 1,
        community: 1,
    });
    let batches: Vec<Batch> = std::iter::once(Batch::first(EXISTING, 1))
        .chain(more)
        .collect();
    let mut running = Running::start(sender, &ground, &batches)?;
    for peer in 0..PEERS {
        running.connect(peer)?;
    }
    wait_established(&counters)?;
    running.announce(0)?;
    for counter in &counters {
        counter.wait(PATIENCE, |tally| tally.announced >= EXISTING)?;
    }
    thread::sleep(Duration::from_secs(1));
    for batch in 1..batches.len() {
        for counter in &counters {
            counter.reset();
        }
        let begun = running.announce(batch)?;
        let mut last = begun;
        for counter in &counters {
            let tally = counter.wait(PATIENCE, |tally| tally.announced >= 1)?;
            last = last.max(tally.last.context("no route")?);
        }
        thread::sleep(PAUSE);
        let updates = counters.iter().map(|counter| counter.tally().updates).max();
        let mut add = |figure, value| {
            let key = Key {
                figure,
                sender,
                receiver: Receiver::Wire,
                routes: EXISTING,
            };
            samples.add(key, Some(value))
        };
        add(
            Figure::OneMore,
            last.saturating_duration_since(begun).as_secs_f64(),
        )?;
        let updates = u32::try_from(updates.unwrap_or_default())?;
        add(Figure::OneMoreUpdates, updates.into())?;
    }
    ground.bare.down();
    Ok(())
}
