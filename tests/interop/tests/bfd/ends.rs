//! What is left of a speaker that ends, where BFD watches it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_interop::{Router, eventually};

use crate::lan::{ROUTE, cut, lan, peers, routers, wait_all_up, wait_route};
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

fn with_restart() -> Vec<BgpPeer> {
    let peers = peers(50).into_iter().map(|peer| BgpPeer {
        graceful_restart: true,
        ..peer
    });
    peers.collect()
}

/// What graceful restart leaves of BFD depends on the router.
#[test]
#[ignore = "needs root and the lab: run by make test"]
fn with_graceful_restart_too_frr_drops_the_routes_of_a_node_that_is_cut_off_and_bird_does_not()
-> Result<()> {
    let bare = lan()?;
    let routers = routers(&bare, true)?;
    let mut herald = Herald::start(&bare.netns("herald"), &with_restart(), false)?;
    herald.announce(&[ROUTE.parse()?]);
    wait_all_up(&herald, &routers)?;
    wait_route(&routers)?;
    cut(&bare)?;
    for router in &routers {
        let name = router.name();
        eventually(
            Duration::from_secs(5),
            &format!("BFD of {name} to go down"),
            || Ok((!router.bfd()?.iter().any(|bfd| bfd.up)).then_some(())),
        )?;
    }
    let (frr, bird): (Vec<_>, Vec<_>) = routers.iter().partition(|router| router.name() == "frr");
    for router in frr {
        eventually(Duration::from_secs(2), "FRR to drop", || {
            let hops = router.kernel_next_hops(ROUTE.parse()?)?;
            Ok(hops.is_empty().then_some(()))
        })?;
    }
    ensure_kept(&bird, Duration::from_secs(2))?;
    herald.stop()?;
    bare.down();
    Ok(())
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
