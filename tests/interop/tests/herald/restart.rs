//! Graceful restart (RFC 4724, 8538, 9494): what routers keep of a speaker that was killed, and for how
//! long.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_bgp::session::Restart;
use herald_interop::{Router, eventually};
use herald_speaker::bgp::{PeerPlan, Plans};

use super::agreements::{Triangle, plans, wait_route};
use super::speaker::{HERALD, SOON};

const AS: u32 = 65002;
const VIP: &str = "198.51.100.1/32";
const FRR: &[&str] = &["bgp graceful-restart"];

fn with_time(seconds: u16, long_lived: Option<u32>) -> impl Fn(&mut PeerPlan) {
    move |plan| {
        plan.session.restart = Some(Restart {
            time: seconds,
            long_lived,
            restarted: None,
            forwarding_kept: true,
        });
    }
}

fn has_route(router: &Router) -> Result<bool> {
    Ok(!router.paths(VIP.parse()?)?.is_empty())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4724_a_speaker_that_is_killed_and_back_is_never_without_its_routes() -> Result<()> {
    let triangle = Triangle::new(AS, FRR, "graceful restart on;")?;
    let mut herald = triangle.herald(plans(AS, true, false, |_| {})?);
    for router in &triangle.routers {
        wait_route(router)?;
    }
    let (end, missing) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut next = thread::scope(|scope| -> Result<_> {
        for router in &triangle.routers {
            let (end, missing) = (&end, &missing);
            scope.spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    if !has_route(router).unwrap_or(false) {
                        missing.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let outcome = (|| {
            herald.kill()?;
            for router in &triangle.routers {
                eventually(SOON, "the session's end", || {
                    let neighbor = router.neighbor(HERALD.into())?;
                    Ok(neighbor
                        .is_none_or(|one| one.uptime.is_none())
                        .then_some(()))
                })?;
            }
            let next = triangle.herald(plans(AS, true, true, |_| {})?);
            for router in &triangle.routers {
                router.wait_established(HERALD.into(), SOON)?;
            }
            // The stale routes go with the End-of-RIB, ours must be told by then.
            thread::sleep(Duration::from_secs(2));
            Ok(next)
        })();
        end.store(true, Ordering::Relaxed);
        outcome
    })?;
    ensure!(
        missing.load(Ordering::Relaxed) == 0,
        "the route was away: {missing:?}"
    );

    // A peer that is not wanted any longer is not kept routes for (RFC 8538).
    let begun = Instant::now();
    next.set_plans(Plans::new());
    for router in &triangle.routers {
        let what = format!("the end of the route at {}", router.name());
        eventually(SOON, &what, || Ok((!has_route(router)?).then_some(())))?;
    }
    ensure!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    next.stop()?;
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4724_a_speaker_that_does_not_come_back_loses_its_routes_after_the_restart_time() -> Result<()>
{
    let triangle = Triangle::new(AS, FRR, "graceful restart on;")?;
    let mut herald = triangle.herald(plans(AS, true, false, with_time(4, None))?);
    for router in &triangle.routers {
        wait_route(router)?;
    }
    let killed = Instant::now();
    herald.kill()?;
    for router in &triangle.routers {
        let what = format!("the end of the route at {}", router.name());
        eventually(SOON, &what, || Ok((!has_route(router)?).then_some(())))?;
        let kept = killed.elapsed();
        ensure!(
            (3..9).contains(&kept.as_secs()),
            "{} for {kept:?}",
            router.name()
        );
    }
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9494_after_the_restart_time_routes_are_kept_as_a_last_resort() -> Result<()> {
    let bird = "graceful restart on; long lived graceful restart on;";
    let triangle = Triangle::new(AS, FRR, bird)?;
    let mut herald = triangle.herald(plans(AS, true, false, with_time(2, Some(60)))?);
    let [_, bird] = &triangle.routers;
    wait_route(bird)?;
    herald.kill()?;
    // LLGR_STALE.
    let stale = |route: &herald_interop::Route| {
        let mut communities = route.attributes.communities.iter();
        communities.any(|one| one == "65535:6")
    };
    eventually(SOON, "a route that is marked as stale", || {
        let route = bird.paths(VIP.parse()?)?.pop();
        Ok(route.filter(stale))
    })?;
    let mut next = triangle.herald(plans(AS, true, true, with_time(2, Some(60)))?);
    eventually(SOON, "a route that is fresh", || {
        let route = bird.paths(VIP.parse()?)?.pop();
        Ok(route.filter(|route| !stale(route)))
    })?;
    next.stop()?;
    triangle.bare.down();
    Ok(())
}
