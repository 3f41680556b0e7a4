//! Part of the routes withdrawn in one go: the others are to stay, and the session too.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::{PATIENCE, POLL, grow_old, is_unbroken, prefixes, wait_routes};

/// Routes that stay.
pub(crate) const KEPT: usize = 100;
/// How many go: as many as one UPDATE can have, one more, and more.
pub(crate) const GOING: [usize; 3] = [814, 815, 5_000];
/// How long the router is watched when all that is to go is gone.
const WATCH: Duration = Duration::from_secs(3);

pub(crate) fn measure(
    sender: Sender,
    receiver: Receiver,
    going: usize,
    samples: &mut Samples,
) -> Result<()> {
    let ground = Ground::new(1)?;
    // No route has the community that is refused.
    let peer = match receiver {
        Receiver::Wire => bail!("a counter keeps no routes"),
        Receiver::Frr => ground.frr(9)?,
        Receiver::Bird => ground.bird(9)?,
    };
    let own = ground.neighbors[0].own;
    let batches = [
        Batch::first(KEPT, 1),
        Batch {
            from: KEPT,
            count: going,
            community: 1,
        },
    ];
    let mut running = Running::start(sender, &ground, &batches)?;
    running.connect(0)?;
    peer.wait_established(own.into(), PATIENCE)?;
    let since = Instant::now();
    running.announce(0)?;
    running.announce(1)?;
    wait_routes(&peer, own, KEPT + going)?;
    grow_old(since);
    running.withdraw(1)?;
    let (mut fewest, mut reached) = (KEPT, None);
    let deadline = Instant::now() + PATIENCE;
    while reached.is_none_or(|at: Instant| at.elapsed() < WATCH) {
        let found = prefixes(&peer, own)?.unwrap_or_default();
        fewest = fewest.min(found);
        if found == KEPT && reached.is_none() {
            reached = Some(Instant::now());
        }
        if Instant::now() > deadline {
            bail!("the router has {found} routes, not {KEPT}");
        }
        thread::sleep(POLL);
    }
    let flaps = u32::from(!is_unbroken(&peer, own, since)?);
    let lost = u32::try_from(KEPT - fewest)?;
    for (figure, value) in [(Figure::Lost, lost), (Figure::Flaps, flaps)] {
        let key = Key {
            figure,
            sender,
            receiver,
            routes: going,
        };
        samples.add(key, Some(value.into()))?;
    }
    ground.bare.down();
    Ok(())
}
