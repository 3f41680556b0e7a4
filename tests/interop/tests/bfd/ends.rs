//! What is left of a speaker that ends, where BFD watches it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_interop::Router;

use crate::lan::{ROUTE, lan, peers, routers, wait_all_up, wait_route};
use crate::speaker::Herald;

/// Looks for a while whether a route leaves a kernel.
fn ensure_kept(routers: &[&Router], duration: Duration) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        for router in routers {
            let hops = router.kernel_next_hops(ROUTE.parse()?)?;
            let after = begun.elapsed();
            ensure!(
                !hops.is_empty(),
                "{} lost it after {after:?}",
                router.name()
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Watched so slowly that a busy machine does not look like a dead one.
fn with_restart() -> Vec<BgpPeer> {
    let peers = peers(300).into_iter().map(|peer| BgpPeer {
        graceful_restart: true,
        ..peer
    });
    peers.collect()
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn peers_with_graceful_restart_keep_the_routes_of_a_speaker_that_ends_and_starts() -> Result<()> {
    let bare = lan()?;
    let routers = routers(&bare, true)?;
    let peers = with_restart();
    let mut herald = Herald::start(&bare.netns("herald"), &peers, false)?;
    herald.announce(&[ROUTE.parse()?]);
    wait_all_up(&herald, &routers)?;
    wait_route(&routers)?;

    let all: Vec<&Router> = routers.iter().collect();
    herald.stop()?;
    // Some detection times.
    ensure_kept(&all, Duration::from_secs(2))?;
    let mut herald = Herald::start(&bare.netns("herald"), &peers, true)?;
    herald.announce(&[ROUTE.parse()?]);
    ensure_kept(&all, Duration::from_secs(4))?;
    wait_all_up(&herald, &routers)?;
    ensure_kept(&all, Duration::from_secs(1))?;
    herald.stop()?;
    bare.down();
    Ok(())
}
