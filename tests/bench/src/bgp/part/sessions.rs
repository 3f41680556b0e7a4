//! From the wish for a session to the session.

use anyhow::{Context as _, Result};

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Running, Sender};
use super::PATIENCE;

/// Sessions in a round, each of a new process.
pub(crate) const TRIES: usize = 5;

pub(crate) fn measure(sender: Sender, samples: &mut Samples) -> Result<()> {
    let ground = Ground::new(1)?;
    let counters = ground.counters()?;
    let counter = counters.first().context("no counter")?;
    let mut running = Running::start(sender, &ground, &[])?;
    let begun = running.connect(0)?;
    let tally = counter.wait(PATIENCE, |tally| tally.established.is_some())?;
    let established = tally.established.context("no session")?;
    let accepted = tally.accepted.context("no connection")?;
    for (figure, since) in [(Figure::Established, begun), (Figure::Opened, accepted)] {
        let key = Key {
            figure,
            sender,
            receiver: Receiver::Wire,
            routes: 0,
        };
        let seconds = established.saturating_duration_since(since);
        samples.add(key, Some(seconds.as_secs_f64()))?;
    }
    ground.bare.down();
    Ok(())
}
