//! What it takes to have many routes with four peers.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::{PATIENCE, wait_established};
use crate::usage;

/// How many peers there are.
pub(crate) const PEERS: usize = 4;

/// After so long nobody has anything left to do.
const REST: Duration = Duration::from_secs(3);

pub(crate) fn measure(sender: Sender, routes: usize, samples: &mut Samples) -> Result<()> {
    let ground = Ground::new(PEERS)?;
    let counters = ground.counters()?;
    let mut running = Running::start(sender, &ground, &[Batch::first(routes, 1)])?;
    for peer in 0..PEERS {
        running.connect(peer)?;
    }
    wait_established(&counters)?;
    let process = running.process().clone();
    let before = usage::cpu(&process)?;
    running.announce(0)?;
    for counter in &counters {
        counter.wait(PATIENCE, |tally| tally.announced >= routes)?;
    }
    thread::sleep(REST);
    let cpu = usage::cpu(&process)?.saturating_sub(before);
    let mut add = |figure, value| {
        let key = Key {
            figure,
            sender,
            receiver: Receiver::Wire,
            routes,
        };
        samples.add(key, Some(value))
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are fewer than 2^52 bytes"
    )]
    let bytes = |bytes: u64| bytes as f64;
    add(Figure::Cpu, cpu.as_secs_f64())?;
    add(Figure::Resident, bytes(process.rss_bytes()?))?;
    add(
        Figure::Proportional,
        bytes(usage::proportional_bytes(&process)?),
    )?;
    add(Figure::Peak, bytes(usage::peak_bytes(&process)?))?;
    ground.bare.down();
    Ok(())
}
