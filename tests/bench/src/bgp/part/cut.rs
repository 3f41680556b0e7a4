//! A node that is cut off without a sign: how long its route stays in the router's kernel.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use herald_interop::{Router, eventually};

use super::super::ground::{Ground, SWITCH};
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::PATIENCE;

/// Cuts in a round.
pub(crate) const TRIES: usize = 4;

/// Longer than any BFD session here may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn measure(sender: Sender, receiver: Receiver, samples: &mut Samples) -> Result<()> {
    let ground = Ground::switched()?;
    let router = match receiver {
        Receiver::Wire => bail!("a counter has no kernel"),
        Receiver::Frr => ground.frr_with_bfd()?,
        Receiver::Bird => ground.bird_with_bfd()?,
    };
    let own = ground.neighbors[0].own;
    let mut running = Running::start_with_bfd(sender, &ground, &[Batch::first(1, 1)])?;
    running.connect(0)?;
    router.wait_established(own.into(), PATIENCE)?;
    running.announce(0)?;
    wait_watched(&router, 1)?;
    let netns = router.netns().clone();
    eventually(PATIENCE, "the route in the kernel", || {
        Ok(netns.run(is_routed)??.then_some(()))
    })?;
    // All timers have their final values, and the cut meets them at any point.
    let key = Key {
        figure: Figure::Gone,
        sender,
        receiver,
        routes: 1,
    };
    let phase = u64::try_from(samples.count(key) % 50)?;
    thread::sleep(Duration::from_millis(3_000 + phase * 7));
    let gone = netns.run(|| -> Result<Duration> {
        let begun = Instant::now();
        ground.bare.ip(SWITCH, ["link set br0 down"])?;
        while is_routed()? {
            if begun.elapsed() > LIMIT {
                bail!("the route is there {LIMIT:?} after the cut");
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(begun.elapsed())
    })??;
    samples.add(key, Some(gone.as_secs_f64()))?;
    ground.bare.down();
    Ok(())
}

/// Waits until BFD watches so many paths.
pub(super) fn wait_watched(router: &Router, paths: usize) -> Result<()> {
    eventually(PATIENCE, "BFD to be up", || {
        let up = router.bfd()?.into_iter().filter(|session| session.up);
        Ok((up.count() == paths).then_some(()))
    })
}

/// Whether the first of all routes is in the kernel of the thread's namespace.
fn is_routed() -> Result<bool> {
    Ok(has_first(&fs::read_to_string(
        "/proc/thread-self/net/route",
    )?))
}

/// Whether a table as the kernel shows it has 20.0.0.0/32: addresses there are in memory's order.
fn has_first(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, destination, _, _, _, _, _, mask, ..]
            if *destination == first_address() && *mask == "FFFFFFFF")
    })
}

fn first_address() -> String {
    format!("{:08X}", u32::from_ne_bytes([20, 0, 0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_address_and_its_length() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n";
        let route = |mask| {
            let first = first_address();
            format!("{head}eth0\t{first}\t0100630A\t0007\t0\t0\t20\t{mask}\t0\t0\t0\n")
        };
        assert!(has_first(&route("FFFFFFFF")));
        assert!(!has_first(&route("000000FF")));
        assert!(!has_first(head));
    }
}
