//! BFD with `GoBGP`, whose own is for single hops.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_interop::{Config, Family, Router, eventually, lan};

use crate::lan::{ROUTE, SOON, bfd_up, cut, mend};
use crate::speaker::{Herald, profile};
use crate::support::peer;

const GOBGP: &str = "10.99.1.2";
const HERALD: &str = "10.99.1.3";

/// With BFD of 50 ms times 3.
fn config() -> Config {
    Config::Gobgp(format!(
        "[global.config]\nas = 65002\nrouter-id = \"{GOBGP}\"\n[[neighbors]]\n\
         [neighbors.config]\nneighbor-address = \"{HERALD}\"\npeer-as = 65001\n\
         [neighbors.transport.config]\npassive-mode = true\n\
         [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n\
         [neighbors.bfd.config]\nenabled = true\ndesired-minimum-tx-interval = 50000\n\
         required-minimum-receive = 50000\ndetection-multiplier = 3\n"
    ))
}

fn wait_up(herald: &Herald, router: &Router) -> Result<()> {
    eventually(SOON, "BGP and BFD at both ends", || {
        let there = router.bfd()?.iter().any(|bfd| bfd.up);
        let route = !router.routes(Family::Ipv4)?.is_empty();
        Ok((there && route && bfd_up(herald, "gobgp")).then_some(()))
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_herald_leave_a_path_that_is_cut_and_come_back() -> Result<()> {
    let bare = lan("hub", &["gobgp", "herald"])?;
    let router = Router::start(&bare, "gobgp", "gobgp", &config())?;
    let wanted = BgpPeer {
        bfd: Some(profile(50)),
        ..peer("gobgp", GOBGP.parse()?, 65002)
    };
    let mut herald = Herald::start(&bare.netns("herald"), &[wanted], false)?;
    herald.announce(&[ROUTE.parse()?]);
    // A machine that is busy for 150 ms ends BFD by itself. If that was a moment before the cut, only
    // the hold time is left to notice it, and that is too long for `eventually`.
    let mut by_bfd = false;
    for _ in 0..3 {
        wait_up(&herald, &router)?;
        let begun = Instant::now();
        cut(&bare)?;
        let dropped = eventually(SOON, "GoBGP to drop the route", || {
            Ok(router.routes(Family::Ipv4)?.is_empty().then_some(()))
        });
        let ended = eventually(SOON, "the end of the session", || {
            let last = herald.status("gobgp").context("no session")?.last_down;
            let last = last.filter(|(at, _)| *at >= begun);
            Ok(last.map(|(_, down)| down.to_string()))
        });
        println!("{dropped:?} and {ended:?} after {:?}", begun.elapsed());
        mend(&bare)?;
        by_bfd = dropped.is_ok() && ended.is_ok_and(|reason| reason.contains("BFD"));
        if by_bfd {
            break;
        }
    }
    ensure!(by_bfd, "BFD has not noticed the cut");
    wait_up(&herald, &router)?;
    herald.stop()?;
    bare.down();
    Ok(())
}
